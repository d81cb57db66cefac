// The largest ||q_b|| over all activation patterns at once, certified, without a list of them.
//
//   X (n, d)   data, rows x_k of rank rho        r (n)   residual, or any vector
//   F(u)       = r'(Xu)_+ / n, u in R^d;  max over patterns i and signs s of ||q_b|| = max |F| on the unit ball
//
// Branch and bound on the cells of the arrangement {x_k.u = 0} (cell_tree.hpp): on a cone with rays v_j a linear
// function p.u that is at least F(v_j) at every ray, where rows with r_k < 0 that still cut the cone are
// replaced by 0 or r_k x_k.u, bounds F from above, and |p| its maximum on the ball. Cells are exact.
// docs/theory/pricing/pricing.md
//
// With sample weights v hand over r_k v_k n / sum v in place of r_k, and only rows with v_k > 0.
#pragma once

#include <cstdint>
#include <vector>

#include "convexrelu/arrangement/patterns.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace pricing {

struct PricingOptions {
  double tol =
      1e-3;  // relative: what cannot exceed (1 + tol) max(best, threshold) is not looked into
  double threshold = 0.0;        // whether |F| stays below it is all that matters
  double max_cones = kInfinity;  // to look at, roughly: ends as a time limit does, but repeatably
  int n_threads = 1;             // does not change the result, unless time is limited
  Matrix starts;                 // (d, k) directions that may be good, k = 0 for none
  std::uint64_t seed = 0;        // of the random starts of the local search
};

struct Pricing {
  double value = 0.0;        // sign * F(direction), the largest found; 0 at least
  double upper_bound = 0.0;  // >= ||q_b|| for every pattern and sign
  double raw_bound = 0.0;    // what it was before rounding was allowed for: never far below value
  Vector direction;          // (d) unit
  int sign = 1;
  bool is_exact = false;  // upper_bound <= (1 + tol) value, to rounding
  long n_cones = 0;       // that were looked at
};

// Begins with a local search (local_search.hpp). Complete, upper_bound <= (1 + tol) max(value, threshold).
// Stopped by the monitor, which stays stopped, it is the largest bound still open: a valid answer too, only
// weaker. Bounds include what rounding can have taken from them: 1e-9 relative, and at least 1e-12 of
// sum_k |r_k| ||x_k|| / n. Above rank 20, where fewer cones may be looked at than the 2^rank that the search
// begins with, and where these are too large for 500 MB, no cone is looked at: the bound is one formula.
// Throws std::invalid_argument when X or r is not finite or their sizes differ.
Pricing price_patterns(ConstMatrixRef X, ConstVectorRef r, const PricingOptions& options,
                       Monitor& monitor);

// An upper bound on ||q_b|| for every pattern and sign by one formula, without a search: O(n d^2 + d^3).
// Where the monitor stops it, by a weaker one, O(n d).
// Throws as price_patterns does.
double price_bound(ConstMatrixRef X, ConstVectorRef r, Monitor& monitor);

struct PricedCells {
  Patterns patterns;  // of these cells, with gates inside them
  std::vector<Block> blocks;
  std::vector<double> norms;  // ||q_b||
};

// Every block of every cell with ||q_b|| >= threshold > 0. Throws LimitExceeded when there are more
// than max_cells, Stopped when the monitor ends it, std::invalid_argument also above rank 20. Of the
// options only n_threads counts: the list is whole or there is none.
PricedCells cells_above(ConstMatrixRef X, ConstVectorRef r, double threshold, double max_cells,
                        const PricingOptions& options, Monitor& monitor);

}  // namespace pricing
}  // namespace convexrelu
