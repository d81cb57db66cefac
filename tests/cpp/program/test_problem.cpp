#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "check.hpp"
#include "convexrelu/program/problem.hpp"

using namespace convexrelu;

namespace {

using Rng = std::mt19937_64;

Matrix integers(Rng& rng, Index rows, Index cols) {
  Matrix matrix(rows, cols);
  for (double& entry : matrix.reshaped()) entry = static_cast<double>(rng() % 5) - 2.0;
  return matrix;
}

Problem random_problem(Rng& rng, Formulation formulation, Index n, Index n_gates) {
  const Matrix X = integers(rng, n, 3);
  const Matrix gates = integers(rng, 3, n_gates);
  return {X, integers(rng, n, 1), patterns_from_gates(X, gates), formulation};
}

template <typename Action>
bool refuses(const Action& action) {
  try {
    action();
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

// Rows 0 and 1 are opposite, row 2 is zero, row 3 is three times row 0.
void signs_of_a_cone() {
  Matrix X(4, 2);
  X << 1, 1, -1, -1, 0, 0, 3, 3;
  Matrix gates(2, 3);
  gates << 1, -1, 1,  //
      0, 0, -1;       // the last lies on the hyperplane: all bits are 1
  const Problem problem(X, Vector::Ones(4), patterns_from_gates(X, gates), Formulation::relu);
  std::int8_t sigma = 9;
  CHECK(problem.scaled().hyperplanes().size() == 1);
  problem.scaled().cone_signs(0, &sigma);
  CHECK(sigma == 1);
  problem.scaled().cone_signs(1, &sigma);
  CHECK(sigma == -1);
  problem.scaled().cone_signs(2, &sigma);
  CHECK(sigma == 0);
}

void masks_are_applied_with_their_sign() {
  Rng rng(1);
  const Problem problem = random_problem(rng, Formulation::relu, 70, 5);
  for (Index i = 0; i < problem.n_patterns(); ++i) {
    for (const int sign : {+1, -1}) {
      Matrix columns = integers(rng, 70, 2);
      const Matrix before = columns;
      problem.scaled().apply_mask({i, sign}, columns);
      for (Index k = 0; k < 70; ++k) {
        const double factor = problem.patterns().masks().test(k, i) ? sign : 0.0;
        CHECK(columns.row(k) == factor * before.row(k));
      }
    }
  }
}

void largest_norm_is_the_largest_of_blocks_above() {
  Rng rng(2);
  Monitor monitor;
  for (int trial = 0; trial < 60; ++trial) {
    const Formulation formulation = trial % 2 ? Formulation::relu : Formulation::gated;
    const Problem problem = random_problem(rng, formulation, 9, trial % 3 ? 12 : 600);
    const Vector r = integers(rng, 9, 1);
    const std::vector<BlockNorm> all = blocks_above(problem.scaled(), r, 0.0, 1, monitor);
    double largest = 0.0;
    for (const BlockNorm& b : all) largest = std::max(largest, b.norm);
    CHECK(std::abs(largest_norm(problem.scaled(), r, 0.0, 1, monitor) - largest) <= 1e-14);
    CHECK(largest_norm(problem.scaled(), r, 2.0 * largest, 1, monitor) == 2.0 * largest);
    for (const int n_threads : {2, 5}) {
      CHECK(largest_norm(problem.scaled(), r, 0.0, n_threads, monitor) ==
            largest_norm(problem.scaled(), r, 0.0, 1, monitor));
      const auto threaded = blocks_above(problem.scaled(), r, 0.1, n_threads, monitor);
      const auto serial = blocks_above(problem.scaled(), r, 0.1, 1, monitor);
      CHECK(std::equal(serial.begin(), serial.end(), threaded.begin(), threaded.end(),
                       [](const BlockNorm& a, const BlockNorm& b) {
                         return a.block == b.block && a.norm == b.norm;
                       }));
      CHECK(std::all_of(serial.begin(), serial.end(),
                        [](const BlockNorm& b) { return b.norm > 0.1; }));
    }
  }
}

// What overflows is never below a threshold.
void norms_of_what_overflows_are_infinite() {
  Rng rng(3);
  Monitor monitor;
  const Problem problem = random_problem(rng, Formulation::relu, 9, 12);
  Vector r = Vector::Constant(9, 1e308);
  CHECK(largest_norm(problem.scaled(), r, 1.0, 1, monitor) == kInfinity);
  r(4) = kNaN;
  CHECK(largest_norm(problem.scaled(), r, 1.0, 1, monitor) == kInfinity);
}

void units_are_powers_of_two() {
  Rng rng(4);
  const Matrix X = integers(rng, 9, 3), gates = integers(rng, 3, 6);
  const Vector y = integers(rng, 9, 1);
  const Patterns patterns = patterns_from_gates(X, gates);
  const Problem plain(X, y, patterns, Formulation::relu);
  for (const int exponent : {-900, -30, 0, 1, 30, 900}) {
    const Problem scaled(std::ldexp(1.0, exponent) * X, y, patterns, Formulation::relu);
    CHECK(scaled.scaled().X() == plain.scaled().X());
    CHECK(scaled.lambda_max() == std::ldexp(plain.lambda_max(), exponent));
    const double lam = std::ldexp(0.1, exponent);
    CHECK(scaled.scaled().scaled_lam(lam) == plain.scaled().scaled_lam(0.1));
    CHECK(scaled.scaled().in_range());
  }
  const Problem large(std::ldexp(1.0, 600) * X, std::ldexp(1.0, 600) * y, patterns,
                      Formulation::relu);
  CHECK(!large.scaled().in_range());
  CHECK(large.scaled().scaled_lam(5e-324) == 0.0);
  const Problem small(std::ldexp(1.0, -600) * X, std::ldexp(1.0, -600) * y, patterns,
                      Formulation::relu);
  CHECK(std::isfinite(small.scaled().scaled_lam(1e308)));
}

void rows_of_weight_zero_are_left_out() {
  Rng rng(5);
  const Matrix X = integers(rng, 8, 3), gates = integers(rng, 3, 6);
  const Vector y = integers(rng, 8, 1);
  Vector weight = Vector::Ones(8);
  weight(2) = weight(7) = 0.0;
  weight(3) = 4.0;
  const Problem problem(X, y, patterns_from_gates(X, gates), Formulation::relu, weight);
  const ScaledProblem& scaled = problem.scaled();
  CHECK((scaled.rows() == std::vector<Index>{0, 1, 3, 4, 5, 6}));
  CHECK(std::abs(scaled.row_factors().squaredNorm() - 6.0) <= 1e-14);
  CHECK(std::abs(scaled.row_factors()(2) / scaled.row_factors()(0) - 2.0) <= 1e-15);
}

void what_is_wrong_is_refused() {
  Rng rng(6);
  const Matrix X = integers(rng, 8, 3), gates = integers(rng, 3, 6);
  const Vector y = integers(rng, 8, 1);
  const Patterns patterns = patterns_from_gates(X, gates);
  const auto make = [&](const Matrix& X_, const Vector& y_, const Vector& weight) {
    Problem(X_, y_, patterns, Formulation::relu, weight);
  };
  make(X, y, Vector());
  CHECK(refuses([&] { make(X.topRows(7), y, Vector()); }));
  CHECK(refuses([&] { make(X.leftCols(2), y, Vector()); }));
  CHECK(refuses([&] { make(X, y.head(7), Vector()); }));
  CHECK(refuses([&] { make(X, y, Vector::Ones(7)); }));
  CHECK(refuses([&] { make(X, y, Vector::Zero(8)); }));
  CHECK(refuses([&] { make(X, y, -Vector::Ones(8)); }));
  CHECK(refuses([&] { make(X, y, Vector::Constant(8, kNaN)); }));
}

// An interrupted computation leaves nothing behind.
void lambda_max_can_be_stopped_and_asked_again() {
  Rng rng(7);
  const Problem problem = random_problem(rng, Formulation::relu, 50, 500);
  Monitor over(0.0);
  bool stopped = false;
  try {
    problem.lambda_max(over);
  } catch (const Stopped&) {
    stopped = true;
  }
  CHECK(stopped);
  CHECK(problem.lambda_max() ==
        Problem(problem.X(), problem.y(), problem.patterns(), problem.formulation()).lambda_max());
}

}  // namespace

int main() {
  RUN(signs_of_a_cone);
  RUN(masks_are_applied_with_their_sign);
  RUN(largest_norm_is_the_largest_of_blocks_above);
  RUN(norms_of_what_overflows_are_infinite);
  RUN(units_are_powers_of_two);
  RUN(rows_of_weight_zero_are_left_out);
  RUN(what_is_wrong_is_refused);
  RUN(lambda_max_can_be_stopped_and_asked_again);
  return failed_checks == 0 ? 0 : 1;
}
