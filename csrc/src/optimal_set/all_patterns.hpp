// An optimum over all patterns of the data.
#pragma once

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/optimal_set/options.hpp"
#include "optimal_set/equicorrelation.hpp"

namespace convexrelu {
inline namespace optimal_set {

// The optimum of the problem to which all patterns have come that are violated or can be active. Throws
// AccuracyError where one that it has stays violated.
Optimum optimum_over_all_patterns(Optimum optimum, const OptimalSetOptions& options,
                                  Monitor& monitor);

}  // namespace optimal_set
}  // namespace convexrelu
