#include "convexrelu/program/solution.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/preconditions.hpp"
#include "convexrelu/program/make_loss.hpp"

namespace convexrelu {
inline namespace program {

const char* to_string(Status status) {
  switch (status) {
    case Status::optimal:
      return "optimal";
    case Status::max_iter:
      return "max_iter";
    case Status::time_limit:
      return "time_limit";
    case Status::callback:
      return "callback";
    case Status::stalled:
      return "stalled";
    case Status::unproven:
      return "unproven";
    case Status::pruned:
      return "pruned";
    case Status::numerical_failure:
      return "numerical_failure";
    case Status::out_of_memory:
      return "out_of_memory";
  }
  return "";
}

bool contradicts(double lower_bound, double objective) {
  return lower_bound > objective * (1.0 + kContradiction) + std::numeric_limits<double>::min();
}

double relative_gap(double objective, double lower_bound) {
  if (!(objective < kInfinity) || contradicts(lower_bound, objective)) return 1.0;
  return objective > 0.0 ? std::clamp((objective - lower_bound) / objective, 0.0, 1.0) : 0.0;
}

namespace {

struct DualPoint {
  double value;  // of the dual, scaled units
  double stationarity;
};

// NaN, of weights or candidates out of range, must not be lost in a comparison.
double max_or_infinity(double a, double b) {
  return std::isnan(a) || std::isnan(b) ? kInfinity : std::max(a, b);
}

// At the best feasible point that g leads to. Zero always is, so the value is not negative.
DualPoint dual_point(const ScaledProblem& problem, double lam, const std::vector<Block>& active_set,
                     const Matrix& weights, Vector g, int n_threads, Monitor& monitor) {
  if (lam == 0.0) return {0.0, kInfinity};
  const double n = static_cast<double>(problem.n_samples());
  problem.make_feasible(g);
  const double largest = largest_norm(problem, g, lam, n_threads, monitor);
  const double value = problem.dual_value(g, lam, largest);
  DualPoint point{value > 0.0 ? value : 0.0, largest / lam - 1.0};

  std::vector<Index> patterns;
  for (const Block& b : active_set) patterns.push_back(b.pattern);
  Matrix c(problem.n_features(), weights.cols());
  problem.products().correlate(g, patterns, c, n_threads, &monitor);
  BlockProjector projector(problem);
  Vector q(problem.n_features());
  for (Index j = 0; j < weights.cols(); ++j) {
    monitor.check();
    const Block block = active_set[j];
    Face face;
    projector.project(block, (block.sign / n) * c.col(j), face, q);
    const double defect = (q / lam - weights.col(j).stableNormalized()).norm();
    point.stationarity = max_or_infinity(point.stationarity, defect);
  }
  return point;
}

// From the rows of X and the bits themselves.
double largest_cone_violation(const Problem& problem, const std::vector<Block>& active_set,
                              const Matrix& weights, Monitor& monitor) {
  if (problem.formulation() == Formulation::gated) return 0.0;
  const ScaledProblem& scaled = problem.scaled();
  const Vector lengths = Vector::NullaryExpr(
      scaled.n_samples(), [&](Index k) { return scaled.X().row(k).stableNorm(); });
  double violation = 0.0;
  Vector slack(scaled.n_samples());
  for (Index j = 0; j < weights.cols(); ++j) {
    monitor.check();
    const Index pattern = active_set[j].pattern;
    slack.noalias() = scaled.X() * weights.col(j).stableNormalized();
    for (Index k = 0; k < slack.size(); ++k) {
      if (lengths(k) == 0.0) continue;
      const bool on = problem.patterns().masks().test(scaled.rows()[k], pattern);
      violation = max_or_infinity(violation, (on ? -slack(k) : slack(k)) / lengths(k));
    }
  }
  return violation;
}

// That blocks, weights and dual point are those of some solution of the problem.
void check_parts(const Problem& problem, double lam, const std::vector<Block>& active_set,
                 const Matrix& weights, const Vector& dual, double intercept) {
  require_not_negative(lam, "lam");
  if (!std::isfinite(intercept) || (intercept != 0.0 && !problem.model().fit_intercept)) {
    throw_invalid("intercept must be finite, and 0 in a problem without one, got " +
                  std::to_string(intercept));
  }
  for (const Block& b : active_set) {
    const bool sign_exists =
        b.sign == +1 || (b.sign == -1 && problem.formulation() == Formulation::relu);
    if (b.pattern < 0 || b.pattern >= problem.n_patterns() || !sign_exists) {
      throw_invalid("active_set has the block (" + std::to_string(b.pattern) + ", " +
                    std::to_string(b.sign) + "), which the problem has not");
    }
  }
  if (weights.rows() != problem.n_features() ||
      weights.cols() != static_cast<Index>(active_set.size()) || !weights.allFinite()) {
    throw_invalid("weights must be finite, one vector of n_features for each active block");
  }
  if (dual.size() != problem.n_samples()) {
    throw_invalid("dual must have n_samples entries, got " + std::to_string(dual.size()));
  }
}

double primal_value(const ScaledProblem& problem, double lam, const Matrix& weights,
                    const FitPoint& point) {
  const double primal = problem.loss().exact_value(point) + lam * weights.colwise().norm().sum();
  return std::isnan(primal) ? kInfinity : primal;
}

// What the problem fits with these weights.
Vector model_values(const Problem& problem, const std::vector<Block>& active_set,
                    const Matrix& weights, double intercept, Monitor* monitor) {
  Vector f = fitted_values(problem, active_set, weights, monitor);
  if (problem.model().offset.size() > 0) f += problem.model().offset;
  if (problem.model().fit_intercept) f.array() += intercept;
  return f;
}

// -l' at what is fitted, of every sample of the caller.
Vector residual_of(const Problem& problem, const Vector& fitted) {
  FitPoint point;
  make_loss(problem.model().loss, problem.y(), {})->move_to(fitted, point);
  return std::move(point.g);
}

// Of weights whose fit is known.
Certificate certify_fit(const Problem& problem, double lam, const std::vector<Block>& active_set,
                        const Matrix& weights, const Vector& dual, const Vector& fitted,
                        int n_threads, Monitor& monitor) {
  const ScaledProblem& scaled = problem.scaled();
  const double scaled_lam = scaled.scaled_lam(lam);
  const Matrix scaled_weights = weights / scaled.weight_unit();
  const FitPoint point = scaled.to_point(problem.y(), fitted);
  const double primal = primal_value(scaled, scaled_lam, scaled_weights, point);

  DualPoint best =
      dual_point(scaled, scaled_lam, active_set, scaled_weights, point.g, n_threads, monitor);
  const Vector g = scaled.to_scaled(dual);
  if (g.allFinite() && g != point.g) {
    DualPoint other =
        dual_point(scaled, scaled_lam, active_set, scaled_weights, g, n_threads, monitor);
    const double size = scaled.y().norm();
    const double mismatch = size > 0.0 ? (g - point.g).norm() / size : 0.0;
    other.stationarity = max_or_infinity(other.stationarity, mismatch);
    // Where the values differ by rounding, the more stationary point is the better one.
    const double rounding = 4.0 * kEpsilon * best.value;
    const bool tie = std::abs(other.value - best.value) <= rounding;
    if (tie ? other.stationarity < best.stationarity : other.value > best.value) best = other;
  }
  const double gap = relative_gap(primal, best.value);
  const double unit = scaled.y_unit();
  const double largest_bound = std::numeric_limits<double>::max();
  return {primal * unit * unit, std::min(best.value * unit * unit, largest_bound), gap,
          best.stationarity, largest_cone_violation(problem, active_set, scaled_weights, monitor)};
}

}  // namespace

void require_parts_of(const Problem& problem, const Solution& solution, const char* name) {
  try {
    require_positive(solution.lam, "lam");
    check_parts(problem, solution.lam, solution.active_set, solution.weights, solution.dual,
                solution.intercept);
  } catch (const std::invalid_argument& reason) {
    throw_invalid(std::string(name) + " is no solution of the problem: its " + reason.what());
  }
}

Vector fitted_values(const Problem& problem, const std::vector<Block>& active_set,
                     const Matrix& weights, Monitor* monitor) {
  constexpr Index kStripe = 256;  // samples at a time
  const bool has_cones = problem.formulation() == Formulation::relu;
  Vector fitted = Vector::Zero(problem.n_samples());
  const BitMatrix& masks = problem.patterns().masks();
  Matrix outputs;
  for (Index first = 0; first < fitted.size(); first += kStripe) {
    keep_going(monitor);
    const Index count = std::min(kStripe, fitted.size() - first);
    const auto rows = problem.X().middleRows(first, count);
    outputs.noalias() = rows * weights;
    for (Index j = 0; j < weights.cols(); ++j) {
      const Block block = active_set[j];
      for (Index k = 0; k < count; ++k) {
        const bool is_on = has_cones ? outputs(k, j) > 0.0 : masks.test(first + k, block.pattern);
        if (is_on) fitted(first + k) += block.sign * outputs(k, j);
      }
    }
  }
  return fitted;
}

Certificate certify(const Problem& problem, double lam, const std::vector<Block>& active_set,
                    const Matrix& weights, const Vector& dual, int n_threads, Monitor& monitor,
                    double intercept) {
  check_parts(problem, lam, active_set, weights, dual, intercept);
  return certify_fit(problem, lam, active_set, weights, dual,
                     model_values(problem, active_set, weights, intercept, &monitor), n_threads,
                     monitor);
}

Solution make_solution(const Problem& problem, double lam, Status status,
                       std::vector<Block> active_set, Matrix weights, Vector dual, long n_iter,
                       int n_threads, Monitor& monitor, double intercept) {
  check_parts(problem, lam, active_set, weights, dual, intercept);
  Vector fitted = model_values(problem, active_set, weights, intercept, &monitor);
  const Certificate certificate =
      certify_fit(problem, lam, active_set, weights, dual, fitted, n_threads, monitor);
  Vector residual = residual_of(problem, fitted);
  if (contradicts(certificate.dual, certificate.primal)) status = Status::numerical_failure;
  return {problem,
          lam,
          status,
          std::move(active_set),
          std::move(weights),
          intercept,
          std::move(fitted),
          std::move(residual),
          std::move(dual),
          certificate.primal,
          certificate.dual,
          certificate.gap,
          n_iter};
}

Solution make_bounded_solution(const Problem& problem, double lam, Status status,
                               std::vector<Block> active_set, Matrix weights, Vector dual,
                               long n_iter, double lower_bound, Monitor* monitor,
                               double intercept) {
  check_parts(problem, lam, active_set, weights, dual, intercept);
  const ScaledProblem& scaled = problem.scaled();
  const double unit = scaled.y_unit() * scaled.y_unit();
  Vector fitted = model_values(problem, active_set, weights, intercept, monitor);
  const double primal = primal_value(scaled, scaled.scaled_lam(lam), weights / scaled.weight_unit(),
                                     scaled.to_point(problem.y(), fitted));
  Vector residual = residual_of(problem, fitted);
  if (contradicts(lower_bound / unit, primal)) status = Status::numerical_failure;
  return {problem,
          lam,
          status,
          std::move(active_set),
          std::move(weights),
          intercept,
          std::move(fitted),
          std::move(residual),
          std::move(dual),
          primal * unit,
          lower_bound,
          relative_gap(primal, lower_bound / unit),
          n_iter};
}

}  // namespace program
}  // namespace convexrelu
