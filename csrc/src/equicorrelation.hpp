// The blocks that can be active at an optimum, E = {b : ||q_b|| = lam}, and an optimum that is known
// accurately enough to tell: over the patterns of its problem, or over all of the data.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "convexrelu/error.hpp"
#include "convexrelu/optimal_set.hpp"
#include "convexrelu/pricing.hpp"
#include "convexrelu/solver.hpp"
#include "global_bound.hpp"

namespace convexrelu {

// Active blocks are looked for down to lam times 1 minus this.
inline constexpr double kNearby = 1e-3;

struct Equicorrelation {
  Vector r;  // at which it is taken
  std::vector<Block> blocks;
  std::vector<double> misses;  // of each: lam - ||q_b||, relative to lam
  double accuracy;  // how far the solution is from stationary there, relative to lam and ||y||
};

// The blocks with ||q_b|| >= lam (1 - tol) at the dual point of a solution.
inline Equicorrelation find_equicorrelation(const Solution& solution,
                                            const OptimalSetOptions& options, Monitor& monitor) {
  const ScaledProblem& problem = solution.problem.scaled();
  const double lam = problem.scaled_lam(solution.lam);
  const double y_norm = problem.y().norm();
  Equicorrelation found{problem.to_scaled(solution.dual), {}, {}, 0.0};
  const double mismatch = (found.r - problem.to_scaled(solution.residual)).norm();
  if (!(mismatch <= options.tol * y_norm)) found.accuracy = mismatch / y_norm;
  const auto is_active = [&](const Block& b) {
    const std::vector<Block>& active = solution.active_set;
    return std::find(active.begin(), active.end(), b) != active.end();
  };
  const double floor = lam * (1.0 - std::max(options.tol, kNearby));
  std::size_t n_active = 0;
  for (const BlockNorm& b : blocks_above(problem, found.r, floor, options.n_threads, monitor)) {
    const double excess = b.norm / lam - 1.0;
    if (excess >= -options.tol) {
      found.blocks.push_back(b.block);
      found.misses.push_back(-excess);
    }
    if (is_active(b.block)) {
      ++n_active;
      found.accuracy = std::max(found.accuracy, std::abs(excess));
    }
    found.accuracy = std::max(found.accuracy, excess);
  }
  if (n_active < solution.active_set.size()) found.accuracy = std::max(found.accuracy, kNearby);
  return found;
}

struct Optimum {
  Solution solution;
  Equicorrelation active;
};

// The solution, or what it becomes when it is solved further.
inline Optimum accurate_optimum(const Solution& solution, const OptimalSetOptions& options,
                                Monitor& monitor) {
  constexpr double kGap = 1e-8;  // up to which a solution's own bound is taken as it is
  constexpr double kSolveTolerance = 1e-12;
  const auto is_accurate = [&](const Solution& candidate, const Equicorrelation& found) {
    return found.accuracy <= options.tol && candidate.gap <= kGap;
  };
  Equicorrelation found = find_equicorrelation(solution, options, monitor);
  if (is_accurate(solution, found)) return {solution, std::move(found)};
  SolveOptions further;
  further.tol = kSolveTolerance;
  further.n_threads = options.n_threads;
  further.warm_start = &solution;
  Solution polished = solve(solution.problem, solution.lam, further, monitor);
  monitor.check();
  found = find_equicorrelation(polished, options, monitor);
  if (!is_accurate(polished, found)) {
    char message[200];
    std::snprintf(message, sizeof(message),
                  "solution cannot be made accurate enough: solved again it is stationary to %.1e "
                  "with a relative gap of %.1e, but the optimal set needs %.1e and %.1e",
                  found.accuracy, polished.gap, options.tol, kGap);
    throw_invalid(message);
  }
  polished.status = Status::optimal;
  keep_global_bound(polished, solution);
  return {std::move(polished), std::move(found)};
}

// The same weights in a problem with more patterns, which follow those that it has.
inline Solution with_patterns(const Solution& solution, const Patterns& more, int n_threads,
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
  for (Index i = own.size(); i < masks.n_cols(); ++i)
    place(more, added[static_cast<std::size_t>(i - own.size())], i);
  const Problem wider(problem.X(), problem.y(), Patterns(std::move(masks), std::move(gates)),
                      problem.formulation(), problem.sample_weight());
  Solution same =
      make_solution(wider, solution.lam, solution.status, solution.active_set, solution.weights,
                    solution.dual, solution.n_iter, n_threads, monitor);
  same.global_lower_bound = solution.global_lower_bound;
  return same;
}

// The optimum of the problem to which all patterns have come that are violated or can be active. One
// violated pattern comes at a time while branch and bound finds one with ease; what is left is listed.
inline Optimum optimum_over_all_patterns(Optimum optimum, const OptimalSetOptions& options,
                                         Monitor& monitor) {
  constexpr double kMostCells = 1e7;  // what memory holds
  const Matrix& X = optimum.solution.problem.X();
  const double lam = optimum.solution.problem.scaled().scaled_lam(optimum.solution.lam);
  const double violation = lam * (1.0 + options.tol);
  PricingOptions pricing;
  pricing.n_threads = options.n_threads;
  pricing.threshold = lam;
  for (;;) {
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
        with_patterns(optimum.solution, patterns_from_gates(X, gates), options.n_threads, monitor);
    if (is_violated && wider.problem.n_patterns() == n_patterns) {
      throw_invalid(
          "solution cannot be made accurate enough: one of its own patterns stays violated");
    }
    optimum = accurate_optimum(wider, options, monitor);
    if (!is_violated) return optimum;
  }
}

}  // namespace convexrelu
