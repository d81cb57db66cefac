// Linear programs over one polyhedron {x >= 0, Q x = b}, each from where the last one ended.
//
//   Q   (m, k)   columns of any scale and any rank r <= min(m, k)
//   x   (k)      a point with x >= 0, which is given; b = Q x is defined by it
//   B, N         basis of r independent columns, and the others, Q_N = Q_B T
//   T   (r, k-r) the dictionary: x_B moves by -T t when x_N moves by t
//
// Reduction comes first: Q is replaced by r rows that span the same space, from a QR factorisation of
// its columns at unit length, column-pivoted unless they are far from dependent. What is stored and
// updated is T, r (k - r) numbers, because the polyhedra here are flat (k - r is small). It is computed
// anew from the basis every so often. Ties, which are common, are broken lexicographically (Dantzig,
// Orden & Wolfe 1955), so that no basis comes twice.
//
// One tolerance says what is zero: what columns leave of one that depends on them, entries of T, and
// coordinates x_j ||Q_j|| relative to the largest of the first point. On data with near ties all of these
// are either rounding of the ties or real; a tolerance between the two makes every basis well
// conditioned and all decisions agree, and its points fit up to the size of what was taken for zero.
//
// A value: copies are independent. docs/theory/numeric/simplex.md
#pragma once

#include <functional>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

class Simplex {
 public:
  static constexpr double kTolerance = 1e-9;

  // At the point start (k), all of whose entries are >= 0. tol < 1e-5. O(m k r). A monitor, here and below, is
  // asked every few milliseconds; a Simplex that it stopped is of no use any more.
  Simplex(ConstMatrixRef Q, ConstVectorRef start, double tol = kTolerance,
          Monitor* monitor = nullptr);

  Index size() const { return scale_.size(); }    // k
  Index rank() const { return x_basic_.size(); }  // r
  Vector point() const;                           // (k)
  Vector raw_point() const;  // (k) with the coordinates that are taken for zero but positive
  std::vector<Index> basis() const { return {order_.begin(), order_.begin() + rank()}; }
  bool at_vertex() const { return (x_other_.array() <= 0.0).all(); }
  // The least that columns leave of one of the basis, and the most that they leave of one that was
  // taken for dependent: the tolerance is between the two.
  double least_kept() const { return least_kept_; }
  double most_left() const { return most_left_; }
  // The largest coordinate of the basis that is taken for zero, in the unit of the tolerance.
  double noise() const;

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

  // At a vertex with x_j = 0: keeps it there from now on, on a face of the polyhedron. O(r (k - r))
  void close(Index variable);

  // All vertices, in the order of a walk over the bases that are feasible with the ties broken: that
  // graph is connected and every vertex has such a basis (Avis & Fukuda 1992). Complete, as every pivot
  // from a basis of the list leads to one of the list. visit gets a Simplex at each; false ends the
  // walk. Returns whether it went to its end. Throws std::invalid_argument for an unbounded
  // polyhedron, and where a basis is not feasible by more than the tolerance: there are ties that it
  // does not separate from what is real. O(r^2 k) for every basis.
  bool for_each_vertex(const std::function<bool(const Simplex&)>& visit, Monitor& monitor) const;

  // The list (v, k) of them. Throws LimitExceeded beyond max_vertices.
  Matrix vertices(Index max_vertices, Monitor& monitor) const;

  // Orthonormal basis (k, k - r) of {t : Q t = 0}.
  Matrix null_basis() const;

 private:
  Index position(Index variable) const { return position_[variable]; }
  Index basic(Index row) const { return order_[row]; }
  bool is_closed(Index variable) const { return !closed_.empty() && closed_[variable] != 0; }
  Index other(Index column) const { return order_[rank() + column]; }
  Vector point_above(double zero) const;
  double tableau_entry(Index row, Index variable) const;
  bool precedes(Index row, Index other_row, Index column) const;
  Index leaving_row(Index column) const;
  Index entering_column(const Vector& scaled_cost, bool first) const;
  void pivot(Index row, Index column, Index n_columns, Monitor* monitor);
  void set_order(std::vector<Index> order, Monitor* monitor);
  void refresh(Index n_columns, Monitor* monitor);

  double tol_;
  double least_kept_ = 1.0, most_left_ = 0.0;
  Vector scale_;  // (k) x_j = scale_j times the coordinate that is stored
  Matrix A_;      // (r, k) the reduced columns, of unit length
  Vector b_;      // (r)
  Matrix T_;
  Vector x_basic_, x_other_;     // (r), (k - r)
  std::vector<Index> order_;     // (k) the basic variables, then the others
  std::vector<Index> position_;  // its inverse
  std::vector<Index> anchor_;    // the basis whose columns decide ties
  std::vector<char> closed_;     // (k) may not enter; empty: none
  long n_updates_ = 0;           // of T since it was computed
  Index n_known_ = 0;            // columns of T, from the first, that are those of the basis
};

}  // namespace numeric
}  // namespace convexrelu
