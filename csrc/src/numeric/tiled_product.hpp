// Dense products in tiles: on several threads with the same bits, and under the eyes of the monitor.
#pragma once

#include <algorithm>

#include "base/watched_for.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

inline constexpr Index kTile = 128;

inline Index n_tiles(Index size) { return (size + kTile - 1) / kTile; }

// work(i, j, height, width) for every tile of a matrix of that size.
template <typename Work>
void for_tiles(Index n_rows, Index n_columns, int n_threads, Monitor& monitor, const Work& work) {
  const Index n_down = n_tiles(n_rows);
  watched_for(n_down * n_tiles(n_columns), n_threads, monitor, [&](Index chunk, const auto&) {
    const Index i = kTile * (chunk % n_down), j = kTile * (chunk / n_down);
    work(i, j, std::min(kTile, n_rows - i), std::min(kTile, n_columns - j));
  });
}

// C (n, k) = A B,  A (n, m), B (m, k). 2 n m k flops.
void product(const Matrix& A, const Matrix& B, Matrix& C, int n_threads, Monitor& monitor);

// C (m, k) = scale A' B,  A (n, m), B (n, k). 2 n m k flops.
void transposed_product(ConstMatrixRef A, ConstMatrixRef B, double scale, MatrixRef C,
                        int n_threads, Monitor& monitor);

// C (n, n) += scale A A' in the lower triangle, A (n, m). n^2 m flops. (Tiles on the diagonal are written
// whole.)
void add_outer_product(ConstMatrixRef A, double scale, MatrixRef C, int n_threads,
                       Monitor& monitor);

// C (m, m) += scale A'A, A (n, m), likewise.
void add_inner_product(ConstMatrixRef A, double scale, MatrixRef C, int n_threads,
                       Monitor& monitor);

template <typename Factor>
void add_outer_product(const Eigen::Transpose<Factor>& A, double scale, MatrixRef C, int n_threads,
                       Monitor& monitor) {
  add_inner_product(A.nestedExpression(), scale, C, n_threads, monitor);
}

// work(panel) for every panel of columns of B.
template <typename Work>
void for_panels(Matrix& B, int n_threads, Monitor& monitor, const Work& work) {
  watched_for(n_tiles(B.cols()), n_threads, monitor, [&](Index chunk, const auto&) {
    const Index j = kTile * chunk;
    work(B.middleCols(j, std::min(kTile, B.cols() - j)));
  });
}

// B (n, k) <- L^-1 B.
void solve_lower(const Matrix& L, Matrix& B, int n_threads, Monitor& monitor);

// B (n, k) <- L'^-1 B.
void solve_lower_transposed(const Matrix& L, Matrix& B, int n_threads, Monitor& monitor);

}  // namespace numeric
}  // namespace convexrelu
