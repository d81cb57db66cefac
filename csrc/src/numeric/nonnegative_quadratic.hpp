// minimise 1/2 a'G a - b'a over a >= 0, G (m, m) symmetric positive definite: the active-set method of
// Lawson & Hanson (1974) on normal equations, from a guess, with updates of one Cholesky factor.
#pragma once

#include <vector>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

class NonnegativeQuadratic {
 public:
  NonnegativeQuadratic(const Matrix& G, const Vector& b);

  // start (m) >= 0; its support is the first guess. O(m^3) for the guess, O(m^2) for every variable
  // that enters or leaves.
  Vector solve(const Vector& start);

 private:
  static constexpr Index kMaxSteps = 3;
  static constexpr double kDependent = 1e-13;

  Index size() const { return static_cast<Index>(passive_.size()); }

  // The minimum over the passive variables, by steps to the first that reaches zero: one less each time, but
  // the last.
  void descend(Vector& a);

  Vector passive_solution() const;

  // False where column j depends on the passive ones.
  bool enter(Index j);

  // Takes the variable at a position out: its column goes, rotations restore the triangle.
  void leave(Index position);

  const Matrix& G_;
  const Vector& b_;
  Matrix factor_;  // upper triangular R with R'R = G over the passive variables, in their order
  std::vector<Index> passive_;
};

}  // namespace numeric
}  // namespace convexrelu
