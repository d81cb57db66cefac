// Sensitivities from C++; the mathematics is tested from Python, with differences and oracles.

#include <cmath>
#include <random>
#include <stdexcept>

#include "check.hpp"
#include "convexrelu/sensitivity/sensitivity.hpp"
#include "convexrelu/solver/solver.hpp"

using namespace convexrelu;

namespace {

using Rng = std::mt19937_64;

Matrix random_matrix(Rng& rng, Index rows, Index cols) {
  std::normal_distribution<double> normal;
  return Matrix::NullaryExpr(rows, cols, [&] { return normal(rng); });
}

Problem random_problem(Rng& rng, Formulation formulation, Index n = 14, Index p = 16) {
  const Matrix X = random_matrix(rng, n, 3);
  return {X, random_matrix(rng, n, 1), patterns_from_gates(X, random_matrix(rng, 3, p)),
          formulation};
}

// The fit is unique whatever the active set: its differences against those derivatives.
void fit_moves_as_predicted() {
  Rng rng(1);
  Monitor monitor;
  int n_compared = 0;
  for (int trial = 0; trial < 40; ++trial) {
    const Problem problem = random_problem(rng, trial % 2 ? Formulation::relu : Formulation::gated);
    const double lam = 0.1 * problem.lambda_max();
    const Sensitivity s(solve(problem, lam, {}, monitor), monitor);
    if (!s.differentiable()) continue;
    const double h = 1e-5 * lam;
    const Solution above = solve(problem, lam + h, {}, monitor);
    const Solution below = solve(problem, lam - h, {}, monitor);
    if (above.active_set != s.active_set() || below.active_set != s.active_set()) continue;
    const Vector found = (above.fitted - below.fitted) / (2.0 * h);
    CHECK((s.d_fitted_d_lam(monitor) - found).norm() <= 1e-5 * found.norm());
    ++n_compared;
  }
  CHECK(n_compared >= 20);
}

void vjp_is_the_transpose_of_jvp() {
  Rng rng(2);
  Monitor monitor;
  for (int trial = 0; trial < 40; ++trial) {
    const Problem problem = random_problem(rng, trial % 2 ? Formulation::relu : Formulation::gated);
    const Sensitivity s(solve(problem, 0.05 * problem.lambda_max(), {}, monitor), monitor);
    if (!s.differentiable_in_X()) continue;
    const Matrix grad = random_matrix(rng, 3, s.weights().cols());
    const Vector dy = random_matrix(rng, 14, 1);
    const Matrix dX = random_matrix(rng, 14, 3);
    const Gradient g = s.vjp(grad, monitor);
    const double there = grad.cwiseProduct(s.jvp(0.3, dy, dX, monitor)).sum();
    const double back = 0.3 * g.lam + g.y.dot(dy) + g.X.cwiseProduct(dX).sum();
    const double size = grad.norm() * s.jvp(0.3, dy, dX, monitor).norm();
    CHECK(std::abs(there - back) <= 1e-11 * size);
  }
}

void ties_are_named_and_have_sides() {
  Monitor monitor;
  const Matrix X = Matrix::Constant(1, 1, 2.0);
  const Problem problem(X, Vector::Constant(1, 3.0), patterns_from_gates(X, X), Formulation::relu);
  const Sensitivity s(solve(problem, problem.lambda_max(), {}, monitor), monitor);
  CHECK(!s.differentiable() && s.why().find("a tie") == 0);
  CHECK(s.active_set().empty() && std::isnan(s.d_fitted_d_lam(monitor)(0)));
  const Sensitivity below = s.one_sided(Side::below, monitor);
  CHECK(below.differentiable() && below.active_set().size() == 1);
  CHECK(std::abs(below.d_lam(monitor)(0, 0) + 0.25) <= 1e-12);
  CHECK(s.one_sided(Side::above, monitor).active_set().empty());
}

void what_is_no_optimum_is_refused() {
  Rng rng(3);
  Monitor monitor;
  const Problem problem = random_problem(rng, Formulation::relu);
  Solution solution = solve(problem, 0.1 * problem.lambda_max(), {}, monitor);
  solution.status = Status::pruned;
  bool refused = false;
  try {
    const Sensitivity s(solution, monitor);
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  CHECK(refused);
}

}  // namespace

int main() {
  RUN(fit_moves_as_predicted);
  RUN(vjp_is_the_transpose_of_jvp);
  RUN(ties_are_named_and_have_sides);
  RUN(what_is_no_optimum_is_refused);
  return failed_checks == 0 ? 0 : 1;
}
