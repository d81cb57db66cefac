#include "numeric/pivots.hpp"

#include <Eigen/Householder>
#include <algorithm>
#include <numeric>
#include <utility>

#include "numeric/watched_dense.hpp"

namespace convexrelu {
inline namespace numeric {

PivotedQr factor_pivoted_qr(Matrix& A, double tolerance, Index most, Monitor* monitor) {
  constexpr Index kEntries = 1 << 18;  // between two looks at the monitor
  const Index m = A.rows(), n = A.cols();
  const Index stripe = std::max<Index>(kEntries / std::max<Index>(m, 1), 1);
  std::vector<Index> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), Index{0});
  Vector norms(n), reflector, room(n);
  const auto for_stripes = [&](Index first, const auto& work) {
    for (; first < n; first += stripe) {
      keep_going(monitor);
      work(first, std::min(stripe, n - first));
    }
  };
  for_stripes(0, [&](Index first, Index width) {
    norms.segment(first, width) = A.middleCols(first, width).colwise().norm();
  });
  double largest = 0.0, left = 0.0;
  Index k = 0;
  for (; k < std::min({m, n, most}); ++k) {
    Index pivot = 0;
    const double norm = norms.tail(n - k).maxCoeff(&pivot);
    if (k == 0) largest = norm;
    if (!(norm > tolerance * largest)) {
      left = norm;
      break;
    }
    pivot += k;
    A.col(k).swap(A.col(pivot));
    norms(pivot) = norms(k);
    std::swap(order[k], order[pivot]);
    const Index below = m - k - 1;
    reflector.resize(below);
    double tau = 0.0, beta = 0.0;
    A.col(k).tail(m - k).makeHouseholder(reflector, tau, beta);
    A(k, k) = beta;
    A.col(k).tail(below).setZero();
    for_stripes(k + 1, [&](Index first, Index width) {
      auto rest = A.block(k, first, m - k, width);
      rest.applyHouseholderOnTheLeft(reflector, tau, room.data());
      norms.segment(first, width) = rest.bottomRows(below).colwise().norm();
    });
  }
  return {std::move(order), k, left};
}

std::vector<Index> pivots(Matrix A, double tolerance, Index most, Monitor* monitor) {
  PivotedQr qr = factor_pivoted_qr(A, tolerance, most, monitor);
  qr.order.resize(static_cast<std::size_t>(qr.rank));
  return std::move(qr.order);
}

Vector least_squares(const Matrix& A, const Vector& b, Monitor* monitor, double slope) {
  const Index most = std::min(A.rows(), A.cols());
  const double rounding = static_cast<double>(most) * kEpsilon;
  const std::vector<Index> independent = pivots(A, rounding, most, monitor);
  const Index rank = static_cast<Index>(independent.size());
  Matrix stacked(A.rows(), rank + 1);
  stacked << A(Eigen::all, independent), b;
  factor_qr(stacked, monitor);
  auto solution = stacked.col(rank).head(rank);
  const auto R = stacked.topLeftCorner(rank, rank).triangularView<Eigen::Upper>();
  if (slope != 0.0) solution -= R.transpose().solve(Vector::Constant(rank, slope).eval());
  R.solveInPlace(solution);
  Vector x = Vector::Zero(A.cols());
  x(independent) = solution;
  return x;
}

}  // namespace numeric
}  // namespace convexrelu
