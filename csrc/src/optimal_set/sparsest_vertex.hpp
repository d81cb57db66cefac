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

#include <functional>
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
  SparsestVertex(Simplex polytope, Vector high, std::vector<char> necessary, Count count);

  // To the end, or until the monitor throws: then best() and bound() say what is known. Of k coordinates a branch
  // counts or closes one more in each of its two nodes, so there is an end.
  void search(Monitor& monitor);

  const Simplex& best() const { return best_; }
  Index least() const { return least_; }
  // No vertex has fewer.
  Index bound() const;

 private:
  struct Node {
    Simplex walk;
    std::vector<char> counted;
    Index bound;
  };
  static constexpr double kRounding = 1e-6;  // of the bound, in neurons

  // Raises the bound of the node and returns the coordinate to branch on, -1 where none is free.
  Index examine(Node& node, Monitor& monitor);

  Vector high_;
  Count count_;
  Simplex best_;
  Index least_;
  std::vector<Node> open_;
};

}  // namespace optimal_set
}  // namespace convexrelu
