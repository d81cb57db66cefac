#include "convexrelu/numeric/cholesky.hpp"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "base/watched_for.hpp"
#include "convexrelu/base/error.hpp"

namespace convexrelu {
inline namespace numeric {

namespace {

constexpr Index kPanel = 128;   // columns factored between two looks at the monitor
constexpr Index kStripe = 256;  // rows of a panel, and columns of the trailing update, in one task

Index n_stripes(Index size) { return (size + kStripe - 1) / kStripe; }

// Left-looking by panels: A(j:, j) -= L(j:, :j) L(j, :j)', factor the diagonal block, solve below
// it.
template <typename MatrixType>
Index factor(MatrixType& A, const CholeskyOptions& options) {
  using Scalar = typename MatrixType::Scalar;
  const Index n = A.rows();
  if (A.cols() != n) throw_invalid("A must be square");
  Monitor unwatched;
  Monitor& monitor = options.monitor != nullptr ? *options.monitor : unwatched;
  for (Index begin = 0; begin < n; begin += kPanel) {
    monitor.check();
    const Index width = std::min(kPanel, n - begin);
    const Index below = n - begin - width;
    auto diagonal = A.block(begin, begin, width, width);
    const auto left = A.block(begin, 0, width, begin);
    if (begin > 0) diagonal.template triangularView<Eigen::Lower>() -= left * left.transpose();
    // A column whose pivot is not positive keeps its old diagonal; NaN is not noticed.
    const Index failed = Eigen::internal::llt_inplace<Scalar, Eigen::Lower>::blocked(diagonal);
    for (Index j = 0; j < width; ++j) {
      if (j == failed || !(diagonal(j, j) > Scalar{0})) return begin + j;
    }
    watched_for(n_stripes(below), options.n_threads, monitor, [&](Index stripe, const auto&) {
      const Index first = begin + width + stripe * kStripe;
      const Index rows = std::min(kStripe, n - first);
      auto panel = A.block(first, begin, rows, width);
      if (begin > 0) panel.noalias() -= A.block(first, 0, rows, begin) * left.transpose();
      const auto upper = diagonal.transpose().template triangularView<Eigen::Upper>();
      upper.template solveInPlace<Eigen::OnTheRight>(panel);
    });
  }
  return -1;
}

}  // namespace

Index factor_cholesky(MatrixRef A, const CholeskyOptions& options) { return factor(A, options); }

Index factor_cholesky(Eigen::Ref<Eigen::MatrixXf> A, const CholeskyOptions& options) {
  return factor(A, options);
}

void solve_cholesky(ConstMatrixRef L, MatrixRef B) {
  const auto lower = L.triangularView<Eigen::Lower>();
  const auto upper = L.transpose().triangularView<Eigen::Upper>();
  if (B.cols() == 1) {  // Eigen's matrix-vector kernel
    auto b = B.col(0);
    lower.solveInPlace(b);
    upper.solveInPlace(b);
  } else {
    lower.solveInPlace(B);
    upper.solveInPlace(B);
  }
}

double symmetric_one_norm(ConstMatrixRef A) {
  const Index n = A.rows();
  Vector sums = Vector::Zero(n);
  for (Index j = 0; j < n; ++j) {
    const auto below = A.col(j).tail(n - j - 1).cwiseAbs();
    sums[j] += std::abs(A(j, j)) + below.sum();
    sums.tail(n - j - 1) += below;
  }
  return n > 0 ? sums.maxCoeff() : 0.0;
}

double reciprocal_condition(ConstMatrixRef L, double one_norm) {
  const Index n = L.rows();
  if (n == 0) return 1.0;
  Vector x = Vector::Constant(n, 1.0 / static_cast<double>(n));
  double estimate = 0.0;
  Index previous = -1;
  for (int step = 0; step < 5; ++step) {
    solve_cholesky(L, x);
    const double norm = x.lpNorm<1>();
    if (!std::isfinite(norm)) return 0.0;
    if (norm <= estimate) break;
    estimate = norm;
    x = x.unaryExpr([](double value) { return value < 0.0 ? -1.0 : 1.0; }).eval();
    solve_cholesky(L, x);
    Index largest = 0;
    x.cwiseAbs().maxCoeff(&largest);
    if (largest == previous) break;
    previous = largest;
    x = Vector::Unit(n, largest);
  }
  // Higham's safeguard against matrices for which the gradients mislead.
  for (Index j = 0; j < n; ++j) {
    const double grown = 1.0 + (n > 1 ? static_cast<double>(j) / static_cast<double>(n - 1) : 0.0);
    x[j] = j % 2 ? -grown : grown;
  }
  solve_cholesky(L, x);
  estimate = std::max(estimate, 2.0 * x.lpNorm<1>() / (3.0 * static_cast<double>(n)));
  return estimate > 0.0 && one_norm > 0.0 ? 1.0 / (estimate * one_norm) : 0.0;
}

}  // namespace numeric
}  // namespace convexrelu
