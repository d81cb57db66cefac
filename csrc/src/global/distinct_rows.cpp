#include "global/distinct_rows.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace convexrelu {
inline namespace global {

DistinctRows::DistinctRows(const Matrix& X_all, const Vector& y_all, const Vector& sample_weight,
                           Monitor* monitor)
    : group(static_cast<std::size_t>(X_all.rows()), -1) {
  const auto weight_of = [&](Index k) { return sample_weight.size() > 0 ? sample_weight(k) : 1.0; };
  std::vector<Index> order;
  for (Index k = 0; k < X_all.rows(); ++k) {
    if (weight_of(k) > 0.0) order.push_back(k);
  }
  const Matrix columns = X_all.transpose();
  const auto compare = [&](Index a, Index b) {
    for (Index j = 0; j < columns.rows(); ++j) {
      if (columns(j, a) != columns(j, b)) return columns(j, a) < columns(j, b) ? -1 : 1;
    }
    return 0;
  };
  const auto less = [&](Index a, Index b) {
    const int order_of_rows = compare(a, b);
    return order_of_rows != 0 ? order_of_rows < 0 : y_all(a) < y_all(b);
  };
  watched_sort(order.begin(), order.end(), less, monitor);
  std::vector<Index> first;
  for (const Index k : order) {
    if (first.empty() || compare(first.back(), k) != 0) first.push_back(k);
    group[k] = static_cast<Index>(first.size()) - 1;
  }

  const Index n = n_rows = static_cast<Index>(first.size());
  const double y_unit = std::max(y_all.lpNorm<Eigen::Infinity>(), kSmallestUnit);
  const double v_unit = sample_weight.size() > 0 ? sample_weight.maxCoeff() : 1.0;
  X.resize(n, X_all.cols());
  Vector total = Vector::Zero(n), mean = Vector::Zero(n);
  for (Index i = 0; i < n; ++i) {
    if (i % kRows == 0) keep_going(monitor);
    X.row(i) = X_all.row(first[i]);
  }
  for (const Index k : order) {
    const Index i = group[k];
    total(i) += weight_of(k) / v_unit;
    mean(i) += weight_of(k) / v_unit * (y_all(k) / y_unit);
  }
  mean = mean.cwiseQuotient(total);
  double spread = 0.0;
  for (const Index k : order) {
    const double deviation = y_all(k) / y_unit - mean(group[k]);
    spread += weight_of(k) / v_unit * deviation * deviation;
  }
  // Alone in its row a target is itself to the last bit.
  std::vector<Index> sizes(first.size(), 0);
  for (const Index k : order) {
    ++sizes[group[k]];
  }
  y = mean * y_unit;
  for (Index i = 0; i < n; ++i) {
    if (sizes[i] == 1) y(i) = y_all(first[i]);
  }
  spread_root = std::sqrt(spread / (2.0 * total.sum())) * y_unit;
  if (n > 0 && total.minCoeff() < total.maxCoeff()) weight = total;
}

}  // namespace global
}  // namespace convexrelu
