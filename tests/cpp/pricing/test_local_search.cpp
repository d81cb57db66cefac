// The local search: what it returns is true, and the maximum where the maximum is known.

#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "check.hpp"
#include "convexrelu/pricing/local_search.hpp"
#include "random_matrix.hpp"

using namespace convexrelu;

namespace {

double price(const Matrix& X, const Vector& r, const Vector& u) {
  return r.dot((X * u).cwiseMax(0.0)) / static_cast<double>(X.rows());
}

LocalSearchOptions with_threads(int n_threads) {
  LocalSearchOptions options;
  options.n_threads = n_threads;
  return options;
}

void results_are_true() {
  Rng rng(1);
  Monitor monitor;
  for (int trial = 0; trial < 100; ++trial) {
    const Matrix X = random_matrix(rng, trial % 2 == 0, 30, 1 + trial % 5);
    const Vector r = random_matrix(rng, trial % 3 == 0, 30, 1);
    LocalSearchOptions options;
    options.n_polished = trial % 4 == 0 ? 0 : 20;
    options.n_results = 7;
    options.floor = 0.05;
    const auto found = LocalSearch(X).maximise(
        r, random_directions(X.cols(), 40, static_cast<std::uint64_t>(trial)), options, monitor);
    CHECK(found.size() <= 7);
    double last = kInfinity;
    for (const LocalMaximum& maximum : found) {
      CHECK(std::abs(maximum.direction.norm() - 1.0) < 1e-14);
      CHECK(std::abs(maximum.sign * price(X, r, maximum.direction) - maximum.value) < 1e-14);
      CHECK(maximum.value > 0.05 && maximum.value <= last);
      last = maximum.value;
    }
  }
}

// In the plane F is piecewise linear on the circle's arcs: its maximum over each arc is known.
double plane_maximum(const Matrix& X, const Vector& r) {
  std::vector<double> angles;
  for (Index k = 0; k < X.rows(); ++k) {
    if (X.row(k).norm() == 0.0) continue;
    const double normal = std::atan2(X(k, 1), X(k, 0));
    for (const double turn : {-std::acos(0.0), std::acos(0.0)}) angles.push_back(normal + turn);
  }
  double largest = 0.0;
  const auto consider = [&](double angle) {
    largest = std::max(largest, std::abs(price(X, r, Vector{{std::cos(angle), std::sin(angle)}})));
  };
  for (const double angle : angles) {
    consider(angle);
    for (const double nudge : {-1e-9, 1e-9}) {  // the cells on both sides
      const Vector u{{std::cos(angle + nudge), std::sin(angle + nudge)}};
      const Vector slope = X.transpose() * ((X * u).array() > 0.0).select(r, 0.0).matrix();
      if (slope.norm() > 0.0) {
        consider(std::atan2(slope(1), slope(0)));
        consider(std::atan2(-slope(1), -slope(0)));
      }
    }
  }
  return largest;
}

void finds_the_maximum_in_the_plane() {
  Rng rng(2);
  Monitor monitor;
  for (int trial = 0; trial < 300; ++trial) {
    const Matrix X = random_matrix(rng, trial % 2 == 0, 12, 2);
    const Vector r = random_matrix(rng, false, 12, 1);
    const auto found = LocalSearch(X).maximise(r, random_directions(2, 100, 5), {}, monitor);
    const double maximum = plane_maximum(X, r);
    CHECK(maximum == 0.0 || (!found.empty() && found[0].value >= maximum * (1.0 - 1e-9)));
    if (!found.empty()) CHECK(found[0].value <= maximum * (1.0 + 1e-9));
  }
}

// At a polished maximum the shortest slope is n F(u) u: no small move in any direction is uphill.
void polished_maxima_are_maxima() {
  Rng rng(3);
  std::normal_distribution<double> normal;
  Monitor monitor;
  for (int trial = 0; trial < 60; ++trial) {
    const Index d = 3 + trial % 4;
    const Matrix X = random_matrix(rng, trial % 2 == 0, 60, d);
    const Vector r = random_matrix(rng, false, 60, 1);
    const auto found = LocalSearch(X).maximise(r, random_directions(d, 50, 6), {}, monitor);
    CHECK(!found.empty());
    for (int probe = 0; probe < 300; ++probe) {
      Vector nearby = found[0].direction;
      for (double& entry : nearby) entry += 1e-4 * normal(rng);
      const double value = found[0].sign * price(X, r, nearby.normalized());
      CHECK(value <= found[0].value * (1.0 + 1e-8));
    }
  }
}

void order_and_multiplicity_do_not_matter() {
  Rng rng(4);
  Monitor monitor;
  for (int trial = 0; trial < 50; ++trial) {
    const Matrix X = random_matrix(rng, trial % 2 == 0, 20, 4);
    const Vector r = random_matrix(rng, false, 20, 1);
    std::vector<Index> order(40);
    std::iota(order.begin(), order.end(), Index{0});
    std::shuffle(order.begin(), order.end(), rng);
    Matrix twice(40, 4);
    Vector both(40);
    for (Index k = 0; k < 40; ++k) {
      const Index row = order[k] % 20;
      twice.row(k) = 3.0 * X.row(row);
      both(k) = r(row) / 3.0;
    }
    const Matrix starts = random_directions(4, 60, 7);
    const auto once = LocalSearch(X).maximise(r, starts, {}, monitor);
    const auto other = LocalSearch(twice).maximise(both, starts, {}, monitor);
    CHECK(once.empty() == other.empty());
    if (once.empty()) continue;
    CHECK(std::abs(once[0].value - other[0].value) <= 1e-9 * once[0].value);
  }
}

void bits_do_not_depend_on_threads() {
  Rng rng(5);
  Monitor monitor;
  const Matrix X = random_matrix(rng, false, 200, 6);
  const Vector r = random_matrix(rng, false, 200, 1);
  const Matrix starts = random_directions(6, 300, 8);
  const LocalSearch search(X);
  const auto one = search.maximise(r, starts, with_threads(1), monitor);
  const auto many = search.maximise(r, starts, with_threads(4), monitor);
  CHECK(one.size() == many.size());
  for (std::size_t i = 0; i < one.size(); ++i) {
    CHECK(one[i].direction == many[i].direction && one[i].value == many[i].value);
  }
}

void nothing_to_climb() {
  Monitor monitor;
  const Matrix starts = random_directions(3, 10, 9);
  Rng rng(6);
  const Matrix X = random_matrix(rng, false, 10, 3);
  CHECK(LocalSearch(X).maximise(Vector::Zero(10), starts, {}, monitor).empty());
  CHECK(LocalSearch(X).maximise(Vector::Ones(10), Matrix(3, 0), {}, monitor).empty());
  CHECK(LocalSearch(X).maximise(Vector::Ones(10), Matrix::Zero(3, 2), {}, monitor).empty());
  CHECK(LocalSearch(Matrix::Zero(10, 3)).maximise(Vector::Ones(10), starts, {}, monitor).empty());
}

void any_scale() {
  Rng rng(7);
  Monitor monitor;
  const Matrix X = random_matrix(rng, false, 30, 4);
  const Vector r = random_matrix(rng, false, 30, 1);
  const Matrix starts = random_directions(4, 50, 10);
  const double unit = LocalSearch(X).maximise(r, starts, {}, monitor)[0].value;
  for (const double scale : {1e-150, 1e150}) {
    const double value = LocalSearch(scale * X).maximise(r, starts, {}, monitor)[0].value;
    CHECK(std::abs(value / scale - unit) < 1e-9 * unit);
  }
}

void stops_when_asked() {
  Rng rng(8);
  Monitor over(0.0);
  bool stopped = false;
  try {
    LocalSearch(random_matrix(rng, false, 30, 4))
        .maximise(Vector::Ones(30), random_directions(4, 50, 11), {}, over);
  } catch (const Stopped&) {
    stopped = true;
  }
  CHECK(stopped);
}

void directions_are_uniform() {
  const Matrix directions = random_directions(3, 100000, 12);
  CHECK((directions.colwise().norm().array() - 1.0).abs().maxCoeff() < 1e-15 * 4);
  CHECK(directions.rowwise().mean().norm() < 0.01);
  const Matrix spread = directions * directions.transpose() / 1e5;
  CHECK((spread - Matrix::Identity(3, 3) / 3.0).norm() < 0.01);
  CHECK(directions == random_directions(3, 100000, 12));
}

}  // namespace

int main() {
  RUN(results_are_true);
  RUN(finds_the_maximum_in_the_plane);
  RUN(polished_maxima_are_maxima);
  RUN(order_and_multiplicity_do_not_matter);
  RUN(bits_do_not_depend_on_threads);
  RUN(nothing_to_climb);
  RUN(any_scale);
  RUN(stops_when_asked);
  RUN(directions_are_uniform);
  return failed_checks == 0 ? 0 : 1;
}
