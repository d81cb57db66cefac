// The data in a form that knows nothing of the order and the multiplicity of rows.
//
// Equal rows x of weights v_k and targets y_k are one row of weight V = sum v_k and target
// t = sum v_k y_k / V: sum v_k (f(x) - y_k)^2 = V (f(x) - t)^2 + sum v_k (y_k - t)^2. Rows of weight zero
// are left out, the others sorted.
#pragma once

#include <vector>

#include "base/watched_sort.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace global {

struct DistinctRows {
  DistinctRows(const Matrix& X_all, const Vector& y_all, const Vector& sample_weight,
               Monitor* monitor = nullptr);

  Index n_rows = 0;          // m
  Matrix X;                  // (m, d)
  Vector y;                  // (m)
  Vector weight;             // (m), or empty where all are equal
  std::vector<Index> group;  // (n) row of every sample, -1 where its weight is zero
  // The objective of the original rows is that of these plus spread_root^2.
  double spread_root = 0.0;

 private:
  static constexpr double kSmallestUnit = 1e-300;
  static constexpr Index kRows = 1024;  // between two looks at the monitor
};

}  // namespace global
}  // namespace convexrelu
