// Checks of networks from C++; the mathematics is tested from Python, with gradient descent.

#include <random>

#include "check.hpp"
#include "convexrelu/global/stationarity.hpp"

using namespace convexrelu;

namespace {

using Rng = std::mt19937_64;

// Integers, so that kinks lie on samples.
Matrix random_integers(Rng& rng, Index rows, Index cols) {
  return Matrix::NullaryExpr(rows, cols,
                             [&](Index, Index) { return static_cast<double>(rng() % 5) - 2.0; });
}

void objectives_fall_along_the_path() {
  Rng rng(2);
  Monitor monitor;
  for (int trial = 0; trial < 50; ++trial) {
    const Matrix X = random_integers(rng, 8, 3);
    const Vector y = random_integers(rng, 8, 1);
    const Network network(random_integers(rng, 4, 3), random_integers(rng, 4, 1));
    const NetworkReport report =
        check_network(network, X, y, 0.1, Vector(), 1e-6, kKinkTolerance, 1, monitor);
    CHECK(report.best.objective <= report.own.objective * (1.0 + 1e-12));
    CHECK(report.own.objective <= report.objective * (1.0 + 1e-12));
    const std::vector<Network> path = descent_path(
        network, X, y, 0.1, Vector(), Patterns(BitMatrix(8, 0), Matrix(3, 0)), 4, 1, monitor);
    CHECK(path.size() == 7);
    double last = report.objective;
    for (const Network& step : path) {
      const double objective = step.objective(X, y, 0.1, Vector(), 1, monitor);
      CHECK(objective <= last + 1e-12 * report.objective);
      last = objective;
    }
    CHECK(last <= report.best.objective + 1e-10 * report.objective);
  }
}

}  // namespace

int main() {
  RUN(objectives_fall_along_the_path);
  return failed_checks == 0 ? 0 : 1;
}
