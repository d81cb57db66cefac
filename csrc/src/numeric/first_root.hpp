// Where a polynomial on [0, 1] first falls below zero, by Bernstein coefficients: they bound it,
// so no root is missed (Farouki 2012, on the numerical stability of that basis).
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

class FirstRoot {
 public:
  static constexpr double kNone = 2.0;

  // The first x in [0, 1] with sum_k c_k x^k < 0, or kNone where it is nowhere below -noise.
  double find(const double* c, int degree, double noise) {
    double lower = c[0];
    for (int k = 1; k <= degree; ++k) lower += std::min(c[k], 0.0);
    if (lower >= -noise) return kNone;
    coefficients_.assign(c, c + degree + 1);
    std::vector<double> bernstein = coefficients_;
    // b_i = sum_{k <= i} C(i, k) / C(degree, k) c_k, by differences.
    for (int k = 0; k <= degree; ++k) bernstein[at(k)] /= binomial(degree, k);
    for (int level = 1; level <= degree; ++level) {
      for (int i = degree; i >= level; --i) bernstein[at(i)] += bernstein[at(i - 1)];
    }
    return search(bernstein, 0.0, 1.0, noise);
  }

 private:
  static constexpr double kNarrow = 1e-15;

  static std::size_t at(int i) { return static_cast<std::size_t>(i); }

  static double binomial(int n, int k) {
    double value = 1.0;
    for (int i = 1; i <= k; ++i) value = value * (n - k + i) / i;
    return value;
  }

  double value(double x) const {
    double sum = 0.0;
    for (std::size_t k = coefficients_.size(); k-- > 0;) sum = sum * x + coefficients_[k];
    return sum;
  }

  // Halves the interval down to kNarrow. As halving leaves no more sign changes than there were (variation
  // diminishing), at most `degree` intervals of one width are looked into.
  double search(std::vector<double>& b, double low, double width, double noise) const {
    if (*std::min_element(b.begin(), b.end()) >= -noise) return kNone;
    if (b.front() < 0.0 || width < kNarrow) return low;
    int changes = 0;
    for (std::size_t i = 1; i < b.size(); ++i) changes += (b[i] < 0.0) != (b[i - 1] < 0.0);
    if (changes == 1) return bisect(low, low + width);
    std::vector<double> left(b.size());
    for (std::size_t level = 0; level < b.size();
         ++level) {  // de Casteljau: b becomes the right half
      left[level] = b[0];
      for (std::size_t i = 0; i + level + 1 < b.size(); ++i) b[i] = 0.5 * (b[i] + b[i + 1]);
    }
    const double first = search(left, low, 0.5 * width, noise);
    return first <= 1.0 ? first : search(b, low + 0.5 * width, 0.5 * width, noise);
  }

  // Until the ends are neighbours.
  double bisect(double low, double high) const {
    while (true) {
      const double middle = 0.5 * (low + high);
      if (middle <= low || middle >= high || high - low < 1e-17) return low;
      (value(middle) < 0.0 ? high : low) = middle;
    }
  }

  std::vector<double> coefficients_;
};

}  // namespace numeric
}  // namespace convexrelu
