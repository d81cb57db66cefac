#include "convexrelu/optimal_set/pruning.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "base/random.hpp"
#include "convexrelu/base/error.hpp"
#include "convexrelu/numeric/simplex.hpp"
#include "numeric/pivots.hpp"
#include "numeric/tiled_product.hpp"
#include "numeric/watched_dense.hpp"

namespace convexrelu {
inline namespace optimal_set {

namespace {

// S (k, k) with S S' = (U'U + a little I)^-1, U (any, k) columns of unit length; a little, so that it
// exists for dependent ones too. The distance of column j from the span of the others is
// 1 / ||S_j||, S_j row j, and their coefficients in it are -S S_j' / ||S_j||^2.
class InverseFactor {
 public:
  InverseFactor(Matrix U, Monitor& monitor)
      : U_(std::move(U)), monitor_(monitor), columns_(static_cast<std::size_t>(U_.cols())) {
    std::iota(columns_.begin(), columns_.end(), Index{0});
    factor();
  }

  Index size() const { return static_cast<Index>(columns_.size()); }
  double distance(Index j) const { return 1.0 / S().row(j).norm(); }
  // -1 times the coefficients, with 1 for j itself.
  Vector dependence(Index j) const {
    const Vector nu = S() * S().row(j).transpose();
    return nu / nu(j);
  }

  // Column j goes. The reflection that takes S_j to the last coordinate leaves S S' as it is, and without
  // row j and that coordinate it is the Schur complement: the inverse for the others. O(k^2)
  void remove(Index j) {
    const Index last = size() - 1;
    Vector tail(last);
    double tau = 0.0, beta = 0.0;
    const Vector row = S().row(j).reverse();
    row.makeHouseholder(tail, tau, beta);
    Vector axis = Vector::Ones(size());
    axis.head(last) = tail.reverse();
    const Vector along = tau * (S() * axis);
    Vector left = Vector::Zero(last);  // squared lengths of the rows
    for (Index c = 0; c < last; ++c) {
      if (c % kColumns == 0) monitor_.check();
      auto column = S_.col(c).head(last + 1);
      column -= axis(c) * along;
      std::copy(column.begin() + j + 1, column.end(), column.begin() + j);
      left += column.head(last).cwiseAbs2();
    }
    columns_.erase(columns_.begin() + j);
    lengths_.erase(lengths_.begin() + j);
    for (Index i = 0; i < last; ++i) {
      if (std::sqrt(left(i)) < kCancelled * lengths_[i]) return factor();
    }
  }

 private:
  // A row that has shrunk to this fraction since it was computed has lost digits.
  static constexpr double kCancelled = 1e-2;
  static constexpr Index kColumns = 64;  // between two looks at the monitor

  Eigen::Block<const Matrix> S() const { return S_.topLeftCorner(size(), size()); }

  void factor() {
    const Index k = size();
    Matrix stacked(U_.rows() + k, k);
    stacked << U_(Eigen::all, columns_), Simplex::kTolerance * Matrix::Identity(k, k);
    const Matrix R = upper_factor(std::move(stacked), &monitor_);
    S_.setIdentity(k, k);
    for (Index first = 0; first < k; first += kColumns) {
      monitor_.check();
      const Index width = std::min(kColumns, k - first), height = first + width;
      auto stripe = S_.block(0, first, height, width);
      R.topLeftCorner(height, height).triangularView<Eigen::Upper>().solveInPlace(stripe);
    }
    const Vector lengths = S_.rowwise().norm();
    lengths_.assign(lengths.begin(), lengths.end());
  }

  const Matrix U_;
  Monitor& monitor_;
  std::vector<Index> columns_;   // of U that are left
  Matrix S_;                     // in its upper left corner
  std::vector<double> lengths_;  // of the rows when they were computed
};

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
        activations_(problem.n_samples(), weights_.cols()),
        beta_(Vector::Ones(weights_.cols())) {
    product(problem.X(), weights_, activations_, 1, monitor);
    for (Index b = 0; b < beta_.size(); ++b) {
      monitor.check();
      problem_.apply_mask(blocks_[b], activations_.col(b));
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

  // Near ties are taken for ties by the first tolerance with which the fit stays.
  void remove_dependent() {
    constexpr double kTies[] = {1e-6, 1e-8, 1e-10, 1e-12};
    constexpr double kFit = 1e-9;  // relative to the fit
    const Vector start = beta_, fit = activations_ * beta_;
    for (const double tie : kTies) {
      walk_to_vertex(tie, fit);
      if ((activations_ * beta_ - fit).norm() <= kFit * fit.norm()) return;
      beta_ = start;
      history_.clear();
    }
  }

  void walk_to_vertex(double tie, const Vector& fit) {
    Simplex simplex(activations_, beta_, tie, &monitor_);
    // At most k steps: every one makes a neuron zero, or spends a column (see Simplex::move_to_vertex).
    while (n_neurons() > options_.n_neurons) {
      monitor_.check();
      if (simplex.reduce(penalties_, &monitor_) < 0) {
        remove_traces(tie, fit);
        break;
      }
      set_beta(simplex.point(), true);
    }
  }

  // At a vertex where neurons tie, rounding can leave a trace of one that has vanished. The others, which
  // are independent, are fitted again.
  void remove_traces(double tie, const Vector& fit) {
    constexpr double kTrace = 1e-3;  // of what the neuron was
    const double zero = tie * norms_.lpNorm<Eigen::Infinity>();
    std::vector<Index> kept;
    for (Index b = 0; b < beta_.size(); ++b) {
      if (beta_(b) > kTrace || length(b) > zero) kept.push_back(b);
    }
    if (static_cast<Index>(kept.size()) == n_neurons()) return;
    Matrix units = activations_(Eigen::all, kept);
    for (Index j = 0; j < units.cols(); ++j) units.col(j).stableNormalize();
    const Vector lengths = least_squares(units, fit, &monitor_);
    Vector beta = Vector::Zero(beta_.size());
    for (std::size_t j = 0; j < kept.size(); ++j) {
      const Index b = kept[j];
      // A neuron without activation is as it was.
      beta(b) =
          norms_(b) > 0.0 ? std::max(0.0, lengths(static_cast<Index>(j)) / norms_(b)) : beta_(b);
    }
    set_beta(std::move(beta), true);
  }

  void remove_lowest() {
    std::vector<Index> active = active_neurons();
    std::optional<InverseFactor> factor;
    if (needs_others() && static_cast<Index>(active.size()) > options_.n_neurons) {
      factor.emplace(unit_activations(active), monitor_);
    }
    // A neuron less each time.
    while (n_neurons() > options_.n_neurons) {
      monitor_.check();
      const Vector scores = score(active, factor);
      Index lowest = 0;
      scores.minCoeff(&lowest);
      Vector beta = beta_;
      if (options_.correct) {
        // u_lowest in terms of the others, at unit length; then of the activations.
        Vector nu = factor->dependence(lowest);
        for (Index i = 0; i < nu.size(); ++i) nu(i) *= length(active[lowest]) / length(active[i]);
        Index largest = 0;
        nu.cwiseAbs().maxCoeff(&largest);
        nu /= nu(largest);
        for (Index i = 0; i < nu.size(); ++i) {
          beta(active[i]) *= i == largest ? 0.0 : std::max(0.0, 1.0 - nu(i));
        }
      } else {
        beta(active[lowest]) = 0.0;
      }
      set_beta(std::move(beta), false);
      for (Index i = static_cast<Index>(active.size()) - 1; i >= 0; --i) {
        if (beta_(active[i]) > 0.0) continue;
        active.erase(active.begin() + i);
        if (factor) factor->remove(i);
      }
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

  // The activations of some neurons at unit length, in coordinates of their span.
  Matrix unit_activations(const std::vector<Index>& neurons) const {
    Matrix unit = activations_(Eigen::all, neurons);
    for (Index i = 0; i < unit.cols(); ++i) {
      const double norm = norms_(neurons[i]);
      if (norm > 0.0) unit.col(i) /= norm;
    }
    if (unit.rows() <= unit.cols()) return unit;
    return upper_factor(std::move(unit), &monitor_);
  }

  Vector score(const std::vector<Index>& active, const std::optional<InverseFactor>& factor) {
    Vector scores(static_cast<Index>(active.size()));
    const Vector r = options_.score == PruningScore::gradient ? residual() : Vector();
    for (Index i = 0; i < scores.size(); ++i) {
      monitor_.check();
      const Index b = active[i];
      switch (options_.score) {
        case PruningScore::magnitude:
          scores(i) = beta_(b) * weights_.col(b).norm();
          break;
        case PruningScore::activation:
          scores(i) = length(b);
          break;
        case PruningScore::gradient: {
          Matrix masked = r;
          problem_.apply_mask(blocks_[b], masked);
          const Vector gradient = problem_.X().transpose() * masked;
          scores(i) = (beta_(b) * weights_.col(b)).cwiseProduct(gradient).squaredNorm();
          break;
        }
        case PruningScore::residual:
          scores(i) = length(b) * factor->distance(i);
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
  Vector beta_;
  double loss_;  // at beta_, the same after an exact step
  std::vector<PruningStep> history_;
};

}  // namespace

PrunedSolution prune(const Solution& solution, const PruningOptions& options, Monitor& monitor) {
  require_squared(solution.problem, "prune takes solutions of the squared loss");
  require_parts_of(solution.problem, solution, "solution");
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
    active_set.push_back(solution.active_set[b]);
  }
  kept.conservativeResize(Eigen::NoChange, static_cast<Index>(active_set.size()));
  Solution pruned = make_bounded_solution(solution.problem, solution.lam,
                                          pruner.is_exact() ? solution.status : Status::pruned,
                                          std::move(active_set), std::move(kept), solution.dual,
                                          solution.n_iter, solution.lower_bound, &monitor);
  pruned.global_lower_bound = solution.global_lower_bound;
  return {std::move(pruned), std::move(pruner.history())};
}

PrunedNetwork prune(const Network& network, ConstMatrixRef X, const Vector& y, double lam,
                    const PruningOptions& options, Monitor& monitor) {
  require_no_intercept(network, "prune takes networks without an intercept");
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
                        patterns_from_gates(X, gates, 1, &monitor), network.formulation(), Vector(),
                        &monitor);
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

}  // namespace optimal_set
}  // namespace convexrelu
