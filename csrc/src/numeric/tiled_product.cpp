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

template <typename Factor>
void add_outer_product(const Factor& A, double scale, MatrixRef C, int n_threads,
                       Monitor& monitor) {
  for_tiles(C.rows(), C.cols(), n_threads, monitor,
            [&](Index i, Index j, Index height, Index width) {
              if (i < j) return;
              C.block(i, j, height, width).noalias() +=
                  scale * (A.middleRows(i, height) * A.middleRows(j, width).transpose());
            });
}

template void add_outer_product(const Matrix&, double, MatrixRef, int, Monitor&);
template void add_outer_product(const Eigen::Transpose<Matrix>&, double, MatrixRef, int, Monitor&);
template void add_outer_product(const Eigen::Transpose<const Matrix>&, double, MatrixRef, int,
                                Monitor&);

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
