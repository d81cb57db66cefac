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

#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/kkt/kkt_system.hpp"
#include "convexrelu/program/problem.hpp"
#include "solver/proximal_objective.hpp"

namespace convexrelu {
inline namespace solver {

class OptimalityNewton {
 public:
  OptimalityNewton(const ScaledProblem& problem, double lam, int n_threads, Monitor& monitor);

  // The point: u and g, and the blocks of `set` that are not zero, or all, with alpha_b = ||w_b|| / lam.
  void start(const WorkingSet& set, const FitPoint& point, bool all);

  // The conditions at the point, and its weights. The largest of ||S f1|| / ||S u|| (squared: / ||y||), ||h||
  // and |U'g| / ||U|| over ||g_0||, |f2_b| / (n lam), or infinity if some q_b is zero.
  double evaluate();

  // The active set at the point that was last evaluated; its system, with S, is Newton's with this delta = 0.
  const std::vector<KktSystem::Member>& members(double delta);
  const Vector& row_scale() const { return row_scale_; }

  // Steps from there, with a system that was factored there or close by. False, and no step, where it would
  // not be finite.
  bool step(const KktSystem& system, double accuracy);

  // Leaves out the blocks with alpha_b <= 0; whether there were any.
  bool drop_negative();

  const WorkingSet& set() const { return set_; }  // with the weights of the last evaluation
  const FitPoint& point() const { return point_; }

 private:
  static double share(double part, double whole) { return whole > 0.0 ? part / whole : 0.0; }

  // Of f1 and h, and S.
  double fit_error();

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
