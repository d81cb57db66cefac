// l = e^f - y f + y log y - y, y >= 0; g/nu = y - e^f.
#pragma once

#include <algorithm>
#include <cmath>

#include "convexrelu/base/types.hpp"
#include "program/remainders.hpp"

namespace convexrelu {
inline namespace program {

// Relative to the perfect fit log y, where l = 0.
struct PoissonSample {
  static constexpr bool kStrictlyConvex = true;
  static constexpr double kLargestBend = kInfinity;

  double y;

  static bool allows(double y) { return y >= 0.0; }

  double value(double f) const {
    return y > 0.0 ? y * exp_remainder(f - std::log(y)) : std::exp(f);
  }
  double descent(double f) const { return y - std::exp(f); }
  double bend(double f) const { return std::exp(f); }
  double bend_scale(double f) const { return std::max(std::exp(f), y); }
  double distance(double f, double x) const { return std::exp(f) * exp_remainder(x); }
  double lowest() const { return -kInfinity; }
  double highest() const { return y; }
  double conjugate(double t) const {
    if (y > 0.0) return y * entropy_remainder(-t / y) - t * std::log(y);
    return x_log_x(-t) + t;
  }
  double fit(double t) const { return std::log(y - t); }
};

}  // namespace program
}  // namespace convexrelu
