// The distinct hyperplanes {u : x_k.u = 0} of the rows of the data, and its rank.
//
//   X  (n, d)   data, rows x_k          N  (d, h)   unit normals of the distinct hyperplanes
//
// Zero rows have none. Rows that are proportional, of either sign, share one: x_k is a positive
// multiple of orientation[k] * N.col(plane[k]). A row is divided by its largest entry first, so
// that neither overflow nor underflow of a square matters and multiples of one row by an integer
// are equal to the last bit. Unit rows v, w can be one only where |v_j - w_j| <= 1e-12 max(|v_j|,
// |w_j|) + 1e-14 for every j: entry by entry, because in data with one column in small units all rows
// are within 1e-12 of each other, and plus 1e-14, because the zeros of computed data are seldom exact.
// They are where no others are near; in a crowd, in which what is near is not transitive, every
// coordinate is cut into intervals of at most that length, at the widest gaps.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace arrangement {

struct Hyperplanes {
  Matrix normals;                        // N, in the order of the first sample of each
  std::vector<Index> plane;              // (n) column of N, -1 for a zero row or one left out
  std::vector<std::int8_t> orientation;  // (n) +1 or -1, 0 where plane is -1
  std::vector<Index> offsets;            // (h + 1)
  std::vector<Index> samples;            // those of hyperplane l: [offsets[l], offsets[l + 1])

  Index size() const { return normals.cols(); }
};

// O(n d + n log n), and O(log n) more for every entry of a row that is near another. Throws
// std::invalid_argument when X is not finite.
Hyperplanes find_hyperplanes(ConstMatrixRef X, Monitor* monitor = nullptr);

// The same of the given rows only (samples of weight zero have none).
Hyperplanes find_hyperplanes(ConstMatrixRef X, const std::vector<Index>& rows,
                             Monitor* monitor = nullptr);

// See pivot_columns().
inline constexpr double kIndependentColumns = 1e-11;

// Columns of X, ascending, that span its column space: rank X of them, or the given number where the rank
// is more, chosen (so that integers stay integers) by a column-pivoted QR of one row per hyperplane. A column is dependent when what
// the others leave of it is at most tolerance times its length, in units in which the scale of rows
// and columns does not matter. O(h d) for each of them
std::vector<Index> pivot_columns(ConstMatrixRef X, const Hyperplanes& planes,
                                 double tolerance = kIndependentColumns,
                                 Index most = std::numeric_limits<Index>::max(),
                                 Monitor* monitor = nullptr);

}  // namespace arrangement
}  // namespace convexrelu
