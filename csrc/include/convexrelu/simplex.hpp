// Linear programs over one polyhedron {x >= 0, Q x = b}, each from where the last one ended.
//
//   Q   (m, k)   columns of any scale and any rank r <= min(m, k)
//   x   (k)      a point with x >= 0, which is given; b = Q x is defined by it
//   B, N         basis of r independent columns, and the others, Q_N = Q_B T
//   T   (r, k-r) the dictionary: x_B moves by -T t when x_N moves by t
//
// Reduction comes first: Q is replaced by r rows that span the same space, from a QR factorisation of
// its columns at unit length, column-pivoted unless they are far from dependent; a column depends on
// others when what they leave of it is at most kDependent of it. What is stored and updated is T, r (k - r) numbers, because the polyhedra here
// are flat (k - r is small). It is computed anew from the basis every so often. Ties, which are
// common, are broken lexicographically (Dantzig, Orden & Wolfe 1955), so that no basis comes twice.
//
// A value: copies are independent. docs/theory/simplex.md
#pragma once

#include <vector>

#include "convexrelu/monitor.hpp"
#include "convexrelu/types.hpp"

namespace convexrelu {

class Simplex {
 public:
  static constexpr double kDependent = 1e-9;
  // Coordinates x_j ||Q_j|| up to this, relative to the largest of the first point, are zero.
  static constexpr double kZero = 1e-10;

  // At the point start (k), all of whose entries are >= 0. O(m k r). A monitor, here and below, is asked
  // every few milliseconds; a Simplex that it stopped is of no use any more.
  Simplex(ConstMatrixRef Q, ConstVectorRef start, Monitor* monitor = nullptr);

  Index size() const { return scale_.size(); }    // k
  Index rank() const { return x_basic_.size(); }  // r
  Vector point() const;                           // (k)
  std::vector<Index> basis() const { return {order_.begin(), order_.begin() + rank()}; }
  bool at_vertex() const { return (x_other_.array() <= 0.0).all(); }

  // One step towards a vertex: moves along a dependency of the columns that involves a positive
  // x_j, j in N, until a coordinate is zero, and returns it; -1 at a vertex. What is zero stays so:
  // nothing moves where one of B that is zero would, and j takes its place. Of the two ways it goes the one
  // along which cost.x does not rise; without a cost, the one on which x_j falls. cost (k) > 0, or
  // empty. O(r (k - r))
  Index reduce(const Vector& cost = Vector(), Monitor* monitor = nullptr);

  // reduce() until at a vertex.
  void move_to_vertex(Monitor* monitor = nullptr);

  // Moves to a vertex that minimises cost.x; false if there is none because cost.x is unbounded
  // below.
  bool minimize(ConstVectorRef cost, Monitor* monitor = nullptr);

  // All vertices (v, k), in the order of a walk over the bases that are feasible with the ties
  // broken: that graph is connected and every vertex has such a basis (Avis & Fukuda 1992).
  // Complete, as every pivot from a basis of the list leads to one of the list. Throws
  // LimitExceeded beyond max_vertices, std::invalid_argument for an unbounded polyhedron. O(r^2 k)
  // for every basis.
  Matrix vertices(Index max_vertices, Monitor& monitor) const;

  // Orthonormal basis (k, k - r) of {t : Q t = 0}.
  Matrix null_basis() const;

 private:
  Index position(Index variable) const { return position_[static_cast<std::size_t>(variable)]; }
  Index basic(Index row) const { return order_[static_cast<std::size_t>(row)]; }
  Index other(Index column) const { return order_[static_cast<std::size_t>(rank() + column)]; }
  double tableau_entry(Index row, Index variable) const;
  bool precedes(Index row, Index other_row, Index column) const;
  Index leaving_row(Index column) const;
  Index entering_column(const Vector& scaled_cost, bool first) const;
  void pivot(Index row, Index column, Index n_columns, Monitor* monitor);
  void set_order(std::vector<Index> order, Monitor* monitor);
  void refresh(Index n_columns, Monitor* monitor);

  Vector scale_;  // (k) x_j = scale_j times the coordinate that is stored
  Matrix A_;      // (r, k) the reduced columns, of unit length
  Vector b_;      // (r)
  Matrix T_;
  Vector x_basic_, x_other_;     // (r), (k - r)
  std::vector<Index> order_;     // (k) the basic variables, then the others
  std::vector<Index> position_;  // its inverse
  std::vector<Index> anchor_;    // the basis whose columns decide ties
  long n_updates_ = 0;           // of T since it was computed
  Index n_known_ = 0;            // columns of T, from the first, that are those of the basis
};

}  // namespace convexrelu
