// Solutions of the convex problem, and the certificate that any vector of weights can be given.
//
//   primal  P(w, beta) = (1/n) sum_k l(f_k) + lam sum_b ||w_b||,   f = o + beta + sum_b A_b w_b
//   dual    D(g) = -(1/n) sum_k l*(-g_k) - o'g/n,  feasible iff ||Proj_{K_b}(A_b'g/n)|| <= lam for all b, g is in
//           the domain of the loss and, with an intercept, sum g = 0; y'g/n - ||g||^2/(2n) for the squared loss
//
// A candidate g is made feasible by putting it into the domain, mending its sum, and a multiple kappa g, kappa <=
// lam / max_b ||q_b(g)||, and is trusted no further: P - D bounds what any other weights over the same
// patterns, and any other intercept, can gain.
#pragma once

#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/program/problem.hpp"

namespace convexrelu {
inline namespace program {

enum class Status {
  optimal,   // the gap is within the tolerance asked for
  max_iter,  // ended early, by the limit named; the certificate says how far it got
  time_limit,
  callback,
  stalled,            // no further progress in float64
  unproven,           // nothing violated was found over all patterns, but the bound is open
  pruned,             // below the minimal number of neurons: not an optimum
  numerical_failure,  // the data exceed the range of float64, and the weights are zero; or a lower bound
                      // exceeds the objective, and nothing is proven
  out_of_memory,  // of a path: it ends where memory did
};

const char* to_string(Status status);

// Rounding aside no lower bound exceeds an objective. One that does by more than this share of it, and more
// than the smallest normal number, is wrong.
inline constexpr double kContradiction = 1e-9;
bool contradicts(double lower_bound, double objective);

// The share of the objective that a lower bound leaves open, in [0, 1]: 0 where both are 0, 1 where the
// objective is infinite or contradicts the bound.
double relative_gap(double objective, double lower_bound);

struct Certificate {
  double primal;
  double dual;  // as it was computed: rounding may leave it above primal
  double gap;   // (primal - dual) / primal; 0 where both are 0
  // max over blocks of ||q_b - lam w_b/||w_b|| || / lam (w_b != 0) and (||q_b|| - lam)+ / lam, q_b at
  // the better dual candidate g, and of ||g - g(f)|| / ||g_0||, g_0 that without the network
  double stationarity;
  // max over active b and rows k of -(C_b w_b)_k / (||x_k|| ||w_b||), at least 0
  double cone_violation;
};

struct Solution {
  Problem problem;
  double lam;
  Status status;
  std::vector<Block> active_set;  // (k) sorted by pattern, + before -
  Matrix weights;                 // (d, k)
  double intercept;               // 0 without one
  Vector fitted;                  // (n) f: fitted_values(), intercept and offset
  Vector residual;                // (n) -l'(f); y - fitted for the squared loss
  Vector dual;                    // (n) dual candidate in the units of the residual
  double objective;
  double lower_bound;  // over the patterns of problem, as it was computed
  double gap;
  long n_iter;                       // factorisations
  double global_lower_bound = kNaN;  // over all patterns, as it was computed; NaN: nothing proven
};

// Throws std::invalid_argument, naming the solution, unless its blocks, weights and dual point fit the problem:
// blocks that it has, finite weights of its features for each, an entry of the dual for each sample; and
// lam is positive.
void require_parts_of(const Problem& problem, const Solution& solution, const char* name);

// Recomputes everything from X, y and the weights; `dual` and -l' at what is fitted are two candidates
// for the dual point, of which the better is reported. Nothing is NaN: what overflows is
// infinite, with a gap of 1. Throws std::invalid_argument for blocks that the problem has not,
// weights that are not finite, lam < 0 and an intercept where the problem has none. Cost 4 n d P and
// projections.
Certificate certify(const Problem& problem, double lam, const std::vector<Block>& active_set,
                    const Matrix& weights, const Vector& dual, int n_threads, Monitor& monitor,
                    double intercept = 0.0);

// Wraps weights as a certified Solution: fills in fitted, residual, objective, bound and gap. A bound that
// contradicts the objective makes the status numerical_failure.
Solution make_solution(const Problem& problem, double lam, Status status,
                       std::vector<Block> active_set, Matrix weights, Vector dual, long n_iter,
                       int n_threads, Monitor& monitor, double intercept = 0.0);

// The same with a lower bound that a scan of all blocks has proven already, where there is no time for
// another; dual need not attain it.
Solution make_bounded_solution(const Problem& problem, double lam, Status status,
                               std::vector<Block> active_set, Matrix weights, Vector dual,
                               long n_iter, double lower_bound, Monitor* monitor = nullptr,
                               double intercept = 0.0);

// f (n) on the problem's own X, in the caller's units: gated, sum_b A_b w_b; relu, what the network predicts, which is
// that as far as w_b is in its cone, and holds beyond rounding of it and at samples of weight 0 too.
Vector fitted_values(const Problem& problem, const std::vector<Block>& active_set,
                     const Matrix& weights, Monitor* monitor = nullptr);

}  // namespace program
}  // namespace convexrelu
