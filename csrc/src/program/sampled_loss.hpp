// A loss whose samples are each described by a value `Sample` (logistic_loss.hpp is the example):
//
//   value(f) = l, descent(f) = -l', bend(f) = l'', bend_scale(f), distance(f, x) = l(f + x) - l(f) - l'(f) x,
//   lowest(), highest(): the domain of t = -l',  conjugate(t) = l*(-t),  fit(t): an f with -l'(f) = t
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "convexrelu/program/loss.hpp"

namespace convexrelu {
inline namespace program {

template <typename Sample>
class SampledLoss final : public Loss {
 public:
  // nu (n) > 0.
  SampledLoss(std::vector<Sample> samples, Vector nu)
      : samples_(std::move(samples)), nu_(std::move(nu)), o_(Vector::Zero(nu_.size())), size_(o_) {}

  Index n_samples() const override { return nu_.size(); }
  void add_offset(const Vector& offset) override {
    o_ += offset;
    size_ += offset.cwiseAbs();
  }
  bool is_strictly_convex() const override { return Sample::kStrictlyConvex; }
  double largest_bend() const override { return Sample::kLargestBend; }

  void move_to(const Vector& u, FitPoint& point) const override {
    point.u = u;
    descent(u, point.g);
  }
  double value(const FitPoint& point) const override {
    const double value =
        mean([&](Index k) { return nu_(k) * sample(k).value(o_(k) + point.u(k)); });
    return value > kTiny || value > rounding(point.u) ? value : 0.0;
  }
  double conjugate(const FitPoint& point) const override {
    return mean([&](Index k) {
      return -(point.u(k) * point.g(k) + nu_(k) * sample(k).value(o_(k) + point.u(k)));
    });
  }
  void curvature(const Vector& u, Vector& L) const override {
    L.resize(u.size());
    for (Index k = 0; k < u.size(); ++k) L(k) = nu_(k) * sample(k).bend(o_(k) + u(k));
  }
  Vector curvature_scale() const override {
    Vector scale(nu_.size());
    for (Index k = 0; k < nu_.size(); ++k) scale(k) = nu_(k) * sample(k).bend_scale(o_(k));
    return scale;
  }
  double distance(const FitPoint& point, const Vector& step) const override {
    const double half = mean([&](Index k) {
      return nu_(k) * std::max(0.0, sample(k).distance(o_(k) + point.u(k), step(k)));
    });
    return std::sqrt(2.0 * static_cast<double>(n_samples()) * half);
  }

  void clip(Vector& g) const override {
    for (Index k = 0; k < g.size(); ++k) {
      g(k) = std::clamp(g(k), nu_(k) * sample(k).lowest(), nu_(k) * sample(k).highest());
    }
  }
  // D is concave in kappa, of slope g'u/n at the u with g(u) = kappa g: it rises up to the limit nearly always.
  double dual_value(const Vector& g, double limit) const override {
    const double at_limit = dual_at(g, limit);
    if (!(slope(g, limit) < 0.0)) return at_limit;
    constexpr int kHalvings = 40;
    double low = 0.0, high = limit;
    for (int i = 0; i < kHalvings; ++i) {
      const double middle = 0.5 * (low + high);
      (slope(g, middle) < 0.0 ? high : low) = middle;
    }
    return std::max(at_limit, dual_at(g, low));
  }
  void fits(const Vector& g, double tol, Vector& low, Vector& high) const override {
    low.resize(g.size());
    high.resize(g.size());
    for (Index k = 0; k < g.size(); ++k) {
      const double t = g(k) / nu_(k), near = tol * (1.0 + std::abs(t));
      low(k) = high(k) = sample(k).fit(t) - o_(k);
      if (Sample::kStrictlyConvex) continue;
      if (t >= sample(k).highest() - near) low(k) = -kInfinity;
      if (t <= sample(k).lowest() + near) high(k) = kInfinity;
    }
  }

  // Newton's method, and bisection where it leaves the bracket. 60 doublings reach beyond what e^f can hold, and
  // 200 halvings beyond the digits of a double.
  double best_shift(const FitPoint& point, const Vector& column) const override {
    constexpr int kDoublings = 60, kSteps = 200;
    const auto rise = [&](double b) {
      return mean([&](Index k) {
        return column(k) * nu_(k) * sample(k).descent(o_(k) + point.u(k) + b * column(k));
      });
    };
    const auto bend = [&](double b) {
      return mean([&](Index k) {
        return column(k) * column(k) * nu_(k) * sample(k).bend(o_(k) + point.u(k) + b * column(k));
      });
    };
    double low = -1.0, high = 1.0;
    for (int i = 0; i < kDoublings && rise(low) < 0.0; ++i) low *= 2.0;
    for (int i = 0; i < kDoublings && rise(high) > 0.0; ++i) high *= 2.0;
    double b = 0.0;
    for (int i = 0; i < kSteps; ++i) {
      const double here = rise(b);
      (here > 0.0 ? low : high) = b;
      const double newton = b + here / bend(b);
      const double next = newton > low && newton < high ? newton : 0.5 * (low + high);
      if (here == 0.0 || std::abs(next - b) <= kEpsilon * std::abs(b)) break;
      b = next;
    }
    return b;
  }

 private:
  const Sample& sample(Index k) const { return samples_[k]; }

  void descent(const Vector& u, Vector& g) const {
    g.resize(u.size());
    for (Index k = 0; k < u.size(); ++k) g(k) = nu_(k) * sample(k).descent(o_(k) + u(k));
  }

  template <typename Term>
  double mean(const Term& term) const {
    long double sum = 0.0L;
    for (Index k = 0; k < nu_.size(); ++k) sum += term(k);
    return static_cast<double>(sum) / static_cast<double>(nu_.size());
  }

  double dual_at(const Vector& g, double kappa) const {
    const double value = -mean([&](Index k) {
      return nu_(k) * sample(k).conjugate(kappa * g(k) / nu_(k)) + o_(k) * kappa * g(k);
    });
    if (std::abs(value) > kTiny) return value;
    const double cancelled = mean([&](Index k) { return std::abs(size_(k) * g(k)); });
    const double floor = std::max(4.0 * kEpsilon * cancelled, rounding(Vector::Zero(g.size())));
    return value > floor ? value : std::min(value, 0.0);
  }

  // Values up to this may be nothing but rounding: what that of f makes of a perfect fit.
  static constexpr double kTiny = 1e-24;
  double rounding(const Vector& u) const {
    return mean([&](Index k) {
      const double error = 2.0 * kEpsilon * (size_(k) + std::abs(u(k)));
      return 0.5 * nu_(k) * sample(k).bend(o_(k) + u(k)) * error * error;
    });
  }
  double slope(const Vector& g, double kappa) const {
    return mean([&](Index k) {
      return g(k) == 0.0 ? 0.0 : g(k) * (sample(k).fit(kappa * g(k) / nu_(k)) - o_(k));
    });
  }

  std::vector<Sample> samples_;
  Vector nu_, o_;
  Vector size_;  // of the parts of o, which may cancel
};

}  // namespace program
}  // namespace convexrelu
