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
  bool holds(Block block) const;
  std::vector<Index> patterns() const;
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

  ProximalObjective(const ScaledProblem& problem, double lam, int n_threads, Monitor& monitor);

  // The step is to be taken from `set`, which must outlive it; u_0 is its fit, read where tau is finite.
  void start(WorkingSet& set, const Steps& steps, Vector fit);

  // Leaves the faces of the projections in the working set.
  void evaluate(const FitPoint& x, Point& at);

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
