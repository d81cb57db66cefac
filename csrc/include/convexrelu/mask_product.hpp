// Products with masked data, for all patterns or for some of them.
//
//   X   (n, d)    data                         D_i  (n)  pattern i, the i-th of P columns of masks
//   R   (n, m)    vectors over samples         U    (d, k)  one vector of weights per listed pattern
//
//   correlate           C[:, i] = [X' D_i R_1; ...; X' D_i R_m]     (m d, P), not divided by n
//   correlation_norms   || X' D_i r ||  in float32 with a bound on the error: to screen by
//   forward             f = sum_j D_{i_j} X U_j                     (n)
//
// A column of C is a function of R and D_i alone: its bits depend neither on the patterns asked
// for beside it nor on n_threads.
#pragma once

#include <vector>

#include "convexrelu/bit_matrix.hpp"
#include "convexrelu/types.hpp"

namespace convexrelu {

class MaskProduct {
 public:
  // X and masks must outlive this object. Throws std::invalid_argument if their numbers of rows
  // differ.
  MaskProduct(const Matrix& X, const BitMatrix& masks);

  Index n_samples() const { return X_->rows(); }
  Index n_features() const { return X_->cols(); }
  Index n_patterns() const { return masks_->n_cols(); }

  // C (m d, P); R is one vector or several.
  void correlate(ConstMatrixRef R, MatrixRef C, int n_threads = 1) const;

  // The same for the listed patterns: C (m d, patterns.size()).
  void correlate(ConstMatrixRef R, const std::vector<Index>& patterns, MatrixRef C,
                 int n_threads = 1) const;

  // norms (P): ||X' D_i r|| to within the returned bound, one for all patterns. The bound
  // is infinite where a product is not finite.
  double correlation_norms(ConstVectorRef r, VectorRef norms, int n_threads = 1) const;

  // f (n) = sum_j D_{patterns[j]} X U_j. A pattern may be listed more than once.
  void forward(const std::vector<Index>& patterns, ConstMatrixRef U, VectorRef f,
               int n_threads = 1) const;

 private:
  const Matrix* X_;
  const BitMatrix* masks_;
};

}  // namespace convexrelu
