// The vocabulary every other header uses. Notation (docs/notation.md):
//
//   X  (n, d)  data, one row x_k a sample       D_i (n)  0/1 activation pattern, as a diagonal
//   y  (n)     targets                          b = (i, s)  a block: pattern i with sign s = +1 or -1
//   r  (n)     residual y - fitted              P        number of patterns
//
// One scalar (double), one storage order (column major, so that a vector per sample
// is contiguous and a vector per block is a column).
#pragma once

#include <Eigen/Core>
#include <limits>

namespace convexrelu {
inline namespace base {

using Index = Eigen::Index;
using Vector = Eigen::VectorXd;
using Matrix = Eigen::MatrixXd;
using VectorRef = Eigen::Ref<Vector>;
using MatrixRef = Eigen::Ref<Matrix>;
using ConstVectorRef = Eigen::Ref<const Vector>;
using ConstMatrixRef = Eigen::Ref<const Matrix>;

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
inline constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

// relu: C-ReLU, blocks (i, +1) and (i, -1), weights in the activation cone of pattern i.
// gated: C-GReLU, blocks (i, +1) only, no cone.
enum class Formulation { relu, gated };

struct Block {
  Index pattern;
  int sign;  // +1 or -1
  friend bool operator==(const Block& a, const Block& b) {
    return a.pattern == b.pattern && a.sign == b.sign;
  }
};

// The order of blocks in every active set: by pattern, + before -.
inline bool comes_before(Block a, Block b) {
  return a.pattern != b.pattern ? a.pattern < b.pattern : a.sign > b.sign;
}

}  // namespace base
}  // namespace convexrelu
