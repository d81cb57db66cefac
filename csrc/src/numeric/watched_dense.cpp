#include "numeric/watched_dense.hpp"

#include <Eigen/Eigenvalues>
#include <Eigen/Householder>
#include <algorithm>
#include <cmath>
#include <utility>

namespace convexrelu {
inline namespace numeric {

void factor_qr(MatrixRef A, Monitor* monitor) {
  constexpr Index kPanel = 48;  // what Eigen applies at once
  constexpr Index kEntries = 1 << 18;
  const Index m = A.rows(), n = A.cols(), size = std::min(m, n);
  const Index stripe = std::clamp<Index>(kEntries / std::max<Index>(m, 1), 1, 256);
  Vector taus(kPanel), room(kPanel);
  for (Index k = 0; k < size; k += kPanel) {
    const Index width = std::min(kPanel, size - k), height = m - k;
    auto panel = A.block(k, k, height, width);
    for (Index j = 0; j < width; ++j) {
      keep_going(monitor);
      double beta = 0.0;
      panel.col(j).tail(height - j).makeHouseholderInPlace(taus(j), beta);
      panel.block(j, j + 1, height - j, width - j - 1)
          .applyHouseholderOnTheLeft(panel.col(j).tail(height - j - 1), taus(j), room.data());
      panel(j, j) = beta;
    }
    const auto reflections = Eigen::householderSequence(panel, taus.head(width));
    for (Index j = k + width; j < n; j += stripe) {
      keep_going(monitor);
      A.block(k, j, height, std::min(stripe, n - j)).applyOnTheLeft(reflections.transpose());
    }
  }
}

Matrix upper_factor(Matrix A, Monitor* monitor) {
  factor_qr(A, monitor);
  return A.topRows(std::min(A.rows(), A.cols())).template triangularView<Eigen::Upper>();
}

LuFactors::LuFactors(Matrix A, Monitor* monitor)
    : factors_(std::move(A)), swaps_(static_cast<std::size_t>(factors_.rows())) {
  const Index n = factors_.rows();
  for (Index k = 0; k < n; k += kPanel) {
    const Index width = std::min(kPanel, n - k), end = k + width;
    for (Index j = k; j < end; ++j) {
      keep_going(monitor);
      Index pivot = 0;
      factors_.col(j).tail(n - j).cwiseAbs().maxCoeff(&pivot);
      pivot += j;
      swaps_[j] = pivot;
      if (pivot != j) factors_.row(j).swap(factors_.row(pivot));
      auto below = factors_.col(j).tail(n - j - 1);
      below /= factors_(j, j);
      factors_.block(j + 1, j + 1, n - j - 1, end - j - 1).noalias() -=
          below * factors_.row(j).segment(j + 1, end - j - 1);
    }
    const auto L = factors_.block(k, k, width, width).triangularView<Eigen::UnitLower>();
    for (Index j = end; j < n; j += kStripe) {
      keep_going(monitor);
      auto stripe = factors_.middleCols(j, std::min(kStripe, n - j));
      auto top = stripe.middleRows(k, width);
      L.solveInPlace(top);
      stripe.bottomRows(n - end).noalias() -= factors_.block(end, k, n - end, width) * top;
    }
  }
}

void LuFactors::solve_in_place(MatrixRef B, Monitor* monitor) const {
  for (Index j = 0; j < B.cols(); j += kStripe) {
    keep_going(monitor);
    auto stripe = B.middleCols(j, std::min(kStripe, B.cols() - j));
    for (Index i = 0; i < B.rows(); ++i) {
      if (swaps_[i] != i) stripe.row(i).swap(stripe.row(swaps_[i]));
    }
    factors_.triangularView<Eigen::UnitLower>().solveInPlace(stripe);
    factors_.triangularView<Eigen::Upper>().solveInPlace(stripe);
  }
}

Vector symmetric_eigenvalues(Matrix A, Matrix* V, Monitor* monitor) {
  constexpr Index kStepsPerValue = 30;  // two or three do
  const Index n = A.rows();
  Vector values(n), beside(std::max<Index>(n - 1, 0)), taus(n), p(n), room(n);
  for (Index k = 0; k + 1 < n; ++k) {
    keep_going(monitor);
    const Index rest = n - k - 1;
    auto v = A.col(k).tail(rest);
    v.makeHouseholderInPlace(taus(k), beside(k));
    v(0) = 1.0;
    const auto lower = A.bottomRightCorner(rest, rest).template selfadjointView<Eigen::Lower>();
    auto q = p.head(rest);
    q.noalias() = lower * (taus(k) * v);
    q -= (0.5 * taus(k) * q.dot(v)) * v;
    A.bottomRightCorner(rest, rest).template selfadjointView<Eigen::Lower>().rankUpdate(v, q, -1.0);
  }
  values = A.diagonal();
  double* vectors = nullptr;
  if (V != nullptr) {
    V->setIdentity(n, n);
    for (Index k = n - 2; k >= 0; --k) {
      keep_going(monitor);
      const Index rest = n - k - 1;
      V->bottomRightCorner(rest, rest)
          .applyHouseholderOnTheLeft(A.col(k).tail(rest - 1), taus(k), room.data());
    }
    vectors = V->data();
  }
  const auto is_split = [&](Index k) {
    return std::abs(beside(k)) <= kEpsilon * (std::abs(values(k)) + std::abs(values(k + 1)));
  };
  Index last = n - 1;
  for (Index step = 0; last > 0 && step < kStepsPerValue * n; ++step) {
    keep_going(monitor);
    while (last > 0 && is_split(last - 1)) --last;
    if (last == 0) break;
    Index first = last - 1;
    while (first > 0 && !is_split(first - 1)) --first;
    if (first > 0) beside(first - 1) = 0.0;
    Eigen::internal::tridiagonal_qr_step<Eigen::ColMajor>(values.data(), beside.data(), first, last,
                                                          vectors, n);
  }
  for (Index i = 0; i + 1 < n; ++i) {
    Index least = 0;
    values.tail(n - i).minCoeff(&least);
    if (least == 0) continue;
    std::swap(values(i), values(i + least));
    if (V != nullptr) V->col(i).swap(V->col(i + least));
  }
  return values;
}

}  // namespace numeric
}  // namespace convexrelu
