// Products with masked data, for all patterns or for some of them.
//
//   X   (n, d)    data                         D_i  (n)  pattern i, the i-th of P columns of masks
//   R   (n, m)    vectors over samples         U    (d, k)  one vector of weights per listed pattern
//
//   correlate           C[:, i] = [X' D_i R_1; ...; X' D_i R_m]     (m d, P), not divided by n
//   correlation_norms   || X' D_i r ||  in float32 with a bound on the error: to screen by
//   forward             f = sum_j D_{i_j} X U_j                     (n)
//
// All are sums of rows over subsets, 64 rows at a time by table look-up (docs/theory/
// numeric/mask_product.md): correlate adds rows r_k x_k over the samples of a pattern, forward adds rows
// U_j over the patterns that hold a sample.
//
// A monitor is asked every few milliseconds whether to go on; a result is not complete where it says no.
// The bits of a result do not depend on n_threads. Where a mask is zero nothing is read: NaN or
// infinity there does not matter.
//
// Memory: X once more, in the layout of the kernels, and some 200 KB per thread (more in forward() for
// hundreds of patterns), which the calling thread keeps. Nothing else is allocated.
#pragma once

#include <vector>

#include "convexrelu/base/bit_matrix.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

class MaskProduct {
 public:
  // X row by row, 16 features a slab, the last one padded with zeros.
  using Slabs = std::vector<Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;

  // `masks` must outlive this object. Throws std::invalid_argument if the numbers of rows differ.
  MaskProduct(ConstMatrixRef X, const BitMatrix& masks);
  MaskProduct(ConstMatrixRef X, BitMatrix&& masks) = delete;

  Index n_samples() const { return masks_->n_rows(); }
  Index n_features() const { return n_features_; }
  Index n_patterns() const { return masks_->n_cols(); }

  // C (m d, P); R is one vector or several.
  void correlate(ConstMatrixRef R, MatrixRef C, int n_threads = 1,
                 Monitor* monitor = nullptr) const;

  // The same for the listed patterns: C (m d, patterns.size()).
  void correlate(ConstMatrixRef R, const std::vector<Index>& patterns, MatrixRef C,
                 int n_threads = 1, Monitor* monitor = nullptr) const;

  // norms: ||X' D_i r|| of so many patterns from `start` on, to within the returned bound, which is the
  // same for all. It is proven, of the size 1e-6 ||X||_F ||r||, and infinite if X or r holds NaN or
  // infinity. Data may be of any magnitude: powers of two are taken out.
  double correlation_norms(ConstVectorRef r, VectorRef norms, int n_threads = 1, Index start = 0,
                           Monitor* monitor = nullptr) const;

  // f (n) = sum_j D_{patterns[j]} X U_j. A pattern may be listed more than once.
  void forward(const std::vector<Index>& patterns, ConstMatrixRef U, VectorRef f, int n_threads = 1,
               Monitor* monitor = nullptr) const;

 private:
  const BitMatrix* masks_;
  Index n_features_;
  Slabs slabs_;
  double max_abs_X_;  // NaN or infinity where X holds one
  double norm_X_;     // Frobenius
};

}  // namespace numeric
}  // namespace convexrelu
