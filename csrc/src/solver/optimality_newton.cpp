#include "solver/optimality_newton.hpp"

#include <algorithm>
#include <cmath>

namespace convexrelu {
inline namespace solver {

OptimalityNewton::OptimalityNewton(const ScaledProblem& problem, double lam, int n_threads,
                                   Monitor& monitor)
    : problem_(problem),
      lam_(lam),
      n_threads_(n_threads),
      monitor_(monitor),
      projector_(problem),
      g_size_(problem.y().norm()),
      q_(problem.n_features()) {}

void OptimalityNewton::start(const WorkingSet& set, const FitPoint& point, bool all) {
  point_ = point;
  alpha_.clear();
  set_.blocks.clear();
  set_.faces.clear();
  set_.intercept = set.intercept;
  for (Index j = 0; j < set.size(); ++j) {
    const double norm = set.weights.col(j).norm();
    if (norm == 0.0 && !all) continue;
    set_.blocks.push_back(set.blocks[j]);
    set_.faces.push_back(set.faces[j]);
    alpha_.push_back(norm / lam_);
  }
}

double OptimalityNewton::evaluate() {
  const double n = static_cast<double>(problem_.n_samples());
  const Index k = set_.size(), n_free = problem_.has_intercept() ? 1 : 0;
  patterns_.clear();
  for (const Block& block : set_.blocks) patterns_.push_back(block.pattern);
  c_.resize(problem_.n_features(), k);
  problem_.products().correlate(point_.g, patterns_, c_, n_threads_, &monitor_);
  directions_.resize(c_.rows(), k);
  set_.weights.resize(c_.rows(), k);
  norms_.resize(k);
  f2_.resize(k + n_free);
  for (Index j = 0; j < k; ++j) {
    monitor_.check();
    const Block block = set_.blocks[j];
    auto c = c_.col(j);
    c *= block.sign / n;
    norms_(j) = projector_.project(block, c, set_.faces[j], q_);
    if (!(norms_(j) > 0.0)) return kInfinity;
    directions_.col(j) = q_ / norms_(j);
    set_.weights.col(j) = alpha_[j] * q_;
    f2_(j) = n * (lam_ - norms_(j));
    c = block.sign * set_.weights.col(j);
  }
  f1_.resize(point_.u.size());
  problem_.products().forward(patterns_, c_, f1_, n_threads_, &monitor_);
  if (n_free > 0) f1_ += set_.intercept * problem_.free_column();
  f1_ = point_.u - f1_;
  double size =
      std::max(fit_error(), k > 0 ? f2_.head(k).lpNorm<Eigen::Infinity>() / (n * lam_) : 0.0);
  if (n_free > 0) {
    f2_(k) = -problem_.free_column().dot(point_.g);
    size = std::max(size, share(std::abs(f2_(k)) / problem_.free_column().norm(), g_size_));
  }
  return size;
}

const std::vector<KktSystem::Member>& OptimalityNewton::members(double delta) {
  members_.clear();
  for (Index j = 0; j < set_.size(); ++j) {
    members_.push_back(
        {set_.blocks[j], alpha_[j], delta, directions_.col(j).data(), &set_.faces[j]});
  }
  return members_;
}

bool OptimalityNewton::step(const KktSystem& system, double accuracy) {
  const Loss& loss = problem_.loss();
  dg_.resize(point_.g.size());
  dalpha_.resize(f2_.size());
  if (loss.is_squared()) {
    system.solve(f1_, f2_, dg_, dalpha_, accuracy, monitor_);
  } else {
    const Vector& scale = system.row_scale();
    du_.resize(dg_.size());
    image_.resize(f2_.size());
    dalpha_.setZero();
    system.image(h_, dalpha_, du_, image_, monitor_);
    right_ = scale.cwiseProduct(f1_ - du_);
    f2_ -= image_;
    system.solve(right_, f2_, dg_, dalpha_, accuracy, monitor_);
    dg_ = h_ + scale.cwiseProduct(dg_);
    system.image(dg_, dalpha_, du_, image_, monitor_);
    du_ -= f1_;
    if (!du_.allFinite()) return false;
  }
  if (!dg_.allFinite() || !dalpha_.allFinite()) return false;
  if (loss.is_squared()) {
    loss.step(point_, 1.0, du_, dg_, point_);
  } else {
    point_.u += du_;
    point_.g += dg_;
  }
  for (Index j = 0; j < set_.size(); ++j) {
    alpha_[j] += dalpha_(j) / norms_(j);
  }
  if (problem_.has_intercept()) set_.intercept += dalpha_(set_.size());
  return true;
}

bool OptimalityNewton::drop_negative() {
  std::size_t kept = 0;
  for (std::size_t j = 0; j < alpha_.size(); ++j) {
    if (!(alpha_[j] > 0.0)) continue;
    if (kept < j) {
      alpha_[kept] = alpha_[j];
      set_.blocks[kept] = set_.blocks[j];
      std::swap(set_.faces[kept], set_.faces[j]);
    }
    ++kept;
  }
  const bool any = kept < alpha_.size();
  alpha_.resize(kept);
  set_.blocks.resize(kept);
  set_.faces.resize(kept);
  return any;
}

double OptimalityNewton::fit_error() {
  const Loss& loss = problem_.loss();
  if (loss.is_squared()) return share(f1_.norm(), g_size_);
  loss.move_to(point_.u, on_graph_);
  h_ = on_graph_.g - point_.g;
  loss.curvature(point_.u, row_scale_);
  row_scale_ = row_scale_.cwiseSqrt();
  const double size = std::max(row_scale_.cwiseProduct(point_.u).norm(), row_scale_.norm());
  return std::max(share(row_scale_.cwiseProduct(f1_).norm(), size), share(h_.norm(), g_size_));
}

}  // namespace solver
}  // namespace convexrelu
