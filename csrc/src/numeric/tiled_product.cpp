#include "numeric/tiled_product.hpp"

namespace convexrelu {
inline namespace numeric {

void product(const Matrix& A, const Matrix& B, Matrix& C, int n_threads, Monitor& monitor) {
  for_tiles(
      C.rows(), C.cols(), n_threads, monitor, [&](Index i, Index j, Index height, Index width) {
        C.block(i, j, height, width).noalias() = A.middleRows(i, height) * B.middleCols(j, width);
      });
}

void transposed_product(ConstMatrixRef A, ConstMatrixRef B, double scale, MatrixRef C,
                        int n_threads, Monitor& monitor) {
  for_tiles(C.rows(), C.cols(), n_threads, monitor,
            [&](Index i, Index j, Index height, Index width) {
              C.block(i, j, height, width).noalias() =
                  scale * (A.middleCols(i, height).transpose() * B.middleCols(j, width));
            });
}

namespace {

// work(i, j, height, width) for the tiles on and below the diagonal.
template <typename Work>
void for_lower_tiles(MatrixRef C, int n_threads, Monitor& monitor, const Work& work) {
  for_tiles(C.rows(), C.cols(), n_threads, monitor,
            [&](Index i, Index j, Index height, Index width) {
              if (i >= j) work(i, j, height, width);
            });
}

}  // namespace

void add_outer_product(ConstMatrixRef A, double scale, MatrixRef C, int n_threads,
                       Monitor& monitor) {
  for_lower_tiles(C, n_threads, monitor, [&](Index i, Index j, Index height, Index width) {
    C.block(i, j, height, width).noalias() +=
        scale * (A.middleRows(i, height) * A.middleRows(j, width).transpose());
  });
}

void add_inner_product(ConstMatrixRef A, double scale, MatrixRef C, int n_threads,
                       Monitor& monitor) {
  for_lower_tiles(C, n_threads, monitor, [&](Index i, Index j, Index height, Index width) {
    C.block(i, j, height, width).noalias() +=
        scale * (A.middleCols(i, height).transpose() * A.middleCols(j, width));
  });
}

void solve_lower(const Matrix& L, Matrix& B, int n_threads, Monitor& monitor) {
  for_panels(B, n_threads, monitor,
             [&](auto panel) { L.triangularView<Eigen::Lower>().solveInPlace(panel); });
}

void solve_lower_transposed(const Matrix& L, Matrix& B, int n_threads, Monitor& monitor) {
  for_panels(B, n_threads, monitor,
             [&](auto panel) { L.triangularView<Eigen::Lower>().transpose().solveInPlace(panel); });
}

}  // namespace numeric
}  // namespace convexrelu
