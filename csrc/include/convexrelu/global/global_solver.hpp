// Solves the training problem over all activation patterns at once (C-ReLU), without a list of them:
//
//   minimise over W, a, of any width:   1/(2n) || sum_j a_j (X W_j)_+ - y ||^2 + lam/2 sum_j (||W_j||^2 + a_j^2)
//
// A network grows from nothing. At its residual r a local search looks for directions with |r'(Xu)_+|/n > lam
// (local_search.hpp); they join as neurons, and Newton's method on the smoothed network moves all. Once
// that is nearly done, the convex program over the patterns of the neurons is solved exactly (solver.hpp), and
// priced again, until nothing violated is found. A network that is optimal over its own patterns and has
// |r'(Xu)_+|/n <= lam for all u in the unit ball is optimal over all patterns; whether it is, branch and bound
// proves (pricing.hpp), or how far from it. docs/theory/global/global_solver.md
#pragma once

#include <cstdint>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/program/network.hpp"
#include "convexrelu/program/solution.hpp"

namespace convexrelu {
inline namespace global {

struct GlobalSolverOptions {
  // Relative gap to the bound over all patterns: proven where the status is optimal; the search ends once
  // the gap is estimated, by the largest price that it finds, to be within half of tol.
  double tol = 1e-4;
  bool certify = true;     // whether to look for that bound
  std::uint64_t seed = 0;  // of the starts of the local search
  int n_threads = 1;
  // relu, over the features of X: where to begin. The answer is never worse than it.
  const Network* warm_start = nullptr;
};

// lam > 0; sample_weight (n) or empty. The solution's problem holds the patterns of its own neurons
// and those that its last program held besides. Its status: optimal (the gap over all patterns is within tol),
// unproven (no pattern was found that promises as much as tol, but the bound is open), stalled (one
// was found that brings next to nothing), time_limit, callback, numerical_failure. global_lower_bound is what is
// proven over all patterns, NaN where nothing is.
//
// Neither the order nor the multiplicity of rows matters, beyond rounding. The bits do not depend on
// n_threads unless time is limited.
Solution solve_global(const Matrix& X, const Vector& y, double lam, const Vector& sample_weight,
                      const GlobalSolverOptions& options, Monitor& monitor);

}  // namespace global
}  // namespace convexrelu
