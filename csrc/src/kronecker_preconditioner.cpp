#include "kronecker_preconditioner.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>

namespace convexrelu {

KroneckerPreconditioner::KroneckerPreconditioner(const Matrix& X) {
  Matrix gram = Matrix::Zero(X.cols(), X.cols());
  gram.selfadjointView<Eigen::Lower>().rankUpdate(X.transpose(), 1.0 / static_cast<double>(X.rows()));
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(gram);
  V_ = eigen.eigenvectors();
  l_ = eigen.eigenvalues().cwiseMax(0.0);
}

void KroneckerPreconditioner::setup(const Matrix& overlap, const Vector& alpha, const Vector& rho,
                                    const Matrix& directions) {
  const Index k = alpha.size();
  const Vector root = alpha.cwiseSqrt();
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(root.asDiagonal() * overlap *
                                                    root.asDiagonal());
  T_ = root.asDiagonal() * eigen.eigenvectors();
  const Vector m = eigen.eigenvalues().cwiseMax(0.0);
  inverse_ = ((l_ * m.transpose()).array() + 1.0).inverse();
  directions_ = directions;

  const Matrix rotated = V_.transpose() * directions;
  Matrix inner = Matrix::Zero(k, k);
  Matrix weighted, gram;
  for (Index j = 0; j < k; ++j) {
    weighted = inverse_.col(j).cwiseSqrt().asDiagonal() * rotated * T_.col(j).asDiagonal();
    inner.selfadjointView<Eigen::Lower>().rankUpdate(weighted.transpose());
  }
  capacitance_ = -inner;
  capacitance_.diagonal().array() += (alpha.cwiseInverse() - rho).array().inverse();
  Eigen::LLT<Eigen::Ref<Matrix>> factor(capacitance_);
  corrected_ = factor.info() == Eigen::Success;
}

void KroneckerPreconditioner::solve_kronecker(const Matrix& in, Matrix& out) const {
  Matrix rotated = V_.transpose() * in * T_;
  rotated.array() *= inverse_.array();
  out.noalias() = V_ * (rotated * T_.transpose());
}

void KroneckerPreconditioner::apply(const Matrix& in, Matrix& out) const {
  solve_kronecker(in, out);
  if (!corrected_) return;
  Vector radial = directions_.cwiseProduct(out).colwise().sum().transpose();
  const auto factor = capacitance_.triangularView<Eigen::Lower>();
  factor.solveInPlace(radial);
  factor.transpose().solveInPlace(radial);
  Matrix correction;
  solve_kronecker(directions_ * radial.asDiagonal(), correction);
  out += correction;
}

}  // namespace convexrelu
