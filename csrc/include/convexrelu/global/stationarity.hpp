// What a trained network is worth: how far it is from stationary, and from the global optimum.
//
//   X (n, d), y (n)   data          f(X)   outputs of a network of any width
//
// The network's neurons are a point of the convex program over their own patterns, those of all cells
// around a neuron whose kinks lie on samples included. Every descent direction of the network problem that
// does not grow a neuron from nothing is one of that program, so the network is stationary iff it is
// optimal there (Wang, Lacotte & Pilanci 2022; Mishkin & Pilanci 2023, section 4), and the gap of
// the program measures how far it is. Over all patterns the residual of that optimum, made feasible
// by pricing, bounds what any network of any width can reach. docs/theory/global/stationarity.md
#pragma once

#include <cstdint>
#include <vector>

#include "convexrelu/arrangement/patterns.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/program/network.hpp"
#include "convexrelu/program/problem.hpp"
#include "convexrelu/program/solution.hpp"

namespace convexrelu {
inline namespace global {

// A kink lies on x_k where |x_k.W_j| <= this times ||x_k|| ||W_j||.
inline constexpr double kKinkTolerance = 1e-9;

// Cells around the neurons of a network that check_network looks at, and fewer for more than a thousand
// samples, in proportion: then it takes some seconds (2.7 at n = 100, 5 at n = 500, d = 6).
inline constexpr double kMaxSides = 20000;

struct OwnPatterns {
  Patterns patterns;
  bool has_all_sides;  // false: some neuron is surrounded by too many cells
};

// The patterns of the neurons (gated: of their gates). A neuron with kinks on samples lies on the
// hyperplanes of these, and all cells around it count, in sets of hyperplanes that depend on one another:
// what descends across several sets descends across one (docs/theory/global/stationarity.md). Where they are
// more than kMaxSides together, those across single kinks. Without repetitions; neurons that are zero
// on all samples have none.
OwnPatterns own_patterns(const Network& network, ConstMatrixRef X, double kink_tol,
                         Monitor& monitor);

struct NetworkReport {
  double objective;    // of the network as it is
  bool has_all_sides;  // of the patterns: where not, a gap of 0 is no proof that it is stationary
  Network merged;      // balanced and merged: the same function, at a lower penalty
  // The network in the program over its own patterns: its neurons of one block as their sum. Its
  // status is optimal where its gap is at most tol, and max_iter elsewhere.
  Solution own;
  Solution best;  // the optimum of that program
};

// Throws std::invalid_argument where shapes differ or an objective exceeds the range of float64.
// Costs a solve. Stopped by the monitor it says what is proven by then: the point and its objective are there
// in any case, with lower bounds of zero if need be, and kinks may have been left out of the patterns.
NetworkReport check_network(const Network& network, const Matrix& X, const Vector& y, double lam,
                            const Vector& sample_weight, double tol, double kink_tol, int n_threads,
                            Monitor& monitor);

// With the bound over all patterns that the solution's dual point gives, the larger of its maximum
// over all patterns and lam known to the relative tol; as far as the monitor lets it go, a weaker one.
// No relu network of any width has a lower objective. Gated: as it is.
Solution bound_globally(Solution solution, double tol, std::uint64_t seed, int n_threads,
                        Monitor& monitor);

// Networks from the given one to the optimum of the program over its own patterns and more (those
// of an optimum over all patterns, say), whose objectives do not rise: as it is; balanced; merged in
// blocks; then n_steps points on the straight line between the weights, along which the convex
// objective falls (Kim, Mishkin & Pilanci 2025, section 3, draw such paths). Stopped by the monitor, it
// ends at the best point that was found.
std::vector<Network> descent_path(const Network& network, const Matrix& X, const Vector& y,
                                  double lam, const Vector& sample_weight, const Patterns& more,
                                  Index n_steps, int n_threads, Monitor& monitor);

}  // namespace global
}  // namespace convexrelu
