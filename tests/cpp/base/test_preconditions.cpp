// What entries of the library refuse: arguments that are not finite, not in range, or those of another
// problem. Every one throws std::invalid_argument that names the argument.

#include <random>
#include <stdexcept>
#include <string>

#include "check.hpp"
#include "convexrelu/arrangement/cell_tree.hpp"
#include "convexrelu/arrangement/hyperplanes.hpp"
#include "convexrelu/global/global_solver.hpp"
#include "convexrelu/global/stationarity.hpp"
#include "convexrelu/optimal_set/optimal_set.hpp"
#include "convexrelu/optimal_set/pruning.hpp"
#include "convexrelu/path/path.hpp"
#include "convexrelu/pricing/local_search.hpp"
#include "convexrelu/pricing/pricing.hpp"
#include "convexrelu/sensitivity/sensitivity.hpp"
#include "convexrelu/solver/solver.hpp"

using namespace convexrelu;

namespace {

constexpr double kWrong[] = {kNaN, kInfinity, -1.0};

template <typename Action>
bool refuses(const std::string& name, const Action& action) {
  try {
    action();
  } catch (const std::invalid_argument& error) {
    return std::string(error.what()).find(name) != std::string::npos;
  }
  return false;
}

struct Data {
  Matrix X;
  Vector y;
  Patterns patterns;
  Monitor monitor;

  explicit Data(std::uint64_t seed, Index n_gates = 6) {
    std::mt19937_64 rng(seed);
    std::normal_distribution<double> normal;
    X = Matrix::NullaryExpr(9, 3, [&] { return normal(rng); });
    y = Vector::NullaryExpr(9, [&] { return normal(rng); });
    patterns = patterns_from_gates(X, Matrix::NullaryExpr(3, n_gates, [&] { return normal(rng); }));
  }

  Problem problem() const { return {X, y, patterns, Formulation::relu}; }
  Matrix wrong_X(double value) const {
    Matrix wrong = X;
    wrong(4, 1) = value;
    return wrong;
  }
};

void data_that_are_not_finite() {
  Data data(1);
  const Vector none;
  for (const double value : {kNaN, kInfinity}) {
    const Matrix X = data.wrong_X(value);
    Vector y = data.y;
    y(3) = value;
    CHECK(refuses("X", [&] { find_hyperplanes(X); }));
    CHECK(refuses("X", [&] { LocalSearch{X}; }));
    CHECK(refuses("X", [&] { patterns_from_gates(X, Matrix::Ones(3, 1)); }));
    CHECK(refuses("gates", [&] { patterns_from_gates(data.X, X.transpose()); }));
    CHECK(refuses("X", [&] { enumerate_patterns(X, {}, data.monitor); }));
    CHECK(refuses("X", [&] { sample_ray_gates(X, 3, 0, data.monitor); }));
    CHECK(refuses("X", [&] { price_patterns(X, data.y, {}, data.monitor); }));
    CHECK(refuses("r", [&] { price_patterns(data.X, y, {}, data.monitor); }));
    CHECK(refuses("X", [&] { price_bound(X, data.y, data.monitor); }));
    CHECK(refuses("X", [&] { cells_above(X, data.y, 0.1, 10, {}, data.monitor); }));
    CHECK(refuses("X", [&] { Problem(X, data.y, data.patterns, Formulation::relu); }));
    CHECK(refuses("y", [&] { Problem(data.X, y, data.patterns, Formulation::gated); }));
    CHECK(refuses("X", [&] { solve_global(X, data.y, 0.1, none, {}, data.monitor); }));
    CHECK(refuses("y", [&] { solve_global(data.X, y, 0.1, none, {}, data.monitor); }));
    const Network network(Matrix::Ones(1, 3), Vector::Ones(1));
    CHECK(refuses(
        "X", [&] { check_network(network, X, data.y, 0.1, none, 1e-6, 1e-9, 1, data.monitor); }));
    CHECK(refuses("X", [&] {
      descent_path(network, X, data.y, 0.1, none, data.patterns, 3, 1, data.monitor);
    }));
    const LocalSearch search(data.X);
    CHECK(refuses("r", [&] { search.maximise(y, Matrix::Ones(3, 1), {}, data.monitor); }));
    CHECK(refuses("starts",
                  [&] { search.maximise(data.y, X.transpose().leftCols(8), {}, data.monitor); }));
  }
  CHECK(refuses("y", [&] { solve_global(data.X, data.y.head(4), 0.1, none, {}, data.monitor); }));
  CHECK(refuses("sample_weight",
                [&] { solve_global(data.X, data.y, 0.1, -Vector::Ones(9), {}, data.monitor); }));
}

void numbers_out_of_range() {
  Data data(2);
  const Problem problem = data.problem();
  const Vector none;
  const Network network(Matrix::Ones(1, 3), Vector::Ones(1));
  const Solution solution = solve(problem, 0.1, {}, data.monitor);
  for (const double value : kWrong) {
    CHECK(refuses("lam", [&] { solve(problem, value, {}, data.monitor); }));
    CHECK(refuses("lam", [&] { solve_global(data.X, data.y, value, none, {}, data.monitor); }));
    CHECK(refuses("lam", [&] {
      certify(problem, value, solution.active_set, solution.weights, solution.dual, 1,
              data.monitor);
    }));
    CHECK(refuses("lam", [&] {
      check_network(network, data.X, data.y, value, none, 1e-6, 1e-9, 1, data.monitor);
    }));
    CHECK(refuses("tol", [&] {
      check_network(network, data.X, data.y, 0.1, none, value, 1e-9, 1, data.monitor);
    }));
    CHECK(refuses("kink_tol", [&] {
      check_network(network, data.X, data.y, 0.1, none, 1e-6, value, 1, data.monitor);
    }));
    CHECK(refuses("tol", [&] { bound_globally(solution, value, 0, 1, data.monitor); }));
    SolveOptions solving;
    solving.tol = value;
    CHECK(refuses("tol", [&] { solve(problem, 0.1, solving, data.monitor); }));
    GlobalSolverOptions global;
    global.tol = value;
    CHECK(refuses("tol", [&] { solve_global(data.X, data.y, 0.1, none, global, data.monitor); }));
    EnumerationOptions enumeration;
    enumeration.tol = value;
    CHECK(refuses("tol", [&] { enumerate_patterns(data.X, enumeration, data.monitor); }));
    PricingOptions pricing;
    pricing.tol = value;
    CHECK(refuses("tol", [&] { price_patterns(data.X, data.y, pricing, data.monitor); }));
    pricing = PricingOptions();
    pricing.threshold = value;
    CHECK(refuses("threshold", [&] { price_patterns(data.X, data.y, pricing, data.monitor); }));
    PathOptions path;
    path.lam_min = value;
    CHECK(refuses("lam_min", [&] { trace_path(problem, path, data.monitor); }));
    path.lam_min = 0.1;
    path.tol = value;
    CHECK(refuses("tol", [&] { trace_path(problem, path, data.monitor); }));
    OptimalSetOptions set;
    set.tol = value;
    CHECK(refuses("tol", [&] { find_optimal_set(solution, set, data.monitor); }));
  }
  PathOptions path;
  path.lam_min = 0.1;
  path.max_order = 3;
  CHECK(refuses("max_order", [&] { trace_path(problem, path, data.monitor); }));
  CHECK(refuses("n_steps", [&] {
    descent_path(network, data.X, data.y, 0.1, none, data.patterns, 0, 1, data.monitor);
  }));
  CHECK(refuses("n_gates", [&] { sample_ray_gates(data.X, -1, 0, data.monitor); }));
}

// A solution of a problem with more patterns, more samples or more features, as a start and by itself.
void parts_of_another_problem() {
  Data data(3), more(3, 40);
  const Problem problem = data.problem();
  const Solution own = solve(problem, 0.01, {}, data.monitor);
  Solution other = solve(more.problem(), 0.01, {}, data.monitor);
  CHECK(other.active_set.back().pattern >= problem.n_patterns());
  const auto is_refused = [&](const Solution& wrong) {
    SolveOptions solving;
    solving.warm_start = &wrong;
    CHECK(refuses("warm_start", [&] { solve(problem, 0.1, solving, data.monitor); }));
    PathOptions path;
    path.lam_min = 1e-3;
    path.start = &wrong;
    CHECK(refuses("start", [&] { trace_path(problem, path, data.monitor); }));
    Solution alone = wrong;
    alone.problem = problem;
    CHECK(refuses("solution", [&] { find_optimal_set(alone, {}, data.monitor); }));
    CHECK(refuses("solution", [&] { Sensitivity(alone, data.monitor); }));
    CHECK(refuses("solution", [&] { prune(alone, {}, data.monitor); }));
    CHECK(refuses("solution", [&] { to_network(alone); }));
    CHECK(refuses("solution", [&] { bound_globally(alone, 1e-3, 0, 1, data.monitor); }));
  };
  is_refused(other);
  for (int part = 0; part < 6; ++part) {
    Solution wrong = own;
    if (part == 0) wrong.active_set.front().pattern = -1;
    if (part == 1) wrong.active_set.front().sign = 0;
    if (part == 2) wrong.active_set.pop_back();
    if (part == 3) wrong.weights = Matrix::Ones(4, wrong.weights.cols());
    if (part == 4) wrong.dual = Vector::Ones(8);
    if (part == 5) wrong.lam = 0.0;
    is_refused(wrong);
  }
}

// Bounds that nothing can have proven.
void bounds_above_the_objective() {
  Data data(4);
  const Problem problem = data.problem();
  const Solution s = solve(problem, 0.05, {}, data.monitor);
  const auto bounded = [&](double bound) {
    return make_bounded_solution(problem, 0.05, Status::optimal, s.active_set, s.weights, s.dual, 0,
                                 bound);
  };
  for (const double factor : {0.5, 1.0, 1.0 + 5e-10}) {
    const Solution good = bounded(factor * s.objective);
    CHECK(good.status == Status::optimal && good.gap <= 0.5 && good.gap >= 0.0);
    CHECK(good.lower_bound == factor * s.objective);
  }
  for (const double factor : {1.0 + 2e-9, 2.0}) {
    const Solution bad = bounded(factor * s.objective);
    CHECK(bad.status == Status::numerical_failure && bad.gap == 1.0);
    CHECK(bad.lower_bound == factor * s.objective);
  }
  CHECK(contradicts(kInfinity, 1.0) && !contradicts(kNaN, 1.0) && !contradicts(1.0, kInfinity));
  CHECK(!contradicts(5e-324, 0.0));
  CHECK(relative_gap(2.0, 1.0) == 0.5 && relative_gap(0.0, 0.0) == 0.0);
  CHECK(relative_gap(1.0, 1.1) == 1.0 && relative_gap(kInfinity, 1.0) == 1.0);
}

}  // namespace

int main() {
  RUN(data_that_are_not_finite);
  RUN(numbers_out_of_range);
  RUN(parts_of_another_problem);
  RUN(bounds_above_the_objective);
  return failed_checks == 0 ? 0 : 1;
}
