// A preconditioner for the m-form of the KKT system of a gated problem.
//
//   P = Z'Z/n + blkdiag(1/alpha_b (I - e_b e_b') + rho_b e_b e_b'),   blocks X' D_b D_c X / n of Z'Z/n
//
// Random gates cut the data much alike, so X' D_b D_c X is close to o_bc X'X with o_bc = |D_b and D_c| / n,
// and P to the Kronecker sum
//
//   K = o (x) X'X/n + diag(1/alpha) (x) I,  less the rank-k term  E diag(1/alpha - rho) E',  E = blkdiag(e_b).
//
// K is diagonal in the eigenvectors V of X'X/n (eigenvalues l_i) and U of
// diag(alpha)^(1/2) o diag(alpha)^(1/2) (eigenvalues m_j); the rank-k term is Woodbury's.
// Vectors are (d, k) matrices, one column a block. Set-up 10 k^3 + 2 d k^3, application 8 d k (d + k).
#pragma once

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>

#include "convexrelu/types.hpp"

namespace convexrelu {

class KroneckerPreconditioner {
 public:
  // X (n, d); once per problem, O(n d^2).
  explicit KroneckerPreconditioner(const Matrix& X);

  // overlap o (k, k), alpha and rho (k) with 0 <= rho < 1/alpha, directions e (d, k).
  void setup(const Matrix& overlap, const Vector& alpha, const Vector& rho,
             const Matrix& directions);

  // out (d, k) = an approximation of P^-1 in.
  void apply(const Matrix& in, Matrix& out) const;

 private:
  void solve_kronecker(const Matrix& in, Matrix& out) const;

  Matrix V_;        // (d, d)
  Vector l_;        // (d)
  Matrix T_;        // (k, k) diag(alpha)^(1/2) U
  Matrix inverse_;  // (d, k) 1 / (l_i m_j + 1)
  Matrix directions_;
  Matrix capacitance_;  // (k, k) Cholesky factor of diag(1/alpha - rho)^-1 - E' K^-1 E
  bool corrected_ = false;
};

inline KroneckerPreconditioner::KroneckerPreconditioner(const Matrix& X) {
  Matrix gram = Matrix::Zero(X.cols(), X.cols());
  gram.selfadjointView<Eigen::Lower>().rankUpdate(X.transpose(),
                                                  1.0 / static_cast<double>(X.rows()));
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(gram);
  V_ = eigen.eigenvectors();
  l_ = eigen.eigenvalues().cwiseMax(0.0);
}

inline void KroneckerPreconditioner::setup(const Matrix& overlap, const Vector& alpha,
                                           const Vector& rho, const Matrix& directions) {
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
  Matrix weighted;
  for (Index j = 0; j < k; ++j) {
    weighted = inverse_.col(j).cwiseSqrt().asDiagonal() * rotated * T_.col(j).asDiagonal();
    inner.selfadjointView<Eigen::Lower>().rankUpdate(weighted.transpose());
  }
  capacitance_ = -inner;
  capacitance_.diagonal().array() += (alpha.cwiseInverse() - rho).array().inverse();
  Eigen::LLT<Eigen::Ref<Matrix>> factor(capacitance_);
  corrected_ = factor.info() == Eigen::Success;
}

inline void KroneckerPreconditioner::solve_kronecker(const Matrix& in, Matrix& out) const {
  Matrix rotated = V_.transpose() * in * T_;
  rotated.array() *= inverse_.array();
  out.noalias() = V_ * (rotated * T_.transpose());
}

inline void KroneckerPreconditioner::apply(const Matrix& in, Matrix& out) const {
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
