// Factorisations of dense matrices under a monitor, which is asked every few milliseconds.
#pragma once

#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

// A (m, n) = Q R by reflections (Golub & Van Loan 2013, algorithm 5.2.3): leaves R in the upper triangle of
// A, and below it nothing of use. 2 n^2 (m - n/3) flops where m >= n.
void factor_qr(MatrixRef A, Monitor* monitor);

// The upper triangle of R (min(m, n), n).
Matrix upper_factor(Matrix A, Monitor* monitor);

// P A = L U of a square A with partial pivoting (Golub & Van Loan 2013, section 3.4). 2 n^3/3 flops.
class LuFactors {
 public:
  LuFactors(Matrix A, Monitor* monitor);

  // B (n, m) <- A^-1 B. 2 n^2 m flops.
  void solve_in_place(MatrixRef B, Monitor* monitor) const;

 private:
  static constexpr Index kPanel = 48, kStripe = 128;

  Matrix factors_;
  std::vector<Index> swaps_;
};

// Eigenvalues, ascending, of a symmetric matrix A (n, n), of which the lower triangle is read, and
// eigenvectors if V is given: A = V diag(values) V'. By reflections to tridiagonal form and QR steps with
// Wilkinson's shift (Golub & Van Loan 2013, sections 8.3.1 and 8.3.3). 4 n^3/3 flops, and some 4 n^3
// for the vectors.
Vector symmetric_eigenvalues(Matrix A, Matrix* V, Monitor* monitor);

}  // namespace numeric
}  // namespace convexrelu
