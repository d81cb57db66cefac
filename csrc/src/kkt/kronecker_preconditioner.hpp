// A preconditioner for the m-form of the KKT system of a gated problem.
//
//   P = Z'Z/n + blkdiag(1/alpha_b (I - e_b e_b') + rho_b e_b e_b'),   blocks X' D_b D_c X / n of Z'Z/n
//
// Random gates cut the data much alike, so X' D_b D_c X is close to o_bc X'X with o_bc = |D_b and D_c| / n,
// and P to the Kronecker sum
//
//   K = o (x) X'X/n + diag(1/alpha) (x) I,  less the rank-k term  E diag(1/alpha - rho) E',  E = blkdiag(e_b).
//
// K is diagonal in the eigenvectors V of X'X/n (eigenvalues l_i) and U of
// diag(alpha)^(1/2) o diag(alpha)^(1/2) (eigenvalues m_j); the rank-k term is Woodbury's. It is least
// like P where l_i is large: of the s largest, P itself is taken, in the coordinates V_s'x_b (k s of them,
// top_k_s below), and K of the others.
//
// Where the rows are scaled by S, X and the overlaps are weighted by it: S X for X, and o_bc the share of
// sum S^2 in the samples of D_b and D_c. Everything is made anew for every system then, n d^2 + 10 d^3.
//
// Vectors are (d, k) matrices, one column a block. Set-up n (k s)^2 for what of Z_s = [D_b X V_s] is new,
// 10 k^3 + 2 d k^3 + (k s)^3/3; application 4 d k (d + 2 k) + 2 (k s)^2.
#pragma once

#include <algorithm>
#include <vector>

#include "convexrelu/numeric/cholesky.hpp"
#include "convexrelu/program/problem.hpp"
#include "numeric/tiled_product.hpp"
#include "numeric/watched_dense.hpp"

namespace convexrelu {
inline namespace kkt {

class KroneckerPreconditioner {
 public:
  // Once per problem, O(n d^2 + d^3).
  KroneckerPreconditioner(const ScaledProblem& problem, Monitor& monitor);

  // Blocks of the patterns listed; alpha and rho (k) with 0 <= rho < 1/alpha, directions e (d, k); S (n), or
  // empty for the identity.
  void setup(const std::vector<Index>& patterns, const Vector& alpha, const Vector& rho,
             const Matrix& directions, const Vector& row_scale, int n_threads, Monitor& monitor);

  // out (d, k) = an approximation of P^-1 in. Allocates nothing after the first call.
  void apply(const Matrix& in, Matrix& out, Monitor& monitor) const;

 private:
  void decompose(ConstMatrixRef X, Monitor& monitor);
  Index n_top(Index k) const;
  void update_top(const std::vector<Index>& patterns, int n_threads, Monitor& monitor);
  void factor_top(const Vector& alpha, const Vector& rho, int n_threads, Monitor& monitor);
  Matrix weighted_overlaps(const std::vector<Index>& patterns, const Vector& row_scale,
                           int n_threads, Monitor& monitor) const;
  Matrix between_directions(int n_threads, Monitor& monitor) const;
  void solve_kronecker(const Matrix& in, Matrix& out, Monitor& monitor) const;

  const ScaledProblem& problem_;
  Matrix V_;                   // (d, d)
  Vector l_;                   // (d) ascending
  Matrix T_;                   // (k, k) diag(alpha)^(1/2) U
  Matrix inverse_;             // (d, k) 1 / (l_i m_j + 1), 0 for the s largest l_i
  Matrix rotated_directions_;  // (d, k) V'E
  Matrix capacitance_;         // (k, k) Cholesky factor of diag(1/alpha - rho)^-1 - E' K^-1 E
  bool corrected_ = false;

  Matrix scaled_X_;  // S X, empty without S
  Index s_ = 0;
  Matrix top_X_;                                        // (n, s) X V_s
  std::vector<Index> known_;                            // the patterns of Z_s
  Matrix z_, gram_;                                     // Z_s (n, k s), Z_s'Z_s/n
  Matrix spare_z_, spare_gram_, fresh_z_, fresh_gram_;  // room for the next ones
  Matrix top_;  // Cholesky factor of P in the top coordinates

  mutable Matrix rotated_, product_, correction_, coarse_;  // room for apply()
  mutable Vector radial_;
};

// out = A B, by stripes of columns.
template <typename Left, typename Right>
void multiply(const Left& A, const Right& B, Matrix& out, Monitor& monitor) {
  constexpr Index kProducts = 1 << 26;  // between two looks at the monitor
  out.resize(A.rows(), B.cols());
  const Index stripe = std::max<Index>(kProducts / std::max<Index>(A.size(), 1), 1);
  for (Index first = 0; first < B.cols(); first += stripe) {
    monitor.check();
    const Index width = std::min(stripe, B.cols() - first);
    out.middleCols(first, width).noalias() = A * B.middleCols(first, width);
  }
}

}  // namespace kkt
}  // namespace convexrelu
