#include "numeric/nonnegative_quadratic.hpp"

#include <Eigen/Jacobi>
#include <algorithm>
#include <cmath>

namespace convexrelu {
inline namespace numeric {

NonnegativeQuadratic::NonnegativeQuadratic(const Matrix& G, const Vector& b)
    : G_(G), b_(b), factor_(G.rows(), G.rows()) {}

Vector NonnegativeQuadratic::solve(const Vector& start) {
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
      if (refused[j]) gradient(j) = 0.0;
    }
    Index best = 0;
    if (m == 0 || !(gradient.maxCoeff(&best) > tolerance)) break;
    // One that cannot rise, in spite of its gradient, is there to within rounding.
    if (!enter(best) || !(passive_solution()(size() - 1) > 0.0)) {
      if (size() > 0 && passive_.back() == best) leave(size() - 1);
      refused[best] = 1;
    }
  }
  return a;
}

void NonnegativeQuadratic::descend(Vector& a) {
  while (size() > 0) {
    const Vector target = passive_solution();
    double step = 1.0;
    for (Index i = 0; i < size(); ++i) {
      const double from = a(passive_[i]);
      if (target(i) <= 0.0) step = std::min(step, from / (from - target(i)));
    }
    for (Index i = 0; i < size(); ++i) {
      double& value = a(passive_[i]);
      value += step * (target(i) - value);
    }
    if (step == 1.0 && target.minCoeff() > 0.0) return;
    bool left = false;
    for (Index i = size() - 1; i >= 0; --i) {
      double& value = a(passive_[i]);
      if (target(i) > 0.0 || value > kEpsilon * a.maxCoeff()) continue;
      value = 0.0;
      leave(i);
      left = true;
    }
    if (!left) return;
  }
}

Vector NonnegativeQuadratic::passive_solution() const {
  Vector x(size());
  for (Index i = 0; i < size(); ++i) x(i) = b_(passive_[i]);
  const auto R = factor_.topLeftCorner(size(), size()).template triangularView<Eigen::Upper>();
  R.transpose().solveInPlace(x);
  R.solveInPlace(x);
  return x;
}

bool NonnegativeQuadratic::enter(Index j) {
  const Index k = size();
  Vector column(k);
  for (Index i = 0; i < k; ++i) column(i) = G_(passive_[i], j);
  factor_.topLeftCorner(k, k).template triangularView<Eigen::Upper>().transpose().solveInPlace(
      column);
  const double pivot = G_(j, j) - column.squaredNorm();
  if (!(pivot > kDependent * G_(j, j))) return false;
  factor_.col(k).head(k) = column;
  factor_(k, k) = std::sqrt(pivot);
  passive_.push_back(j);
  return true;
}

void NonnegativeQuadratic::leave(Index position) {
  const Index k = size() - 1;
  for (Index i = position; i < k; ++i) factor_.col(i).head(i + 2) = factor_.col(i + 1).head(i + 2);
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

}  // namespace numeric
}  // namespace convexrelu
