#include "convexrelu/pricing/pricing.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "base/preconditions.hpp"
#include "convexrelu/base/error.hpp"
#include "convexrelu/pricing/local_search.hpp"
#include "pricing/priced_arrangement.hpp"
#include "pricing/search.hpp"

namespace convexrelu {
inline namespace pricing {

namespace {

// A bound is called exact if it is so to this times sum_k |r_k| ||x_k||.
constexpr double kExactRounding = 2e-11;

void check(ConstMatrixRef X, ConstVectorRef r) {
  if (r.size() != X.rows()) {
    throw_invalid("r must have as many entries as X has rows (" + std::to_string(X.rows()) +
                  "), got " + std::to_string(r.size()));
  }
  require_finite(X, "X");
  require_finite(r, "r");
}

Vector unit(Vector u) {
  const double largest = u.size() > 0 ? u.cwiseAbs().maxCoeff() : 0.0;
  if (!(largest > 0.0)) return Vector::Unit(u.size(), 0);
  u /= largest;
  return u / u.norm();
}

// A good direction to begin with. Throws nothing when time is up: what is there by then is good enough.
Incumbent search_locally(const ScaledData& data, const PricingOptions& options, Monitor& monitor) {
  constexpr Index kRandomStarts = 32;
  const Index d = data.X.cols();
  const Vector linear = unit(data.X.transpose() * data.r);
  Incumbent best;
  const auto offer = [&](const Vector& u) {
    const double value = std::abs(data.evaluate(u));
    if (value > best.value) best = {value, u};
  };
  offer(linear);
  offer(-linear);
  Matrix starts(d, kRandomStarts + 2 + options.starts.cols());
  starts.leftCols(kRandomStarts) = random_directions(d, kRandomStarts, options.seed);
  starts.col(kRandomStarts) = linear;
  starts.col(kRandomStarts + 1) = -linear;
  for (Index j = 0; j < options.starts.cols(); ++j) {
    const Vector start = unit(options.starts.col(j));
    offer(start);
    starts.col(kRandomStarts + 2 + j) = start;
  }
  LocalSearchOptions local;
  local.n_polished = 8;
  local.n_results = 1;
  local.n_threads = options.n_threads;
  try {
    monitor.check();
    const std::vector<LocalMaximum> found =
        LocalSearch(data.X, &monitor).maximise(data.r, starts, local, monitor);
    for (const LocalMaximum& maximum : found) offer(maximum.direction);
  } catch (const Stopped&) {
  }
  return best;
}

// Whether branch and bound can bring the bound down: its rank is one that it handles, and neither memory
// nor the number of cones that may be looked at ends it before all root cones are.
bool is_worth_a_search(const PricedArrangement& arrangement, double max_cones) {
  return arrangement.rank() <= kMaxPricedRank && std::ldexp(1.0, arrangement.rank()) <= max_cones &&
         Search::bytes_of_roots(arrangement) <= Search::kMaxBytes;
}

// slack: what rounding can have taken from the bound of branch and bound.
struct Bound {
  double value;
  double slack = 0.0;

  double above_rounding(const ScaledData& data) const {
    return value * (1.0 + kRelativeSlack) + std::max(slack, kAbsoluteSlack * data.total);
  }
};

Pricing finish(const ScaledData& data, const Incumbent& best, Bound bound, double formula,
               const PricingOptions& options) {
  Pricing pricing;
  pricing.direction =
      unit(best.direction.size() > 0 ? best.direction : Vector::Zero(data.X.cols()));
  const double F = data.evaluate(pricing.direction), value = std::abs(F);
  pricing.sign = F < 0.0 ? -1 : 1;
  pricing.value = data.to_caller(value);
  pricing.raw_bound = data.to_caller(bound.value);
  double upper = bound.above_rounding(data);
  // A bound below what is attained is wrong, NaN says nothing: the formula, of which either is unlikely.
  const bool is_wrong = !(upper >= value);
  if (is_wrong) upper = Bound{formula}.above_rounding(data);
  upper = std::max(value, upper);
  pricing.upper_bound = data.to_caller(upper);
  pricing.is_exact = !is_wrong && upper <= (1.0 + options.tol + 2.0 * kRelativeSlack) * value +
                                               kExactRounding * data.total;
  return pricing;
}

}  // namespace

Pricing price_patterns(ConstMatrixRef X, ConstVectorRef r, const PricingOptions& options,
                       Monitor& monitor) {
  check(X, r);
  if (options.starts.cols() > 0 && options.starts.rows() != X.cols()) {
    throw_invalid("starts must have a row per column of X");
  }
  require_finite(options.starts, "starts");
  require_not_negative(options.tol, "tol");
  require_not_negative(options.threshold, "threshold");
  const ScaledData data(X, r, monitor);
  Incumbent best = search_locally(data, options, monitor);
  std::array<double, 2> bounds = crude_bounds(data);
  double formula = std::max(bounds[0], bounds[1]);
  Bound bound{formula};
  long n_cones = 0;
  const Limits limits{options.tol, data.from_caller(options.threshold)};
  try {
    monitor.check();
    bounds = global_bounds(data, monitor);
    bound.value = formula = std::min(formula, std::max(bounds[0], bounds[1]));
    monitor.check();
    if (formula > limits.at(best.value)) {
      const PricedArrangement arrangement(data, monitor);
      if (is_worth_a_search(arrangement, options.max_cones)) {
        Search search(arrangement, limits, false, options.n_threads, monitor);
        search.best = {best.value, Vector()};
        try {
          search.run(bounds, options.max_cones, [&](const Search& now) {
            const double open = std::max(now.open_bound(), now.closed_bound);
            monitor.report("price", now.n_cones, data.to_caller(now.best.value),
                           std::max(0.0, open / now.best.value - 1.0));
          });
        } catch (const Stopped&) {
        }
        bound = {std::max(search.open_bound(), search.closed_bound), arrangement.slack()};
        if (search.best.direction.size() > 0) best = search.best;
        n_cones = search.n_cones;
      }
    }
  } catch (const Stopped&) {
  }
  Pricing pricing = finish(data, best, bound, formula, options);
  pricing.n_cones = n_cones;
  return pricing;
}

double price_bound(ConstMatrixRef X, ConstVectorRef r, Monitor& monitor) {
  check(X, r);
  const ScaledData data(X, r, monitor);
  std::array<double, 2> bounds = crude_bounds(data);
  try {
    bounds = global_bounds(data, monitor);
  } catch (const Stopped&) {
  }
  return data.to_caller(Bound{std::max(bounds[0], bounds[1])}.above_rounding(data));
}

PricedCells cells_above(ConstMatrixRef X, ConstVectorRef r, double threshold, double max_cells,
                        const PricingOptions& options, Monitor& monitor) {
  check(X, r);
  if (!(threshold > 0.0))
    throw_invalid("threshold must be positive, got " + std::to_string(threshold));
  const ScaledData data(X, r, monitor);
  const PricedArrangement arrangement(data, monitor);
  if (arrangement.rank() > kMaxPricedRank) {
    throw_invalid("X must have rank " + std::to_string(kMaxPricedRank) + " at most, got more");
  }
  PricedCells result;
  Matrix gates(X.cols(), 0);
  if (arrangement.rank() > 0) {
    Search search(arrangement, {0.0, data.from_caller(threshold)}, true, options.n_threads,
                  monitor);
    search.run(global_bounds(data, monitor), kInfinity, [&](const Search& now) {
      if (static_cast<double>(now.cells.size()) > max_cells) {
        throw LimitExceeded(
            "more than max_cells = " + std::to_string(static_cast<long long>(max_cells)) +
            " blocks reach the threshold");
      }
      monitor.report("list", now.n_cones, kNaN, kNaN);
    });
    monitor.check();
    Index p = -1;
    gates.resize(X.cols(), static_cast<Index>(search.cells.size()));
    for (const ListedCell& cell : search.cells) {
      const Vector gate = unit(arrangement.basis * cell.gate);
      if (p < 0 || gates.col(p) != gate) gates.col(++p) = gate;
      result.blocks.push_back({p, cell.sign});
      result.norms.push_back(data.to_caller(cell.norm));
    }
    gates.conservativeResize(X.cols(), p + 1);
  }
  result.patterns = patterns_from_gates(X, gates, options.n_threads, &monitor);
  return result;
}

}  // namespace pricing
}  // namespace convexrelu
