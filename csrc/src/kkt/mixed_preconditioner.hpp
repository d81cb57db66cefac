// A preconditioner for the KKT system of a gated problem with many samples: the system itself, but for
// an H that is factored in float32 and may be an earlier one.
//
//   J^ = [ H^  B      ]    H^ = L L' = I + (XX'/n) o (S D diag(alpha) D'S)   (n, n)
//        [ B'  -Delta ]    D = [D_b]_b (n, k)
//
// L is that of the members, alpha and S of the last factor(). B (n, k) and Delta = diag(delta) >= 0 are those
// of the present: conjugate gradients on J preconditioned by J^ then stay where B'r = Delta a, and J is
// positive definite there (Keller, Gould & Wathen 2000). Float32 serves as long as what it rounds off H
// is small beside the I in it.
//
// Memory 4 n^2 bytes. factor() n^2 (d + k) + n^3/3 flops in float32, border() 2 n^2 k, apply()
// 2 n^2 + 4 n k.
#pragma once

#include <vector>

#include "convexrelu/base/memory.hpp"
#include "convexrelu/numeric/cholesky.hpp"
#include "convexrelu/program/problem.hpp"
#include "numeric/tiled_product.hpp"

namespace convexrelu {
inline namespace kkt {

class MixedPreconditioner {
 public:
  explicit MixedPreconditioner(const ScaledProblem& problem);

  // Makes L, S (n) empty for the identity. False, and there is none, if H is not positive definite in float32.
  bool factor(const std::vector<Index>& patterns, const Vector& alpha, const Vector& row_scale,
              int n_threads, Monitor& monitor);
  bool has_factor() const { return has_factor_; }

  // Takes over B and delta; there must be an L. False if J^ is singular to working precision.
  bool border(const Matrix& B, const Vector& delta, int n_threads, Monitor& monitor);
  // Takes over another delta, with the L and the B that are there. Likewise. 2 k^3/3 flops.
  bool set_delta(const Vector& delta);

  // (r, a) = J^^-1 (g1, g2). Allocates nothing after the first call.
  void apply(ConstVectorRef g1, ConstVectorRef g2, Vector& r, Vector& a) const;

  // Estimate of that of B' H^^-1 B + Delta, in the 1-norm.
  double reciprocal_condition() const { return schur_.rcond(); }

 private:
  using FloatMatrix = Eigen::MatrixXf;

  void solve_many(FloatMatrix& right_sides, int n_threads, Monitor& monitor) const;

  const ScaledProblem& problem_;
  const FloatMatrix X_;  // X / sqrt(n)
  FloatMatrix L_;
  bool has_factor_ = false;
  Matrix B_, W_, inner_;  // B, H^^-1 B and B' H^^-1 B
  // Of B'W + Delta as it is: W is rounded to float32, so that it is symmetric to that precision only, but
  // B'r = Delta a + g2 is to hold to that of double.
  Eigen::PartialPivLU<Matrix> schur_;
  mutable Eigen::VectorXf single_;  // room for apply()
  mutable Vector defect_;
};

}  // namespace kkt
}  // namespace convexrelu
