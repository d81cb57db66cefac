// What is left of elementary functions without their first terms, to relative accuracy.
#pragma once

#include <cmath>

namespace convexrelu {
inline namespace program {

// e^x - 1 - x.
inline double exp_remainder(double x) {
  if (!(std::abs(x) < 0.5)) return std::expm1(x) - x;
  double term = 0.5 * x * x, sum = term;
  for (int k = 3; k < 19; ++k) sum += term *= x / k;
  return sum;
}

// u - log(1 + u), u >= -1.
inline double log_remainder(double u) {
  if (!(std::abs(u) < 0.1)) return u - std::log1p(u);
  double sum = 0.0;
  for (int k = 20; k > 1; --k) sum = u * sum + (k % 2 == 0 ? 1.0 : -1.0) / k;
  return sum * u * u;
}

// x log x, 0 at 0.
inline double x_log_x(double x) { return x > 0.0 ? x * std::log(x) : 0.0; }

// (1 + x) log(1 + x) - x, x >= -1.
inline double entropy_remainder(double x) {
  if (!(std::abs(x) < 0.1)) return x_log_x(1.0 + x) - x;
  return x * x - (1.0 + x) * log_remainder(x);
}

// 1/(1 + e^-x).
inline double sigmoid(double x) {
  return x >= 0.0 ? 1.0 / (1.0 + std::exp(-x)) : std::exp(x) / (1.0 + std::exp(x));
}

// log(1 + e^x).
inline double softplus(double x) {
  return x > 0.0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

}  // namespace program
}  // namespace convexrelu
