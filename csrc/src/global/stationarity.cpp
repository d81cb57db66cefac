#include "convexrelu/global/stationarity.hpp"

#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <string>
#include <utility>

#include "base/preconditions.hpp"
#include "convexrelu/arrangement/cell_tree.hpp"
#include "convexrelu/arrangement/hyperplanes.hpp"
#include "convexrelu/base/error.hpp"
#include "convexrelu/pricing/pricing.hpp"
#include "convexrelu/solver/solver.hpp"

namespace convexrelu {
inline namespace global {

namespace {

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
      std::copy(words_[i].begin(), words_[i].end(), masks.col(i));
      gates.col(i) = gates_[i];
    }
    return Patterns(std::move(masks), std::move(gates));
  }

 private:
  Index n_samples_;
  std::map<Words, Index> place_;
  std::vector<Words> words_;
  std::vector<Vector> gates_;
};

// Hyperplanes on which a neuron lies, and how to leave them.
class TightPlanes {
 public:
  // w (d) of length 1; tight: hyperplanes, at least one.
  TightPlanes(const Hyperplanes& planes, const std::vector<Index>& tight, const Vector& w)
      : planes_(planes), normals_(planes.normals(Eigen::all, tight)), solve_(normals_.transpose()) {
    base_ = w - solve_.solve(normals_.transpose() * w);
    values_ = planes.normals.transpose() * base_;
    for (const Index l : tight) values_(l) = 0.0;
  }

  // The hyperplanes (positions in tight) in sets such that the normals of one are independent of those of
  // all others: the components of their linear matroid. They are those of the graph in which every
  // normal outside a basis is joined to the members of the basis of which it is a combination.
  std::vector<std::vector<Index>> components() const {
    const Index k = normals_.cols();
    Eigen::ColPivHouseholderQR<Matrix> qr(normals_.rows(), k);
    qr.setThreshold(kDependent);
    qr.compute(normals_);
    const Index rank = qr.rank();
    const auto R = qr.matrixR().topLeftCorner(rank, rank).triangularView<Eigen::Upper>();
    const Matrix coefficients = R.solve(qr.matrixR().topRightCorner(rank, k - rank));
    const auto plane = [&](Index i) { return qr.colsPermutation().indices()[i]; };
    std::vector<Index> set(static_cast<std::size_t>(k));
    std::iota(set.begin(), set.end(), Index{0});
    for (Index j = rank; j < k; ++j) {
      for (Index i = 0; i < rank; ++i) {
        const Index old = set[plane(i)], joined = set[plane(j)];
        if (old == joined || std::abs(coefficients(i, j - rank)) <= kNoCombination) continue;
        std::replace(set.begin(), set.end(), old, joined);
      }
    }
    std::map<Index, std::vector<Index>> members;
    for (Index l = 0; l < k; ++l) members[set[l]].push_back(l);
    std::vector<std::vector<Index>> components;
    for (auto& [name, positions] : members) components.push_back(std::move(positions));
    return components;
  }

  // A vector off the tight hyperplanes, n_l.v being in the proportion of the given values (k), and where w
  // is of all others.
  Vector leave(const Vector& values) const {
    const Vector direction = solve_.solve(values);
    const Vector along = planes_.normals.transpose() * direction;
    double step = 1.0;
    for (Index l = 0; l < along.size(); ++l) {
      const double distance = std::abs(values_(l));
      if (distance > 0.0 && along(l) != 0.0) {
        step = std::min(step, 0.5 * distance / std::abs(along(l)));
      }
    }
    return base_ + step * direction;
  }

 private:
  // As hyperplanes.hpp and cell_tree.hpp tell ranks; below the other one coefficients are rounding.
  static constexpr double kDependent = 1e-11, kNoCombination = 1e-12;

  const Hyperplanes& planes_;
  const Matrix normals_;  // (d, k)
  const Eigen::CompleteOrthogonalDecomposition<Matrix> solve_;
  Vector base_;    // w moved onto all of them
  Vector values_;  // of all hyperplanes there
};

// The cells around a neuron in one component of its tight hyperplanes: N'v (size, cells) of vectors inside.
struct Surroundings {
  Matrix values;
  bool is_complete;
};

Surroundings surroundings(ConstMatrixRef X, const Hyperplanes& planes,
                          const std::vector<Index>& tight, double max_cells, Monitor& monitor) {
  const Index k = static_cast<Index>(tight.size());
  if (k == 1) return {(Matrix(1, 2) << 1.0, -1.0).finished(), true};
  // The rows of X themselves, so that integers stay integers.
  Matrix rows(k, X.cols());
  for (Index i = 0; i < k; ++i) {
    rows.row(i) = X.row(planes.samples[planes.offsets[tight[i]]]);
  }
  EnumerationOptions options;
  options.max_patterns = max_cells;
  try {
    const Patterns cells = enumerate_patterns(rows, options, monitor);
    Matrix values = planes.normals(Eigen::all, tight).transpose() * cells.gates(monitor);
    for (Index c = 0; c < cells.size(); ++c) {
      for (Index i = 0; i < k; ++i) {
        // The sign is that of the pattern, whatever rounding makes of it.
        const double size = std::max(std::abs(values(i, c)), kEpsilon);
        values(i, c) = cells.masks().test(i, c) ? size : -size;
      }
    }
    return {std::move(values), true};
  } catch (const LimitExceeded&) {
    return {Matrix(k, 0), false};
  }
}

// The given sides (k), then with each of them changed.
Matrix across_each(const Vector& sides) {
  Matrix cells = sides.replicate(1, sides.size() + 1);
  for (Index i = 0; i < sides.size(); ++i) cells(i, i + 1) = -sides(i);
  return cells;
}

void set_side(Words& words, const Hyperplanes& planes, Index l, bool positive) {
  for (Index i = planes.offsets[l]; i < planes.offsets[l + 1]; ++i) {
    const Index k = planes.samples[i];
    const BitMatrix::Word bit = BitMatrix::Word{1} << (k % BitMatrix::kWordBits);
    BitMatrix::Word& word = words[k / BitMatrix::kWordBits];
    word = (planes.orientation[k] > 0) == positive ? word | bit : word & ~bit;
  }
}

// Lists the patterns of cells around w (d), of length 1: of single crossings where all are more than max_sides,
// from which those listed are taken off. Whether they were all.
bool add_sides(ConstMatrixRef X, const Hyperplanes& planes, const Vector& w, double kink_tol,
               PatternList& list, double& max_sides, Monitor& monitor) {
  bool has_all_sides = true;
  const Vector slacks = planes.normals.transpose() * w;
  std::vector<Index> tight;
  for (Index l = 0; l < slacks.size(); ++l) {
    if (std::abs(slacks(l)) <= kink_tol) tight.push_back(l);
  }
  if (tight.empty()) return true;
  const TightPlanes around(planes, tight, w);
  // One cell of each component, that of w itself if it is one; then those of one after the other.
  Words here = words_of(patterns_from_gates(X, w).masks(), 0);
  Vector values(static_cast<Index>(tight.size()));
  for (Index i = 0; i < values.size(); ++i) values(i) = slacks(tight[i]) < 0.0 ? -1.0 : 1.0;
  const std::vector<std::vector<Index>> components = around.components();
  std::vector<Matrix> cells;
  const auto enter = [&](Words& words, Vector& off, const std::vector<Index>& component,
                         ConstVectorRef cell) {
    for (std::size_t i = 0; i < component.size(); ++i) {
      off(component[i]) = cell(static_cast<Index>(i));
      set_side(words, planes, tight[component[i]], off(component[i]) > 0.0);
    }
  };
  for (const std::vector<Index>& component : components) {
    std::vector<Index> members;
    for (const Index i : component) members.push_back(tight[i]);
    const Vector sides = values(component);
    Surroundings found = surroundings(X, planes, members, max_sides, monitor);
    if (!found.is_complete) {
      has_all_sides = false;
      found.values = across_each(sides);
    }
    max_sides -= static_cast<double>(found.values.cols());
    Index own = 0;
    for (Index c = found.values.cols(); c-- > 0;) {
      if ((found.values.col(c).array() * sides.array() > 0.0).all()) own = c;
    }
    enter(here, values, component, found.values.col(own));
    cells.push_back(std::move(found.values));
  }
  for (std::size_t i = 0; i < components.size(); ++i) {
    for (const auto& cell : cells[i].colwise()) {
      Words there = here;
      Vector off = values;
      enter(there, off, components[i], cell);
      list.add(there, around.leave(off));
    }
  }
  return has_all_sides;
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
OwnPatterns own_patterns_in_time(const Network& network, ConstMatrixRef X, double kink_tol,
                                 Monitor& monitor) {
  try {
    return own_patterns(network, X, kink_tol, monitor);
  } catch (const Stopped&) {
    const Monitor::WrapUp wrap_up(monitor);
    PatternList list(X.rows());
    list.add(to_blocks(network, X, &monitor).patterns);
    return {list.patterns(X.cols()), false};
  }
}

}  // namespace

OwnPatterns own_patterns(const Network& network, ConstMatrixRef X, double kink_tol,
                         Monitor& monitor) {
  PatternList list(X.rows());
  list.add(to_blocks(network, X, &monitor).patterns);
  if (network.gates()) return {list.patterns(X.cols()), true};
  bool has_all_sides = true;
  double max_sides = kMaxSides * std::min(1.0, 1000.0 / static_cast<double>(X.rows()));
  const Hyperplanes planes = find_hyperplanes(X, &monitor);
  for (Index j = 0; j < network.n_neurons(); ++j) {
    monitor.check();
    const Vector w = network.hidden().row(j).transpose().stableNormalized();
    if (w.isZero(0.0) || network.output()(j) == 0.0) continue;
    has_all_sides &= add_sides(X, planes, w, kink_tol, list, max_sides, monitor);
  }
  return {list.patterns(X.cols()), has_all_sides};
}

NetworkReport check_network(const Network& network, const Matrix& X, const Vector& y, double lam,
                            const Vector& sample_weight, double tol, double kink_tol, int n_threads,
                            Monitor& monitor) {
  require_no_intercept(network, "check_network takes networks without an intercept");
  require_finite(X, "X");
  require_finite(y, "y");
  require_positive(lam, "lam");
  require_positive(tol, "tol");
  require_not_negative(kink_tol, "kink_tol");
  // What every answer needs, O(n d) for each neuron, is made whatever time it takes.
  std::optional<Monitor::WrapUp> untimed(std::in_place, monitor);
  const double objective = network.objective(X, y, lam, sample_weight, n_threads, monitor);
  Network merged = network.balance().merge();
  untimed.reset();
  OwnPatterns patterns = own_patterns_in_time(merged, X, kink_tol, monitor);
  untimed.emplace(monitor);
  const Problem problem(X, y, std::move(patterns.patterns), network.formulation(), sample_weight,
                        &monitor);
  Solution own = solution_at(problem, lam, point_of(merged, problem, monitor), monitor);
  untimed.reset();
  own = certified(own, n_threads, monitor);
  Solution best = solve_from(own, n_threads, monitor);
  own.lower_bound = std::max(own.lower_bound, best.lower_bound);
  own.gap = relative_gap(own.objective, own.lower_bound);
  if (own.gap <= tol) own.status = Status::optimal;
  return {objective, patterns.has_all_sides, std::move(merged), std::move(own), std::move(best)};
}

Solution bound_globally(Solution solution, double tol, std::uint64_t seed, int n_threads,
                        Monitor& monitor) {
  require_parts_of(solution.problem, solution, "solution");
  require_positive(tol, "tol");
  if (solution.problem.formulation() == Formulation::gated) return solution;
  const ScaledProblem& problem = solution.problem.scaled();
  const double lam = problem.scaled_lam(solution.lam);
  Vector r = problem.to_scaled(solution.dual);
  problem.make_feasible(r);
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
  solution.global_lower_bound = std::max(0.0, bound) * problem.y_unit() * problem.y_unit();
  return solution;
}

std::vector<Network> descent_path(const Network& network, const Matrix& X, const Vector& y,
                                  double lam, const Vector& sample_weight, const Patterns& more,
                                  Index n_steps, int n_threads, Monitor& monitor) {
  require_no_intercept(network, "descent_path takes networks without an intercept");
  if (more.n_samples() != X.rows() || more.n_features() != X.cols()) {
    throw_invalid("patterns are of " + std::to_string(more.n_samples()) + " samples and " +
                  std::to_string(more.n_features()) + " features, but X has " +
                  std::to_string(X.rows()) + " and " + std::to_string(X.cols()));
  }
  require_size(y.size(), X.rows(), "y", "entries");
  require_finite(X, "X");
  require_finite(y, "y");
  require_positive(lam, "lam");
  require_at_least(1, n_steps, "n_steps");
  const Network balanced = network.balance();
  PatternList list(X.rows());
  list.add(own_patterns_in_time(balanced, X, kKinkTolerance, monitor).patterns);
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

}  // namespace global
}  // namespace convexrelu
