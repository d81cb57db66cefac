// The blocks that can be active at an optimum, E = {b : ||q_b|| = lam}, and an optimum that is known
// accurately enough to tell.
#pragma once

#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/optimal_set/options.hpp"
#include "convexrelu/program/solution.hpp"

namespace convexrelu {
inline namespace optimal_set {

// Active blocks are looked for down to lam times 1 minus this.
inline constexpr double kNearby = 1e-3;

struct Equicorrelation {
  Vector r;  // at which it is taken
  std::vector<Block> blocks;
  std::vector<double> misses;  // of each: lam - ||q_b||, relative to lam
  double tol;                  // with which it is taken
  double accuracy;  // how far the solution is from stationary there, relative to lam and ||y||
};

struct Optimum {
  Solution solution;
  Equicorrelation active;
};

// The solution, or what it becomes when it is solved further. Throws AccuracyError where that is not enough.
Optimum accurate_optimum(const Solution& solution, const OptimalSetOptions& options,
                         Monitor& monitor);

}  // namespace optimal_set
}  // namespace convexrelu
