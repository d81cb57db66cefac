// What a network is grown for.
//
//   X (n, d), y (n)      data, in units of the order of 1
//   W (d, m), s (m)      w_j = |a_j| W_j and the sign of a_j: the network is f = sum_j s_j (X w_j)_+
//   objective            loss + lam sum_j ||w_j||,   loss = 1/(2n) || r ||^2,   r = y - f
//
// The loss is known here and nowhere else in growth but in the fit of amplitudes: its value, minus its derivative by
// n f_k, which is r_k, and its second derivative, which is 1 (and the scale of the Gauss-Newton term).
#pragma once

#include <algorithm>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace global {

struct TrainingProblem {
  // X and y must outlive it.
  TrainingProblem(const Matrix& X_, const Vector& y_, double lam_, int n_threads_,
                  Monitor& monitor_)
      : X(X_),
        y(y_),
        lam(lam_),
        n(static_cast<double>(X_.rows())),
        n_threads(n_threads_),
        monitor(monitor_),
        row_norms(X_.rowwise().norm()) {}

  double loss(const Vector& residual) const { return residual.squaredNorm() / (2.0 * n); }

  // Calls use(first, count) on stripes of rows for products of X with so many columns.
  template <typename Use>
  void for_rows(Index n_columns, const Use& use) const {
    const Index rows = X.rows(), work = std::max<Index>(2 * X.cols() * n_columns, 1);
    const Index stripe = std::clamp<Index>(kProduct / work, 64, std::max<Index>(rows, 64));
    for (Index first = 0; first < rows; first += stripe) {
      monitor.check();
      use(first, std::min(stripe, rows - first));
    }
  }

  const Matrix& X;
  const Vector& y;
  const double lam, n;
  const int n_threads;
  Monitor& monitor;
  const Vector row_norms;

 private:
  static constexpr Index kProduct = 100'000'000;  // flops between two looks at the monitor
};

}  // namespace global
}  // namespace convexrelu
