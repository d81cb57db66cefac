// solve_global from C++; the mathematics is tested from Python, with enumerated problems.

#include <algorithm>
#include <ctime>
#include <string>

#include "check.hpp"
#include "convexrelu/global/global_solver.hpp"
#include "random_matrix.hpp"

using namespace convexrelu;

namespace {

void answers_carry_their_certificate() {
  Rng rng(1);
  Monitor monitor;
  for (int trial = 0; trial < 40; ++trial) {
    const Matrix X = random_matrix(rng, trial % 2 == 0, 15, 1 + trial % 4);
    const Vector y = random_matrix(rng, trial % 2 == 0, 15, 1);
    const Solution s = solve_global(X, y, 0.05, Vector(), {}, monitor);
    const Certificate c = certify(s.problem, s.lam, s.active_set, s.weights, s.dual, 1, monitor);
    CHECK(s.objective == c.primal && s.lower_bound == c.dual && s.gap == c.gap);
    CHECK(s.gap <= 1e-7);
    CHECK(c.cone_violation <= 1e-12);
    CHECK(s.problem.X() == X && s.problem.y() == y);
    CHECK(s.status == Status::optimal || s.status == Status::unproven);
    CHECK(!(s.global_lower_bound > s.objective));
  }
}

void bits_do_not_depend_on_threads() {
  Rng rng(2);
  Monitor monitor;
  const Matrix X = random_matrix(rng, false, 300, 6);
  const Vector y = random_matrix(rng, false, 300, 1);
  GlobalSolverOptions options;
  options.certify = false;
  const Solution one = solve_global(X, y, 0.02, Vector(), options, monitor);
  options.n_threads = 3;
  const Solution many = solve_global(X, y, 0.02, Vector(), options, monitor);
  CHECK(one.weights == many.weights && one.dual == many.dual && one.n_iter == many.n_iter);
}

void stopping_is_no_error() {
  Rng rng(3);
  const Matrix X = random_matrix(rng, false, 200, 5);
  const Vector y = random_matrix(rng, false, 200, 1);
  Monitor over(0.0);
  CHECK(solve_global(X, y, 0.01, Vector(), {}, over).status == Status::time_limit);
  double last = kInfinity;
  Monitor asked(kInfinity, [&](const Progress& progress) {
    last = progress.objective;
    return progress.iteration == 5;
  });
  const Solution s = solve_global(X, y, 0.01, Vector(), {}, asked);
  CHECK(s.status == Status::callback);
  CHECK(s.objective <= last * (1.0 + 1e-12));
}

void what_a_callback_throws_passes_through() {
  struct Mine {};
  Rng rng(4);
  const Matrix X = random_matrix(rng, false, 30, 3);
  const Vector y = random_matrix(rng, false, 30, 1);
  for (const char* phase : {"grow", "solve", "close"}) {
    bool caught = false;
    Monitor monitor(kInfinity, [&](const Progress& progress) -> bool {
      if (std::string(progress.phase) == phase) throw Mine{};
      return false;
    });
    try {
      solve_global(X, y, 0.01, Vector(), {}, monitor);
    } catch (const Mine&) {
      caught = true;
    }
    CHECK(caught);
  }
}

// Between two looks no more work than an interrupt may wait for, in CPU time: the least of three runs of
// a round with some ten neurons, whose products with X take longer.
void looks_at_the_monitor_on_large_data() {
  struct Enough {};
  Rng rng(5);
  const Matrix X = random_matrix(rng, false, 8000, 700);
  const Vector y = X.leftCols(5).cwiseAbs().rowwise().sum() + random_matrix(rng, false, 8000, 1);
  double least = kInfinity;
  for (int attempt = 0; attempt < 3 && least > 0.2; ++attempt) {
    double worst = 0.0;
    std::clock_t last = 0;
    bool in_round = false;
    Monitor monitor(
        kInfinity,
        [&](const Progress&) -> bool {
          if (in_round) throw Enough{};
          in_round = true;
          last = std::clock();
          return false;
        },
        [&] {
          const std::clock_t now = std::clock();
          if (in_round) worst = std::max(worst, static_cast<double>(now - last) / CLOCKS_PER_SEC);
          last = now;
        });
    try {
      solve_global(X, y, 0.02, Vector(), {}, monitor);
    } catch (const Enough&) {
      least = std::min(least, worst);
    }
  }
  CHECK(least <= 0.2);
}

}  // namespace

int main() {
  RUN(answers_carry_their_certificate);
  RUN(bits_do_not_depend_on_threads);
  RUN(stopping_is_no_error);
  RUN(what_a_callback_throws_passes_through);
  RUN(looks_at_the_monitor_on_large_data);
  return failed_checks == 0 ? 0 : 1;
}
