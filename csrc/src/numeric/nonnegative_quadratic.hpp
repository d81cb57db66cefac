// minimise 1/2 a'G a - b'a over a >= 0, G (m, m) symmetric positive definite: the active-set method of
// Lawson & Hanson (1974) on normal equations, from a guess, with updates of one Cholesky factor.
#pragma once

#include <Eigen/Jacobi>
#include <algorithm>
#include <cmath>
#include <vector>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

class NonnegativeQuadratic {
 public:
  NonnegativeQuadratic(const Matrix& G, const Vector& b)
      : G_(G), b_(b), factor_(G.rows(), G.rows()) {}

  // start (m) >= 0; its support is the first guess. O(m^3) for the guess, O(m^2) for every variable
  // that enters or leaves.
  Vector solve(const Vector& start) {
    const Index m = b_.size();
    Vector a = start;
    for (Index j = 0; j < m; ++j) {
      if (a(j) > 0.0 && !enter(j)) a(j) = 0.0;
    }
    const double tolerance = 1e-13 * b_.lpNorm<Eigen::Infinity>();
    std::vector<char> refused(static_cast<std::size_t>(m), 0);
    for (Index step = 0; step < kMaxSteps * (m + 1); ++step) {
      descend(a);
      Vector gradient = b_ - G_ * a;
      for (const Index j : passive_) gradient(j) = 0.0;
      for (Index j = 0; j < m; ++j) {
        if (refused[static_cast<std::size_t>(j)]) gradient(j) = 0.0;
      }
      Index best = 0;
      if (m == 0 || !(gradient.maxCoeff(&best) > tolerance)) break;
      // One that cannot rise, in spite of its gradient, is there to within rounding.
      if (!enter(best) || !(passive_solution()(size() - 1) > 0.0)) {
        if (size() > 0 && passive_.back() == best) leave(size() - 1);
        refused[static_cast<std::size_t>(best)] = 1;
      }
    }
    return a;
  }

 private:
  static constexpr Index kMaxSteps = 3;
  static constexpr double kDependent = 1e-13;

  Index size() const { return static_cast<Index>(passive_.size()); }

  // The minimum over the passive variables, by steps to the first that reaches zero: one less each time, but
  // the last.
  void descend(Vector& a) {
    while (size() > 0) {
      const Vector target = passive_solution();
      double step = 1.0;
      for (Index i = 0; i < size(); ++i) {
        const double from = a(passive_[static_cast<std::size_t>(i)]);
        if (target(i) <= 0.0) step = std::min(step, from / (from - target(i)));
      }
      for (Index i = 0; i < size(); ++i) {
        double& value = a(passive_[static_cast<std::size_t>(i)]);
        value += step * (target(i) - value);
      }
      if (step == 1.0 && target.minCoeff() > 0.0) return;
      bool left = false;
      for (Index i = size() - 1; i >= 0; --i) {
        double& value = a(passive_[static_cast<std::size_t>(i)]);
        if (target(i) > 0.0 || value > kEpsilon * a.maxCoeff()) continue;
        value = 0.0;
        leave(i);
        left = true;
      }
      if (!left) return;
    }
  }

  Vector passive_solution() const {
    Vector x(size());
    for (Index i = 0; i < size(); ++i) x(i) = b_(passive_[static_cast<std::size_t>(i)]);
    const auto R = factor_.topLeftCorner(size(), size()).template triangularView<Eigen::Upper>();
    R.transpose().solveInPlace(x);
    R.solveInPlace(x);
    return x;
  }

  // False where column j depends on the passive ones.
  bool enter(Index j) {
    const Index k = size();
    Vector column(k);
    for (Index i = 0; i < k; ++i) column(i) = G_(passive_[static_cast<std::size_t>(i)], j);
    factor_.topLeftCorner(k, k).template triangularView<Eigen::Upper>().transpose().solveInPlace(
        column);
    const double pivot = G_(j, j) - column.squaredNorm();
    if (!(pivot > kDependent * G_(j, j))) return false;
    factor_.col(k).head(k) = column;
    factor_(k, k) = std::sqrt(pivot);
    passive_.push_back(j);
    return true;
  }

  // Takes the variable at a position out: its column goes, rotations restore the triangle.
  void leave(Index position) {
    const Index k = size() - 1;
    for (Index i = position; i < k; ++i)
      factor_.col(i).head(i + 2) = factor_.col(i + 1).head(i + 2);
    for (Index i = position; i < k; ++i) {
      Eigen::JacobiRotation<double> rotation;
      double length = 0.0;
      rotation.makeGivens(factor_(i, i), factor_(i + 1, i), &length);
      for (Index j = i; j < k; ++j) {
        const double upper = factor_(i, j), lower = factor_(i + 1, j);
        factor_(i, j) = rotation.c() * upper - rotation.s() * lower;
        factor_(i + 1, j) = rotation.s() * upper + rotation.c() * lower;
      }
    }
    passive_.erase(passive_.begin() + position);
  }

  const Matrix& G_;
  const Vector& b_;
  Matrix factor_;  // upper triangular R with R'R = G over the passive variables, in their order
  std::vector<Index> passive_;
};

}  // namespace numeric
}  // namespace convexrelu
