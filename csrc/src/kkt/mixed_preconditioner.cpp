#include "kkt/mixed_preconditioner.hpp"

#include <Eigen/LU>
#include <algorithm>
#include <cmath>

namespace convexrelu {
inline namespace kkt {

MixedPreconditioner::MixedPreconditioner(const ScaledProblem& problem)
    : problem_(problem),
      X_((problem.X() / std::sqrt(static_cast<double>(problem.n_samples()))).cast<float>()) {}

bool MixedPreconditioner::factor(const std::vector<Index>& patterns, const Vector& alpha,
                                 const Vector& row_scale, int n_threads, Monitor& monitor) {
  const Index n = problem_.n_samples(), k = alpha.size();
  has_factor_ = false;
  require_memory(sizeof(float) * (static_cast<double>(n) * static_cast<double>(n + k) -
                                  static_cast<double>(L_.size())));
  FloatMatrix masks(n, k);
  Matrix column(n, 1);
  for (Index j = 0; j < k; ++j) {
    column.setConstant(std::sqrt(alpha(j)));
    problem_.apply_mask({patterns[j], +1}, column);
    if (row_scale.size() > 0) column.array() *= row_scale.array();
    masks.col(j) = column.cast<float>();
  }
  L_.resize(n, n);
  const Index n_rows = n_tiles(n);
  watched_for(n_rows * n_rows, n_threads, monitor, [&](Index chunk, const auto&) {
    const Index i = kTile * (chunk % n_rows), j = kTile * (chunk / n_rows);
    if (i < j) return;
    const Index height = std::min(kTile, n - i), width = std::min(kTile, n - j);
    auto tile = L_.block(i, j, height, width);
    tile.noalias() = X_.middleRows(i, height) * X_.middleRows(j, width).transpose();
    tile.array() *=
        (masks.middleRows(i, height) * masks.middleRows(j, width).transpose()).eval().array();
  });
  L_.diagonal().array() += 1.0f;
  has_factor_ = factor_cholesky(L_, {n_threads, &monitor}) < 0;
  return has_factor_;
}

bool MixedPreconditioner::border(const Matrix& B, const Vector& delta, int n_threads,
                                 Monitor& monitor) {
  B_ = B;
  FloatMatrix solved = B.cast<float>();
  solve_many(solved, n_threads, monitor);
  W_ = solved.cast<double>();
  inner_.resize(B.cols(), B.cols());
  transposed_product(B_, W_, 1.0, inner_, n_threads, monitor);
  return set_delta(delta);
}

bool MixedPreconditioner::set_delta(const Vector& delta) {
  Matrix schur = inner_;
  schur.diagonal() += delta;
  if (!schur.allFinite()) return false;
  schur_.compute(schur);
  // A zero pivot is beyond Eigen's estimate.
  return schur.size() == 0 ||
         (schur_.matrixLU().diagonal().cwiseAbs().minCoeff() > 0.0 && schur_.rcond() > kEpsilon);
}

void MixedPreconditioner::apply(ConstVectorRef g1, ConstVectorRef g2, Vector& r, Vector& a) const {
  const double unit = g1.lpNorm<Eigen::Infinity>();
  r.setZero(g1.size());
  if (unit > 0.0) {
    single_ = (g1 / unit).cast<float>();
    L_.triangularView<Eigen::Lower>().solveInPlace(single_);
    L_.triangularView<Eigen::Lower>().transpose().solveInPlace(single_);
    r = unit * single_.cast<double>();
  }
  defect_.noalias() = B_.transpose() * r;
  defect_ -= g2;
  a = schur_.solve(defect_);
  r.noalias() -= W_ * a;
}

// right_sides <- L'^-1 L^-1 right_sides, by panels of rows, each stripe of columns for itself.
void MixedPreconditioner::solve_many(FloatMatrix& right_sides, int n_threads,
                                     Monitor& monitor) const {
  constexpr Index kPanel = 256, kStripe = 64;
  const Index n = L_.rows(), k = right_sides.cols();
  watched_for(
      (k + kStripe - 1) / kStripe, n_threads, monitor, [&](Index stripe, const auto& keep_going) {
        auto x = right_sides.middleCols(stripe * kStripe, std::min(kStripe, k - stripe * kStripe));
        for (Index i = 0; i < n && keep_going(); i += kPanel) {
          const Index height = std::min(kPanel, n - i);
          auto rows = x.middleRows(i, height);
          rows.noalias() -= L_.block(i, 0, height, i) * x.topRows(i);
          L_.block(i, i, height, height).triangularView<Eigen::Lower>().solveInPlace(rows);
        }
        for (Index i = (n - 1) / kPanel * kPanel; i >= 0 && keep_going(); i -= kPanel) {
          const Index height = std::min(kPanel, n - i), below = n - i - height;
          auto rows = x.middleRows(i, height);
          rows.noalias() -=
              L_.block(i + height, i, below, height).transpose() * x.bottomRows(below);
          L_.block(i, i, height, height)
              .triangularView<Eigen::Lower>()
              .transpose()
              .solveInPlace(rows);
        }
      });
}

}  // namespace kkt
}  // namespace convexrelu
