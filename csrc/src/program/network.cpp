#include "convexrelu/program/network.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include "base/watched_for.hpp"
#include "convexrelu/base/error.hpp"
#include "convexrelu/program/make_loss.hpp"

namespace convexrelu {
inline namespace program {

namespace {

constexpr Index kRowBlock = 256;
constexpr Index kNeuronBlock = 256;

// A neuron as s t^2 u: ||u|| = 1, t = sqrt(|a| ||W||), s the sign of a. Gated neurons have s = +1
// and the sign of a in u, because a sign is no part of a gated block. Dead neurons have t = 0.
// Neither |a| ||W|| nor ||W||^2 is formed: they may exceed the range where t does not.
struct Neuron {
  Vector direction;  // u (d)
  double root;       // t
  int sign;          // s
};

std::vector<Neuron> polar_form(const Network& network) {
  const bool gated = network.formulation() == Formulation::gated;
  std::vector<Neuron> neurons;
  neurons.reserve(static_cast<std::size_t>(network.n_neurons()));
  for (Index j = 0; j < network.n_neurons(); ++j) {
    const Vector w = network.hidden().row(j);
    const double a = network.output()(j);
    const double norm = w.stableNorm();
    const bool dead = norm == 0.0 || a == 0.0;
    const int sign = a < 0.0 ? -1 : 1;
    neurons.push_back({(gated ? sign : 1) / (dead ? 1.0 : norm) * w,
                       dead ? 0.0 : std::sqrt(std::abs(a)) * std::sqrt(norm), gated ? 1 : sign});
  }
  return neurons;
}

// For every neuron one that it adds up with, the same for all of a group; -1 for dead ones.
// relu: same sign, and directions within tol of that one's. The key of a direction is its product
// with a fixed vector, so that near directions are neighbours in the order of keys; that others may
// be so too only costs comparisons.
std::vector<Index> group_by_direction(const std::vector<Neuron>& neurons, double tol) {
  const Index m = static_cast<Index>(neurons.size());
  std::vector<Index> leader(static_cast<std::size_t>(m), -1);
  std::vector<Index> order;
  for (Index j = 0; j < m; ++j) {
    if (neurons[j].root > 0.0) order.push_back(j);
  }
  if (order.empty()) return leader;

  const Vector probe = Vector::LinSpaced(neurons.front().direction.size(), 1.0, 2.0);
  const double window = (tol + kEpsilon) * probe.lpNorm<1>();
  std::vector<std::pair<int, double>> key(static_cast<std::size_t>(m));
  for (const Index j : order) {
    key[j] = {neurons[j].sign, neurons[j].direction.dot(probe)};
  }
  std::stable_sort(order.begin(), order.end(),
                   [&key](Index i, Index j) { return key[i] < key[j]; });

  std::vector<Index> leaders;
  for (const Index j : order) {
    leader[j] = j;
    for (auto other = leaders.rbegin(); other != leaders.rend(); ++other) {
      const auto [sign, position] = key[*other];
      if (sign != key[j].first || key[j].second - position > window) break;
      if ((neurons[j].direction - neurons[*other].direction).norm() <= tol) {
        leader[j] = *other;
        break;
      }
    }
    if (leader[j] == j) leaders.push_back(j);
  }
  return leader;
}

// Gated: equal gates. Near ones would not do, for the output of a gated neuron jumps at its gate.
std::vector<Index> group_by_gate(const std::vector<Neuron>& neurons, const Matrix& gates) {
  std::vector<Index> leader(neurons.size(), -1);
  std::map<std::vector<double>, Index> first;
  for (Index j = 0; j < gates.rows(); ++j) {
    if (neurons[j].root == 0.0) continue;
    const Vector gate = gates.row(j);
    leader[j] = first.try_emplace({gate.begin(), gate.end()}, j).first->second;
  }
  return leader;
}

// The sum of neurons of one group: sum t_j^2 u_j = t^2 u with t = ||(t_j)||, where ||u|| <= 1.
Neuron sum(const std::vector<Neuron>& neurons, const std::vector<Index>& members) {
  Vector roots(static_cast<Index>(members.size()));
  for (std::size_t i = 0; i < members.size(); ++i) {
    roots(static_cast<Index>(i)) = neurons[members[i]].root;
  }
  Neuron total{Vector::Zero(neurons.front().direction.size()), roots.stableNorm(),
               neurons[members.front()].sign};
  for (const Index j : members) {
    const double share = neurons[j].root / total.root;
    total.direction += share * share * neurons[j].direction;
  }
  return total;
}

// Rows of a matrix, in the given order.
Matrix select_rows(const Matrix& matrix, const std::vector<Index>& rows) {
  Matrix selected(static_cast<Index>(rows.size()), matrix.cols());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    selected.row(static_cast<Index>(i)) = matrix.row(rows[i]);
  }
  return selected;
}

std::string shape(const Matrix& matrix) {
  return "(" + std::to_string(matrix.rows()) + ", " + std::to_string(matrix.cols()) + ")";
}

double square(double x) { return x * x; }

}  // namespace

Network::Network(Matrix hidden, Vector output, std::optional<Matrix> gates, double intercept)
    : hidden_(std::move(hidden)),
      output_(std::move(output)),
      gates_(std::move(gates)),
      intercept_(intercept) {
  if (output_.size() != hidden_.rows()) {
    throw_invalid("output must have one weight per row of hidden (" +
                  std::to_string(hidden_.rows()) + "), but has " + std::to_string(output_.size()));
  }
  if (gates_ && (gates_->rows() != hidden_.rows() || gates_->cols() != hidden_.cols())) {
    throw_invalid("gates must have the shape of hidden, " + shape(hidden_) + ", but has " +
                  shape(*gates_));
  }
  if (!hidden_.allFinite()) throw_invalid("hidden must be finite");
  if (!output_.allFinite()) throw_invalid("output must be finite");
  if (gates_ && !gates_->allFinite()) throw_invalid("gates must be finite");
  if (!std::isfinite(intercept)) throw_invalid("intercept must be finite");
}

Vector Network::predict(ConstMatrixRef X, int n_threads, Monitor& monitor) const {
  const Index n = X.rows(), m = n_neurons();
  if (X.cols() != n_features()) {
    throw_invalid("X must have as many columns as hidden (" + std::to_string(n_features()) +
                  "), but has " + std::to_string(X.cols()));
  }
  Vector f = Vector::Zero(n);
  f.array() += intercept_;
  if (n == 0 || m == 0 || n_features() == 0) return f;

  const double largest_output =
      X.cwiseAbs().maxCoeff() * hidden_.cwiseAbs().rowwise().sum().maxCoeff();
  const Index n_chunks = (n + kRowBlock - 1) / kRowBlock;
  watched_for(n_chunks, n_threads, monitor, [&](Index chunk, const auto& keep_going) {
    const Index top = chunk * kRowBlock, n_rows = std::min(kRowBlock, n - top);
    const auto rows = X.middleRows(top, n_rows);
    Matrix outputs;
    for (Index first = 0; first < m; first += kNeuronBlock) {
      if (!keep_going()) return;
      const Index n_cols = std::min(kNeuronBlock, m - first);
      outputs.noalias() = rows * hidden_.middleRows(first, n_cols).transpose();
      if (gates_) {
        const Patterns open =
            patterns_from_gates(rows, gates_->middleRows(first, n_cols).transpose(), 1, &monitor);
        for (Index j = 0; j < n_cols; ++j) {
          for (Index k = 0; k < n_rows; ++k) {
            outputs(k, j) = open.masks().test(k, j) ? outputs(k, j) : 0.0;
          }
        }
      } else {
        outputs = outputs.cwiseMax(0.0);
      }
      f.segment(top, n_rows).noalias() += outputs * output_.segment(first, n_cols);
    }
  });
  if (!std::isfinite(largest_output) || !f.allFinite()) {
    throw_invalid("the predictions for X exceed the range of float64");
  }
  return f;
}

double Network::objective(ConstMatrixRef X, const Vector& y, double lam,
                          const Vector& sample_weight, int n_threads, Monitor& monitor,
                          LossChoice loss, const Vector& offset) const {
  if (y.size() != X.rows()) {
    throw_invalid("y must have as many entries as X has rows (" + std::to_string(X.rows()) +
                  "), but has " + std::to_string(y.size()));
  }
  if (sample_weight.size() != 0 && sample_weight.size() != y.size()) {
    throw_invalid("sample_weight must have as many entries as X has rows (" +
                  std::to_string(X.rows()) + "), but has " + std::to_string(sample_weight.size()));
  }
  if (offset.size() != 0 && offset.size() != y.size()) {
    throw_invalid("offset must have as many entries as X has rows (" + std::to_string(X.rows()) +
                  "), but has " + std::to_string(offset.size()));
  }
  require_targets(loss, y);
  Vector share = Vector::Constant(y.size(), 1.0 / static_cast<double>(y.size()));
  if (sample_weight.size() > 0) {
    const double largest = sample_weight.maxCoeff();
    if (!(largest > 0.0) || sample_weight.minCoeff() < 0.0) {
      throw_invalid("sample_weight must be non-negative and not all zero");
    }
    share = sample_weight / largest;
    share /= share.sum();
  }
  Vector f = predict(X, n_threads, monitor);
  if (offset.size() > 0) f += offset;
  const double root = std::sqrt(lam);
  double penalty = 0.0;
  for (Index j = 0; j < n_neurons(); ++j) {
    penalty += square(root * hidden_.row(j).stableNorm()) + square(root * output_(j));
  }
  if (loss.kind == LossKind::squared) {
    // Norms before squares, for the range of the squares is narrower.
    const Vector residual = share.cwiseSqrt().cwiseProduct(f - y);
    return 0.5 * (square(residual.stableNorm()) + penalty);
  }
  FitPoint point;
  const auto samples = make_loss(loss, y, share * static_cast<double>(y.size()));
  samples->move_to(f, point);
  return samples->exact_value(point) + 0.5 * penalty;
}

Network Network::balance() const {
  Matrix hidden = Matrix::Zero(n_neurons(), n_features());
  Vector output = Vector::Zero(n_neurons());
  const std::vector<Neuron> neurons = polar_form(*this);
  for (Index j = 0; j < n_neurons(); ++j) {
    const Neuron& neuron = neurons[j];
    hidden.row(j) = neuron.root * neuron.direction;
    output(j) = neuron.sign * neuron.root;
  }
  return {std::move(hidden), std::move(output), gates_, intercept_};
}

Network Network::merge(double tol) const {
  const std::vector<Neuron> neurons = polar_form(*this);
  const std::vector<Index> leader =
      gates_ ? group_by_gate(neurons, *gates_) : group_by_direction(neurons, tol);

  std::vector<std::vector<Index>> groups;  // in the order of their first members
  std::vector<Index> group_of_leader(neurons.size(), -1);
  for (Index j = 0; j < n_neurons(); ++j) {
    if (leader[j] < 0) continue;
    Index& group = group_of_leader[leader[j]];
    if (group < 0) {
      group = static_cast<Index>(groups.size());
      groups.emplace_back();
    }
    groups[group].push_back(j);
  }

  std::vector<Index> kept;
  Matrix hidden = hidden_;
  Vector output = output_;
  for (const std::vector<Index>& members : groups) {
    const Index j = members.front();
    if (members.size() > 1) {
      const Neuron total = sum(neurons, members);
      const double norm = total.direction.stableNorm();
      // Gated neurons may cancel: what is left is rounding then.
      if (norm <= static_cast<double>(members.size()) * kEpsilon) continue;
      hidden.row(j) = total.root / std::sqrt(norm) * total.direction;
      output(j) = total.sign * total.root * std::sqrt(norm);
    }
    kept.push_back(j);
  }
  std::optional<Matrix> gates;
  if (gates_) gates = select_rows(*gates_, kept);
  return {select_rows(hidden, kept), select_rows(output, kept), std::move(gates), intercept_};
}

Network Network::split(Index neuron, const Vector& shares) const {
  if (neuron < 0 || neuron >= n_neurons()) {
    throw_invalid("neuron must be in [0, " + std::to_string(n_neurons()) + "), but is " +
                  std::to_string(neuron));
  }
  if (shares.size() == 0 || !(shares.minCoeff() > 0.0) || !shares.allFinite()) {
    throw_invalid("shares must be positive numbers, at least one");
  }
  const Vector relative = shares / shares.maxCoeff();
  const double total = relative.sum();
  std::vector<Index> source(static_cast<std::size_t>(n_neurons()));
  std::iota(source.begin(), source.end(), Index{0});
  source.insert(source.begin() + neuron, static_cast<std::size_t>(shares.size() - 1), neuron);
  Matrix hidden = select_rows(hidden_, source);
  Vector output = select_rows(output_, source);
  for (Index i = 0; i < shares.size(); ++i) {
    const double factor = std::sqrt(relative(i) / total);
    hidden.row(neuron + i) *= factor;
    output(neuron + i) *= factor;
  }
  std::optional<Matrix> gates;
  if (gates_) gates = select_rows(*gates_, source);
  return {std::move(hidden), std::move(output), std::move(gates), intercept_};
}

void require_no_intercept(const Network& network, const char* what) {
  if (network.intercept() == 0.0) return;
  throw_invalid(std::string(what) +
                " only; this network has intercept=" + std::to_string(network.intercept()));
}

Network to_network(const Solution& solution, Monitor* monitor) {
  const Problem& problem = solution.problem;
  require_parts_of(problem, solution, "solution");
  const Index k = solution.weights.cols();
  Matrix hidden = Matrix::Zero(k, problem.n_features());
  Vector output(k);
  for (Index j = 0; j < k; ++j) {
    const double root = std::sqrt(solution.weights.col(j).stableNorm());
    if (root > 0.0) hidden.row(j) = solution.weights.col(j) / root;
    output(j) = solution.active_set[j].sign * root;
  }
  if (problem.formulation() == Formulation::relu) {
    return {std::move(hidden), std::move(output), std::nullopt, solution.intercept};
  }

  const Patterns& patterns = problem.patterns();
  Matrix gates(problem.n_features(), k);
  const Matrix& all_gates = patterns.gates(monitor);
  for (Index j = 0; j < k; ++j) gates.col(j) = all_gates.col(solution.active_set[j].pattern);
  const Patterns made = patterns_from_gates(problem.X(), gates, 1, monitor);
  const BitMatrix& bits = made.masks();
  for (Index j = 0; j < k; ++j) {
    const Index pattern = solution.active_set[j].pattern;
    if (!std::equal(bits.col(j), bits.col(j) + bits.words_per_col(),
                    patterns.masks().col(pattern))) {
      throw_invalid("the gate of pattern " + std::to_string(pattern) +
                    " does not give that pattern on the problem's X: make the patterns from "
                    "this X, or from gates that produce them");
    }
  }
  return {std::move(hidden), std::move(output), gates.transpose(), solution.intercept};
}

NetworkBlocks to_blocks(const Network& network, ConstMatrixRef X, Monitor* monitor) {
  const std::vector<Neuron> neurons = polar_form(network);
  const Matrix gates = (network.gates() ? *network.gates() : network.hidden()).transpose();
  const Patterns per_neuron = patterns_from_gates(X, gates, 1, monitor);
  const BitMatrix& bits = per_neuron.masks();

  std::map<std::vector<BitMatrix::Word>, Index> pattern_of;
  std::vector<Index> first;                                     // the first neuron of each pattern
  std::map<std::pair<Index, int>, std::vector<Index>> members;  // by pattern and -sign
  for (Index j = 0; j < network.n_neurons(); ++j) {
    if (neurons[j].root == 0.0) continue;
    const BitMatrix::Word* words = bits.col(j);
    const auto [entry, is_new] = pattern_of.try_emplace({words, words + bits.words_per_col()},
                                                        static_cast<Index>(first.size()));
    if (is_new) first.push_back(j);
    members[{entry->second, -neurons[j].sign}].push_back(j);
  }

  const Index n_patterns = static_cast<Index>(first.size());
  BitMatrix masks(X.rows(), n_patterns);
  Matrix pattern_gates(network.n_features(), n_patterns);
  for (Index i = 0; i < n_patterns; ++i) {
    std::copy_n(bits.col(first[i]), bits.words_per_col(), masks.col(i));
    pattern_gates.col(i) = gates.col(first[i]);
  }

  std::vector<Block> active_set;
  Matrix weights(network.n_features(), static_cast<Index>(members.size()));
  for (const auto& [key, neurons_of_block] : members) {
    const Neuron total = sum(neurons, neurons_of_block);
    const Vector weight = total.root * (total.root * total.direction);
    if (!weight.allFinite()) throw_invalid("|a_j| W_j exceeds the range of float64");
    if (weight.isZero(0.0)) continue;
    weights.col(static_cast<Index>(active_set.size())) = weight;
    active_set.push_back({key.first, -key.second});
  }
  weights.conservativeResize(Eigen::NoChange, static_cast<Index>(active_set.size()));
  return {Patterns(std::move(masks), std::move(pattern_gates), false), std::move(active_set),
          std::move(weights)};
}

}  // namespace program
}  // namespace convexrelu
