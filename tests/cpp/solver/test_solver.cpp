// The solver and the certificate from C++; the mathematics is tested from Python, with oracles.

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <string>

#include "allocations.hpp"
#include "check.hpp"
#include "convexrelu/solver/solver.hpp"
#include "solver/optimality_newton.hpp"
#include "solver/proximal_objective.hpp"

using namespace convexrelu;

namespace {

using Rng = std::mt19937_64;

// Integers (ties, repeated and zero rows) or Gaussian.
Problem random_problem(Rng& rng, Formulation formulation, bool whole, Index n = 12, Index p = 20) {
  std::normal_distribution<double> normal;
  const auto random = [&](Index rows, Index cols) {
    Matrix matrix(rows, cols);
    for (double& entry : matrix.reshaped()) {
      entry = whole ? static_cast<double>(rng() % 5) - 2.0 : normal(rng);
    }
    return matrix;
  };
  const Matrix X = random(n, 4);
  return {X, random(n, 1), patterns_from_gates(X, random(4, p)), formulation};
}

void answers_carry_their_certificate() {
  Rng rng(1);
  Monitor monitor;
  for (int trial = 0; trial < 200; ++trial) {
    const Formulation formulation = trial % 2 ? Formulation::relu : Formulation::gated;
    const Problem problem = random_problem(rng, formulation, trial % 4 < 2);
    for (const double ratio : {2.0, 0.5, 0.05, 0.002}) {
      const double lam = ratio * problem.lambda_max();
      const Solution s = solve(problem, lam, {}, monitor);
      const Certificate c = certify(problem, lam, s.active_set, s.weights, s.dual, 1, monitor);
      CHECK(s.status == Status::optimal);
      CHECK(s.gap <= 1e-9 && s.gap == c.gap);
      CHECK(s.objective == c.primal && s.lower_bound == c.dual);
      CHECK(c.cone_violation <= 1e-12);
      CHECK(s.weights.cols() == static_cast<Index>(s.active_set.size()));
      CHECK((ratio > 1.0) == s.active_set.empty());
      for (Index j = 0; j < s.weights.cols(); ++j) CHECK(s.weights.col(j).norm() > 0.0);
    }
  }
}

// The gradient of phi is the derivative of its value, and an evaluation of the same size allocates
// nothing.
void proximal_objective_and_its_gradient() {
  Rng rng(6);
  std::normal_distribution<double> normal;
  Monitor monitor;
  for (const Formulation formulation : {Formulation::relu, Formulation::gated}) {
    const Problem problem = random_problem(rng, formulation, false, 40, 30);
    const ScaledProblem& scaled = problem.scaled();
    const double lam = 0.05 * scaled.scaled_lam(problem.lambda_max());
    WorkingSet set;
    for (const BlockNorm& found : blocks_above(scaled, scaled.y(), 4.0 * lam, 1, monitor)) {
      set.blocks.push_back(found.block);
    }
    set.faces.resize(set.blocks.size());
    set.weights = Matrix::Zero(4, set.size());
    ProximalObjective phi(scaled, lam, 1, monitor);
    ProximalObjective::Point at, ahead, behind;
    phi.start(set, {3.0, 1.0}, Vector());
    int n_active = 0;
    for (int trial = 0; trial < 20; ++trial) {
      Vector r = scaled.y(), direction(r.size());
      for (double& entry : direction) entry = normal(rng);
      r += 0.3 * direction;
      const double h = 1e-5;
      const auto point = [&](double t) {
        const Vector g = r + t * direction;
        return FitPoint{scaled.y() - g, g};
      };
      const FitPoint here = point(0.0);
      phi.evaluate(here, at);
      phi.evaluate(point(h), ahead);
      phi.evaluate(point(-h), behind);
      const double slope = at.gradient.dot(direction) / static_cast<double>(r.size());
      CHECK(std::abs((ahead.value - behind.value) / (2.0 * h) - slope) <=
            1e-6 * (1.0 + std::abs(slope)));
      n_active += static_cast<int>((at.shrink.array() < 1.0).count());
      CHECK(allocations([&] { phi.evaluate(here, at); }).count == 0);
    }
    CHECK(n_active > 20);
  }
}

// Newton's method on the conditions comes back from a point close to an optimum, and its steps allocate
// nothing.
void newton_on_the_optimality_conditions() {
  Rng rng(8);
  std::normal_distribution<double> normal;
  Monitor monitor;
  for (const Formulation formulation : {Formulation::relu, Formulation::gated}) {
    const Problem problem = random_problem(rng, formulation, false, 40, 30);
    const ScaledProblem& scaled = problem.scaled();
    const double lam = 0.05 * problem.lambda_max();
    const Solution optimum = solve(problem, lam, {}, monitor);
    WorkingSet set;
    set.blocks = optimum.active_set;
    set.weights = optimum.weights / scaled.weight_unit();
    set.faces.resize(set.blocks.size());
    Vector r = scaled.to_scaled(optimum.dual);
    for (double& entry : r) entry += 1e-6 * normal(rng);
    KktSystem system(scaled);
    OptimalityNewton newton(scaled, scaled.scaled_lam(lam), 1, monitor);
    newton.start(set, {scaled.y() - r, r}, false);
    CHECK(newton.evaluate() > 1e-8);
    for (int i = 0; i < 4; ++i) {
      CHECK(system.factor(newton.members(0.0), 1, monitor));
      CHECK(newton.step(system, 1e-7));
      CHECK(!newton.drop_negative());
      newton.evaluate();
    }
    CHECK(newton.evaluate() < 1e-13);
    CHECK((newton.set().weights - set.weights).norm() <= 1e-9 * set.weights.norm());
    const auto step = [&] {
      newton.step(system, 1e-7);
      newton.drop_negative();
      newton.evaluate();
    };
    CHECK(allocations(step).count == 0);
  }
}

void what_a_callback_throws_passes_through() {
  struct Mine {};
  Rng rng(2);
  const Problem problem = random_problem(rng, Formulation::relu, false);
  Monitor monitor(kInfinity, [](const Progress&) -> bool { throw Mine{}; });
  bool caught = false;
  try {
    solve(problem, 0.1 * problem.lambda_max(), {}, monitor);
  } catch (const Mine&) {
    caught = true;
  }
  CHECK(caught);
}

void stopping_is_no_error() {
  Rng rng(3);
  const Problem problem = random_problem(rng, Formulation::relu, false, 60, 100);
  const double lam = 0.01 * problem.lambda_max();
  Monitor over(0.0);
  CHECK(solve(problem, lam, {}, over).status == Status::time_limit);
  Monitor asked(kInfinity, [](const Progress&) { return true; });
  CHECK(solve(problem, lam, {}, asked).status == Status::callback);
  SolveOptions few;
  few.max_iter = 1;
  Monitor monitor;
  const Solution s = solve(problem, lam, few, monitor);
  CHECK(s.status == Status::max_iter && s.n_iter <= 1 && s.gap > 1e-8);
}

// Without polishing solve() ends within tol, and sooner.
void polishing_is_a_choice() {
  Rng rng(7);
  Monitor monitor;
  SolveOptions polished, rough;
  polished.tol = rough.tol = 1e-2;
  rough.polished = false;
  long n_polished = 0, n_rough = 0;
  double largest_polished = 0.0, largest_rough = 0.0;
  for (int trial = 0; trial < 40; ++trial) {
    const Formulation formulation = trial % 2 ? Formulation::relu : Formulation::gated;
    const Problem problem = random_problem(rng, formulation, trial % 4 < 2, 30, 40);
    const double lam = 0.02 * problem.lambda_max();
    const Solution to_rounding = solve(problem, lam, polished, monitor);
    const Solution within_tol = solve(problem, lam, rough, monitor);
    CHECK(within_tol.status == Status::optimal && within_tol.gap <= rough.tol);
    n_polished += to_rounding.n_iter;
    n_rough += within_tol.n_iter;
    largest_polished = std::max(largest_polished, to_rounding.gap);
    largest_rough = std::max(largest_rough, within_tol.gap);
  }
  CHECK(n_rough < n_polished);
  CHECK(largest_polished <= 1e-10 && largest_rough > 1e-6);
}

void bits_do_not_depend_on_threads() {
  Rng rng(4);
  Monitor monitor;
  for (const Formulation formulation : {Formulation::relu, Formulation::gated}) {
    const Problem problem = random_problem(rng, formulation, false, 80, 600);
    SolveOptions threaded;
    threaded.n_threads = 4;
    const Solution one = solve(problem, 0.03 * problem.lambda_max(), {}, monitor);
    const Solution many = solve(problem, 0.03 * problem.lambda_max(), threaded, monitor);
    CHECK(one.weights == many.weights && one.dual == many.dual && one.n_iter == many.n_iter);
  }
}

void parts_that_are_no_solution_are_refused() {
  Rng rng(5);
  Monitor monitor;
  const Problem problem = random_problem(rng, Formulation::gated, true);
  const auto refuses = [&](Block block, const Matrix& weights, const Vector& dual) {
    try {
      certify(problem, 0.1, {block}, weights, dual, 1, monitor);
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  const Matrix weights = Matrix::Ones(4, 1);
  const Vector dual = Vector::Zero(12);
  CHECK(!refuses({0, +1}, weights, dual));
  CHECK(refuses({problem.n_patterns(), +1}, weights, dual));
  CHECK(refuses({-1, +1}, weights, dual));
  CHECK(refuses({0, -1}, weights, dual));  // gated: one sign
  CHECK(refuses({0, +1}, Matrix::Ones(3, 1), dual));
  CHECK(refuses({0, +1}, Matrix::Ones(4, 2), dual));
  CHECK(refuses({0, +1}, Matrix::Constant(4, 1, kNaN), dual));
  CHECK(refuses({0, +1}, weights, Vector::Zero(11)));
}

void statuses_have_names() {
  CHECK(std::string(to_string(Status::optimal)) == "optimal");
  CHECK(std::string(to_string(Status::numerical_failure)) == "numerical_failure");
}

}  // namespace

int main() {
  RUN(answers_carry_their_certificate);
  RUN(proximal_objective_and_its_gradient);
  RUN(newton_on_the_optimality_conditions);
  RUN(what_a_callback_throws_passes_through);
  RUN(stopping_is_no_error);
  RUN(polishing_is_a_choice);
  RUN(bits_do_not_depend_on_threads);
  RUN(parts_that_are_no_solution_are_refused);
  RUN(statuses_have_names);
  return failed_checks == 0 ? 0 : 1;
}
