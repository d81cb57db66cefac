// Convex losses of one output, bound to the targets of n samples.
//
//   l(f, y)          the loss of one sample: convex, once differentiable, inf_f l = 0 (relative to the saturated model)
//   nu   (n)         weights of the samples, of sum n        o (n)  what is fitted where all weights are zero
//   u    (n)         what the weights add to that: f = o + u
//   g(u) (n)         -nu l'(o + u), in the place of the residual: y - f for the squared loss
//   L(u) (n)         nu l''(o + u) >= 0, in the place of the identity
//   l*(t)            conjugate, sup_f t f - l(f): at t = -g/nu in its domain, an interval around 0
//
//   primal  P = (1/n) sum_k nu_k l(f_k) + lam sum_b ||w_b||
//   dual    D(g) = -(1/n) sum_k nu_k l*(-g_k/nu_k) - o'g/n,    D(0) = 0, and P = D at the optimum, where g = g(u)
//
// docs/theory/program/loss.md
#pragma once

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace program {

// squared        (f - y)^2/2
// logistic       log(1 + e^f) - y f, less the entropy of y; y in [0, 1]
// poisson        e^f - y f + y log y - y; y >= 0
// huber          (f - y)^2/2 up to |f - y| = delta, a straight line beyond
// squared_hinge  (1 - y f)_+^2/2; y = -1 or +1
enum class LossKind { squared, logistic, poisson, huber, squared_hinge };

const char* to_string(LossKind kind);

struct LossChoice {
  LossKind kind = LossKind::squared;
  double delta = 1.0;  // of huber, > 0

  friend bool operator==(const LossChoice& a, const LossChoice& b) {
    return a.kind == b.kind && (a.kind != LossKind::huber || a.delta == b.delta);
  }
};

// What is fitted and g there. Two variables, for each is known to digits that the other has lost: g of the
// squared loss at small lam, u of the logistic one where a sample is fitted well.
struct FitPoint {
  Vector u, g;
};

// Immutable but for add_offset(). All costs are O(n).
class Loss {
 public:
  virtual ~Loss() = default;

  virtual Index n_samples() const = 0;
  // o <- o + offset, before the first use.
  virtual void add_offset(const Vector& offset) = 0;

  // g = y - u and L = 1: nothing changes with u. Such a loss moves by g, the others by u.
  virtual bool is_squared() const { return false; }
  // Where not, l is flat or straight in places: many u may have one g.
  virtual bool is_strictly_convex() const { return true; }
  // sup l'', infinity where there is none.
  virtual double largest_bend() const = 0;

  // The point with this u.
  virtual void move_to(const Vector& u, FitPoint& point) const = 0;
  // The one a step from another along (du, dg), in the variable by which the loss moves.
  virtual void step(const FitPoint& from, double length, const Vector& du, const Vector& dg,
                    FitPoint& to) const;

  // (1/n) sum nu l(o + u); exact_value() is the same by sums in extended precision.
  virtual double value(const FitPoint& point) const = 0;
  virtual double exact_value(const FitPoint& point) const { return value(point); }
  // (1/n) sum nu l*(-g/nu) + o'g/n at g = g(u).
  virtual double conjugate(const FitPoint& point) const = 0;
  // L(u).
  virtual void curvature(const Vector& u, Vector& L) const = 0;
  // What L may become between no fit and a perfect one, as the order of magnitude of steps.
  virtual Vector curvature_scale() const = 0;
  // sqrt(2 sum nu (l(u + step) - l(u) - l'(u) step)), the Bregman distance: ||step|| for the squared loss.
  virtual double distance(const FitPoint& point, const Vector& step) const = 0;

  // g <- the nearest g in the domain.
  virtual void clip(Vector& g) const = 0;
  // The largest D(kappa g) over 0 <= kappa <= limit <= 1 (squared: -limit <= kappa), or close to it and then
  // below. g in the domain. Sums in extended precision.
  virtual double dual_value(const Vector& g, double limit) const = 0;
  // [low, high]: all u with g(u) = g, to a relative tol.
  virtual void fits(const Vector& g, double tol, Vector& low, Vector& high) const = 0;

  // The b at which value(u + b column) is least; column > 0. Where that is nowhere, far away.
  virtual double best_shift(const FitPoint& point, const Vector& column) const = 0;
};

}  // namespace program
}  // namespace convexrelu
