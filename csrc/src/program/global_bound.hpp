// What a solution that was solved further, over its own patterns, keeps of the one it was.
#pragma once

#include <cmath>

#include "convexrelu/program/solution.hpp"

namespace convexrelu {
inline namespace program {

// The bound over all patterns and, where that did not close, how the search over all patterns ended.
inline void keep_global_bound(Solution& further, const Solution& solution) {
  further.global_lower_bound = solution.global_lower_bound;
  if (!std::isnan(solution.global_lower_bound) && further.status == Status::optimal) {
    further.status = solution.status;
  }
}

}  // namespace program
}  // namespace convexrelu
