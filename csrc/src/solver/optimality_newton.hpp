// Newton's method on the optimality conditions over the k blocks of a working set, in (u, g, alpha, beta):
//
//   f1 = u - U beta - sum_b alpha_b A_b q_b(g) = 0  (n),     h = g(u) - g = 0  (n),
//   f2_b = n (lam - ||q_b(g)||) = 0  (k),   -U'g = 0,        w_b = alpha_b q_b(g)
//
// g is a variable of its own, for g(u) loses its digits where lam is small. With J that of the KKT system at
// S^2 = L(u) and delta = 0, and N, B as there, a step is
//
//   J (x; da, dbeta) = (S (f1 - N h); (f2, -U'g) - B'h),   dg = h + S x,   du = N dg + B (da, dbeta) - f1,
//   dalpha_b = da_b/||q_b||
//
// For the squared loss h = 0 and S = I, and g alone says where u is. A step costs two products with the working
// set (else four more), k projections and a solution with the KKT system. It allocates nothing once one of the
// same size was made; only factoring the system does.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/kkt/kkt_system.hpp"
#include "convexrelu/program/problem.hpp"
#include "solver/proximal_objective.hpp"

namespace convexrelu {
inline namespace solver {

class OptimalityNewton {
 public:
  OptimalityNewton(const ScaledProblem& problem, double lam, int n_threads, Monitor& monitor)
      : problem_(problem),
        lam_(lam),
        n_threads_(n_threads),
        monitor_(monitor),
        projector_(problem),
        g_size_(problem.y().norm()),
        q_(problem.n_features()) {}

  // The point: u and g, and the blocks of `set` that are not zero, or all, with alpha_b = ||w_b|| / lam.
  void start(const WorkingSet& set, const FitPoint& point, bool all) {
    point_ = point;
    alpha_.clear();
    set_.blocks.clear();
    set_.faces.clear();
    set_.intercept = set.intercept;
    for (Index j = 0; j < set.size(); ++j) {
      const double norm = set.weights.col(j).norm();
      if (norm == 0.0 && !all) continue;
      set_.blocks.push_back(set.blocks[static_cast<std::size_t>(j)]);
      set_.faces.push_back(set.faces[static_cast<std::size_t>(j)]);
      alpha_.push_back(norm / lam_);
    }
  }

  // The conditions at the point, and its weights. The largest of ||S f1|| / ||S u|| (squared: / ||y||), ||h||
  // and |U'g| / ||U|| over ||g_0||, |f2_b| / (n lam), or infinity if some q_b is zero.
  double evaluate() {
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
      const Block block = set_.blocks[static_cast<std::size_t>(j)];
      auto c = c_.col(j);
      c *= block.sign / n;
      norms_(j) = projector_.project(block, c, set_.faces[static_cast<std::size_t>(j)], q_);
      if (!(norms_(j) > 0.0)) return kInfinity;
      directions_.col(j) = q_ / norms_(j);
      set_.weights.col(j) = alpha_[static_cast<std::size_t>(j)] * q_;
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

  // The active set at the point that was last evaluated; its system, with S, is Newton's with this delta = 0.
  const std::vector<KktSystem::Member>& members(double delta) {
    members_.clear();
    for (Index j = 0; j < set_.size(); ++j) {
      members_.push_back({set_.blocks[static_cast<std::size_t>(j)],
                          alpha_[static_cast<std::size_t>(j)], delta, directions_.col(j).data(),
                          &set_.faces[static_cast<std::size_t>(j)]});
    }
    return members_;
  }
  const Vector& row_scale() const { return row_scale_; }

  // Steps from there, with a system that was factored there or close by. False, and no step, where it would
  // not be finite.
  bool step(const KktSystem& system, double accuracy) {
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
      alpha_[static_cast<std::size_t>(j)] += dalpha_(j) / norms_(j);
    }
    if (problem_.has_intercept()) set_.intercept += dalpha_(set_.size());
    return true;
  }

  // Leaves out the blocks with alpha_b <= 0; whether there were any.
  bool drop_negative() {
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

  const WorkingSet& set() const { return set_; }  // with the weights of the last evaluation
  const FitPoint& point() const { return point_; }

 private:
  static double share(double part, double whole) { return whole > 0.0 ? part / whole : 0.0; }

  // Of f1 and h, and S.
  double fit_error() {
    const Loss& loss = problem_.loss();
    if (loss.is_squared()) return share(f1_.norm(), g_size_);
    loss.move_to(point_.u, on_graph_);
    h_ = on_graph_.g - point_.g;
    loss.curvature(point_.u, row_scale_);
    row_scale_ = row_scale_.cwiseSqrt();
    const double size = std::max(row_scale_.cwiseProduct(point_.u).norm(), row_scale_.norm());
    return std::max(share(row_scale_.cwiseProduct(f1_).norm(), size), share(h_.norm(), g_size_));
  }

  const ScaledProblem& problem_;
  const double lam_;
  const int n_threads_;
  Monitor& monitor_;
  BlockProjector projector_;
  const double g_size_;  // ||g_0||
  WorkingSet set_;
  std::vector<double> alpha_;
  FitPoint point_, on_graph_;
  Vector f1_, f2_, h_, row_scale_, norms_, q_;
  Vector du_, dg_, dalpha_, image_, right_;
  Matrix c_, directions_;  // (d, k)
  std::vector<Index> patterns_;
  std::vector<KktSystem::Member> members_;
};

}  // namespace solver
}  // namespace convexrelu
