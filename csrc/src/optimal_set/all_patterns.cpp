#include "optimal_set/all_patterns.hpp"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "convexrelu/base/error.hpp"
#include "convexrelu/pricing/pricing.hpp"

namespace convexrelu {
inline namespace optimal_set {

namespace {

// The same weights in a problem with more patterns, which follow those that it has.
Solution with_patterns(const Solution& solution, const Patterns& more, int n_threads,
                       Monitor& monitor) {
  const Problem& problem = solution.problem;
  const Patterns& own = problem.patterns();
  const auto words = [](const Patterns& patterns, Index i) {
    const BitMatrix::Word* column = patterns.masks().col(i);
    return std::vector<BitMatrix::Word>(column, column + patterns.masks().words_per_col());
  };
  std::set<std::vector<BitMatrix::Word>> known;
  for (Index i = 0; i < own.size(); ++i) known.insert(words(own, i));
  std::vector<Index> added;
  for (Index i = 0; i < more.size(); ++i) {
    if (known.insert(words(more, i)).second) added.push_back(i);
  }
  BitMatrix masks(own.n_samples(), own.size() + static_cast<Index>(added.size()));
  Matrix gates(own.n_features(), masks.n_cols());
  const auto place = [&](const Patterns& from, Index i, Index to) {
    std::copy_n(from.masks().col(i), masks.words_per_col(), masks.col(to));
    gates.col(to) = from.gates().col(i);
  };
  for (Index i = 0; i < own.size(); ++i) place(own, i, i);
  for (Index i = own.size(); i < masks.n_cols(); ++i) place(more, added[i - own.size()], i);
  const Problem wider(problem.X(), problem.y(), Patterns(std::move(masks), std::move(gates)),
                      problem.formulation(), problem.sample_weight());
  Solution same =
      make_solution(wider, solution.lam, solution.status, solution.active_set, solution.weights,
                    solution.dual, solution.n_iter, n_threads, monitor);
  same.global_lower_bound = solution.global_lower_bound;
  return same;
}

}  // namespace

// One violated pattern comes at a time while branch and bound finds one with ease; what is left is listed.
Optimum optimum_over_all_patterns(Optimum optimum, const OptimalSetOptions& options,
                                  Monitor& monitor) {
  constexpr double kMostCells = 1e7;  // what memory holds
  const Matrix& X = optimum.solution.problem.X();
  const double lam = optimum.solution.problem.scaled().scaled_lam(optimum.solution.lam);
  const double violation = lam * (1.0 + options.tol);
  PricingOptions pricing;
  pricing.n_threads = options.n_threads;
  pricing.threshold = lam;
  for (;;) {  // ends: every round adds a pattern, of finitely many, but the last
    const Matrix rows = optimum.solution.problem.scaled().X();
    pricing.starts = -optimum.solution.weights;
    for (Index j = 0; j < pricing.starts.cols(); ++j) pricing.starts.col(j).stableNormalize();
    const Pricing largest = price_patterns(rows, optimum.active.r, pricing, monitor);
    monitor.check();
    bool is_violated = largest.value > violation;
    Matrix gates = largest.direction;
    if (!is_violated) {
      const double near = lam * std::max(1.0 - 2.0 * options.tol, kNearby);
      const PricedCells cells =
          cells_above(rows, optimum.active.r, near, kMostCells, pricing, monitor);
      is_violated = std::any_of(cells.norms.begin(), cells.norms.end(),
                                [&](double norm) { return norm > violation; });
      gates = cells.patterns.gates();
    }
    const Index n_patterns = optimum.solution.problem.n_patterns();
    const Solution wider =
        with_patterns(optimum.solution, patterns_from_gates(X, gates, options.n_threads, &monitor),
                      options.n_threads, monitor);
    if (is_violated && wider.problem.n_patterns() == n_patterns) {
      throw AccuracyError(
          "solution cannot be made accurate enough: one of its own patterns stays violated");
    }
    optimum = accurate_optimum(wider, options, monitor);
    if (!is_violated) return optimum;
  }
}

}  // namespace optimal_set
}  // namespace convexrelu
