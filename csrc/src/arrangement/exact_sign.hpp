// The exact sign of a dot product, by expansions: sums of doubles of which no two overlap
// (Shewchuk, Adaptive precision floating-point arithmetic and fast robust geometric predicates,
// 1997).
#pragma once

#include <cmath>
#include <vector>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace arrangement {

class ExactSign {
 public:
  // -1, 0 or 1: the sign of a . b, exact if no product a_j b_j over- or underflows.
  int of_dot(const double* a, Index stride_a, const double* b, Index size) {
    expansion_.clear();
    for (Index j = 0; j < size; ++j) {
      const double product = a[j * stride_a] * b[j];
      if (product == 0.0) continue;
      add(std::fma(a[j * stride_a], b[j], -product));
      add(product);
    }
    if (expansion_.empty()) return 0;
    return expansion_.back() > 0.0 ? 1 : -1;
  }

 private:
  // Adds x, leaving out components that became zero, so that sums of integers stay short. The
  // components grow in magnitude: the last one has the sign of the sum.
  void add(double x) {
    std::size_t size = 0;
    for (const double component : expansion_) {
      const double sum = x + component;
      const double part = sum - x;
      const double error = (x - (sum - part)) + (component - part);
      if (error != 0.0) expansion_[size++] = error;
      x = sum;
    }
    expansion_.resize(size);
    if (x != 0.0) expansion_.push_back(x);
  }

  std::vector<double> expansion_;
};

}  // namespace arrangement
}  // namespace convexrelu
