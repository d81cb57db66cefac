#include "convexrelu/solution.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace convexrelu {

const char* to_string(Status status) {
  switch (status) {
    case Status::optimal: return "optimal";
    case Status::max_iter: return "max_iter";
    case Status::time_limit: return "time_limit";
    case Status::callback: return "callback";
    case Status::stalled: return "stalled";
    case Status::unproven: return "unproven";
    case Status::pruned: return "pruned";
    case Status::numerical_failure: return "numerical_failure";
  }
  return "";
}

namespace {

// A vector over the samples of the caller, in the units of y, as one over the scaled rows.
Vector to_scaled(const ScaledProblem& problem, const Vector& v) {
  Vector scaled(problem.n_samples());
  for (Index k = 0; k < scaled.size(); ++k) {
    scaled(k) = v(problem.rows()[static_cast<std::size_t>(k)]) / problem.y_unit() *
                problem.row_factors()(k);
  }
  return scaled;
}

struct DualPoint {
  double value;          // of the dual, scaled units
  double stationarity;
};

DualPoint dual_value(const ScaledProblem& problem, double lam, const std::vector<Block>& active_set,
                     const Matrix& weights, const Vector& r, int n_threads, Monitor& monitor) {
  const double n = static_cast<double>(problem.n_samples());
  double largest = lam;
  for (const BlockNorm& b : blocks_above(problem, r, lam, n_threads, monitor)) {
    largest = std::max(largest, b.norm);
  }
  const double limit = lam / largest;
  const double rr = r.squaredNorm();
  const double yr = problem.y().dot(r);
  const double kappa = rr > 0.0 ? std::clamp(yr / rr, -limit, limit) : 0.0;
  DualPoint point{kappa * yr / n - kappa * kappa * rr / (2.0 * n), largest / lam - 1.0};

  std::vector<Index> patterns;
  for (const Block& b : active_set) patterns.push_back(b.pattern);
  Matrix c(problem.n_features(), weights.cols());
  problem.products().correlate(r, patterns, c, n_threads);
  BlockProjector projector(problem);
  Vector q(problem.n_features());
  for (Index j = 0; j < weights.cols(); ++j) {
    const Block block = active_set[static_cast<std::size_t>(j)];
    Face face;
    projector.project(block, (block.sign / n) * c.col(j), face, q);
    const double defect = (q / lam - weights.col(j).normalized()).norm();
    point.stationarity = std::max(point.stationarity, defect);
  }
  return point;
}

double largest_cone_violation(const ScaledProblem& problem, const std::vector<Block>& active_set,
                              const Matrix& weights) {
  if (problem.formulation() == Formulation::gated) return 0.0;
  const Hyperplanes& planes = problem.hyperplanes();
  std::vector<std::int8_t> sigma(static_cast<std::size_t>(planes.size()));
  double violation = 0.0;
  for (Index j = 0; j < weights.cols(); ++j) {
    problem.cone_signs(active_set[static_cast<std::size_t>(j)].pattern, sigma.data());
    const Vector slack = planes.normals.transpose() * weights.col(j).normalized();
    for (Index l = 0; l < slack.size(); ++l) {
      const int side = sigma[static_cast<std::size_t>(l)];
      violation = std::max(violation, side == 0 ? std::abs(slack(l)) : -side * slack(l));
    }
  }
  return violation;
}

}  // namespace

Vector fitted_values(const Problem& problem, const std::vector<Block>& active_set,
                     const Matrix& weights) {
  Vector fitted = Vector::Zero(problem.n_samples());
  const BitMatrix& masks = problem.patterns().masks();
  Vector outputs(problem.n_samples());
  for (Index j = 0; j < weights.cols(); ++j) {
    const Block block = active_set[static_cast<std::size_t>(j)];
    outputs.noalias() = problem.X() * weights.col(j);
    for (Index k = 0; k < fitted.size(); ++k) {
      if (masks.test(k, block.pattern)) fitted(k) += block.sign * outputs(k);
    }
  }
  return fitted;
}

Certificate certify(const Problem& problem, double lam, const std::vector<Block>& active_set,
                    const Matrix& weights, const Vector& dual, int n_threads, Monitor& monitor) {
  const ScaledProblem& scaled = problem.scaled();
  const double n = static_cast<double>(scaled.n_samples());
  const double scaled_lam = lam / scaled.lam_unit();
  const Matrix scaled_weights = weights / scaled.weight_unit();
  const Vector residual =
      to_scaled(scaled, problem.y() - fitted_values(problem, active_set, weights));
  const double primal = residual.squaredNorm() / (2.0 * n) +
                        scaled_lam * scaled_weights.colwise().norm().sum();

  DualPoint best = dual_value(scaled, scaled_lam, active_set, scaled_weights, residual, n_threads,
                              monitor);
  if (dual.size() == problem.n_samples() && dual.allFinite()) {
    const DualPoint other = dual_value(scaled, scaled_lam, active_set, scaled_weights,
                                       to_scaled(scaled, dual), n_threads, monitor);
    if (other.value > best.value) best = other;
  }
  const double gap = primal > 0.0 ? std::max(0.0, (primal - best.value) / primal) : 0.0;
  const double unit = scaled.y_unit();
  return {primal * unit * unit, best.value * unit * unit, gap, best.stationarity,
          largest_cone_violation(scaled, active_set, scaled_weights)};
}

Solution make_solution(const Problem& problem, double lam, Status status,
                       std::vector<Block> active_set, Matrix weights, Vector dual, long n_iter,
                       int n_threads, Monitor& monitor) {
  const Certificate certificate =
      certify(problem, lam, active_set, weights, dual, n_threads, monitor);
  Vector fitted = fitted_values(problem, active_set, weights);
  Vector residual = problem.y() - fitted;
  return {problem, lam, status, std::move(active_set), std::move(weights), std::move(fitted),
          std::move(residual), std::move(dual), certificate.primal, certificate.dual,
          certificate.gap, n_iter};
}

}  // namespace convexrelu
