// The path from C++, and the roots that its events are.

#include <cmath>
#include <random>
#include <stdexcept>
#include <vector>

#include "check.hpp"
#include "convexrelu/path/path.hpp"
#include "convexrelu/solver/solver.hpp"
#include "numeric/first_root.hpp"

using namespace convexrelu;

namespace {

using Rng = std::mt19937_64;

// Coefficients of the product of (x - root).
std::vector<double> with_roots(const std::vector<double>& roots, double sign) {
  std::vector<double> c{sign};
  for (const double root : roots) {
    c.push_back(0.0);
    for (std::size_t k = c.size() - 1; k > 0; --k) c[k] = c[k - 1] - root * c[k];
    c[0] *= -root;
  }
  return c;
}

double first_root(const std::vector<double>& c) {
  return FirstRoot().find(c.data(), static_cast<int>(c.size()) - 1, 1e-13);
}

void first_roots_are_found() {
  Rng rng(1);
  std::uniform_real_distribution<double> uniform(-1.0, 2.0);
  for (int trial = 0; trial < 500; ++trial) {
    std::vector<double> roots;
    for (int k = 0; k < 1 + trial % 5; ++k) roots.push_back(uniform(rng));
    double first = FirstRoot::kNone, before = 1.0;
    for (const double root : roots) {
      if (root >= 0.0 && root <= 1.0) first = std::min(first, root);
      before *= root > 0.0 ? -1.0 : 1.0;
    }
    const std::vector<double> c = with_roots(roots, before);  // positive at 0
    CHECK(std::abs(first_root(c) - first) <= 1e-9);
  }
  CHECK(first_root({1.0}) == FirstRoot::kNone);
  CHECK(first_root({-1.0}) == 0.0);
  CHECK(first_root({1.0, -4.0, 4.0}) == FirstRoot::kNone);          // touches zero at 1/2
  CHECK(std::abs(first_root({0.9999, -4.0, 4.0}) - 0.495) < 1e-9);  // dips below it
}

// Integers (ties, repeated and zero rows) or Gaussian.
Problem random_problem(Rng& rng, Formulation formulation, bool whole) {
  std::normal_distribution<double> normal;
  const auto random = [&](Index rows, Index cols) {
    Matrix matrix(rows, cols);
    for (double& entry : matrix.reshaped()) {
      entry = whole ? static_cast<double>(rng() % 5) - 2.0 : normal(rng);
    }
    return matrix;
  };
  const Matrix X = random(12, 4);
  return {X, random(12, 1), patterns_from_gates(X, random(4, 15)), formulation};
}

void points_are_optima() {
  Rng rng(2);
  Monitor monitor;
  for (int trial = 0; trial < 60; ++trial) {
    const Formulation formulation = trial % 2 ? Formulation::relu : Formulation::gated;
    const Problem problem = random_problem(rng, formulation, trial % 4 < 2);
    PathOptions options;
    options.lam_min = 0.01 * problem.lambda_max();
    const Path path = trace_path(problem, options, monitor);
    CHECK(path.status() == Status::optimal);
    CHECK(path.lam_min() == options.lam_min);
    for (const double ratio : {2.0, 1.0, 0.5, 0.1, 0.03, 0.01}) {
      const double lam = ratio * problem.lambda_max();
      const Solution s = path.solution(lam, 1, monitor);
      CHECK(s.status == Status::optimal && s.gap <= 1e-10);
      CHECK(std::abs(s.objective - path.objectives(Vector::Constant(1, lam), monitor)(0)) <=
            1e-10 * s.objective);
      CHECK(std::abs(s.objective - solve(problem, lam, {}, monitor).objective) <=
            1e-10 * s.objective);
      CHECK(path.n_active(Vector::Constant(1, lam), monitor)(0) == s.weights.cols());
    }
  }
}

void what_is_beyond_the_path_is_refused() {
  Rng rng(3);
  Monitor monitor;
  const Problem problem = random_problem(rng, Formulation::gated, false);
  PathOptions options;
  options.lam_min = 0.1 * problem.lambda_max();
  const Path path = trace_path(problem, options, monitor);
  const auto refuses = [](const auto& call) {
    try {
      call();
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  CHECK(refuses([&] { path.at(0.99 * options.lam_min, monitor); }));
  CHECK(refuses([&] { path.at(kNaN, monitor); }));
  CHECK(refuses([&] { event_kind_from("arrive"); }));
  const auto rebuilt = [&](const std::vector<PathSegment>& segments) {
    return Path(problem, path.lam_max(), 1e-9, path.status(), segments, path.events(), 0);
  };
  CHECK(rebuilt(path.segments()).lam_min() == options.lam_min);
  std::vector<PathSegment> segments = path.segments();
  segments.erase(segments.begin());
  CHECK(refuses([&] { rebuilt(segments); }));
  segments = path.segments();
  segments.front().blocks.front().sign = -1;
  CHECK(refuses([&] { rebuilt(segments); }));
  segments = path.segments();
  segments.front().faces.front().push_back(0);  // gated: no hyperplanes
  CHECK(refuses([&] { rebuilt(segments); }));
  segments = path.segments();
  segments.front().z(0, 0) = kNaN;
  CHECK(refuses([&] { rebuilt(segments); }));
}

}  // namespace

int main() {
  RUN(first_roots_are_found);
  RUN(points_are_optima);
  RUN(what_is_beyond_the_path_is_refused);
  return failed_checks == 0 ? 0 : 1;
}
