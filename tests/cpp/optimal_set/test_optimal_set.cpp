#include <cmath>

#include "check.hpp"
#include "convexrelu/arrangement/cell_tree.hpp"
#include "convexrelu/base/error.hpp"
#include "convexrelu/optimal_set/optimal_set.hpp"
#include "convexrelu/optimal_set/pruning.hpp"
#include "convexrelu/solver/solver.hpp"

using namespace convexrelu;

namespace {

Monitor monitor;

// The parity of three bits, with all patterns: an optimal set of dimension 5 with 24 vertices.
Problem parity() {
  Matrix X(8, 3);
  Vector y(8);
  for (Index k = 0; k < 8; ++k) {
    y(k) = 1.0;
    for (Index j = 0; j < 3; ++j) {
      X(k, j) = static_cast<double>((k >> j) & 1);
      if (X(k, j) == 0.0) y(k) = -y(k);
    }
  }
  return {X, y, enumerate_patterns(X, {}, monitor), Formulation::relu};
}

OptimalSet optimal_set(const Problem& problem) {
  const Solution solution = solve(problem, 0.3 * problem.lambda_max(), {}, monitor);
  return find_optimal_set(solution, {}, monitor);
}

void has_its_counts() {
  const OptimalSet set = optimal_set(parity());
  CHECK(set.size() == 12 && set.dimension() == 5);
  CHECK(set.support().size() == 12 && set.necessary().size() == 3);
  CHECK(!set.is_unique() && !set.is_p_unique() && set.is_complete());
  CHECK(set.vertices(24, monitor).rows() == 24);
}

void members_have_its_objective() {
  const OptimalSet set = optimal_set(parity());
  const auto check = [&](const Vector& alpha) {
    const Solution member = set.solution_at(alpha);
    CHECK(std::abs(member.objective - set.solution().objective) <= 1e-12);
    CHECK((member.fitted - set.solution().fitted).norm() <= 1e-10);
    CHECK(set.contains(member));
  };
  const Matrix vertices = set.vertices(100, monitor), samples = set.sample(20, 1, monitor);
  for (const auto& alpha : vertices.rowwise()) check(alpha.transpose());
  for (const auto& alpha : samples.rowwise()) check(alpha.transpose());
  CHECK(set.sample(20, 1, monitor) == samples);
  const Vector nearest = set.min_norm(monitor);
  check(nearest);
  for (const auto& alpha : vertices.rowwise()) {
    CHECK((alpha.transpose() - nearest).dot(nearest) >= -1e-9 * nearest.squaredNorm());
  }
  bool refused = false;
  try {
    set.solution_at(1.01 * nearest);
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  CHECK(refused);
}

void ranges_are_those_of_the_vertices() {
  const OptimalSet set = optimal_set(parity());
  const Matrix vertices = set.vertices(100, monitor);
  const Matrix X = Matrix::NullaryExpr(
      40, 3, [](Index i, Index j) { return std::sin(static_cast<double>(7 * i + 3 * j)); });
  const Matrix predictions = set.outputs(X, monitor) * vertices.transpose();
  const auto [low, high] = set.prediction_range(X, monitor);
  CHECK((low - predictions.rowwise().minCoeff()).norm() <= 1e-9);
  CHECK((high - predictions.rowwise().maxCoeff()).norm() <= 1e-9);
  const auto [least, largest] = set.norm_bounds(monitor);
  CHECK((least - set.lam() * vertices.colwise().minCoeff().transpose()).norm() <= 1e-9);
  CHECK((largest - set.lam() * vertices.colwise().maxCoeff().transpose()).norm() <= 1e-9);
}

void pruning_ends_at_a_vertex() {
  const OptimalSet set = optimal_set(parity());
  const Matrix vertices = set.vertices(100, monitor), samples = set.sample(20, 2, monitor);
  for (const auto& alpha : samples.rowwise()) {
    const Solution member = set.solution_at(alpha.transpose());
    const PrunedSolution pruned = prune(member, {}, monitor);
    CHECK(set.contains(pruned.solution));
    CHECK(std::abs(pruned.solution.objective - member.objective) <= 1e-12);
    CHECK(pruned.history.size() + pruned.solution.active_set.size() == member.active_set.size());
    bool listed = false;
    for (const auto& vertex : vertices.rowwise()) {
      const Solution other = set.solution_at(vertex.transpose());
      listed = listed || other.active_set == pruned.solution.active_set;
    }
    CHECK(listed);
  }
}

void all_patterns_are_found_from_few() {
  const Problem full = parity();
  const OptimalSet whole = optimal_set(full);
  const Problem few(full.X(), full.y(), patterns_from_gates(full.X(), Matrix::Ones(3, 1)),
                    Formulation::relu);
  const Solution solution = solve(few, whole.lam(), {}, monitor);
  for (const int n_threads : {1, 2}) {
    const OptimalSet set = find_optimal_set(solution, {1e-9, true, n_threads}, monitor);
    CHECK(set.size() == 12 && set.dimension() == 5 && set.is_complete());
    CHECK(set.contains(whole.solution()));
    CHECK(std::abs(set.solution().objective - whole.solution().objective) <= 1e-12);
  }
}

void what_stops_the_solution_inside_stops_all() {
  const Problem problem = parity();
  Solution solution = solve(problem, 0.3 * problem.lambda_max(), {}, monitor);
  solution.dual *= 0.9;  // has to be solved further
  StopReason reason = StopReason::none;
  Monitor told(kInfinity, [](const Progress&) { return true; });
  try {
    find_optimal_set(solution, {}, told);
  } catch (const Stopped& stopped) {
    reason = stopped.reason;
  }
  CHECK(reason == StopReason::callback);
}

void nearest_point_of_members_and_of_others() {
  const OptimalSet set = optimal_set(parity());
  const Matrix vertices = set.vertices(100, monitor);
  for (const auto& alpha : vertices.rowwise()) {
    const auto [point, distance] = set.nearest(set.solution_at(alpha.transpose()), monitor);
    CHECK((point - alpha.transpose()).norm() <= 1e-9 && distance <= 1e-9);
  }
  const Solution other = solve(set.problem(), 0.9 * set.lam(), {}, monitor);
  const auto [point, distance] = set.nearest(other, monitor);
  CHECK(distance > 1e-3 && !set.contains(other));
  CHECK(set.contains(set.solution_at(point)));
}

}  // namespace

int main() {
  RUN(has_its_counts);
  RUN(members_have_its_objective);
  RUN(ranges_are_those_of_the_vertices);
  RUN(pruning_ends_at_a_vertex);
  RUN(all_patterns_are_found_from_few);
  RUN(what_stops_the_solution_inside_stops_all);
  RUN(nearest_point_of_members_and_of_others);
  return failed_checks;
}
