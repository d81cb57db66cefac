// All activation patterns of a data set, found without linear programs, and random cells.
//
//   X (n, d)   data, rows x_k of rank r
//   cell       a full-dimensional cone of R^d minus the hyperplanes x_k.u = 0; its pattern has
//              bit k = 1[x_k.u > 0], and 1 where x_k = 0
//
// Every vector is in the closure of a cell, so the closed cones of these patterns hold every
// ReLU neuron (docs/theory/arrangement/cell_tree.md). Ties, duplicates, rank loss and zero rows are right,
// up to a tolerance: in coordinates in which r of the hyperplanes are those of the axes and the largest
// coefficient of every other is 1, cells thinner than tol may be missed.
#pragma once

#include <cstdint>

#include "convexrelu/arrangement/patterns.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace arrangement {

// Up to this tol the patterns count as complete: what is missed then is within the tolerance by which
// hyperplanes and ranks are told apart (hyperplanes.hpp).
inline constexpr double kCompleteTolerance = 1e-11;

struct EnumerationOptions {
  double max_patterns = 1e7;
  double tol = 1e-12;
  int n_threads = 1;
};

// The patterns of all cells, in depth-first order: first those on the positive side of
// one sample's hyperplane, then, in the same order, their mirror images (all bits of non-zero rows
// complemented). The result is complete for X where tol <= kCompleteTolerance; its gates, when asked for,
// are interior points found by a second walk. Time O(P) for given r and n / 64, up to logarithms; memory beyond the answer
// one cone per level of the tree and thread.
// Throws LimitExceeded when there are more than max_patterns patterns or the rank is above 62 (2^r patterns
// at least), std::bad_alloc when they do not fit the memory, std::invalid_argument when X is not finite or has no rows or columns.
Patterns enumerate_patterns(ConstMatrixRef X, const EnumerationOptions& options, Monitor& monitor);

// Gates (d, n_gates) of cells that are nearly uniform over the vertices of the arrangement: a
// ray on which r - 1 random hyperplanes meet, moved into one of the cells around it by
// random signs on these. A Gaussian gate finds a cell by its solid angle, which leaves narrow cells
// out. Empty if X is zero. The same seed gives the same gates on every machine, up to rounding.
Matrix sample_ray_gates(ConstMatrixRef X, Index n_gates, std::uint64_t seed, Monitor& monitor);

}  // namespace arrangement
}  // namespace convexrelu
