// Which columns of a matrix are independent.
#pragma once

#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

// Column-pivoted QR factorisation of A (m, n) (Businger & Golub 1965), as far as needed: every pivot is the
// column of which those before leave most, the first of several, and is moved next to them. It ends where
// that is at most tolerance times what the first one had, and after so many. O(m n) for each.
struct PivotedQr {
  std::vector<Index> order;  // (n) of the columns
  Index rank;                // how many pivots there are: the first of them
  double left = 0.0;         // what they leave at most of any other column, but for `most` of them
};

// Leaves R in the first `rank` rows of A, its columns in that order.
PivotedQr factor_pivoted_qr(Matrix& A, double tolerance, Index most, Monitor* monitor);

// The pivots alone.
std::vector<Index> pivots(Matrix A, double tolerance, Index most, Monitor* monitor);

// x (n) with the least 1/2 ||A x - b||^2 + slope sum x, A (m, n): of the columns that depend on others, to
// rounding, one of several takes part. O(m n min(m, n))
Vector least_squares(const Matrix& A, const Vector& b, Monitor* monitor, double slope = 0.0);

}  // namespace numeric
}  // namespace convexrelu
