#include "solver/proximal_objective.hpp"

#include <algorithm>

namespace convexrelu {
inline namespace solver {

bool WorkingSet::holds(Block block) const {
  return std::find(blocks.begin(), blocks.end(), block) != blocks.end();
}

std::vector<Index> WorkingSet::patterns() const {
  std::vector<Index> result;
  result.reserve(blocks.size());
  for (const Block& b : blocks) result.push_back(b.pattern);
  return result;
}

ProximalObjective::ProximalObjective(const ScaledProblem& problem, double lam, int n_threads,
                                     Monitor& monitor)
    : problem_(problem),
      lam_(lam),
      n_threads_(n_threads),
      monitor_(monitor),
      projector_(problem),
      q_(problem.n_features()) {}

void ProximalObjective::start(WorkingSet& set, const Steps& steps, Vector fit) {
  set_ = &set;
  steps_ = steps;
  fit_ = std::move(fit);
  patterns_ = set.patterns();
}

void ProximalObjective::evaluate(const FitPoint& x, Point& at) {
  const double n = static_cast<double>(problem_.n_samples());
  const double sigma = steps_.sigma;
  const Index k = set_->size();
  const bool smoothed = steps_.tau < kInfinity;
  if (smoothed) g_ = x.g - (x.u - fit_) / steps_.tau;
  const Vector& g = smoothed ? g_ : x.g;
  c_.resize(problem_.n_features(), k);
  problem_.products().correlate(g, patterns_, c_, n_threads_, &monitor_);
  at.prox.setZero(c_.rows(), k);
  at.direction.setZero(c_.rows(), k);
  at.shrink.setOnes(k);
  at.value = problem_.loss().conjugate(x);
  if (smoothed) at.value += (x.u - fit_).dot(x.u + fit_) / (2.0 * steps_.tau * n);
  for (Index j = 0; j < k; ++j) {
    monitor_.check();
    const Block block = set_->blocks[j];
    auto v = c_.col(j);
    v = set_->weights.col(j) + (sigma * block.sign / n) * v;
    if (v.norm() <= sigma * lam_) continue;
    const double norm = projector_.project(block, v, set_->faces[j], q_);
    if (norm <= sigma * lam_) continue;
    at.shrink(j) = sigma * lam_ / norm;
    at.direction.col(j) = q_ / norm;
    at.prox.col(j) = (1.0 - at.shrink(j)) * q_;
    at.value += at.prox.col(j).squaredNorm() / (2.0 * sigma);
  }
  c_ = at.prox;
  for (Index j = 0; j < k; ++j) c_.col(j) *= set_->blocks[j].sign;
  at.gradient.resize(g.size());
  problem_.products().forward(patterns_, c_, at.gradient, n_threads_, &monitor_);
  at.intercept = set_->intercept;
  if (problem_.has_intercept()) {
    const Vector& column = problem_.free_column();
    at.intercept += steps_.sigma_free * column.dot(g) / n;
    at.value += at.intercept * at.intercept / (2.0 * steps_.sigma_free);
    at.gradient += at.intercept * column;
  }
  at.gradient -= x.u;
}

}  // namespace solver
}  // namespace convexrelu
