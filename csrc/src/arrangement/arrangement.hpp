// The arrangement of the hyperplanes x_k.u = 0 in coordinates in which it can be walked through: one
// hyperplane for all rows that share it, r = rank X of the columns, powers of two taken out of rows and
// columns.
#pragma once

#include <vector>

#include "arrangement/root_cones.hpp"
#include "convexrelu/arrangement/hyperplanes.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace arrangement {

// The arrangement of X in coordinates of its own: pivot columns, scaled by powers of two.
struct Arrangement {
  Hyperplanes planes;
  std::vector<Index> columns;  // r of them span the column space
  std::vector<int> column_exponents;
  RootCones
      roots;  // rows: one sample of each hyperplane, in these columns; none beyond the largest rank

  int rank() const { return static_cast<int>(columns.size()); }

  // Coordinates (r, p) to gates (d, p) of unit length.
  Matrix expand(const Matrix& points, Index n_features) const;
};

// Ranks above max_rank are known to be so, and where `counted` exactly; there is no more to them.
Arrangement arrange(ConstMatrixRef X, Index max_rank, bool counted, Monitor* monitor);

}  // namespace arrangement
}  // namespace convexrelu
