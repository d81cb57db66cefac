// What the core uses of Eigen's dense algebra, compiled once, in decompositions.cpp: every other unit
// would otherwise compile the same decompositions and the same kernels of products again (they were
// half of all code and most of the time of a build). It changes no result. The build includes this
// header first in every unit of the core (see CMakeLists.txt), so that no unit can forget it.
//
// Only templates defined outside their class can be kept out of a unit; inline ones are compiled
// wherever they are called. The kernels are internals of Eigen 3.4, the decompositions are public.
#pragma once

#include <Eigen/Dense>

// In decompositions.cpp this is empty, which makes the declarations below definitions.
#ifndef CONVEXRELU_EXTERN
#define CONVEXRELU_EXTERN extern
#endif

namespace Eigen {

CONVEXRELU_EXTERN template void HouseholderQR<MatrixXd>::computeInPlace();
CONVEXRELU_EXTERN template void ColPivHouseholderQR<MatrixXd>::computeInPlace();
CONVEXRELU_EXTERN template void PartialPivLU<MatrixXd>::compute();
CONVEXRELU_EXTERN template LLT<MatrixXd>& LLT<MatrixXd>::compute(const EigenBase<MatrixXd>&);
CONVEXRELU_EXTERN template SelfAdjointEigenSolver<MatrixXd>&
SelfAdjointEigenSolver<MatrixXd>::compute(const EigenBase<MatrixXd>&, int);

#if EIGEN_WORLD_VERSION == 3
namespace internal {

// Products of matrices: the kernel, and the packing of its arguments.
#define CONVEXRELU_GEMM(Scalar)                                                        \
  CONVEXRELU_EXTERN template struct gebp_kernel<                                       \
      Scalar, Scalar, Index, blas_data_mapper<Scalar, Index, ColMajor>,                \
      gebp_traits<Scalar, Scalar>::mr, gebp_traits<Scalar, Scalar>::nr, false, false>; \
  CONVEXRELU_PACK(Scalar, ColMajor)                                                    \
  CONVEXRELU_PACK(Scalar, RowMajor)
#define CONVEXRELU_PACK(Scalar, Order)                                                          \
  CONVEXRELU_EXTERN template struct gemm_pack_lhs<                                              \
      Scalar, Index, const_blas_data_mapper<Scalar, Index, Order>,                              \
      gebp_traits<Scalar, Scalar>::mr, gebp_traits<Scalar, Scalar>::LhsProgress,                \
      gebp_traits<Scalar, Scalar>::LhsPacket4Packing, Order>;                                   \
  CONVEXRELU_EXTERN template struct gemm_pack_rhs<Scalar, Index,                                \
                                                  const_blas_data_mapper<Scalar, Index, Order>, \
                                                  gebp_traits<Scalar, Scalar>::nr, Order>;
CONVEXRELU_GEMM(double)
CONVEXRELU_GEMM(float)
CONVEXRELU_EXTERN template struct gemm_pack_rhs<
    double, Index, blas_data_mapper<double, Index, ColMajor>, gebp_traits<double, double>::nr,
    ColMajor, false, true>;

// Products of a matrix in either order with a vector, contiguous or strided.
#define CONVEXRELU_GEMV(Scalar, MatrixOrder, VectorOrder, Version)                           \
  CONVEXRELU_EXTERN template struct general_matrix_vector_product<                           \
      Index, Scalar, const_blas_data_mapper<Scalar, Index, MatrixOrder>, MatrixOrder, false, \
      Scalar, const_blas_data_mapper<Scalar, Index, VectorOrder>, false, Version>;
CONVEXRELU_GEMV(double, RowMajor, ColMajor, 0)
CONVEXRELU_GEMV(double, RowMajor, RowMajor, 1)
CONVEXRELU_GEMV(double, ColMajor, RowMajor, 0)
CONVEXRELU_GEMV(double, ColMajor, ColMajor, 0)
CONVEXRELU_GEMV(float, RowMajor, ColMajor, 0)
CONVEXRELU_GEMV(float, ColMajor, RowMajor, 0)

// Triangular solves with many right-hand sides, from the left.
#define CONVEXRELU_TRSM(Mode, Order)                                                               \
  CONVEXRELU_EXTERN template struct triangular_solve_matrix<double, Index, OnTheLeft, Mode, false, \
                                                            Order, ColMajor, 1>;
CONVEXRELU_TRSM(Lower, ColMajor)
CONVEXRELU_TRSM(Lower, RowMajor)
CONVEXRELU_TRSM(Upper, ColMajor)
CONVEXRELU_TRSM(Upper, RowMajor)

}  // namespace internal
#endif

}  // namespace Eigen

#undef CONVEXRELU_EXTERN
#undef CONVEXRELU_GEMM
#undef CONVEXRELU_PACK
#undef CONVEXRELU_GEMV
#undef CONVEXRELU_TRSM
