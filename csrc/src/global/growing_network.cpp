#include "global/growing_network.hpp"

#include <algorithm>
#include <cmath>

#include "numeric/nonnegative_quadratic.hpp"

namespace convexrelu {
inline namespace global {

namespace {

constexpr double kNewborn = 1e-3;       // norm of a new neuron over the mean
constexpr double kSmallestNorm = 1e-3;  // over the largest, in the width of kinks
constexpr double kDead = 1e-6;          // norm of a neuron over the largest
constexpr double kDeadAmplitude = 1e-9;
constexpr double kSmallestDamping = 1e-6, kLargestDamping = 1e3;
constexpr double kSufficientDecrease = 1e-4, kBacktrack = 0.4, kSmallestStep = 1e-4;
constexpr double kShortStep = 0.45, kLargestStep = 8.0;

Vector norms(const Matrix& W) { return W.colwise().norm().transpose(); }

// Where steps are cut short kinks further away are seen, all in the end, and then all is damped; after full
// steps both are taken back. (Damping alone, which holds all neurons for the kinks of a few, brought
// a tenth as much a step on concrete at 1e-4 lambda_max.)
void adapt(Caution& caution, double step, double eps) {
  if (step >= 1.0) {
    caution.damping = std::max(0.2 * caution.damping, kSmallestDamping);
    caution.reach = std::max(0.8 * caution.reach, 1.0);
  } else if (step < kShortStep) {
    (caution.reach * eps < 1.0 ? caution.reach : caution.damping) *=
        caution.reach * eps < 1.0 ? 2.0 : 4.0;
  }
}

}  // namespace

void GrowingNetwork::add(const Matrix& directions, const std::vector<int>& signs) {
  const double scale = size() > 0 ? kNewborn * W_.colwise().norm().mean() : kNewborn;
  Matrix W(W_.rows(), size() + directions.cols());
  W.leftCols(size()) = W_;
  W.rightCols(directions.cols()) = scale * directions;
  std::vector<int> all = s_;
  all.insert(all.end(), signs.begin(), signs.end());
  fit(W, all);
}

void GrowingNetwork::merge(double cosine) {
  const Matrix U = W_.colwise().normalized();
  const Matrix cosines = U.transpose() * U;
  Matrix W(W_.rows(), size());
  std::vector<int> signs;
  std::vector<char> gone(s_.size(), 0);
  for (Index i = 0; i < size(); ++i) {
    if (gone[i]) continue;
    Vector sum = W_.col(i);
    for (Index j = i + 1; j < size(); ++j) {
      if (gone[j] || s_[i] != s_[j] || !(cosines(i, j) > cosine)) continue;
      sum += W_.col(j);
      gone[j] = 1;
    }
    W.col(static_cast<Index>(signs.size())) = sum;
    signs.push_back(s_[i]);
  }
  if (signs.size() == s_.size()) return;
  W.conservativeResize(Eigen::NoChange, static_cast<Index>(signs.size()));
  set(std::move(W), std::move(signs));
}

void GrowingNetwork::descend(double eps, int n_steps, double tol) {
  if (size() == 0) return;
  const Vector norm = norms(W_);
  const SmoothedNetwork network(problem_, s_, eps * norm.cwiseMax(kSmallestNorm * norm.maxCoeff()));
  SmoothedNetwork::Point here = network.at(W_);
  for (int step = 0; step < n_steps; ++step) {
    problem_.monitor.check();
    const Matrix gradient = network.gradient(here);
    ++n_steps_;
    Matrix move;
    SmoothedNetwork::Point next;
    double t = 0.0;
    if (newton_.solve(network, here, gradient, caution_, move)) {
      const double slope = gradient.cwiseProduct(move).sum();
      for (t = 1.0; t > kSmallestStep; t *= kBacktrack) {
        next = network.at(here.W + t * move);
        if (next.value <= here.value + kSufficientDecrease * t * slope) break;
      }
    }
    if (!(t > kSmallestStep)) {
      if (caution_.damping > kLargestDamping) break;
      caution_.damping *= 30.0;
      continue;
    }
    while (t >= 1.0 && t < kLargestStep) {  // the model counts no concave kinks: it is cautious
      SmoothedNetwork::Point further = network.at(here.W + 2.0 * t * move);
      if (!(further.value < next.value)) break;
      t *= 2.0;
      next = std::move(further);
    }
    const double gain = here.value - next.value;
    here = std::move(next);
    adapt(caution_, t, eps);
    if (gain < tol * here.value) break;
  }
  caution_.damping = std::min(caution_.damping, kLargestDamping);
  keep_living(std::move(here.W));
}

GrowingNetwork::Point GrowingNetwork::evaluated(Matrix W, std::vector<int> signs) const {
  Vector residual = problem_.y;
  problem_.for_rows(W.cols(), [&](Index first, Index count) {
    const Matrix Z = problem_.X.middleRows(first, count) * W;
    for (Index j = 0; j < W.cols(); ++j) {
      residual.segment(first, count) -= static_cast<double>(signs[j]) * Z.col(j).cwiseMax(0.0);
    }
  });
  const double objective = problem_.loss(residual) + problem_.lam * W.colwise().norm().sum();
  return {std::move(W), std::move(signs), std::move(residual), objective};
}

void GrowingNetwork::adopt(Point point) {
  W_ = std::move(point.W);
  s_ = std::move(point.signs);
  residual_ = std::move(point.residual);
  objective_ = point.objective;
}

// Takes over the neurons with the best amplitudes, unless that is worse.
void GrowingNetwork::fit(const Matrix& W, const std::vector<int>& signs) {
  const Index m = W.cols();
  if (m == 0) return;
  const Vector norm = norms(W);
  const Matrix U = W * norm.cwiseInverse().asDiagonal();
  Matrix G = Matrix::Zero(m, m);
  Vector b = Vector::Constant(m, -problem_.lam);
  problem_.for_rows(m, [&](Index first, Index count) {
    Matrix A = (problem_.X.middleRows(first, count) * U).cwiseMax(0.0);
    for (Index j = 0; j < m; ++j) A.col(j) *= signs[j];
    G.selfadjointView<Eigen::Lower>().rankUpdate(A.transpose(), 1.0 / problem_.n);
    b.noalias() += A.transpose() * problem_.y.segment(first, count) / problem_.n;
  });
  G.triangularView<Eigen::StrictlyUpper>() = G.transpose();
  G.diagonal().array() += 1e-12 * G.trace() / static_cast<double>(m);
  Vector start = norm;
  start.tail(m - size()).setZero();
  const Vector amplitudes = NonnegativeQuadratic(G, b).solve(start);

  const double dead = kDeadAmplitude * amplitudes.maxCoeff();
  std::vector<int> kept;
  Matrix weights(W.rows(), m);
  for (Index j = 0; j < m; ++j) {
    if (!(amplitudes(j) > dead)) continue;
    weights.col(static_cast<Index>(kept.size())) = amplitudes(j) * U.col(j);
    kept.push_back(signs[j]);
  }
  weights.conservativeResize(Eigen::NoChange, static_cast<Index>(kept.size()));
  Point point = evaluated(std::move(weights), std::move(kept));
  if (point.objective <= objective_ * (1.0 + 1e-12)) adopt(std::move(point));
}

// The network with these weights, but without neurons that have next to none.
void GrowingNetwork::keep_living(Matrix W) {
  const Vector norm = norms(W);
  const double dead = kDead * norm.maxCoeff();
  std::vector<int> signs;
  for (Index j = 0; j < W.cols(); ++j) {
    if (!(norm(j) > dead)) continue;
    const Index place = static_cast<Index>(signs.size());
    if (place != j) W.col(place) = W.col(j);
    signs.push_back(s_[j]);
  }
  W.conservativeResize(Eigen::NoChange, static_cast<Index>(signs.size()));
  set(std::move(W), std::move(signs));
}

}  // namespace global
}  // namespace convexrelu
