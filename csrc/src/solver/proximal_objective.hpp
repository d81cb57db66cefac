// The function that a proximal step of the solver minimises over the dual point g (n), for the k blocks of
// a working set at weights w_b (d) and the intercept beta:
//
//   phi(g) = (1/n) sum nu l*(-g/nu) + o'g/n + 1/(2 sigma) sum_b ||p_b||^2 + beta_+^2/(2 sigma_free)
//   p_b = prox_b(w_b + sigma c_b(g)),  prox_b(x) = (1 - sigma lam / ||q||)_+ q,  q = Proj_{K_b} x
//   beta_+ = beta + sigma_free U'g/n,       n grad phi = sum_b A_b p_b + U beta_+ - u(g)
//
// along g = g(u): Newton's method in u is at home where the domain of g is an interval, of which l* makes it
// creep along the ends (loss.hpp; for the squared loss u = y - g, and it is all one). Where the loss is flat, l is
// replaced by l + (u - u_0)^2/(2 tau), u_0 the fit at the weights: another proximal term.
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
  double intercept = 0.0;   // beyond that of the base

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
  struct Steps {
    double sigma, sigma_free;
    double tau = kInfinity;
  };

  // phi at a point and what it takes to go on from there.
  struct Point {
    double value;
    Vector gradient;   // n times that of phi
    Matrix prox;       // (d, k) p_b
    Matrix direction;  // (d, k) unit, for active blocks
    Vector shrink;     // (k) sigma lam / ||q||, 1 for blocks at zero
    double intercept;  // beta_+
  };

  ProximalObjective(const ScaledProblem& problem, double lam, int n_threads, Monitor& monitor)
      : problem_(problem),
        lam_(lam),
        n_threads_(n_threads),
        monitor_(monitor),
        projector_(problem),
        q_(problem.n_features()) {}

  // The step is to be taken from `set`, which must outlive it; u_0 is its fit, read where tau is finite.
  void start(WorkingSet& set, const Steps& steps, Vector fit) {
    set_ = &set;
    steps_ = steps;
    fit_ = std::move(fit);
    patterns_ = set.patterns();
  }

  // Leaves the faces of the projections in the working set.
  void evaluate(const FitPoint& x, Point& at) {
    const double n = static_cast<double>(problem_.n_samples());
    const double sigma = steps_.sigma;
    const Index k = set_->size();
    const bool smoothed = steps_.tau < kInfinity;
    if (smoothed) g_ = x.g - (x.u - fit_) / steps_.tau;
    const Vector& g = smoothed ? g_ : x.g;
    c_.resize(problem_.n_features(), k);
    problem_.products().correlate(g, patterns_, c_, n_threads_, &monitor_);
    at.prox.setZero(c_.rows(), k);
    at.direction.setZero(c_.rows(), k);
    at.shrink.setOnes(k);
    at.value = problem_.loss().conjugate(x);
    if (smoothed) at.value += (x.u - fit_).dot(x.u + fit_) / (2.0 * steps_.tau * n);
    for (Index j = 0; j < k; ++j) {
      monitor_.check();
      const Block block = set_->blocks[static_cast<std::size_t>(j)];
      auto v = c_.col(j);
      v = set_->weights.col(j) + (sigma * block.sign / n) * v;
      if (v.norm() <= sigma * lam_) continue;
      const double norm =
          projector_.project(block, v, set_->faces[static_cast<std::size_t>(j)], q_);
      if (norm <= sigma * lam_) continue;
      at.shrink(j) = sigma * lam_ / norm;
      at.direction.col(j) = q_ / norm;
      at.prox.col(j) = (1.0 - at.shrink(j)) * q_;
      at.value += at.prox.col(j).squaredNorm() / (2.0 * sigma);
    }
    c_ = at.prox;
    for (Index j = 0; j < k; ++j) c_.col(j) *= set_->blocks[static_cast<std::size_t>(j)].sign;
    at.gradient.resize(g.size());
    problem_.products().forward(patterns_, c_, at.gradient, n_threads_, &monitor_);
    at.intercept = set_->intercept;
    if (problem_.has_intercept()) {
      const Vector& column = problem_.free_column();
      at.intercept += steps_.sigma_free * column.dot(g) / n;
      at.value += at.intercept * at.intercept / (2.0 * steps_.sigma_free);
      at.gradient += at.intercept * column;
    }
    at.gradient -= x.u;
  }

 private:
  const ScaledProblem& problem_;
  const double lam_;
  const int n_threads_;
  Monitor& monitor_;
  BlockProjector projector_;
  WorkingSet* set_ = nullptr;
  Steps steps_{1.0, 1.0};
  Vector fit_, g_;
  std::vector<Index> patterns_;
  Matrix c_;  // (d, k)
  Vector q_;
};

}  // namespace solver
}  // namespace convexrelu
