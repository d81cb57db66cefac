// Newton's method on the optimality conditions over the k blocks of a working set, in (r, alpha):
//
//   g1 = y - r - sum_b alpha_b A_b q_b(r) = 0  (n),    g2_b = n (lam - ||q_b(r)||) = 0  (k),    w_b = alpha_b q_b(r)
//
// A step costs two products with the working set, k projections and a solution with the KKT system. It
// allocates nothing once one of the same size was made; only factoring the system does.
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
        q_(problem.n_features()) {}

  // The point: r, and the blocks of `set` that are not zero, or all, with alpha_b = ||w_b|| / lam.
  void start(const WorkingSet& set, const Vector& r, bool all) {
    r_ = r;
    alpha_.clear();
    set_.blocks.clear();
    set_.faces.clear();
    for (Index j = 0; j < set.size(); ++j) {
      const double norm = set.weights.col(j).norm();
      if (norm == 0.0 && !all) continue;
      set_.blocks.push_back(set.blocks[static_cast<std::size_t>(j)]);
      set_.faces.push_back(set.faces[static_cast<std::size_t>(j)]);
      alpha_.push_back(norm / lam_);
    }
  }

  // The conditions at the point, and its weights. max(||g1|| / ||y||, |g2_b| / (n lam)), or infinity if some
  // q_b is zero.
  double evaluate() {
    const double n = static_cast<double>(problem_.n_samples());
    const Index k = set_.size();
    patterns_.clear();
    for (const Block& block : set_.blocks) patterns_.push_back(block.pattern);
    c_.resize(problem_.n_features(), k);
    problem_.products().correlate(r_, patterns_, c_, n_threads_, &monitor_);
    directions_.resize(c_.rows(), k);
    set_.weights.resize(c_.rows(), k);
    norms_.resize(k);
    g2_.resize(k);
    for (Index j = 0; j < k; ++j) {
      monitor_.check();
      const Block block = set_.blocks[static_cast<std::size_t>(j)];
      auto c = c_.col(j);
      c *= block.sign / n;
      norms_(j) = projector_.project(block, c, set_.faces[static_cast<std::size_t>(j)], q_);
      if (!(norms_(j) > 0.0)) return kInfinity;
      directions_.col(j) = q_ / norms_(j);
      set_.weights.col(j) = alpha_[static_cast<std::size_t>(j)] * q_;
      g2_(j) = n * (lam_ - norms_(j));
      c = block.sign * set_.weights.col(j);
    }
    g1_.resize(r_.size());
    problem_.products().forward(patterns_, c_, g1_, n_threads_, &monitor_);
    g1_ = problem_.y() - r_ - g1_;
    const double y_norm = problem_.y().norm();
    return std::max(y_norm > 0.0 ? g1_.norm() / y_norm : 0.0,
                    k > 0 ? g2_.lpNorm<Eigen::Infinity>() / (n * lam_) : 0.0);
  }

  // The active set at the point that was last evaluated; its system is Newton's with this delta = 0.
  const std::vector<KktSystem::Member>& members(double delta) {
    members_.clear();
    for (Index j = 0; j < set_.size(); ++j) {
      members_.push_back({set_.blocks[static_cast<std::size_t>(j)],
                          alpha_[static_cast<std::size_t>(j)], delta, directions_.col(j).data(),
                          &set_.faces[static_cast<std::size_t>(j)]});
    }
    return members_;
  }

  // Steps from there, with a system that was factored there or close by. False, and no step, where it would
  // not be finite.
  bool step(const KktSystem& system, double accuracy) {
    dr_.resize(r_.size());
    dalpha_.resize(set_.size());
    system.solve(g1_, g2_, dr_, dalpha_, accuracy, monitor_);
    if (!dr_.allFinite() || !dalpha_.allFinite()) return false;
    r_ += dr_;
    for (Index j = 0; j < set_.size(); ++j) {
      alpha_[static_cast<std::size_t>(j)] += dalpha_(j) / norms_(j);
    }
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
  const Vector& r() const { return r_; }

 private:
  const ScaledProblem& problem_;
  const double lam_;
  const int n_threads_;
  Monitor& monitor_;
  BlockProjector projector_;
  WorkingSet set_;
  std::vector<double> alpha_;
  Vector r_;
  Vector g1_, g2_, norms_, dr_, dalpha_, q_;
  Matrix c_, directions_;  // (d, k)
  std::vector<Index> patterns_;
  std::vector<KktSystem::Member> members_;
};

}  // namespace solver
}  // namespace convexrelu
