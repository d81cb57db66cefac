// Into which parts two hyperplanes cut a cone, without its edges.
//
//   v_1..v_q   rays of the cone
//   a_j, b_j   values at ray j, in [-1, 1], of two hyperplanes that both cut the cone
//
// The part {a > 0, b < 0} is there if a ray with a_j >= 0 has b_j < 0, or b is negative somewhere in the cone on
// the hyperplane a = 0. The latter is the case iff the segment from some ray with a_i > 0 to some with a_j < 0
// meets a = 0 at a point of negative b,
//
//   a_i |a_j| / (a_i + |a_j|) (b_i / a_i - b_j / a_j)  <  0,
//
// so that the lowest b_i / a_i of the one side and the highest b_j / a_j of the other one decide. Segments
// that are no edges of the cone lie in it too, and do no harm.
#pragma once

#include <cstddef>

namespace convexrelu {
inline namespace arrangement {

// Bit 2 [a > 0] + [b > 0] of the result: that part has an interior, is deeper than tol. 0 where a depth is
// too near to tol for the splits of double_description.hpp to see it surely alike.
inline unsigned find_quadrants(const double* a, const double* b, int n_rays, std::ptrdiff_t stride,
                               double tol) {
  constexpr double kLeastTol = 1e-13;                         // well above the rounding of values
  constexpr unsigned kNegative = 0b0101, kPositive = 0b1010;  // parts on one side of b
  unsigned parts = 0;
  for (int j = 0; j < n_rays; ++j) {
    const double x = a[j * stride], y = b[j * stride];
    const unsigned side = unsigned{y < -tol} | unsigned{y > tol} << 1;
    parts |= (x >= -tol ? side << 2 : 0U) | (x <= tol ? side : 0U);
  }
  for (const unsigned half : {kNegative, kPositive}) {
    if ((parts & half) == half) continue;
    if (tol < kLeastTol) return 0;
    // How far beyond b the cone reaches on a = 0.
    const double sign = half == kNegative ? 1.0 : -1.0;
    double lowest = 0.0, highest = 0.0, positive = 0.0, negative = 0.0;
    for (int j = 0; j < n_rays; ++j) {
      const double x = a[j * stride];
      if (x >= -tol && x <= tol) continue;
      const double slope = sign * b[j * stride] / x;
      if (x > 0.0 && (positive == 0.0 || slope < lowest)) {
        lowest = slope;
        positive = x;
      } else if (x < 0.0 && (negative == 0.0 || slope > highest)) {
        highest = slope;
        negative = x;
      }
    }
    const double gap = highest - lowest;
    if (gap <= tol) continue;  // no depth above tol / 2
    if (gap * positive * negative / (negative - positive) <= 2.0 * tol) return 0;
    parts |= half;
  }
  const bool is_flat = (parts & 0b0011) == 0 || (parts & 0b1100) == 0;
  return is_flat ? 0 : parts;
}

}  // namespace arrangement
}  // namespace convexrelu
