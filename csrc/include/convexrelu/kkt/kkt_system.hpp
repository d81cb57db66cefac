// The linear system of an active set, shared by the solver, the path and the sensitivities.
//
// Members b = 1..k, each with signed columns A_b = s_b D_b X (n, d), a face F_b of its cone (independent rows
// C_F that are active; none in the gated problem), an orthonormal basis Q_b (d, m_b) of null(C_F), a
// weight alpha_b >= 0 and a unit direction e_b in span Q_b. With M_b = A_b Q_b Q_b' A_b' / n:
//
//   J = [ H      S B    ]    H = I + S N S,  N = sum_b alpha_b M_b   (n, n)
//       [ (S B)' -Delta ]    B = [A_b e_b]_b             (n, k),  Delta = diag(delta) >= 0
//
// S^2 = L >= 0 (n) is the curvature of the loss, 1 for the squared one. In a problem with an intercept B has a
// last column more, the free one, with a delta of its own; k counts it.
//
// delta = 0 is Newton's matrix of the optimality conditions (Mishkin & Pilanci 2023, sensitivity
// of minimal solutions); delta > 0 that of a proximal step, which is never singular. With delta = 0 J is
// non-singular iff S B has full column rank: the activations are independent.
//
// Four forms, one file each, chosen by their cost (see cheapest_form in the source); m = sum_b m_b:
//   n-form: Cholesky of H, then of the Schur complement B'S H^-1 S B + Delta
//           (n^3/3 + n^2 k; H itself n^2 k by the Gram matrix of X, or n^2 m)
//   m-form: Cholesky of P = Z'L Z/n + blkdiag(1/alpha_b (I - e e') + delta_b/(n + alpha_b delta_b) e e')
//           in face coordinates, Z = [A_b Q_b] (m^3/3). Z is kept from one factorisation to the next, and so is
//           Z'Z where L = 1: a member or a row of a face that enters costs 2 n m m_b then, and all n m^2 else.
//   iterative: conjugate gradients on P, which is never formed (4 n d k a step), preconditioned as if
//           all masks cut the data alike. For gated problems only (alpha = 0 is taken for next to nothing).
//   mixed: conjugate gradients on J in float64, preconditioned by J with the Cholesky factor in float32
//           of the H of this or an earlier system (n^3/3; 4 n d k + 2 n^2 a step). For gated problems
//           only, where the n-form takes too much memory.
#pragma once

#include <memory>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/kkt/kkt_member.hpp"
#include "convexrelu/program/problem.hpp"

namespace convexrelu {
inline namespace kkt {

class KktSystem {
 public:
  // direct: the cheaper of n_form and m_form.
  enum class Form { automatic, direct, n_form, m_form, iterative, mixed };

  using Member = KktMember;

  // The problem must outlive the system.
  explicit KktSystem(const ScaledProblem& problem, Form form = Form::automatic);
  ~KktSystem();

  // Forms and factors J with S (n), empty for the identity, and the delta of the free column. False if it is
  // singular to working precision; solve() must then not be called. Polls the monitor.
  bool factor(const std::vector<Member>& members, int n_threads, Monitor& monitor,
              const Vector& row_scale = Vector(), double free_delta = 0.0);

  // As factor() of the same members with this delta for each, after a factor() that returned, true
  // or false: H and its factor are kept, so that it costs k^3/3 in the n-form and 2 k^3/3 in the
  // mixed one; m^3/3 in the m-form.
  bool refactor(double delta, Monitor& monitor, double free_delta = 0.0);

  // (dr, dalpha) = J^-1 (g1, g2): g1, dr (n), g2, dalpha (k). Cost 2 n^2 or m^2, plus two products
  // with Z. accuracy: the relative residual at which the iterative and the mixed form stop; the others take
  // a step of iterative refinement if it is below 1e-6. Below 1e-8 they and the mixed form refine as long as
  // that halves the correction and it is above accuracy. Polls the monitor.
  void solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha, double accuracy,
             Monitor& monitor) const;

  // J^-1 ((g1, g2) - J (dr, dalpha)), J from X and the masks alone: what is left to correct, an estimate of
  // the error. (Where weights are large, terms far larger than g cancel in J (dr, dalpha), and rounding
  // leaves a residual that says little of it.)
  void correction(ConstVectorRef g1, ConstVectorRef g2, ConstVectorRef dr, ConstVectorRef dalpha,
                  VectorRef error_of_dr, VectorRef error_of_dalpha, Monitor& monitor) const;

  // (out1, out2) = (N v + B a, B'v), without S and Delta; v, out1 (n), a, out2 (k). 4 n d k flops.
  void image(ConstVectorRef v, ConstVectorRef a, VectorRef out1, VectorRef out2,
             Monitor& monitor) const;

  // (dr, dalpha) = J^-1 (g1, 0), for delta > 0: Newton's direction where -g1 is the gradient. The
  // iterative form stops at a direction that gains at least `share` of what Newton's gains in the quadratic
  // model, hence one of descent, or at a relative residual of 1e-5; the mixed form at an estimate of the same.
  void descend(ConstVectorRef g1, double share, VectorRef dr, VectorRef dalpha,
               Monitor& monitor) const;

  // The first n columns of J^-1: dr (n, n), symmetric, and dalpha (k, n). Returns the relative residual
  // at a random right-hand side, as there is no refinement. At the rate of matrix products: 2 n^3 flops in
  // the n-form, n^2 m + n m^2 in the m-form; the iterative and the mixed form solve n times.
  double invert(Matrix& dr, Matrix& dalpha, Monitor& monitor) const;

  // Reciprocal condition number of the factored matrices, estimated in the 1-norm; 1 where none was
  // factored.
  double reciprocal_condition() const;

  const Vector& row_scale() const;  // S of the last factor(), empty for the identity

  Form form() const;   // the one that the last factor() chose
  Index size() const;  // sum of free dimensions m of the last factor()

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kkt
}  // namespace convexrelu
