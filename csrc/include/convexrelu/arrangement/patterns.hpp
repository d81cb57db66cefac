// Activation patterns of data X (n, d), and how they are made from gates.
//
//   g_i  (d)   gate: a vector that attains pattern i
//   D_i  (n)   pattern 1[x_k . g_i >= 0], column i of masks
//
// The bits are those of real arithmetic on the given doubles: a dot product too close to zero for
// its rounded sign to be certain is evaluated exactly (Shewchuk 1997). So they depend neither
// on the instruction set nor on the number of threads, and a tie x_k . g = 0 gives bit 1. (Exactness
// needs that no product, scaled to the largest of its row and gate, lies below 1e-290.)
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "convexrelu/base/bit_matrix.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace arrangement {

// A hash of the shape and the entries of X, the same on every machine; 0 and -0 count as equal.
std::uint64_t fingerprint(ConstMatrixRef X);

// A list of patterns. Immutable, and a copy shares its data.
class Patterns {
 public:
  using GateSource = std::function<Matrix(Monitor&)>;

  Patterns() : Patterns(BitMatrix(), Matrix()) {}

  // gates (d, P), one per column of masks. complete_for: the fingerprint of the data, where every
  // full-dimensional cell of their arrangement is here.
  Patterns(BitMatrix masks, Matrix gates, std::optional<std::uint64_t> complete_for = std::nullopt);

  // Gates that are computed when they are first asked for, once.
  Patterns(BitMatrix masks, Index n_features, GateSource gates,
           std::optional<std::uint64_t> complete_for = std::nullopt);

  Index size() const { return masks().n_cols(); }
  Index n_samples() const { return masks().n_rows(); }
  Index n_features() const;
  const BitMatrix& masks() const;
  const Matrix& gates(
      Monitor* monitor = nullptr) const;  // watched, where they are yet to be computed
  const Matrix& gates(Monitor& monitor) const { return gates(&monitor); }

  bool is_complete() const { return complete_for().has_value(); }
  // Whether they are complete for this very X: others of its shape, or with columns or rows multiplied
  // by anything, are other data. O(n d)
  bool is_complete_for(ConstMatrixRef X) const;
  std::optional<std::uint64_t> complete_for() const;

 private:
  struct Data;
  std::shared_ptr<const Data> data_;
};

// The patterns of gates (d, p), kept as they are. O(n d p) time, O(n d) bytes beside the answer.
// Throws std::invalid_argument if X or gates holds NaN or infinity or their shapes do not fit. A monitor
// is asked every few milliseconds whether to go on, here and below.
Patterns patterns_from_gates(ConstMatrixRef X, ConstMatrixRef gates, int n_threads = 1,
                             Monitor* monitor = nullptr);

// The same without repetitions, of which the first stays, and without the all-zero pattern, which
// contributes nothing to any network.
Patterns distinct_patterns_from_gates(ConstMatrixRef X, ConstMatrixRef gates, int n_threads = 1,
                                      Monitor* monitor = nullptr);

// 2 sum_{k < rank} C(n - 1, k): the number of patterns of n samples of that rank in general
// position, an upper bound on that of any others (Winder 1966; Cover 1965). 1 for rank 0, infinity where
// a double cannot hold it. Throws std::invalid_argument unless 0 <= rank <= n.
double max_pattern_count(Index n, Index rank);

}  // namespace arrangement
}  // namespace convexrelu
