// What is asked of an optimal set.
#pragma once

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace optimal_set {

struct OptimalSetOptions {
  double tol = 1e-9;  // blocks with ||q_b|| >= lam (1 - tol) are in E
  // Over all patterns of the data, relu: those that the problem lacks and that can be active join it.
  bool all_patterns = false;
  int n_threads = 1;
};

}  // namespace optimal_set
}  // namespace convexrelu
