// The optimum over given blocks to a few digits, from nowhere: a primal-dual interior point method.
//
// For the k blocks b of a list, in cones K_b = {u : sigma_l n_l.u >= 0 for all l} (cone.hpp), with s_b and
// rho_b (h) the slacks and multipliers of their rows and (t_b, w_b), (lam, -u_b) a pair in the cone of the norm:
//
//   r + sum_b A_b w_b = y                      A_b' r/n + sum_l rho_bl sigma_l n_l = u_b
//   s_bl = sigma_l n_l.w_b >= 0                s_bl rho_bl = mu,  rho_bl >= 0
//   ||w_b|| <= t_b,  ||u_b|| <= lam            (t_b, w_b) o (lam, -u_b) = (mu, 0)
//
// is followed to mu = 0 by Mehrotra's predictor and corrector (1992) in the scaling of Nesterov & Todd (1997).
// Neither the number of faces of the cones nor lam matters to it: some 15 to 75 factorisations. What it
// leaves is an interior point, whose blocks are all a little more than zero: proximal steps go on from it.
//
// One iteration: with Z_i = D_i X L_i (n, d), L_i L_i' the sum of the inverse Hessians of the blocks of pattern
// i, the Cholesky factorisation of I + Z Z'/n or of I + Z'Z/n for the p patterns of the list, whichever is
// smaller: n p d min(n, p d) + min(n, p d)^3/3 flops, and k h d^2 for the Hessians of the blocks.
#pragma once

#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/program/problem.hpp"

namespace convexrelu {
inline namespace solver {

struct InteriorPoint {
  Matrix weights;         // (d, k), inside the cones up to the accuracy reached
  Vector r;               // (n) dual point
  long n_iterations = 0;  // factorisations
};

// At most max_iterations of them, until the relative gap over these blocks is about tol, or as far as
// float64 goes. No blocks: r = y. relu problems only.
InteriorPoint find_interior_point(const ScaledProblem& problem, double lam,
                                  const std::vector<Block>& blocks, double tol, long max_iterations,
                                  int n_threads, Monitor& monitor);

// Bytes that it takes.
double interior_point_memory(const ScaledProblem& problem, const std::vector<Block>& blocks);

}  // namespace solver
}  // namespace convexrelu
