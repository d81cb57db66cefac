// Solves the convex problem at one lam, both formulations.
//
// Outside, a working set of blocks; inside, second order. The dual of the problem is a
// strongly concave maximisation over the residual r. A proximal step around the present weights w,
//
//   minimise over r  phi(r) = ||r||^2/(2n) - y'r/n + 1/(2 sigma) sum_b || prox_b(w_b + sigma c_b(r)) ||^2,
//   w_b <- prox_b(w_b + sigma c_b(r)),   prox_b(x) = (1 - sigma lam / ||Proj_{K_b} x||)_+ Proj_{K_b} x,
//
// smooths it: phi is convex and once differentiable with piecewise smooth gradient, so Newton's
// method with a line search converges from anywhere, and cone faces and zero blocks are whatever the
// projection says they are. sigma grows, and the steps converge faster than linearly (Rockafellar
// 1976; Li, Sun & Toh 2018 for the lasso). Far from the optimum, where faces change with every step, an
// interior point method goes ahead. Once blocks and faces have settled, Newton's method
// on the optimality conditions themselves, in (r, alpha), finishes to rounding.
#pragma once

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/program/problem.hpp"
#include "convexrelu/program/solution.hpp"

namespace convexrelu {
inline namespace solver {

struct SolveOptions {
  double tol = 1e-8;       // relative gap
  bool polished = true;    // go on to rounding; false: end within tol
  long max_iter = 100000;  // factorisations
  int n_threads = 1;
  // Of a problem with the same patterns, at any lam: where to start, if that is better than zero.
  const Solution* warm_start = nullptr;
};

// lam > 0. Never throws for numerical reasons: the status and the certificate say how far it got.
Solution solve(const Problem& problem, double lam, const SolveOptions& options, Monitor& monitor);

}  // namespace solver
}  // namespace convexrelu
