// Sums whose rounding must not show: the values of primal and dual, which a gap of 1e-15 compares.
#pragma once

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

// a.b, added up in extended precision where the machine has it: on x86 the sum is right to n 2^-64 of
// sum |a_k b_k|, before it is rounded.
inline double extended_dot(const Vector& a, const Vector& b) {
  long double sum = 0.0L;
  for (Index k = 0; k < a.size(); ++k) sum += static_cast<long double>(a(k)) * b(k);
  return static_cast<double>(sum);
}

}  // namespace numeric
}  // namespace convexrelu
