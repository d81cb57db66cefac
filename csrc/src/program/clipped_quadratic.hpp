// g/nu = c, c = min(max(y - f, lowest), highest), and l = c (y - f) - c^2/2: Huber's loss and the squared hinge.
#pragma once

#include <algorithm>
#include <cmath>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace program {

template <typename Bounds>
struct ClippedQuadraticSample : Bounds {
  static constexpr bool kStrictlyConvex = false;
  static constexpr double kLargestBend = 1.0;

  using Bounds::highest;
  using Bounds::lowest;
  using Bounds::y;

  double descent(double f) const { return std::clamp(y - f, lowest(), highest()); }
  double value(double f) const {
    const double c = descent(f);
    return c * (y - f - 0.5 * c);
  }
  double bend(double f) const { return y - f > lowest() && y - f < highest() ? 1.0 : 0.0; }
  double bend_scale(double) const { return 1.0; }
  double distance(double f, double x) const {
    const double before = descent(f), after = descent(f + x);
    return (after - before) * (y - f - x - 0.5 * (after + before));
  }
  double conjugate(double t) const { return t * (0.5 * t - y); }
  double fit(double t) const { return y - t; }
};

struct HuberBounds {
  double y, delta;
  double lowest() const { return -delta; }
  double highest() const { return delta; }
};

struct HingeBounds {
  double y;
  static bool allows(double y) { return y == 1.0 || y == -1.0; }
  double lowest() const { return y > 0.0 ? 0.0 : -kInfinity; }
  double highest() const { return y > 0.0 ? kInfinity : 0.0; }
};

using HuberSample = ClippedQuadraticSample<HuberBounds>;
using HingeSample = ClippedQuadraticSample<HingeBounds>;

}  // namespace program
}  // namespace convexrelu
