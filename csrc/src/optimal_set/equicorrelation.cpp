#include "optimal_set/equicorrelation.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "convexrelu/base/error.hpp"
#include "convexrelu/solver/solver.hpp"
#include "numeric/pivots.hpp"
#include "program/global_bound.hpp"

namespace convexrelu {
inline namespace optimal_set {

namespace {

// Rounding of ||q_b|| up to this, relative to lam, is no excuse: a tenth of the default tolerance.
constexpr double kRounded = 1e-10;
// Nor does it excuse more than this, up to which weights are told to be those of the set.
constexpr double kLoosest = 1e-7;

// The blocks with ||q_b|| >= lam (1 - tol) at the dual point of a solution.
Equicorrelation find_equicorrelation(const Solution& solution, const OptimalSetOptions& options,
                                     Monitor& monitor) {
  const ScaledProblem& problem = solution.problem.scaled();
  const double lam = problem.scaled_lam(solution.lam);
  const double y_norm = problem.y().norm();
  // Where lam is so small that rounding of c_b shows in ||q_b|| / lam, no more can be asked.
  const double rounding =
      kEpsilon * problem.X().norm() * y_norm / (static_cast<double>(problem.n_samples()) * lam);
  const double tol = rounding > kRounded
                         ? std::max(options.tol, std::min(10.0 * rounding, kLoosest))
                         : options.tol;
  Equicorrelation found{problem.to_scaled(solution.dual), {}, {}, tol, 0.0};
  const double mismatch = (found.r - problem.to_scaled(solution.residual)).norm();
  if (!(mismatch <= tol * y_norm)) found.accuracy = mismatch / y_norm;
  const auto is_active = [&](const Block& b) {
    const std::vector<Block>& active = solution.active_set;
    return std::find(active.begin(), active.end(), b) != active.end();
  };
  const double floor = lam * (1.0 - std::max(tol, kNearby));
  std::size_t n_active = 0;
  for (const BlockNorm& b : blocks_above(problem, found.r, floor, options.n_threads, monitor)) {
    const double excess = b.norm / lam - 1.0;
    if (excess >= -tol) {
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

// min 1/2 ||y - Z a||^2 + c sum a over a >= 0, from a guess, by the active-set method of Lawson & Hanson
// (1974, chapter 23) on Z itself: columns that differ by 1e-7 only, as those of narrow cells do, are
// dependent to the normal equations. O(n m^2) for each of 3 (m + 1) steps at most.
Vector nonnegative_shares(const Matrix& Z, const Vector& y, double c, Vector a, Monitor& monitor) {
  constexpr double kRounding = 4.0 * kEpsilon, kSpanned = 1e-13;
  const Index m = Z.cols();
  const double tolerance = kRounding * Z.norm() * y.norm();
  std::vector<char> refused(static_cast<std::size_t>(m), 0);
  std::vector<Index> passive;
  for (Index j = 0; j < m; ++j) {
    if (a(j) > 0.0) passive.push_back(j);
  }
  const auto minimum = [&] { return least_squares(Z(Eigen::all, passive), y, &monitor, c); };
  for (Index step = 0; step <= 3 * (m + 1); ++step) {
    monitor.check();
    while (!passive.empty()) {  // every round takes a column out, but the last
      const Vector target = minimum();
      double length = 1.0;
      for (std::size_t i = 0; i < passive.size(); ++i) {
        const double from = a(passive[i]), to = target(static_cast<Index>(i));
        if (to <= 0.0) length = std::min(length, from > to ? from / (from - to) : 0.0);
      }
      std::vector<Index> kept;
      bool has_left = false;
      for (std::size_t i = 0; i < passive.size(); ++i) {
        double& value = a(passive[i]);
        const double from = value, to = target(static_cast<Index>(i));
        value += length * (to - value);
        const bool leaves = to <= 0.0 && (from <= 0.0 || from / (from - to) <= length);
        if (leaves) {
          value = 0.0;
          has_left = true;
        } else {
          kept.push_back(passive[i]);
        }
      }
      passive = std::move(kept);
      if (!has_left) break;
    }
    Vector gradient = Z.transpose() * (y - Z * a);
    gradient.array() -= c;
    for (const Index j : passive) gradient(j) = 0.0;
    for (Index j = 0; j < m; ++j) {
      if (refused[j]) gradient(j) = 0.0;
    }
    Index best = 0;
    if (m == 0 || !(gradient.maxCoeff(&best) > tolerance)) break;
    // One that depends on the passive ones takes the place of the first of them that vanishes as it rises
    // along the dependency, which keeps the fit and lowers the sum.
    const Matrix columns = Z(Eigen::all, passive);
    const Vector t = passive.empty() ? Vector() : least_squares(columns, Z.col(best), &monitor);
    if (t.size() > 0 && (Z.col(best) - columns * t).norm() <= kSpanned * Z.col(best).norm()) {
      Index first = -1;
      for (Index i = 0; i < t.size(); ++i) {
        if (!(t(i) > 0.0)) continue;
        if (first < 0 || a(passive[i]) * t(first) < a(passive[first]) * t(i)) first = i;
      }
      if (first < 0) {
        refused[best] = 1;
        continue;
      }
      const std::size_t leaves = static_cast<std::size_t>(first);
      const double rise = a(passive[leaves]) / t(first);
      for (Index i = 0; i < t.size(); ++i) {
        double& value = a(passive[i]);
        value = i == first ? 0.0 : std::max(0.0, value - rise * t(i));
      }
      a(best) = rise;
      passive[leaves] = best;
      continue;
    }
    passive.push_back(best);
    const Vector target = minimum();
    if (target(target.size() - 1) > 0.0) continue;
    passive.pop_back();  // it is there to within rounding
    refused[best] = 1;
  }
  return a;
}

// A solution that is nearly optimal, solved again in the directions of its neurons: with unit directions u_j
// in the cones of the blocks that are tight or nearly so, min 1/2n ||y - sum a_j A u_j||^2 + lam sum a_j
// over a >= 0 is a small quadratic program that is exact to rounding, at whose residual the blocks have
// new directions q_b, which join, for a number of rounds; the best is kept. Where neighbouring cells are so
// narrow that a solver of all weights is lost between them, their directions still agree.
Solution refine_directions(const Solution& start, const OptimalSetOptions& options,
                           Monitor& monitor) {
  constexpr double kClose = 1e-5;  // blocks are nearly tight from lam (1 - this) on
  constexpr int kRounds = 30;
  constexpr double kEnough = 1e-2;  // of the tolerance
  constexpr std::size_t kMostAtoms = 2000;
  struct Atom {
    Block block;
    Vector direction, activation;
    double share;
  };
  const ScaledProblem& problem = start.problem.scaled();
  const double lam = problem.scaled_lam(start.lam), n = static_cast<double>(problem.n_samples());
  std::vector<Atom> atoms;
  const auto add = [&](Block block, const Vector& direction, double share) {
    for (const Atom& atom : atoms)
      if (atom.block == block && atom.direction == direction) return;
    Matrix activation = problem.X() * direction;
    problem.apply_mask(block, activation);
    atoms.push_back({block, direction, activation, share});
  };
  const double unit = problem.weight_unit();
  for (Index j = 0; j < start.weights.cols(); ++j) {
    const Vector w = start.weights.col(j) / unit;
    if (w.norm() > 0.0) add(start.active_set[j], w.normalized(), w.norm());
  }
  const auto residual = [&] {
    Vector r = problem.y();
    for (const Atom& atom : atoms) r -= atom.share * atom.activation;
    return r;
  };
  BlockProjector projector(problem);
  std::vector<Atom> best = atoms;
  double least = kInfinity;
  Vector r = residual();
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<BlockNorm> close =
        blocks_above(problem, r, lam * (1.0 - kClose), options.n_threads, monitor);
    // How far this is from optimal: blocks above lam, active ones off it.
    double off = 0.0;
    for (const BlockNorm& b : close) off = std::max(off, b.norm / lam - 1.0);
    for (const Atom& atom : atoms) {
      const auto found = std::find_if(close.begin(), close.end(),
                                      [&](const BlockNorm& b) { return b.block == atom.block; });
      off = std::max(off, found == close.end() ? kClose : std::abs(found->norm / lam - 1.0));
    }
    if (off < least) {
      least = off;
      best = atoms;
    }
    if (least <= kEnough * options.tol) break;
    if (close.size() + atoms.size() > kMostAtoms) break;
    std::vector<Index> patterns;
    for (const BlockNorm& b : close) patterns.push_back(b.block.pattern);
    Matrix c(problem.n_features(), static_cast<Index>(patterns.size()));
    problem.products().correlate(r, patterns, c);
    for (std::size_t i = 0; i < close.size(); ++i) {
      Face face;
      Vector q(problem.n_features());
      projector.project(close[i].block, (close[i].block.sign / n) * c.col(static_cast<Index>(i)),
                        face, q);
      add(close[i].block, q.normalized(), 0.0);
    }
    const Index m = static_cast<Index>(atoms.size());
    Matrix Z(problem.n_samples(), m);
    Vector share(m);
    for (Index j = 0; j < m; ++j) {
      Z.col(j) = atoms[j].activation;
      share(j) = atoms[j].share;
    }
    share = nonnegative_shares(Z, problem.y(), n * lam, std::move(share), monitor);
    std::vector<Atom> kept;
    for (Index j = 0; j < m; ++j) {
      if (!(share(j) > 0.0)) continue;
      kept.push_back(std::move(atoms[j]));
      kept.back().share = share(j);
    }
    atoms = std::move(kept);
    r = residual();
  }
  atoms = std::move(best);
  std::sort(atoms.begin(), atoms.end(),
            [](const Atom& a, const Atom& b) { return comes_before(a.block, b.block); });
  std::vector<Block> active_set;
  Matrix weights = Matrix::Zero(problem.n_features(), static_cast<Index>(atoms.size()));
  for (const Atom& atom : atoms) {
    if (active_set.empty() || !(active_set.back() == atom.block)) active_set.push_back(atom.block);
    weights.col(static_cast<Index>(active_set.size()) - 1) += atom.share * unit * atom.direction;
  }
  weights.conservativeResize(Eigen::NoChange, static_cast<Index>(active_set.size()));
  return make_solution(start.problem, start.lam, start.status, std::move(active_set),
                       std::move(weights), problem.from_scaled(residual()), start.n_iter,
                       options.n_threads, monitor);
}

}  // namespace

// The solution, or what it becomes when it is solved further.
Optimum accurate_optimum(const Solution& solution, const OptimalSetOptions& options,
                         Monitor& monitor) {
  constexpr double kGap = 1e-8;  // up to which a solution's own bound is taken as it is
  constexpr double kSolveTolerance = 1e-12;
  const auto is_accurate = [&](const Solution& candidate, const Equicorrelation& found) {
    return found.accuracy <= found.tol && candidate.gap <= kGap;
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
    const Solution refined = refine_directions(polished, options, monitor);
    Equicorrelation again = find_equicorrelation(refined, options, monitor);
    if (is_accurate(refined, again)) {
      polished = refined;
      found = std::move(again);
    }
  }
  if (!is_accurate(polished, found)) {
    char message[200];
    std::snprintf(message, sizeof(message),
                  "solution cannot be made accurate enough: solved again it is stationary to %.1e "
                  "with a relative gap of %.1e, but the optimal set needs %.1e and %.1e",
                  found.accuracy, polished.gap, found.tol, kGap);
    throw AccuracyError(message);
  }
  polished.status = Status::optimal;
  keep_global_bound(polished, solution);
  return {std::move(polished), std::move(found)};
}

}  // namespace optimal_set
}  // namespace convexrelu
