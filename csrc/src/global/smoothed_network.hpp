// A network with rounded kinks: (z)_+ -> (z + E)^2/(4E) on |z| <= E, E_kj = width_j ||x_k||.
//
// The objective is differentiable where no w_j vanishes. Of the curvature of the kinks only that of convex
// ones, s_j r_k < 0, is counted; the others are walked through, into the next pattern.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "global/training_problem.hpp"

namespace convexrelu {
inline namespace global {

class SmoothedNetwork {
 public:
  struct Point {
    Matrix W;         // (d, m)
    double value;     // of the smoothed objective
    Matrix slope;     // (n, m) of the smoothed ReLU, in [0, 1]
    Vector residual;  // (n) r
    Vector norm;      // (m) of the neurons
  };

  // widths (m) > 0 and signs (m) must outlive it.
  SmoothedNetwork(const TrainingProblem& problem, const std::vector<int>& signs, Vector widths)
      : problem_(problem), signs_(signs), widths_(std::move(widths)) {}

  const TrainingProblem& problem() const { return problem_; }
  double sign(Index j) const { return signs_[j]; }

  Point at(Matrix W) const;               // 2 n d m flops
  Matrix gradient(const Point& p) const;  // (d, m), 2 n d m flops

  // Calls use(k, weight) for the convex kinks of neuron j within `reach` half-widths among some rows.
  // Inside the width the weight is the curvature, |r_k|/(2 n E). Outside, where the curvature is zero until the
  // step comes there, it is half of |r_k|/(2 n |z|), with which the quadratic model bounds |z| from above for steps
  // of any length (Lange 2016, on majorisation); the half is measured to lead further.
  template <typename Use>
  void for_kinks(const Point& p, Index j, Index first, Index count, double reach,
                 const Use& use) const {
    const Vector z = problem_.X.middleRows(first, count) * p.W.col(j);
    for (Index k = first; k < first + count; ++k) {
      const double pull = -sign(j) * p.residual(k);
      const double distance = std::abs(z(k - first)), E = half_width(j, k);
      if (!(pull > 0.0) || !(distance < reach * E)) continue;
      const double share = distance < E ? 1.0 : kBeyond;
      use(k, share * pull / (2.0 * problem_.n * std::max(E, distance)));
    }
  }

 private:
  static constexpr double kSmallestWidth = 1e-280;  // of the kinks of zero rows
  static constexpr double kBeyond = 0.5;

  double half_width(Index j, Index k) const {
    return std::max(widths_(j) * problem_.row_norms(k), kSmallestWidth);
  }

  const TrainingProblem& problem_;
  const std::vector<int>& signs_;
  const Vector widths_;
};

}  // namespace global
}  // namespace convexrelu
