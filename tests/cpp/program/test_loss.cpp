// Each loss against differences and the inequality of Fenchel & Young.
#include <algorithm>
#include <cmath>
#include <vector>

#include "check.hpp"
#include "convexrelu/program/loss.hpp"
#include "convexrelu/program/make_loss.hpp"
#include "random_matrix.hpp"

namespace convexrelu {
namespace {

struct Example {
  LossChoice choice;
  Vector y, nu, offset, u;

  std::unique_ptr<Loss> loss() const {
    auto result = make_loss(choice, y, nu);
    result->add_offset(offset);
    return result;
  }
};

double uniform(Rng& rng, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(rng);
}

// Every kind of target that a loss takes; weights are 1 for the squared one.
std::vector<Example> examples() {
  std::vector<Example> result;
  Rng rng(5);
  const Index n = 9;
  for (const LossKind kind : {LossKind::squared, LossKind::logistic, LossKind::poisson,
                              LossKind::huber, LossKind::squared_hinge}) {
    for (int variant = 0; variant < 6; ++variant) {
      Example e{{kind, 0.7}, Vector(n), Vector::Ones(n), Vector(n), Vector(n)};
      for (Index k = 0; k < n; ++k) {
        const bool bit = rng() % 2 == 0;
        switch (kind) {
          case LossKind::logistic:
            e.y(k) = variant % 2 == 0 ? bit : uniform(rng, 0.01, 0.99);
            break;
          case LossKind::poisson:
            e.y(k) = variant % 2 == 0 ? static_cast<double>(rng() % 4) : uniform(rng, 0.1, 300);
            break;
          case LossKind::squared_hinge:
            e.y(k) = bit ? 1.0 : -1.0;
            break;
          default:
            e.y(k) = uniform(rng, -2, 2);
        }
        if (kind != LossKind::squared) e.nu(k) = uniform(rng, 0.2, 2.0);
        e.offset(k) = variant < 2 ? 0.0 : uniform(rng, -1, 1);
        e.u(k) = uniform(rng, -2, 2);
      }
      result.push_back(e);
    }
  }
  return result;
}

FitPoint at(const Loss& loss, const Vector& u) {
  FitPoint point;
  loss.move_to(u, point);
  return point;
}

void g_and_curvature_are_derivatives() {
  constexpr double kStep = 1e-5;
  for (const Example& e : examples()) {
    const auto loss = e.loss();
    const double n = static_cast<double>(e.y.size());
    Vector L;
    loss->curvature(e.u, L);
    const Vector g = at(*loss, e.u).g;
    for (Index k = 0; k < e.u.size(); ++k) {
      const Vector more = e.u + kStep * Vector::Unit(e.u.size(), k);
      const Vector less = e.u - kStep * Vector::Unit(e.u.size(), k);
      const double slope =
          n * (loss->value(at(*loss, more)) - loss->value(at(*loss, less))) / (2.0 * kStep);
      CHECK(std::abs(slope + g(k)) <= 1e-6 * (1.0 + std::abs(g(k)) + e.y.lpNorm<1>()));
      if (!loss->is_strictly_convex()) continue;  // knees
      const double bend = (at(*loss, less).g(k) - at(*loss, more).g(k)) / (2.0 * kStep);
      CHECK(std::abs(bend - L(k)) <= 1e-6 * (1.0 + L(k)));
      CHECK(L(k) <= e.nu(k) * loss->largest_bend() * (1.0 + 1e-12));
    }
  }
}

void the_infimum_is_zero() {
  for (const Example& e : examples()) {
    const auto loss = e.loss();
    CHECK(loss->value(at(*loss, e.u)) >= 0.0);
    Vector low, high;
    loss->fits(Vector::Zero(e.y.size()), 0.0, low, high);
    for (Index k = 0; k < low.size(); ++k) {  // labels are fitted at infinity
      low(k) = std::clamp(std::isfinite(low(k)) ? low(k) : high(k), -300.0, 300.0);
    }
    CHECK(loss->value(at(*loss, low)) <= 1e-13);
  }
}

// value + conjugate + g'u/n = 0 at g = g(u), and the dual value is the conjugate's.
void fenchel_and_young() {
  for (const Example& e : examples()) {
    const auto loss = e.loss();
    const FitPoint point = at(*loss, e.u);
    const double n = static_cast<double>(e.y.size());
    const double value = loss->value(point), size = 1.0 + value + std::abs(e.y.sum());
    CHECK(std::abs(value + loss->conjugate(point) + point.g.dot(point.u) / n) <= 1e-13 * size);
    CHECK(std::abs(loss->exact_value(point) - value) <= 1e-13 * size);
    // D(kappa g) at its best kappa is at least that at the limit, which weak duality keeps below the value.
    const double best = loss->dual_value(point.g, 1.0);
    CHECK(best >= -loss->conjugate(point) - 1e-12 * size);
    const Vector zero = Vector::Zero(e.y.size());
    CHECK(best <= loss->value(at(*loss, zero)) + 1e-12 * size);
    CHECK(loss->dual_value(zero, 1.0) == 0.0);
  }
}

void fits_are_where_g_is() {
  for (const Example& e : examples()) {
    const auto loss = e.loss();
    const Vector g = at(*loss, e.u).g;
    Vector low, high;
    loss->fits(g, 1e-12, low, high);
    for (Index k = 0; k < g.size(); ++k) {
      CHECK(low(k) <= e.u(k) + 1e-9 && e.u(k) - 1e-9 <= high(k));
      if (loss->is_strictly_convex()) CHECK(low(k) == high(k));
    }
    Vector far = 100.0 * g;
    loss->clip(far);
    Vector again = far;
    loss->clip(again);
    CHECK(again == far);
    CHECK(std::isfinite(loss->dual_value(far, 0.5)));
    Vector same = g;
    loss->clip(same);
    CHECK(same == g);
  }
}

void distances_are_bregmans() {
  Rng rng(6);
  for (const Example& e : examples()) {
    const auto loss = e.loss();
    const FitPoint point = at(*loss, e.u);
    const double n = static_cast<double>(e.y.size());
    for (const double size : {1.0, 1e-3}) {
      const Vector step = size * random_matrix(rng, false, e.y.size(), 1);
      const double above = loss->value(at(*loss, e.u + step)) - loss->value(point);
      const double square = 2.0 * (n * above + point.g.dot(step));
      const double distance = loss->distance(point, step);
      CHECK(std::abs(distance * distance - square) <= 1e-12 * (1.0 + n * loss->value(point)));
    }
    // To relative accuracy where the difference of values has none.
    if (!loss->is_strictly_convex()) continue;
    const Vector tiny = 1e-7 * random_matrix(rng, false, e.y.size(), 1);
    Vector L;
    loss->curvature(e.u, L);
    const double expected = std::sqrt(tiny.cwiseAbs2().dot(L));
    CHECK(std::abs(loss->distance(point, tiny) - expected) <= 1e-5 * expected);
  }
}

void the_best_shift_balances_g() {
  for (Example& e : examples()) {
    if (e.choice.kind == LossKind::logistic) e.y(0) = 0.0, e.y(1) = 1.0;
    const auto loss = e.loss();
    const Vector column = Vector::LinSpaced(e.y.size(), 0.5, 2.0);
    const double shift = loss->best_shift(at(*loss, e.u), column);
    const Vector g = at(*loss, e.u + shift * column).g;
    CHECK(std::abs(column.dot(g)) <=
          1e-12 * (1.0 + column.cwiseProduct(g).lpNorm<1>() + e.y.sum()));
  }
}

// A label that is fitted well keeps the digits of g, and values that are nearly zero theirs.
void small_numbers_keep_their_digits() {
  const auto logistic = make_loss({LossKind::logistic}, Vector::Ones(1), {});
  const FitPoint sure = at(*logistic, Vector::Constant(1, 40.0));
  CHECK(std::abs(sure.g(0) / std::exp(-40.0) - 1.0) <= 1e-14);
  CHECK(std::abs(logistic->value(sure) / std::exp(-40.0) - 1.0) <= 1e-14);
  const auto counts = make_loss({LossKind::poisson}, Vector::Constant(1, 1000.0), {});
  const FitPoint near = at(*counts, Vector::Constant(1, std::log(1000.0) + 1e-9));
  CHECK(std::abs(counts->value(near) / 5e-16 - 1.0) <= 1e-5);  // of log 1000 + 1e-9 itself
}

}  // namespace
}  // namespace convexrelu

int main() {
  using namespace convexrelu;
  RUN(g_and_curvature_are_derivatives);
  RUN(the_infimum_is_zero);
  RUN(fenchel_and_young);
  RUN(fits_are_where_g_is);
  RUN(distances_are_bregmans);
  RUN(the_best_shift_balances_g);
  RUN(small_numbers_keep_their_digits);
  return failed_checks;
}
