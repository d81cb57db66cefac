// A vertex of a polytope with the fewest positive coordinates, proven: branch and bound.
//
//   u (k)     upper bounds on the coordinates over the polytope
//   node      a face: some coordinates are closed (zero), some are counted in any case, others are free
//   bound     the counted ones, and min sum x_j / u_j over the free ones, which no point of the face with
//             fewer positive free coordinates can reach
//
// The minimum is at a vertex, which is a candidate, and the free coordinate that is the largest share of
// its bound there is closed in one child and counted in the other. Every level has one free coordinate less.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/numeric/simplex.hpp"

namespace convexrelu {
inline namespace optimal_set {

class SparsestVertex {
 public:
  // The positive coordinates of the vertex at which the simplex is.
  using Count = std::function<Index(const Simplex&)>;

  // high: u. necessary (k): coordinates that are positive everywhere.
  SparsestVertex(Simplex polytope, Vector high, std::vector<char> necessary, Count count)
      : high_(std::move(high)),
        count_(std::move(count)),
        best_(polytope),
        least_(count_(polytope)) {
    open_.push_back({std::move(polytope), std::move(necessary), 0});
  }

  // To the end, or until the monitor throws: then best() and bound() say what is known. Of k coordinates a branch
  // counts or closes one more in each of its two nodes, so there is an end.
  void search(Monitor& monitor) {
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
      node.counted[static_cast<std::size_t>(branch)] = 1;
      if (closed.walk.point()(branch) > 0.0) continue;
      closed.walk.close(branch);
      open_.push_back(std::move(closed));
    }
  }

  const Simplex& best() const { return best_; }
  Index least() const { return least_; }
  // No vertex has fewer.
  Index bound() const {
    Index bound = least_;
    for (const Node& node : open_) bound = std::min(bound, node.bound);
    return bound;
  }

 private:
  struct Node {
    Simplex walk;
    std::vector<char> counted;
    Index bound;
  };
  static constexpr double kRounding = 1e-6;  // of the bound, in neurons

  // Raises the bound of the node and returns the coordinate to branch on, -1 where none is free.
  Index examine(Node& node, Monitor& monitor) {
    const Index k = high_.size();
    Vector cost(k);
    Index n_counted = 0;
    for (Index j = 0; j < k; ++j) {
      const bool is_counted = node.counted[static_cast<std::size_t>(j)] != 0;
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

  Vector high_;
  Count count_;
  Simplex best_;
  Index least_;
  std::vector<Node> open_;
};

}  // namespace optimal_set
}  // namespace convexrelu
