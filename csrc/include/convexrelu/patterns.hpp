// Activation patterns of a data set: 0/1 vectors D_i = 1[X g_i >= 0] of gate vectors g_i.
//
// Immutable; copies share the data. A pattern is what its gate says, ties included
// (1[0 >= 0] = 1); near a tie the sign of x_k.g_i is that of its rounded value, which is the same
// on every machine level only where |x_k.g_i| is well above rounding.
#pragma once

#include <memory>

#include "convexrelu/bit_matrix.hpp"
#include "convexrelu/types.hpp"

namespace convexrelu {

class Patterns {
 public:
  // masks (n, P), gates (d, P). is_complete: every cell of the arrangement is among them.
  Patterns(BitMatrix masks, Matrix gates, bool is_complete);

  Index size() const { return data_->masks.n_cols(); }
  Index n_samples() const { return data_->masks.n_rows(); }
  Index n_features() const { return data_->gates.rows(); }
  const BitMatrix& masks() const { return data_->masks; }
  const Matrix& gates() const { return data_->gates; }
  bool is_complete() const { return data_->is_complete; }

 private:
  struct Data {
    BitMatrix masks;
    Matrix gates;
    bool is_complete;
  };
  std::shared_ptr<const Data> data_;
};

// The patterns of the given gates (d, p), kept as they are. O(n d p)
Patterns patterns_from_gates(const Matrix& X, const Matrix& gates);

// The same without repetitions, of which the first stays, and without the all-zero pattern, which
// contributes nothing to any network.
Patterns distinct_patterns_from_gates(const Matrix& X, const Matrix& gates);

// 2 sum_{k < rank} C(n - 1, k): the number of cells of n hyperplanes in general position in R^rank,
// an upper bound otherwise; 1 where the rank is 0. Infinite where it overflows.
double max_pattern_count(Index n, Index rank);

}  // namespace convexrelu
