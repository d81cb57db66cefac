#include "optimal_set/sparsest_vertex.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace convexrelu {
inline namespace optimal_set {

SparsestVertex::SparsestVertex(Simplex polytope, Vector high, std::vector<char> necessary,
                               Count count)
    : high_(std::move(high)), count_(std::move(count)), best_(polytope), least_(count_(polytope)) {
  open_.push_back({std::move(polytope), std::move(necessary), 0});
}

void SparsestVertex::search(Monitor& monitor) {
  while (!open_.empty()) {
    monitor.check();
    Node& node = open_.back();  // stays on the list while it is worked on, for bound()
    if (node.bound >= least_) {
      open_.pop_back();
      continue;
    }
    const Index branch = examine(node, monitor);
    if (node.bound >= least_ || branch < 0) {
      open_.pop_back();
      continue;
    }
    Node closed = node;
    closed.walk.minimize(Vector::Unit(high_.size(), branch), &monitor);
    node.counted[branch] = 1;
    if (closed.walk.point()(branch) > 0.0) continue;
    closed.walk.close(branch);
    open_.push_back(std::move(closed));
  }
}

Index SparsestVertex::bound() const {
  Index bound = least_;
  for (const Node& node : open_) bound = std::min(bound, node.bound);
  return bound;
}

Index SparsestVertex::examine(Node& node, Monitor& monitor) {
  const Index k = high_.size();
  Vector cost(k);
  Index n_counted = 0;
  for (Index j = 0; j < k; ++j) {
    const bool is_counted = node.counted[j] != 0;
    n_counted += is_counted ? 1 : 0;
    cost(j) = is_counted || !(high_(j) > 0.0) ? 0.0 : 1.0 / high_(j);
  }
  node.walk.minimize(cost, &monitor);
  const Vector x = node.walk.point();
  const Index count = count_(node.walk);
  if (count < least_) {
    least_ = count;
    best_ = node.walk;
  }
  const double more = std::ceil(cost.dot(x) - kRounding);
  node.bound = std::max(node.bound, n_counted + static_cast<Index>(std::max(more, 0.0)));
  Index branch = -1;
  double largest = 0.0;
  for (Index j = 0; j < k; ++j) {
    if (!(cost(j) * x(j) > largest)) continue;
    branch = j;
    largest = cost(j) * x(j);
  }
  return branch;
}

}  // namespace optimal_set
}  // namespace convexrelu
