// Cholesky factorisation A = L L' of a symmetric positive definite matrix, in place, that can be
// interrupted and runs on several threads.
//
// Only the lower triangle of A is read and written. Blocks are fixed, so the bits of L do not
// depend on the number of threads.
#pragma once

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

struct CholeskyOptions {
  int n_threads = 1;
  Monitor* monitor = nullptr;  // checked every few milliseconds; Stopped leaves A half factored
};

// Overwrites the lower triangle of A (n, n) with L. Returns -1, or the first column whose pivot is
// not positive (or NaN): A is not positive definite then, and columns from there on are not valid.
// n^3/3 flops.
Index factor_cholesky(MatrixRef A, const CholeskyOptions& options = {});
// In float32: for preconditioners.
Index factor_cholesky(Eigen::Ref<Eigen::MatrixXf> A, const CholeskyOptions& options = {});

// B <- A^-1 B, given L; a vector is a matrix of one column. 2 n^2 flops per column.
void solve_cholesky(ConstMatrixRef L, MatrixRef B);

// ||A||_1 from the lower triangle, to be taken before the factorisation.
double symmetric_one_norm(ConstMatrixRef A);

// Estimate of 1 / (||A||_1 ||A^-1||_1) from L and ||A||_1 (Hager 1984; Higham 1988): a few solves.
// It is at least the true value, and seldom more than a few times it.
double reciprocal_condition(ConstMatrixRef L, double one_norm);

}  // namespace numeric
}  // namespace convexrelu
