// The function that a proximal step of the solver minimises over the residual r (n), for the k blocks of
// a working set at weights w_b (d):
//
//   phi(r) = ||r||^2/(2n) - y'r/n + 1/(2 sigma) sum_b ||p_b||^2,     p_b = prox_b(w_b + sigma c_b(r)),
//   prox_b(x) = (1 - sigma lam / ||q||)_+ q,  q = Proj_{K_b} x,      n grad phi(r) = r - y + sum_b A_b p_b
//
// An evaluation costs two products with the working set and k projections. It allocates nothing once
// one of the same size was made.
#pragma once

#include <algorithm>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/program/problem.hpp"

namespace convexrelu {
inline namespace solver {

// The working set and the present point: the blocks outside are zero.
struct WorkingSet {
  std::vector<Block> blocks;
  Matrix weights;           // (d, k)
  std::vector<Face> faces;  // of the last projection of each block

  Index size() const { return static_cast<Index>(blocks.size()); }
  bool holds(Block block) const {
    return std::find(blocks.begin(), blocks.end(), block) != blocks.end();
  }
  std::vector<Index> patterns() const {
    std::vector<Index> result;
    result.reserve(blocks.size());
    for (const Block& b : blocks) result.push_back(b.pattern);
    return result;
  }
};

class ProximalObjective {
 public:
  // phi at r and what it takes to go on from there.
  struct Point {
    double value;
    Vector gradient;   // n times that of phi
    Matrix prox;       // (d, k) p_b
    Matrix direction;  // (d, k) unit, for active blocks
    Vector shrink;     // (k) sigma lam / ||q||, 1 for blocks at zero
  };

  ProximalObjective(const ScaledProblem& problem, double lam, int n_threads, Monitor& monitor)
      : problem_(problem),
        lam_(lam),
        n_threads_(n_threads),
        monitor_(monitor),
        projector_(problem),
        q_(problem.n_features()) {}

  // The step is to be taken from `set`, which must outlive it.
  void start(WorkingSet& set, double sigma) {
    set_ = &set;
    sigma_ = sigma;
    patterns_ = set.patterns();
  }

  // Leaves the faces of the projections in the working set.
  void evaluate(const Vector& r, Point& at) {
    const double n = static_cast<double>(problem_.n_samples());
    const Index k = set_->size();
    c_.resize(problem_.n_features(), k);
    problem_.products().correlate(r, patterns_, c_, n_threads_, &monitor_);
    at.prox.setZero(c_.rows(), k);
    at.direction.setZero(c_.rows(), k);
    at.shrink.setOnes(k);
    at.value = r.squaredNorm() / (2.0 * n) - problem_.y().dot(r) / n;
    for (Index j = 0; j < k; ++j) {
      monitor_.check();
      const Block block = set_->blocks[static_cast<std::size_t>(j)];
      auto x = c_.col(j);
      x = set_->weights.col(j) + (sigma_ * block.sign / n) * x;
      if (x.norm() <= sigma_ * lam_) continue;
      const double norm =
          projector_.project(block, x, set_->faces[static_cast<std::size_t>(j)], q_);
      if (norm <= sigma_ * lam_) continue;
      at.shrink(j) = sigma_ * lam_ / norm;
      at.direction.col(j) = q_ / norm;
      at.prox.col(j) = (1.0 - at.shrink(j)) * q_;
      at.value += at.prox.col(j).squaredNorm() / (2.0 * sigma_);
    }
    c_ = at.prox;
    for (Index j = 0; j < k; ++j) c_.col(j) *= set_->blocks[static_cast<std::size_t>(j)].sign;
    at.gradient.resize(r.size());
    problem_.products().forward(patterns_, c_, at.gradient, n_threads_, &monitor_);
    at.gradient += r - problem_.y();
  }

 private:
  const ScaledProblem& problem_;
  const double lam_;
  const int n_threads_;
  Monitor& monitor_;
  BlockProjector projector_;
  WorkingSet* set_ = nullptr;
  double sigma_ = 1.0;
  std::vector<Index> patterns_;
  Matrix c_;  // (d, k)
  Vector q_;
};

}  // namespace solver
}  // namespace convexrelu
