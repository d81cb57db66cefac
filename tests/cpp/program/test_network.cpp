#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "check.hpp"
#include "convexrelu/program/network.hpp"
#include "convexrelu/solver/solver.hpp"

using namespace convexrelu;

namespace {

Monitor monitor;
const Vector kEqualWeights;

using Rng = std::mt19937_64;

// Small integers (ties, repeated and zero rows) or Gaussian.
Matrix random_matrix(Rng& rng, Index rows, Index cols, bool integers) {
  std::normal_distribution<double> normal;
  Matrix matrix(rows, cols);
  for (double& entry : matrix.reshaped()) {
    entry = integers ? static_cast<double>(rng() % 5) - 2.0 : normal(rng);
  }
  return matrix;
}

Network random_network(Rng& rng, Index m, Index d, bool gated, bool integers) {
  const Matrix hidden = random_matrix(rng, m, d, integers);
  const Vector output = random_matrix(rng, m, 1, integers);
  if (!gated) return {hidden, output};
  return {hidden, output, random_matrix(rng, m, d, integers)};
}

// f by definition, in long double; gates of integers are exact there.
Vector slow_predictions(const Network& network, const Matrix& X) {
  Vector f(X.rows());
  for (Index k = 0; k < X.rows(); ++k) {
    long double sum = 0.0L;
    for (Index j = 0; j < network.n_neurons(); ++j) {
      long double output = 0.0L, gate = 0.0L;
      for (Index i = 0; i < X.cols(); ++i) {
        const long double x = X(k, i);
        output += x * network.hidden()(j, i);
        gate += x * (network.gates() ? (*network.gates())(j, i) : network.hidden()(j, i));
      }
      if (gate >= 0.0L) sum += output * network.output()(j);
    }
    f(k) = static_cast<double>(sum);
  }
  return f;
}

double objective(const Network& network, const Matrix& X, const Vector& y, double lam) {
  return network.objective(X, y, lam, kEqualWeights, 1, monitor);
}

double convex_penalty(const Matrix& weights) { return weights.colwise().norm().sum(); }

template <typename Work>
bool is_refused(Work&& work) {
  try {
    work();
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

void predictions_are_those_of_the_definition() {
  Rng rng(1);
  for (int trial = 0; trial < 200; ++trial) {
    const Index n = 1 + static_cast<Index>(rng() % 700), d = 1 + static_cast<Index>(rng() % 6);
    const Index m = static_cast<Index>(rng() % (trial % 10 == 0 ? 600 : 20));
    const bool integers = trial % 3 == 0;
    const Network network = random_network(rng, m, d, trial % 2 == 0, integers);
    const Matrix X = random_matrix(rng, n, d, integers);
    const Vector f = network.predict(X, 1, monitor);
    CHECK((f - slow_predictions(network, X)).lpNorm<Eigen::Infinity>() <=
          1e-14 * static_cast<double>(m + 1) * 20.0);
    CHECK(network.predict(X, 2, monitor) == f);
    CHECK(network.predict(X, 7, monitor) == f);
  }
}

void transformations_keep_the_function() {
  Rng rng(2);
  for (int trial = 0; trial < 500; ++trial) {
    const Index n = 1 + static_cast<Index>(rng() % 30), d = 1 + static_cast<Index>(rng() % 3);
    const Index m = 1 + static_cast<Index>(rng() % 12);
    const bool gated = trial % 2 == 0;
    const Network network = random_network(rng, m, d, gated, true);
    const Matrix X = random_matrix(rng, n, d, true);
    const Vector y = random_matrix(rng, n, 1, false);
    const double lam = 0.1;
    const Vector f = network.predict(X, 1, monitor);
    const double before = objective(network, X, y, lam);
    const double scale = 1.0 + f.norm();
    const auto has_same_function = [&](const Network& other) {
      return (other.predict(X, 1, monitor) - f).norm() <= 1e-13 * scale * static_cast<double>(m);
    };

    const Network balanced = network.balance();
    CHECK(has_same_function(balanced));
    CHECK(objective(balanced, X, y, lam) <= before * (1.0 + 1e-13));
    for (Index j = 0; j < m; ++j) {
      const double norm = balanced.hidden().row(j).norm();
      CHECK(std::abs(norm - std::abs(balanced.output()(j))) <= 1e-15 * norm);
    }

    const Network merged = network.merge();
    CHECK(has_same_function(merged));
    CHECK(objective(merged, X, y, lam) <= before * (1.0 + 1e-13));
    const Network again = merged.merge();
    CHECK(again.hidden() == merged.hidden() && again.output() == merged.output());

    const Index neuron = static_cast<Index>(rng() % static_cast<std::uint64_t>(m));
    Vector shares = random_matrix(rng, 3, 1, false).cwiseAbs();
    const Network split = network.split(neuron, shares);
    CHECK(split.n_neurons() == m + 2);
    CHECK(has_same_function(split));
    CHECK(std::abs(objective(split, X, y, lam) - before) <= 1e-13 * before);
    CHECK(split.merge().n_neurons() == merged.n_neurons());
  }
}

// Which neurons of a network are one: decided for all pairs.
void merge_finds_all_parallel_neurons() {
  Rng rng(3);
  for (int trial = 0; trial < 200; ++trial) {
    const Index d = 1 + static_cast<Index>(rng() % 4), m = static_cast<Index>(rng() % 40);
    const Network network = random_network(rng, m, d, trial % 2 == 0, true);
    Index n_distinct = 0;
    std::vector<Index> distinct;
    for (Index j = 0; j < m; ++j) {
      if (network.output()(j) == 0.0 || network.hidden().row(j).norm() == 0.0) continue;
      bool is_new = true;
      for (const Index i : distinct) {
        is_new = is_new && (network.gates() ? network.gates()->row(i) != network.gates()->row(j)
                                            : network.output()(i) * network.output()(j) < 0.0 ||
                                                  (network.hidden().row(i).normalized() -
                                                   network.hidden().row(j).normalized())
                                                          .norm() > 1e-9);
      }
      if (is_new) distinct.push_back(j);
    }
    const Network merged = network.merge();
    n_distinct = static_cast<Index>(distinct.size());
    if (network.gates()) {
      CHECK(merged.n_neurons() <= n_distinct);  // sums of gated neurons may vanish
    } else {
      CHECK(merged.n_neurons() == n_distinct);
    }
  }
}

void merge_respects_its_tolerance() {
  Matrix hidden(3, 2);
  hidden << 1.0, 0.0, 1.0, 1e-6, 2.0, 0.0;
  const Network network(hidden, Vector::Ones(3));
  CHECK(network.merge().n_neurons() == 2);
  CHECK(network.merge(1e-7).n_neurons() == 2);
  CHECK(network.merge(1e-5).n_neurons() == 1);
}

// Gated neurons add up whether parallel or not, and may cancel.
void gated_neurons_of_one_gate_add_up() {
  Matrix hidden(3, 2), gates(3, 2);
  hidden << 1.0, 0.0, 0.0, 2.0, -1.0, -4.0;
  gates << 1.0, 1.0, 1.0, 1.0, 1.0, 1.0;
  Vector output(3);
  output << 1.0, 2.0, 1.0;
  const Network network(hidden, output, gates);
  CHECK(network.merge().n_neurons() == 0);
  CHECK(network.split(0, Vector::Ones(4)).merge().n_neurons() == 0);
}

void extreme_magnitudes() {
  Matrix hidden(2, 2);
  hidden << 3e-300, 4e-300, 3e300, 4e300;
  Vector output(2);
  output << 5e-300, 5e300;
  const Network balanced = Network(hidden, output).balance();
  CHECK(std::abs(balanced.output()(0) / 5e-300 - 1.0) < 1e-15);
  CHECK(std::abs(balanced.output()(1) / 5e300 - 1.0) < 1e-15);
  CHECK((balanced.hidden() - hidden).cwiseAbs().maxCoeff() <= 1e-15 * 4e300);

  Matrix big = Matrix::Constant(1, 2, 1e200);
  const Network network(big, Vector::Constant(1, 1e200));
  CHECK(is_refused([&] { network.predict(Matrix::Ones(1, 2), 1, monitor); }));
  CHECK(network.predict(Matrix::Constant(1, 2, 1e-200), 1, monitor)(0) == 2e200);
  CHECK(is_refused([&] { network.predict(Matrix::Constant(1, 2, 1e200), 1, monitor); }));
  CHECK(is_refused([&] { to_blocks(network, Matrix::Ones(1, 2)); }));
  // One neuron of two, whose |a| W is not representable.
  const Network two = network.split(0, Vector::Ones(2)).merge();
  CHECK(two.n_neurons() == 1);
  CHECK(std::abs(two.output()(0) / (1e200 * std::pow(2.0, 0.25)) - 1.0) < 1e-14);
}

struct Case {
  Problem problem;
  double lam;
};

Case random_case(Rng& rng, int trial, double X_scale, double y_scale) {
  const Index n = 1 + static_cast<Index>(rng() % 20), d = 1 + static_cast<Index>(rng() % 4);
  const bool integers = trial % 3 != 0;
  const Formulation formulation = trial % 2 ? Formulation::relu : Formulation::gated;
  Matrix X = random_matrix(rng, n, d, integers);
  if (integers && n > 2) X.row(1) = -2.0 * X.row(0);
  const Vector y = random_matrix(rng, n, 1, integers);
  const Matrix gates = random_matrix(rng, d, 1 + static_cast<Index>(rng() % 15), trial % 5 == 0);
  X *= X_scale;
  Vector sample_weight;
  if (trial % 4 == 0) {
    sample_weight = random_matrix(rng, n, 1, true).cwiseAbs();
    sample_weight(0) = 1.0;
  }
  const Problem problem(X, y_scale * y, patterns_from_gates(X, gates), formulation, sample_weight);
  const double fractions[] = {0.9, 0.3, 0.01, 1e-4};
  return {problem, problem.lambda_max(monitor) * fractions[rng() % 4]};
}

// What is tested here holds for every solution, optimal or not.
Solution solve_roughly(const Problem& problem, double lam) {
  SolveOptions options;
  options.max_iter = 50;
  return solve(problem, lam, options, monitor);
}

void network_has_the_objective_and_fit_of_its_solution(double X_scale, double y_scale) {
  Rng rng(4);
  double worst = 0.0;
  Index n_neurons = 0;
  for (int trial = 0; trial < 400; ++trial) {
    const auto [problem, lam] = random_case(rng, trial, X_scale, y_scale);
    if (lam == 0.0) continue;
    const Solution solution = solve_roughly(problem, lam);
    const Network network = to_network(solution);
    n_neurons += network.n_neurons();
    CHECK(network.n_neurons() == solution.weights.cols());
    const double value =
        network.objective(problem.X(), problem.y(), lam, problem.sample_weight(), 1, monitor);
    worst = std::max(worst, std::abs(value / solution.objective - 1.0));
    const Vector f = network.predict(problem.X(), 1, monitor);
    if (problem.sample_weight().size() == 0) {
      CHECK((f - solution.fitted).stableNorm() <= 1e-12 * problem.y().stableNorm());
    }
    CHECK(network.balance().output().isApprox(network.output(), 1e-15));
  }
  CHECK(worst <= 1e-12);
  CHECK(n_neurons > 500);
  std::printf("  scales %g, %g: relative difference of objectives at most %.1e\n", X_scale, y_scale,
              worst);
}

void network_has_the_objective_and_fit_of_its_solution() {
  network_has_the_objective_and_fit_of_its_solution(1.0, 1.0);
  network_has_the_objective_and_fit_of_its_solution(1e150, 1e-150);
  network_has_the_objective_and_fit_of_its_solution(1e-150, 1e150);
  network_has_the_objective_and_fit_of_its_solution(1e150, 1e150);
  network_has_the_objective_and_fit_of_its_solution(1e-150, 1e-150);
}

// Whether the problem has every pattern.
bool has_patterns(const Problem& problem, const Patterns& patterns) {
  const BitMatrix& ours = problem.patterns().masks();
  for (Index i = 0; i < patterns.size(); ++i) {
    bool found = false;
    for (Index j = 0; j < ours.n_cols() && !found; ++j) {
      found = std::equal(ours.col(j), ours.col(j) + ours.words_per_col(), patterns.masks().col(i));
    }
    if (!found) return false;
  }
  return true;
}

void blocks_of_a_network_of_a_solution() {
  Rng rng(5);
  int n_optimal = 0;
  for (int trial = 0; trial < 200; ++trial) {
    const auto [problem, lam] = random_case(rng, trial, 1.0, 1.0);
    if (lam == 0.0) continue;
    const Solution solution = solve_roughly(problem, lam);
    const NetworkBlocks blocks = to_blocks(to_network(solution), problem.X());
    const Problem back(problem.X(), problem.y(), blocks.patterns, problem.formulation(),
                       problem.sample_weight());
    const Solution same = make_solution(back, lam, Status::optimal, blocks.active_set,
                                        blocks.weights, solution.dual, 0, 1, monitor);
    // Blocks of one pattern add up, which can only lower the objective, and at an optimum does not.
    // (It may where two neurons on walls of their cells meet in a cell that the problem has not.)
    CHECK(same.objective <= solution.objective * (1.0 + 1e-12));
    if (solution.gap <= 1e-12 && has_patterns(problem, blocks.patterns)) {
      CHECK(same.objective >= solution.objective * (1.0 - 2e-12));
      ++n_optimal;
    }
    CHECK((same.fitted - solution.fitted).norm() <= 1e-12 * problem.y().norm());
    CHECK(certify(back, lam, blocks.active_set, blocks.weights, solution.dual, 1, monitor)
              .cone_violation <= 1e-12);
  }
  CHECK(n_optimal > 50);
}

// Any network: the same function on X, the convex objective not above, equal where no two
// neurons share a block and all are balanced.
void blocks_of_any_network() {
  Rng rng(6);
  for (int trial = 0; trial < 500; ++trial) {
    const Index n = 1 + static_cast<Index>(rng() % 20), d = 1 + static_cast<Index>(rng() % 3);
    const Index m = static_cast<Index>(rng() % 8);
    const Network network = random_network(rng, m, d, trial % 2 == 0, trial % 3 == 0);
    const Matrix X = random_matrix(rng, n, d, true);
    const Vector y = random_matrix(rng, n, 1, false);
    const NetworkBlocks blocks = to_blocks(network, X);
    const Problem problem(X, y, blocks.patterns, network.formulation());
    const Vector f = fitted_values(problem, blocks.active_set, blocks.weights);
    const double scale = 1.0 + convex_penalty(blocks.weights);
    CHECK((f - network.predict(X, 1, monitor)).norm() <= 1e-13 * scale * 20.0);

    const Network balanced = network.balance();
    const double network_penalty =
        0.5 * (balanced.hidden().squaredNorm() + balanced.output().squaredNorm());
    const double penalty = convex_penalty(blocks.weights);
    CHECK(penalty <= network_penalty * (1.0 + 1e-14));
    Index n_live = 0;
    for (Index j = 0; j < m; ++j) n_live += balanced.output()(j) != 0.0;
    if (blocks.weights.cols() == n_live) {
      CHECK(std::abs(penalty - network_penalty) <= 1e-14 * (1.0 + penalty));
    }
  }
}

void bad_arguments_are_refused() {
  const Matrix hidden = Matrix::Ones(2, 3);
  const Vector output = Vector::Ones(2);
  const Network network(hidden, output);
  CHECK(is_refused([&] { Network(hidden, Vector::Ones(3)); }));
  CHECK(is_refused([&] { Network(hidden, output, Matrix::Ones(3, 2)); }));
  CHECK(is_refused([&] { Network(hidden * kInfinity, output); }));
  CHECK(is_refused([&] { Network(hidden, output * kNaN); }));
  CHECK(is_refused([&] { Network(hidden, output, Matrix(hidden * kNaN)); }));
  CHECK(is_refused([&] { network.predict(Matrix::Ones(4, 2), 1, monitor); }));
  CHECK(is_refused([&] { objective(network, Matrix::Ones(4, 3), Vector::Ones(5), 1.0); }));
  const Matrix X = Matrix::Ones(4, 3);
  const Vector y = Vector::Ones(4);
  const Vector weights[] = {Vector::Ones(3), Vector::Zero(4), Vector::Constant(4, -1.0)};
  for (const Vector& weight : weights) {
    CHECK(is_refused([&] { network.objective(X, y, 1.0, weight, 1, monitor); }));
  }
  CHECK(is_refused([&] { network.split(2, Vector::Ones(2)); }));
  CHECK(is_refused([&] { network.split(-1, Vector::Ones(2)); }));
  CHECK(is_refused([&] { network.split(0, Vector()); }));
  CHECK(is_refused([&] { network.split(0, Vector::Zero(2)); }));
}

// The gate of a pattern is asked for on new data, so it must give that pattern on these.
void gates_of_other_data_are_refused() {
  Matrix X(3, 2);
  X << 1.0, 0.0, 0.0, 1.0, -1.0, 1.0;
  const Vector y = Vector::Ones(3);
  const Patterns patterns = patterns_from_gates(-X, Matrix::Ones(2, 1));
  const Problem problem(X, y, patterns, Formulation::gated);
  const Solution solution = solve_roughly(problem, 0.1 * problem.lambda_max(monitor));
  CHECK(solution.weights.cols() == 1);
  CHECK(is_refused([&] { to_network(solution); }));
}

void a_stopped_prediction() {
  Monitor stopped(0.0);
  bool caught = false;
  try {
    Network(Matrix::Ones(2, 3), Vector::Ones(2)).predict(Matrix::Ones(4, 3), 1, stopped);
  } catch (const Stopped&) {
    caught = true;
  }
  CHECK(caught);
}

}  // namespace

int main() {
  RUN(predictions_are_those_of_the_definition);
  RUN(transformations_keep_the_function);
  RUN(merge_finds_all_parallel_neurons);
  RUN(merge_respects_its_tolerance);
  RUN(gated_neurons_of_one_gate_add_up);
  RUN(extreme_magnitudes);
  RUN(network_has_the_objective_and_fit_of_its_solution);
  RUN(blocks_of_a_network_of_a_solution);
  RUN(blocks_of_any_network);
  RUN(bad_arguments_are_refused);
  RUN(gates_of_other_data_are_refused);
  RUN(a_stopped_prediction);
  return failed_checks;
}
