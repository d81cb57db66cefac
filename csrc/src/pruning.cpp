#include "convexrelu/pruning.hpp"

#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <utility>

#include "convexrelu/error.hpp"
#include "convexrelu/simplex.hpp"
#include "random.hpp"

namespace convexrelu {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

class Pruner {
 public:
  // weights (d, k) in the units of the scaled problem; penalties (k) and lam in any of which the
  // objective is wanted, NaN where it is not.
  Pruner(const ScaledProblem& problem, const std::vector<Block>& blocks, Matrix weights,
         Vector penalties, double scaled_lam, const PruningOptions& options, Monitor& monitor)
      : problem_(problem),
        blocks_(blocks),
        weights_(std::move(weights)),
        penalties_(std::move(penalties)),
        lam_(scaled_lam),
        options_(options),
        monitor_(monitor),
        random_(options.seed),
        activations_(problem.X() * weights_),
        beta_(Vector::Ones(weights_.cols())) {
    for (Index b = 0; b < beta_.size(); ++b) {
      problem_.apply_mask(blocks_[at(b)], activations_.col(b));
    }
    norms_ = activations_.colwise().norm();
    loss_ = loss();
  }

  void run() {
    if (options_.correct) remove_dependent();
    if (options_.n_neurons >= 0) remove_lowest();
  }

  const Vector& beta() const { return beta_; }
  std::vector<PruningStep>& history() { return history_; }
  bool is_exact() const { return history_.empty() || history_.back().is_exact; }

 private:
  Index n_neurons() const { return (beta_.array() > 0.0).count(); }

  void remove_dependent() {
    Simplex simplex(activations_, beta_);
    while (n_neurons() > options_.n_neurons) {
      monitor_.check();
      if (simplex.reduce(penalties_) < 0) {
        remove_traces();
        break;
      }
      set_beta(simplex.point(), true);
    }
  }

  // At a vertex where neurons tie, rounding can leave a trace of one that has vanished.
  void remove_traces() {
    constexpr double kTrace = 1e-6;  // of what the neuron was
    const double zero = Simplex::kZero * norms_.lpNorm<Eigen::Infinity>();
    Vector beta = beta_;
    for (Index b = 0; b < beta.size(); ++b) {
      if (beta(b) <= kTrace && length(b) <= zero) beta(b) = 0.0;
    }
    set_beta(std::move(beta), true);
  }

  void remove_lowest() {
    while (n_neurons() > options_.n_neurons) {
      monitor_.check();
      const std::vector<Index> active = active_neurons();
      const Matrix R_inverse = needs_others() ? inverse_factor(active) : Matrix();
      const Vector scores = score(active, R_inverse);
      Index lowest = 0;
      scores.minCoeff(&lowest);
      if (!options_.correct) {
        Vector beta = beta_;
        beta(active[at(lowest)]) = 0.0;
        set_beta(std::move(beta), false);
        continue;
      }
      // u_lowest = sum coefficients u of the others, at unit length; then of the activations.
      Vector nu = R_inverse * R_inverse.row(lowest).transpose();
      nu /= nu(lowest);
      for (Index i = 0; i < nu.size(); ++i)
        nu(i) *= length(active[at(lowest)]) / length(active[at(i)]);
      Index largest = 0;
      nu.cwiseAbs().maxCoeff(&largest);
      nu /= nu(largest);
      Vector beta = beta_;
      for (Index i = 0; i < nu.size(); ++i) {
        beta(active[at(i)]) *= i == largest ? 0.0 : std::max(0.0, 1.0 - nu(i));
      }
      set_beta(std::move(beta), false);
    }
  }

  std::vector<Index> active_neurons() const {
    std::vector<Index> active;
    for (Index b = 0; b < beta_.size(); ++b) {
      if (beta_(b) > 0.0) active.push_back(b);
    }
    return active;
  }

  bool needs_others() const { return options_.correct || options_.score == PruningScore::residual; }

  double length(Index b) const { return beta_(b) * norms_(b); }

  // R^-1 of the activations at unit length, over a little of the identity, so that it exists
  // for dependent ones too. With G = R'R the distance of column j from the span of the others is
  // 1 / sqrt((G^-1)_jj), and their coefficients in it are -(G^-1)_ij / (G^-1)_jj.
  Matrix inverse_factor(const std::vector<Index>& active) {
    const Index k = static_cast<Index>(active.size());
    if (reduced_.cols() == 0) reduce_rows();
    Matrix stacked(reduced_.rows() + k, k);
    stacked << reduced_(Eigen::all, active), Simplex::kDependent * Matrix::Identity(k, k);
    const Eigen::HouseholderQR<Matrix> qr(stacked);
    return qr.matrixQR().topRows(k).triangularView<Eigen::Upper>().solve(Matrix::Identity(k, k));
  }

  // The activations at unit length, in coordinates of their span.
  void reduce_rows() {
    reduced_ = activations_;
    for (Index b = 0; b < norms_.size(); ++b) {
      if (norms_(b) > 0.0) reduced_.col(b) /= norms_(b);
    }
    if (reduced_.rows() <= reduced_.cols()) return;
    const Eigen::HouseholderQR<Matrix> qr(reduced_);
    reduced_ = qr.matrixQR().topRows(reduced_.cols()).triangularView<Eigen::Upper>();
  }

  Vector score(const std::vector<Index>& active, const Matrix& R_inverse) {
    Vector scores(static_cast<Index>(active.size()));
    const Vector r = residual();
    for (Index i = 0; i < scores.size(); ++i) {
      const Index b = active[at(i)];
      switch (options_.score) {
        case PruningScore::magnitude:
          scores(i) = beta_(b) * weights_.col(b).norm();
          break;
        case PruningScore::activation:
          scores(i) = length(b);
          break;
        case PruningScore::gradient: {
          Matrix masked = r;
          problem_.apply_mask(blocks_[at(b)], masked);
          const Vector gradient = problem_.X().transpose() * masked;
          scores(i) = (beta_(b) * weights_.col(b)).cwiseProduct(gradient).squaredNorm();
          break;
        }
        case PruningScore::residual:
          scores(i) = length(b) / R_inverse.row(i).norm();
          break;
        case PruningScore::random:
          scores(i) = random_.uniform();
          break;
      }
    }
    return scores;
  }

  Vector residual() const { return problem_.y() - activations_ * beta_; }

  double loss() const {
    return residual().squaredNorm() / (2.0 * static_cast<double>(problem_.n_samples()));
  }

  // Moves on, and notes who has gone: several where they tie, nobody in a degenerate step.
  void set_beta(Vector beta, bool is_exact) {
    std::swap(beta_, beta);
    Index left = (beta.array() > 0.0).count();
    if (!is_exact) loss_ = loss();
    const double unit = problem_.y_unit() * problem_.y_unit();
    const double objective = (loss_ + lam_ * penalties_.dot(beta_)) * unit;
    for (Index b = 0; b < beta.size(); ++b) {
      if (beta(b) > 0.0 && !(beta_(b) > 0.0)) {
        history_.push_back({b, --left, objective, is_exact});
      }
    }
  }

  const ScaledProblem& problem_;
  const std::vector<Block>& blocks_;
  const Matrix weights_;
  const Vector penalties_;
  const double lam_;
  const PruningOptions& options_;
  Monitor& monitor_;
  Random random_;
  Matrix activations_;  // (n, k)
  Vector norms_;        // (k)
  Matrix reduced_;
  Vector beta_;
  double loss_;  // at beta_, the same after an exact step
  std::vector<PruningStep> history_;
};

}  // namespace

PrunedSolution prune(const Solution& solution, const PruningOptions& options, Monitor& monitor) {
  const ScaledProblem& scaled = solution.problem.scaled();
  const Matrix weights = solution.weights / scaled.weight_unit();
  Pruner pruner(scaled, solution.active_set, weights, weights.colwise().norm(),
                scaled.scaled_lam(solution.lam), options, monitor);
  pruner.run();

  std::vector<Block> active_set;
  Matrix kept(weights.rows(), weights.cols());
  for (Index b = 0; b < weights.cols(); ++b) {
    if (!(pruner.beta()(b) > 0.0)) continue;
    kept.col(static_cast<Index>(active_set.size())) = pruner.beta()(b) * solution.weights.col(b);
    active_set.push_back(solution.active_set[at(b)]);
  }
  kept.conservativeResize(Eigen::NoChange, static_cast<Index>(active_set.size()));
  Solution pruned = make_bounded_solution(
      solution.problem, solution.lam, pruner.is_exact() ? solution.status : Status::pruned,
      std::move(active_set), std::move(kept), solution.dual, solution.n_iter, solution.lower_bound);
  pruned.global_lower_bound = solution.global_lower_bound;
  return {std::move(pruned), std::move(pruner.history())};
}

PrunedNetwork prune(const Network& network, ConstMatrixRef X, const Vector& y, double lam,
                    const PruningOptions& options, Monitor& monitor) {
  const Index m = network.n_neurons();
  const bool is_relu = network.formulation() == Formulation::relu;
  if (X.cols() != network.n_features()) {
    throw_invalid("X must have " + std::to_string(network.n_features()) + " columns, got " +
                  std::to_string(X.cols()));
  }
  if (y.size() == 0 && options.score == PruningScore::gradient) {
    throw_invalid("y is needed for the gradient score");
  }
  // A pattern for every neuron, whose block holds its weights alone.
  std::vector<Block> blocks;
  Matrix weights(X.cols(), m);
  Vector penalties(m);
  for (Index j = 0; j < m; ++j) {
    const double a = network.output()(j);
    blocks.push_back({j, is_relu && a < 0.0 ? -1 : +1});
    weights.col(j) = (is_relu ? std::abs(a) : a) * network.hidden().row(j).transpose();
    penalties(j) = 0.5 * (network.hidden().row(j).squaredNorm() + a * a);
  }
  if (!weights.allFinite() || !penalties.allFinite()) {
    throw_invalid("network has neurons whose |a_j| ||W_j|| exceeds the range of float64");
  }
  const Matrix gates = (is_relu ? network.hidden() : *network.gates()).transpose();
  const Problem problem(X, y.size() > 0 ? y : Vector(Vector::Zero(X.rows())),
                        patterns_from_gates(X, gates), network.formulation());
  const ScaledProblem& scaled = problem.scaled();
  const double scaled_lam = y.size() > 0 ? scaled.scaled_lam(lam) : kNaN;
  Pruner pruner(scaled, blocks, weights / scaled.weight_unit(), penalties / scaled.weight_unit(),
                scaled_lam, options, monitor);
  pruner.run();

  std::vector<Index> kept;
  for (Index j = 0; j < m; ++j) {
    if (pruner.beta()(j) > 0.0) kept.push_back(j);
  }
  const Vector factors = pruner.beta()(kept).cwiseSqrt();
  Matrix hidden = factors.asDiagonal() * network.hidden()(kept, Eigen::all);
  Vector output = factors.cwiseProduct(network.output()(kept));
  std::optional<Matrix> kept_gates;
  if (!is_relu) kept_gates = (*network.gates())(kept, Eigen::all);
  return {Network(std::move(hidden), std::move(output), std::move(kept_gates)),
          std::move(pruner.history())};
}

}  // namespace convexrelu
