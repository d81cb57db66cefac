#include "convexrelu/stationarity.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "convexrelu/error.hpp"
#include "convexrelu/hyperplanes.hpp"
#include "convexrelu/pricing.hpp"
#include "convexrelu/solver.hpp"

namespace convexrelu {

namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

using Words = std::vector<BitMatrix::Word>;

Words words_of(const BitMatrix& masks, Index i) {
  return {masks.col(i), masks.col(i) + masks.words_per_col()};
}

// Distinct patterns with their gates, and where each is.
class PatternList {
 public:
  explicit PatternList(Index n_samples) : n_samples_(n_samples) {}

  // The all-zero pattern contributes nothing to any network.
  void add(const Words& words, ConstVectorRef gate) {
    if (std::all_of(words.begin(), words.end(), [](BitMatrix::Word word) { return word == 0; })) {
      return;
    }
    if (!place_.try_emplace(words, static_cast<Index>(gates_.size())).second) return;
    gates_.push_back(gate);
    words_.push_back(words);
  }

  void add(const Patterns& patterns) {
    for (Index i = 0; i < patterns.size(); ++i) {
      add(words_of(patterns.masks(), i), patterns.gates().col(i));
    }
  }

  // -1 where it is not listed.
  Index find(const Words& words) const {
    const auto entry = place_.find(words);
    return entry == place_.end() ? -1 : entry->second;
  }

  Patterns patterns(Index n_features) const {
    BitMatrix masks(n_samples_, static_cast<Index>(words_.size()));
    Matrix gates(n_features, masks.n_cols());
    for (Index i = 0; i < masks.n_cols(); ++i) {
      std::copy(words_[at(i)].begin(), words_[at(i)].end(), masks.col(i));
      gates.col(i) = gates_[at(i)];
    }
    return Patterns(std::move(masks), std::move(gates));
  }

 private:
  Index n_samples_;
  std::map<Words, Index> place_;
  std::vector<Words> words_;
  std::vector<Vector> gates_;
};

// A vector on the given side of the tight hyperplane l, and where w is of all others: along what the
// normal has that the other tight ones do not.
Vector beside(const Hyperplanes& planes, const Vector& slacks, const std::vector<Index>& tight,
              Index l, int side, const Vector& w) {
  const auto normal = planes.normals.col(l);
  Vector direction = normal;
  double room = 1.0;  // to the nearest hyperplane that is not tight; w has length 1
  for (int pass = 0; pass < 2; ++pass) {
    for (const Index t : tight) {
      if (t != l) direction -= planes.normals.col(t) * planes.normals.col(t).dot(direction);
    }
  }
  if (direction.norm() < 1e-6) direction = normal;
  for (Index t = 0; t < slacks.size(); ++t) {
    if (std::find(tight.begin(), tight.end(), t) == tight.end()) {
      room = std::min(room, std::abs(slacks(t)));
    }
  }
  direction.normalize();
  const double step = std::max(0.5 * room, 2.0 * std::abs(slacks(l)) / direction.dot(normal));
  return w + side * step * direction;
}

struct Point {
  std::vector<Block> blocks;
  Matrix weights;
};

// The neurons of a network as a point of a program with all of their patterns; those that are zero
// on all samples are left out.
Point point_of(const Network& network, const Problem& problem, Monitor& monitor) {
  const NetworkBlocks own = to_blocks(network, problem.X(), &monitor);
  std::map<Words, Index> place;
  const BitMatrix& masks = problem.patterns().masks();
  for (Index i = 0; i < masks.n_cols(); ++i) place.try_emplace(words_of(masks, i), i);
  std::vector<std::pair<Block, Index>> blocks;
  for (std::size_t j = 0; j < own.active_set.size(); ++j) {
    const Block block = own.active_set[j];
    const auto entry = place.find(words_of(own.patterns.masks(), block.pattern));
    if (entry != place.end()) {
      blocks.push_back({{entry->second, block.sign}, static_cast<Index>(j)});
    }
  }
  std::sort(blocks.begin(), blocks.end(),
            [](const auto& a, const auto& b) { return comes_before(a.first, b.first); });
  Point point{{}, Matrix(problem.n_features(), static_cast<Index>(blocks.size()))};
  for (const auto& [block, column] : blocks) {
    point.weights.col(static_cast<Index>(point.blocks.size())) = own.weights.col(column);
    point.blocks.push_back(block);
  }
  return point;
}

// Without a bound.
Solution solution_at(const Problem& problem, double lam, const Point& point, Monitor& monitor) {
  Solution solution =
      make_bounded_solution(problem, lam, Status::max_iter, point.blocks, point.weights,
                            Vector::Zero(problem.n_samples()), 0, 0.0, &monitor);
  solution.dual = solution.residual;
  if (!std::isfinite(solution.objective)) {
    throw_invalid("network has an objective that exceeds the range of float64");
  }
  return solution;
}

// With the bound of its residual, if there is time for it.
Solution certified(const Solution& at, int n_threads, Monitor& monitor) {
  try {
    return make_solution(at.problem, at.lam, at.status, at.active_set, at.weights, at.dual, 0,
                         n_threads, monitor);
  } catch (const Stopped&) {
    return at;
  }
}

// The optimum of the start's program. Where time ends the solver early, no worse than the start.
Solution solve_from(const Solution& start, int n_threads, Monitor& monitor) {
  SolveOptions options;
  options.n_threads = n_threads;
  options.warm_start = &start;
  Solution best = solve(start.problem, start.lam, options, monitor);
  if (best.status != Status::time_limit || best.objective <= start.objective) return best;
  Solution stayed = start;
  stayed.status = best.status;
  stayed.lower_bound = std::max(start.lower_bound, best.lower_bound);
  stayed.gap = 1.0 - stayed.lower_bound / stayed.objective;
  return stayed;
}

// The patterns of the neurons alone where there is no time for those across their kinks.
Patterns own_patterns_in_time(const Network& network, ConstMatrixRef X, double kink_tol,
                              Monitor& monitor) {
  try {
    return own_patterns(network, X, kink_tol, &monitor);
  } catch (const Stopped&) {
    const Monitor::WrapUp wrap_up(monitor);
    PatternList list(X.rows());
    list.add(to_blocks(network, X, &monitor).patterns);
    return list.patterns(X.cols());
  }
}

}  // namespace

Patterns own_patterns(const Network& network, ConstMatrixRef X, double kink_tol, Monitor* monitor) {
  PatternList list(X.rows());
  list.add(to_blocks(network, X, monitor).patterns);
  if (network.gates()) return list.patterns(X.cols());
  const Hyperplanes planes = find_hyperplanes(X, monitor);
  for (Index j = 0; j < network.n_neurons(); ++j) {
    keep_going(monitor);
    const Vector w = network.hidden().row(j).transpose().stableNormalized();
    if (w.isZero(0.0) || network.output()(j) == 0.0) continue;
    const Vector slacks = planes.normals.transpose() * w;
    std::vector<Index> tight;
    for (Index l = 0; l < slacks.size(); ++l) {
      if (std::abs(slacks(l)) <= kink_tol) tight.push_back(l);
    }
    if (tight.empty()) continue;
    const Words here = words_of(patterns_from_gates(X, w, 1, monitor).masks(), 0);
    for (const Index l : tight) {
      for (const int side : {+1, -1}) {
        Words there = here;
        for (Index i = planes.offsets[at(l)]; i < planes.offsets[at(l) + 1]; ++i) {
          const Index k = planes.samples[at(i)];
          const BitMatrix::Word bit = BitMatrix::Word{1} << (k % BitMatrix::kWordBits);
          BitMatrix::Word& word = there[at(k / BitMatrix::kWordBits)];
          word = planes.orientation[at(k)] == side ? word | bit : word & ~bit;
        }
        list.add(there, beside(planes, slacks, tight, l, side, w));
      }
    }
  }
  return list.patterns(X.cols());
}

NetworkReport check_network(const Network& network, const Matrix& X, const Vector& y, double lam,
                            const Vector& sample_weight, double tol, double kink_tol, int n_threads,
                            Monitor& monitor) {
  // What every answer needs, O(n d) for each neuron, is made whatever time it takes.
  std::optional<Monitor::WrapUp> untimed(std::in_place, monitor);
  const double objective = network.objective(X, y, lam, sample_weight, n_threads, monitor);
  Network merged = network.balance().merge();
  untimed.reset();
  Patterns patterns = own_patterns_in_time(merged, X, kink_tol, monitor);
  untimed.emplace(monitor);
  const Problem problem(X, y, std::move(patterns), network.formulation(), sample_weight, &monitor);
  Solution own = solution_at(problem, lam, point_of(merged, problem, monitor), monitor);
  untimed.reset();
  own = certified(own, n_threads, monitor);
  Solution best = solve_from(own, n_threads, monitor);
  own.lower_bound = std::max(own.lower_bound, best.lower_bound);
  if (own.objective > 0.0) {
    own.gap = std::max(0.0, (own.objective - own.lower_bound) / own.objective);
  }
  if (own.gap <= tol) own.status = Status::optimal;
  return {objective, std::move(merged), std::move(own), std::move(best)};
}

Solution bound_globally(Solution solution, double tol, std::uint64_t seed, int n_threads,
                        Monitor& monitor) {
  if (solution.problem.formulation() == Formulation::gated) return solution;
  const ScaledProblem& problem = solution.problem.scaled();
  const double lam = problem.scaled_lam(solution.lam);
  const Vector r = problem.to_scaled(solution.dual);
  PricingOptions options;
  options.tol = tol;
  options.threshold = lam;
  options.n_threads = n_threads;
  options.seed = seed;
  options.starts = solution.weights;
  for (Index j = 0; j < options.starts.cols(); ++j) options.starts.col(j).stableNormalize();
  // Rows and residual both carry the factors of the sample weights, as the loss does.
  const double largest = price_patterns(problem.X(), r, options, monitor).upper_bound;
  const double bound = problem.dual_value(r, lam, largest);
  solution.global_lower_bound =
      std::min(solution.objective, std::max(0.0, bound) * problem.y_unit() * problem.y_unit());
  return solution;
}

std::vector<Network> descent_path(const Network& network, const Matrix& X, const Vector& y,
                                  double lam, const Vector& sample_weight, const Patterns& more,
                                  Index n_steps, int n_threads, Monitor& monitor) {
  if (more.n_samples() != X.rows() || more.n_features() != X.cols()) {
    throw_invalid("patterns are of " + std::to_string(more.n_samples()) + " samples and " +
                  std::to_string(more.n_features()) + " features, but X has " +
                  std::to_string(X.rows()) + " and " + std::to_string(X.cols()));
  }
  const Network balanced = network.balance();
  PatternList list(X.rows());
  list.add(own_patterns_in_time(balanced, X, kKinkTolerance, monitor));
  list.add(more);
  std::optional<Monitor::WrapUp> untimed(std::in_place, monitor);
  const Problem problem(X, y, list.patterns(X.cols()), network.formulation(), sample_weight,
                        &monitor);
  const Point start = point_of(balanced, problem, monitor);
  const Solution first = solution_at(problem, lam, start, monitor);
  untimed.reset();
  const Solution last = solve_from(first, n_threads, monitor);

  untimed.emplace(monitor);
  std::vector<Network> path{network, balanced};
  for (Index step = 0; step <= n_steps; ++step) {
    monitor.check();
    const double t = static_cast<double>(step) / static_cast<double>(n_steps);
    std::map<std::pair<Index, int>, Vector> weights;  // by pattern and -sign
    const auto add = [&](const std::vector<Block>& blocks, const Matrix& columns, double share) {
      if (share == 0.0) return;
      for (std::size_t j = 0; j < blocks.size(); ++j) {
        const Vector part = share * columns.col(static_cast<Index>(j));
        const auto [entry, is_new] =
            weights.try_emplace({blocks[j].pattern, -blocks[j].sign}, part);
        if (!is_new) entry->second += part;
      }
    };
    add(start.blocks, start.weights, 1.0 - t);
    add(last.active_set, last.weights, t);
    Solution point = first;
    point.active_set.clear();
    point.weights.resize(X.cols(), static_cast<Index>(weights.size()));
    for (const auto& [key, w] : weights) {
      point.weights.col(static_cast<Index>(point.active_set.size())) = w;
      point.active_set.push_back({key.first, -key.second});
    }
    path.push_back(to_network(point, &monitor));
  }
  return path;
}

}  // namespace convexrelu
