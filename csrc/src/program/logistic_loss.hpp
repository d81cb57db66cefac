// l = log(1 + e^f) - y f - H(y), y in [0, 1], H the entropy of y; g/nu = y - s, s = 1/(1 + e^-f).
#pragma once

#include <algorithm>
#include <cmath>

#include "convexrelu/base/types.hpp"
#include "program/remainders.hpp"

namespace convexrelu {
inline namespace program {

// Of labels 0 and 1 the small one of y and s is never taken from the other; of other y everything is taken
// relative to the perfect fit f_y = log(y/(1 - y)), where l = 0.
struct LogisticSample {
  static constexpr bool kStrictlyConvex = true;
  static constexpr double kLargestBend = 0.25;

  double y;

  static bool allows(double y) { return y >= 0.0 && y <= 1.0; }
  bool is_label() const { return y == 0.0 || y == 1.0; }
  double perfect() const { return std::log(y) - std::log1p(-y); }

  double value(double f) const {
    if (is_label()) return softplus(y > 0.0 ? -f : f);
    const double x = f - perfect();
    if (!(std::abs(x) < 1.0)) return softplus(f) - y * f + x_log_x(y) + x_log_x(1.0 - y);
    return y * exp_remainder(x) - log_remainder(y * std::expm1(x));
  }
  double descent(double f) const {
    if (is_label()) return y > 0.0 ? sigmoid(-f) : -sigmoid(f);
    return y - sigmoid(f);
  }
  double bend(double f) const { return sigmoid(f) * sigmoid(-f); }
  double bend_scale(double f) const { return bend(f); }
  // l(f + x) - l(f) - l'(f) x, the same for (-f, -x).
  double distance(double f, double x) const {
    const double s = sigmoid(-std::abs(f)), z = f > 0.0 ? -x : x;
    if (z > 1.0) return softplus(z - std::abs(f)) - softplus(-std::abs(f)) - s * z;
    return s * exp_remainder(z) - log_remainder(s * std::expm1(z));
  }
  double lowest() const { return y - 1.0; }
  double highest() const { return y; }
  double conjugate(double t) const {
    if (is_label()) {
      const double a = std::min(std::abs(t), 1.0);
      return x_log_x(a) + (1.0 - a > 0.0 ? (1.0 - a) * std::log1p(-a) : 0.0);
    }
    return y * entropy_remainder(-t / y) + (1.0 - y) * entropy_remainder(t / (1.0 - y)) -
           t * perfect();
  }
  double fit(double t) const {
    if (is_label()) {
      const double a = std::abs(t), f = std::log1p(-a) - std::log(a);
      return y > 0.0 ? f : -f;
    }
    return std::log(y - t) - std::log1p(t - y);
  }
};

}  // namespace program
}  // namespace convexrelu
