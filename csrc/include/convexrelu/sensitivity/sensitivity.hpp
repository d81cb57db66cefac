// Derivatives of the optimum with respect to lam, y and X (Mishkin & Pilanci 2023, section 3, on
// the sensitivity of minimal solutions).
//
//   r (n), alpha_b         residual, and w_b = alpha_b q_b
//   q_b = c_b + C_F' rho   Proj_{K_b}(c_b); C_F (f, d): the rows that stay tight, rho > 0
//   Pi_b                   the projection onto null(C_F)
//   J                      the matrix of kkt_system.hpp with delta = 0
//
//   J (dr; dalpha) = (g1; g2),  dw_b = dalpha_b q_b + alpha_b dq_b,  dq_b = Pi_b A_b' dr/n + eps_b
//
//     lam   g1 = 0, g2 = n lam d_lam, eps = 0
//     y     g1 = d_y, g2 = 0, eps = 0
//     X     the patterns stay; dc_b = s d_X' D_b r/n, v_b = dc_b + dC_F' rho_b,
//           eps_b = Pi_b v_b - C_F^+ (dC_F q_b),
//           g1 = -sum_b alpha_b (dA_b q_b + A_b eps_b), g2 = -n q_b.v_b
//
// J is symmetric: a gradient with respect to the weights is pulled back with one solve as well.
//
// Blocks with the same q_b and sign are one neuron. In relu problems they are neighbouring patterns
// that share a kink ("shadows"), in gated ones repeated patterns. Neurons are what is
// differentiated; among the blocks of one the weights keep their proportions. C_F are the rows that
// vanish on the critical cone {u : C_T u >= 0, (q_b - c_b)'u = 0}, T the tight rows of K_b.
//
// The weights are differentiable in lam and y where
//   (a) the activations A_b q_b of the neurons are independent: the optimum is unique,
//   (b) every neuron with ||q_b|| = lam is active, and
//   (c) all tight rows vanish on the critical cone, for every block of every neuron;
// and in X too where, besides, each neuron's tight rows are independent, each is the row of one
// sample, and no row is zero (gated: unless there are repeated patterns, zero rows do not matter).
// docs/theory/sensitivity/sensitivity.md
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/program/solution.hpp"

namespace convexrelu {
inline namespace sensitivity {

// The derivatives of one number.
struct Gradient {
  double lam;
  Vector y;  // (n)
  Matrix X;  // (n, d)
};

struct PredictionSensitivity {
  Vector d_lam;  // (m)
  Matrix d_y;    // (m, n)
};

// The trace of dyhat/dy (Stein 1981), and its derivative in lam.
struct DegreesOfFreedom {
  double value;
  double d_lam;
};

enum class Side { below, above };

// Immutable; copies share what is expensive. What does not exist is NaN. Samples of weight zero
// have derivatives of their fit, what the network predicts there, and no influence. Where such a sample is
// on the kink of a neuron that moves, its fit has none, but for the one-sided ones in lam.
class Sensitivity {
 public:
  // Solutions whose certificate leaves more than 1e-9 of stationarity are solved further first;
  // throws AccuracyError, naming what was attained, where that is not enough, and
  // std::invalid_argument for pruned ones.
  Sensitivity(const Solution& solution, Monitor& monitor);

  // What the derivatives are of: the solution given, or the more accurate one.
  const Solution& solution() const;

  bool differentiable() const { return reasons_.empty(); }  // in lam and y
  bool differentiable_in_X() const;
  // The fit, in lam and y together: wherever the weights are, and where (a) alone fails if one
  // optimum turns most whatever dr is: no other has a larger sum_b alpha_b ||dq_b||^2. Otherwise it
  // has a derivative in every direction, but they do not add up.
  bool fit_differentiable() const { return scope_ == Scope::everything || one_turns_most_; }
  // Why not, in words; empty where differentiable in all of them.
  std::string why() const;

  // The blocks (k) whose weights are differentiated, and these (d, k): those of the solution; from
  // one side, those that are active there.
  const std::vector<Block>& active_set() const { return active_set_; }
  const Matrix& weights() const { return weights_; }

  // dw (d, k). Empty d_y and d_X are zero. One solve.
  Matrix jvp(double d_lam, const Vector& d_y, const Matrix& d_X, Monitor& monitor) const;

  // The derivatives of a number whose gradient with respect to the weights (d, k) is given. One
  // solve.
  Gradient vjp(const Matrix& grad_weights, Monitor& monitor) const;

  Matrix d_lam(Monitor& monitor) const;           // (d, k)
  Vector d_fitted_d_lam(Monitor& monitor) const;  // (n)
  Matrix d_fitted_d_y(Monitor& monitor) const;    // (n, n); from one inverse

  // tr(dyhat/dy) = n - tr R with R (n, n), G (k, n) the first n columns of J^-1. As R' = -(R; G)' J' (R; G),
  //   d/dlam = sum_b alpha_b' tr(R M_b R) + 2 G_b R A_b q_b'/lam,
  // with M_b of kkt_system.hpp and primes for derivatives in lam. 2 n^3 + n^2 k flops.
  DegreesOfFreedom degrees_of_freedom(Monitor& monitor) const;

  // Of the objective; exists in lam and y always.
  Gradient d_objective() const;

  // Of the predictions of the network at new rows (m, d). A row on the kink of a neuron that moves
  // has no derivative. A solve per row.
  PredictionSensitivity predictions(ConstMatrixRef X_new, Monitor& monitor) const;

  // The limits of the derivatives, the active set and the weights at lam -+ h, which may be smooth
  // where the optimum at lam is not. Where ties persist or activations stay dependent on that side,
  // derivatives in y and X are NaN, and in lam what not all optima share.
  Sensitivity one_sided(Side side, Monitor& monitor) const;

 private:
  struct Optimum;
  struct Piece;
  class Selection;
  // What the piece is good for; each includes those before.
  enum class Scope { nothing, fit_in_lam, weights_in_lam, everything };

  Sensitivity() = default;
  std::string why_not_in_X() const;
  Matrix of_active_set(const Matrix& dw) const;
  enum class Along { y, lam };
  Vector d_fitted(const Vector& d_y, const Vector& dr, const Vector& dalpha, Along along) const;
  double d_output(Index sample, const Matrix& dw, Along along) const;
  Gradient unscaled(const Gradient& scaled, double unit) const;

  std::shared_ptr<const Optimum> at_;
  std::shared_ptr<const Piece> piece_;
  Scope scope_ = Scope::nothing;
  bool one_turns_most_ = false;
  std::optional<Side> side_;  // of one_sided()
  std::vector<std::string> reasons_;
  std::vector<Block> active_set_;
  Matrix weights_;
};

}  // namespace sensitivity
}  // namespace convexrelu
