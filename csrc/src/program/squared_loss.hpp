// l = (f - y)^2/2; g = y - f, L = 1: the variable is g, and o is taken from y. The weights are all 1: those of
// the samples are in the rows of the problem.
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>

#include "convexrelu/program/loss.hpp"
#include "numeric/extended_dot.hpp"

namespace convexrelu {
inline namespace program {

class SquaredLoss final : public Loss {
 public:
  explicit SquaredLoss(Vector y)
      : y_(std::move(y)), size_(Vector::Zero(y_.size())), n_(static_cast<double>(y_.size())) {}

  Index n_samples() const override { return y_.size(); }
  void add_offset(const Vector& offset) override {
    y_ -= offset;
    size_ += offset.cwiseAbs();
    floor_ = (2.0 * kEpsilon * size_).squaredNorm() / (2.0 * n_);
  }
  bool is_squared() const override { return true; }
  double largest_bend() const override { return 1.0; }

  void move_to(const Vector& u, FitPoint& point) const override {
    point.u = u;
    point.g = y_ - u;
  }
  void step(const FitPoint& from, double length, const Vector&, const Vector& dg,
            FitPoint& to) const override {
    to.g = from.g + length * dg;
    to.u = y_ - to.g;
  }
  double value(const FitPoint& point) const override {
    return above_floor(point.g.squaredNorm() / (2.0 * n_));
  }
  double exact_value(const FitPoint& point) const override {
    return above_floor(extended_dot(point.g, point.g) / (2.0 * n_));
  }
  double conjugate(const FitPoint& point) const override {
    return point.g.squaredNorm() / (2.0 * n_) - y_.dot(point.g) / n_;
  }
  void curvature(const Vector& u, Vector& L) const override { L.setOnes(u.size()); }
  Vector curvature_scale() const override { return Vector::Ones(y_.size()); }
  double distance(const FitPoint&, const Vector& step) const override { return step.norm(); }
  void clip(Vector&) const override {}
  double dual_value(const Vector& g, double limit) const override {
    const double gg = extended_dot(g, g);
    const double yg = extended_dot(y_, g);
    const double kappa = gg > 0.0 ? std::clamp(yg / gg, -limit, limit) : 0.0;
    return above_floor(kappa * yg / n_ - kappa * kappa * gg / (2.0 * n_));
  }
  void fits(const Vector& g, double, Vector& low, Vector& high) const override {
    low = high = y_ - g;
  }
  double best_shift(const FitPoint& point, const Vector& column) const override {
    return column.dot(point.g) / column.squaredNorm();
  }

 private:
  // What the rounding of o alone makes of a perfect fit is 0.
  double above_floor(double value) const { return value > floor_ ? value : 0.0; }

  Vector y_;
  Vector size_;  // of the parts of o, which may cancel
  double n_;
  double floor_ = 0.0;
};

}  // namespace program
}  // namespace convexrelu
