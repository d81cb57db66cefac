#include "convexrelu/global/global_solver.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <optional>
#include <random>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "base/preconditions.hpp"
#include "convexrelu/pricing/local_search.hpp"
#include "convexrelu/pricing/pricing.hpp"
#include "convexrelu/program/network.hpp"
#include "convexrelu/solver/solver.hpp"
#include "global/distinct_rows.hpp"
#include "global/growing_network.hpp"

namespace convexrelu {
inline namespace global {

namespace {

// Widths of the smoothing, and the violation max |F|/lam - 1 below which the next one is due.
constexpr double kWidths[] = {1e-2, 3e-3, 1e-3, 3e-4, 1e-4};
constexpr double kWidthDue[] = {1.0, 0.3, 0.03, 0.005};
constexpr std::size_t kLastWidth = 4;
constexpr double kEndgameWidth = 1e-5;
// Newton steps of a round, and the relative gain with which they end.
constexpr int kSteps = 2;
constexpr int kEndgameSteps = 15;
constexpr double kSmallestGain = 1e-7;
// Cosine of neurons that merge.
constexpr double kParallel = 1.0 - 1e-4;
constexpr double kEndgameParallel = 1.0 - 1e-7;
// New neurons of a round: so many, less parallel than this, and above this share of the violation.
constexpr std::size_t kNewcomers = 400;
constexpr double kDistinct = 0.99;
constexpr double kEndgameDistinct = 1.0 - 1e-6;
constexpr double kShareOfViolation = 0.1;
// Polish in growth only what violates less than this, and where it takes less than so many flops: among many rows
// kinks lie so close that the price is nearly smooth, and the ascent leads as far.
constexpr double kPolishBelow = 0.3;
constexpr double kPolishBudget = 5e9,
                 kPolishFlops = 500.0;  // in all; of a point, over rows times features
// How far neurons are perturbed to start from.
constexpr double kPerturbations[] = {0.5, 0.2, 0.1, 0.05, 0.02};
constexpr Index kMaxPerturbed = 200;

// How hard a search looks. Near the end violated maxima stand close to the neurons, so that more points are
// told apart; the last word has a search from everywhere.
struct Effort {
  Index n_polished;  // and as many as there are neurons, if any are
  double basin;      // cosine of points of which one is polished
  int n_scales;      // of perturbations
  Index n_rows;      // +-x_k as starts
  Index n_random;    // Gaussian starts, the first 20 before the rows
};
constexpr double kEndgameBasin = 1.0 - 1e-4;
constexpr Effort kCoarse{0, 0.99, 1, 20, 100};
constexpr Effort kGrowing{50, 0.99, 1, 20, 100};
constexpr Effort kClosing{50, kEndgameBasin, 4, 50, 300};
constexpr Effort kThorough{300, kEndgameBasin, 5, std::numeric_limits<Index>::max(), 600};
// So many searches must find nothing.
constexpr int kCleanSearches = 3;
// Beyond this violation the network goes on to descend, while a round gains this share of the value; the
// program, which costs more, waits.
constexpr double kDescendAbove = 0.005;
constexpr double kWorthwhile = 1e-6;
// Growth has come to its end when no direction promises a relative gain above this, or when so many rounds
// in a row at the last width brought less than the given share of what is promised.
constexpr double kGrown = 1e-4;
constexpr double kSlow = 0.005;
constexpr int kSlowRounds = 3;
// Exact rounds in a row that gain less than this share of the tolerance, after which the answer is as good as it gets.
constexpr int kMaxIdleRounds = 3;
constexpr double kIdle = 1e-4;
// Attempts to confirm that growth has reached the tolerance.
constexpr int kMaxConfirmations = 3;
// Flops of a factorisation beyond which the exact program is left alone.
constexpr double kLargestProgram = 3e10;
constexpr long kMaxFactorisations = 400;
// Shares of the tolerance: that growth leaves to what the search finds, the exact rounds (which cost
// little more then), and that the proof may leave open at the residual. Without a time limit it may look
// at so many cones, up to five features; beyond, cones cost more and prove less.
constexpr double kSearchShare = 0.5, kLastShare = 0.1, kProofShare = 0.5;
constexpr double kMaxCones = 1e6, kFewerCones = 6.0, kLeastCones = 500.0;
// What bounds may take after a time limit: so much, and a share of the time spent.
constexpr double kWrapUpSeconds = 0.02, kWrapUpShare = 0.03;
// Growth begins with a sample of the rows: an eighth, but at least so many, and so many for every feature, so that the
// sample's optimum is near that of all rows; where this is less than a quarter of them.
constexpr Index kSampleRows = 4000, kSampleRowsPerFeature = 30, kSampleShare = 8, kSmallShare = 4;
constexpr double kSampleTol = 0.1, kSampleTimeShare = 0.5;
// Flops that the local search of a round may take.
constexpr double kSearchBudget = 5e10;

class GlobalSolver {
 public:
  GlobalSolver(const Matrix& X, const Vector& y, double lam, const Vector& sample_weight,
               const GlobalSolverOptions& options, Monitor& monitor)
      : X_(X),
        y_(y),
        sample_weight_(sample_weight),
        caller_lam_(lam),
        options_(options),
        monitor_(monitor),
        rows_(X, y, sample_weight, &monitor),
        problem_(std::move(rows_.X), std::move(rows_.y),
                 Patterns(BitMatrix(rows_.n_rows, 0), Matrix(X.cols(), 0)), Formulation::relu,
                 rows_.weight, &monitor),
        scaled_(problem_.scaled()),
        lam_(scaled_.scaled_lam(lam)),
        n_(static_cast<double>(scaled_.n_samples())),
        network_(scaled_.X(), scaled_.y(), lam_, options.n_threads, monitor),
        spread_(std::pow(rows_.spread_root / scaled_.y_unit(), 2)),
        pool_(X.cols(), 0),
        engine_(options.seed) {
    search_.emplace(scaled_.X(), &monitor);
    best_.objective = network_.objective();
    best_.weights.resize(X.cols(), 0);
    best_.dual = network_.residual();
  }

  Solution run() {
    if (!scaled_.in_range() || lam_ == 0.0) return finish(Status::numerical_failure);
    Status status = Status::unproven;
    try {
      if (options_.warm_start != nullptr) {
        begin_with(*options_.warm_start);
      } else {
        begin_with_sample();
      }
      if (!grow()) status = close();
    } catch (const Stopped& stopped) {
      status = stopped.reason == StopReason::callback ? Status::callback : Status::time_limit;
      keep_network();
    }
    const Monitor::WrapUp wrap_up(monitor_);
    return finish(status);
  }

 private:
  // The best point so far: a network, or the solution of a program over the patterns of `gates`.
  struct Incumbent {
    double objective = kInfinity;
    Matrix weights;           // (d, k)
    std::vector<int> signs;   // (k)
    Matrix gates;             // (d, P), or none: the patterns of the weights themselves
    std::vector<Index> gate;  // (k) of every weight, where there are gates
    Vector dual;              // (rows)
  };

  // The network becomes the incumbent where it is better than none, and growth goes on from it. (Of one
  // with more neurons than rows, which no optimum needs, nothing else is used.)
  void begin_with(const Network& network) {
    const Vector amplitudes = network.output().cwiseAbs() / scaled_.weight_unit();
    Matrix weights(X_.cols(), network.n_neurons());
    std::vector<int> signs;
    for (Index j = 0; j < network.n_neurons(); ++j) {
      const Vector w = amplitudes(j) * network.hidden().row(j).transpose();
      if (!(w.norm() > 0.0)) continue;
      weights.col(static_cast<Index>(signs.size())) = w;
      signs.push_back(network.output()(j) > 0.0 ? 1 : -1);
    }
    weights.conservativeResize(Eigen::NoChange, static_cast<Index>(signs.size()));
    {
      const Monitor::WrapUp even_if_stopped(monitor_);
      network_.set(std::move(weights), std::move(signs));
      keep_network();
    }
    if (network_.size() <= scaled_.n_samples()) network_.fit_amplitudes();
    return_to_best();
    if (network_.size() > scaled_.n_samples()) network_.set(Matrix(X_.cols(), 0), {});
  }

  // A network grown on a sample of the rows is a start at a part of the cost; all rows decide what
  // becomes of it. The sample's own start is a smaller sample, so that this ends.
  void begin_with_sample() {
    const Index n = problem_.X().rows(), d = X_.cols();
    const Index size = std::max({kSampleRows, kSampleRowsPerFeature * d, n / kSampleShare});
    if (size > n / kSmallShare) return;
    std::vector<Index> rows(static_cast<std::size_t>(n));
    std::iota(rows.begin(), rows.end(), Index{0});
    for (Index i = 0; i < size; ++i) {  // Fisher & Yates
      const std::uint64_t others = static_cast<std::uint64_t>(n - i);
      std::swap(rows[i],
                rows[static_cast<std::size_t>(i) + static_cast<std::size_t>(engine_() % others)]);
    }
    rows.resize(static_cast<std::size_t>(size));
    const Matrix X = problem_.X()(rows, Eigen::all);
    const Vector y = problem_.y()(rows);
    const Vector weight = rows_.weight.size() > 0 ? Vector(rows_.weight(rows)) : Vector();
    GlobalSolverOptions options;
    options.tol = std::max(options_.tol, kSampleTol);
    options.certify = false;
    options.seed = engine_();
    options.n_threads = options_.n_threads;
    std::optional<Stopped> stopped;
    Monitor inner(
        kSampleTimeShare * monitor_.time_left(),
        [&](const Progress& progress) {
          try {
            report("sample", best_.objective);
          } catch (const Stopped& reason) {
            stopped = reason;
          }
          return stopped.has_value() || std::string_view(progress.phase) == "close";
        },
        [&] { monitor_.check(); });
    const Solution sample = solve_global(X, y, caller_lam_, weight, options, inner);
    n_iter_ += sample.n_iter;
    begin_with(to_network(sample));
    if (stopped) throw Stopped(*stopped);
  }

  // Rounds of the growing network until the local search promises little more; true if that is within
  // the tolerance. A round begins at the best network so far, whose objective only falls. It
  // is slow where that falls by less than kSlow of what is promised, itself more than kGrown of the value: it
  // narrows the kinks while they can be narrowed, and kSlowRounds in a row end growth. So there are at most
  // kLastWidth + kSlowRounds slow rounds for each that takes the factor 1 - kSlow kGrown off the
  // objective, which is bounded below.
  bool grow() {
    // A finer tolerance is left to exact rounds, whose answer is exact over its own patterns.
    const double enough =
        kSearchShare * options_.tol > kGrown ? kSearchShare * options_.tol : -kInfinity;
    double violation = kInfinity, last = kInfinity;
    std::size_t width = 0;
    int confirmations = 0;
    for (int slow = 0; slow < kSlowRounds;) {
      std::vector<LocalMaximum> found =
          price(network_.residual(), network_.weights(), polishes(violation) ? kGrowing : kCoarse);
      report("grow", best_.objective);
      double promised = open_share(network_.residual(), found);
      if (promised <= enough && confirmations < kMaxConfirmations) {
        ++confirmations;
        found = confirmed_price(network_.residual());
        promised = open_share(network_.residual(), found);
        if (promised <= enough) return true;
      }
      if (!(promised > kGrown)) break;
      violation = found.front().value / lam_ - 1.0;
      const double value = network_.objective() + spread_;
      while (width < kLastWidth && violation < kWidthDue[width]) ++width;
      if (last - value < kSlow * promised * value) {
        if (width < kLastWidth) {
          ++width;
        } else {
          ++slow;
        }
      } else {
        slow = 0;
      }
      last = value;
      insert(found, lam_ * (1.0 + kShareOfViolation * std::max(violation, 0.0)), kDistinct, true);
      network_.descend(kWidths[width], kSteps, kSmallestGain);
      network_.merge(kParallel);
      network_.fit_amplitudes();
      return_to_best();
    }
    return false;
  }

  bool polishes(double violation) const {
    const double points = static_cast<double>(kGrowing.n_polished + network_.size());
    const double flops = kPolishFlops * static_cast<double>(scaled_.X().size()) * points;
    return violation < kPolishBelow && flops < kPolishBudget;
  }

  // What a more careful search finds and, if asked for, an attempt at a proof.
  std::vector<LocalMaximum> confirmed_price(const Vector& r) {
    std::vector<LocalMaximum> found = price(r, network_.weights(), kClosing);
    if (options_.certify && open_share(r, found) <= kSearchShare * options_.tol) {
      const std::vector<LocalMaximum> proven = prove(r);
      if (open_share(r, proven) > open_share(r, found)) found = proven;
    }
    return found;
  }

  // Exact rounds until nothing violated is found. The objective of the incumbent only falls: either by
  // kWorthwhile, or by kIdle of the tolerance, both relative, or else the round is idle; kMaxIdleRounds in a row are the end.
  Status close() {
    Matrix newcomers(scaled_.n_features(), 0);
    int idle = 0;
    for (bool descends = true;;) {
      const double before = best_.objective;
      if (descends) {
        for (const double width : {kWidths[kLastWidth], kEndgameWidth}) {
          network_.descend(width, kEndgameSteps, 1e-9);
        }
        network_.merge(kEndgameParallel);
        network_.fit_amplitudes();
        keep_network();
        report("close", best_.objective);
        const std::vector<LocalMaximum> found =
            price(network_.residual(), network_.weights(), kClosing);
        if (best_.objective < before * (1.0 - kWorthwhile) && !found.empty() &&
            found.front().value > lam_ * (1.0 + kDescendAbove)) {
          newcomers = insert(found, lam_ * (1.0 + 1e-9), kEndgameDistinct, true);
          continue;
        }
      }
      const bool exact = solve_program(newcomers);
      report("close", best_.objective);
      const Vector r = exact ? best_.dual : network_.residual();
      const std::vector<LocalMaximum> found = violated(r);
      if (found.empty()) return Status::unproven;
      const double gained = before - best_.objective;
      idle = gained > kIdle * options_.tol * (before + spread_) ? 0 : idle + 1;
      if (idle == kMaxIdleRounds) return Status::stalled;
      if (exact) network_.set(best_.weights, best_.signs);
      descends = !exact || found.front().value > lam_ * (1.0 + kDescendAbove);
      newcomers = insert(found, lam_ * (1.0 + 1e-9), kEndgameDistinct, descends);
    }
  }

  // Maxima that promise more than kLastShare of the tolerance at r; none after some searches in vain and, if
  // asked for, an attempt to prove that there are none.
  std::vector<LocalMaximum> violated(const Vector& r) {
    std::vector<LocalMaximum> found = price(r, best_.weights, kClosing);
    if (promises(r, found)) return found;
    for (int search = 0; search < kCleanSearches; ++search) {
      found = price(r, best_.weights, kThorough);
      if (promises(r, found)) return found;
      if (search > 0 || !options_.certify) continue;
      found = prove(r);
      if (promises(r, found)) return found;
      if (best_.objective - bound_ <= options_.tol * (best_.objective + spread_)) break;
    }
    return {};
  }

  // What the objective is above the dual value of r, were the largest price found the largest of
  // all, as a share of the objective: an estimate of the gap over all patterns.
  double open_share(const Vector& r, const std::vector<LocalMaximum>& found) const {
    const double value = best_.objective + spread_;
    const double largest = found.empty() ? 0.0 : found.front().value;
    return value > 0.0 ? (best_.objective - dual_value(r, largest)) / value : 0.0;
  }

  bool promises(const Vector& r, const std::vector<LocalMaximum>& found) const {
    return open_share(r, found) > kLastShare * options_.tol;
  }

  // Bounds the price of all patterns at r, and with it the objective of all networks. Returns the
  // largest price found. The work is limited by a count of cones.
  std::vector<LocalMaximum> prove(const Vector& r) {
    PricingOptions options;
    options.tol = kProofShare * options_.tol;
    options.threshold = lam_;
    options.n_threads = options_.n_threads;
    options.starts = best_.weights;
    options.seed = engine_();
    const double d = static_cast<double>(scaled_.n_features());
    if (monitor_.time_left() == kInfinity) {
      options.max_cones =
          std::max(kLeastCones, kMaxCones * std::pow(kFewerCones, 5.0 - std::max(5.0, d)));
    }
    std::optional<Stopped> stopped;
    Monitor inner(
        monitor_.time_left(),
        [&](const Progress&) {
          try {
            report("prove", best_.objective);
          } catch (const Stopped& reason) {
            stopped = reason;
          }
          return stopped.has_value();
        },
        [&] { monitor_.check(); });
    const Pricing pricing = price_patterns(scaled_.X(), r, options, inner);
    bound_ = std::max(bound_, dual_value(r, pricing.upper_bound));
    if (stopped) throw Stopped(*stopped);
    monitor_.check();
    return {{pricing.direction, pricing.sign, pricing.value}};
  }

  // Local maxima of the price, best first.
  std::vector<LocalMaximum> price(const Vector& r, const Matrix& W, const Effort& effort) {
    const Index d = scaled_.n_features(), m = W.cols(), n = scaled_.n_samples();
    std::vector<Matrix> groups;
    groups.emplace_back(-W);
    groups.push_back(pool_);
    groups.push_back(W);
    for (int scale = 0; scale < effort.n_scales; ++scale) {
      const Matrix noise = random_directions(d, std::min(m, kMaxPerturbed), engine_());
      groups.emplace_back(W.rightCols(noise.cols()).colwise().normalized() +
                          kPerturbations[scale] * noise);
    }
    const Matrix random = random_directions(d, effort.n_random, engine_());
    groups.push_back(random.leftCols(20));
    Matrix rows(d, std::min(n, effort.n_rows));
    for (Index i = 0; i < rows.cols(); ++i) {
      const std::uint64_t k = rows.cols() == n ? static_cast<std::uint64_t>(i)
                                               : engine_() % static_cast<std::uint64_t>(n);
      rows.col(i) = scaled_.X().row(static_cast<Index>(k)).transpose();
    }
    groups.push_back(rows);
    groups.emplace_back(-rows);
    groups.push_back(random.rightCols(random.cols() - 20));

    const double cost = 160.0 * static_cast<double>(std::max<Index>(search_->normals().size(), 1));
    Index room = static_cast<Index>(std::clamp(kSearchBudget / cost, 16.0, 1e6));
    Index total = 0;
    for (const Matrix& group : groups) total += group.cols();
    Matrix starts(d, std::min(total, room));
    Index next = 0;
    for (const Matrix& group : groups) {
      const Index taken = std::min(group.cols(), starts.cols() - next);
      starts.middleCols(next, taken) = group.leftCols(taken);
      next += taken;
    }

    LocalSearchOptions options;
    options.n_polished = effort.n_polished;
    if (effort.n_polished > 0) options.n_polished += m;
    options.distinct = effort.basin;
    options.n_threads = options_.n_threads;
    std::vector<LocalMaximum> found = search_->maximise(r, starts, options, monitor_);
    pool_.resize(d, std::min<Index>(60, static_cast<Index>(found.size())));
    for (Index j = 0; j < pool_.cols(); ++j) {
      pool_.col(j) = found[j].direction;
    }
    return found;
  }

  // Distinct directions above a value (d, any); if asked for they join the network.
  Matrix insert(const std::vector<LocalMaximum>& found, double above, double distinct, bool join) {
    std::vector<const LocalMaximum*> chosen;
    for (const LocalMaximum& candidate : found) {
      if (!(candidate.value > above) || chosen.size() == kNewcomers) break;
      const bool seen = std::any_of(chosen.begin(), chosen.end(), [&](const LocalMaximum* other) {
        return other->sign == candidate.sign &&
               other->direction.dot(candidate.direction) > distinct;
      });
      if (!seen) chosen.push_back(&candidate);
    }
    Matrix directions(scaled_.n_features(), static_cast<Index>(chosen.size()));
    std::vector<int> signs;
    for (std::size_t j = 0; j < chosen.size(); ++j) {
      directions.col(static_cast<Index>(j)) = chosen[j]->direction;
      signs.push_back(chosen[j]->sign);
    }
    if (join && !chosen.empty()) network_.add(directions, signs);
    return directions;
  }

  // The kinks' smoothing can raise the objective: what is no better is given up.
  void return_to_best() {
    keep_network();
    if (network_.objective() > best_.objective) network_.set(best_.weights, best_.signs);
  }

  void keep_network() {
    if (!(network_.objective() < best_.objective)) return;
    best_ = {network_.objective(), network_.weights(), network_.signs(), Matrix(), {},
             network_.residual()};
  }

  // The convex program over the patterns of the network's neurons and of more gates (d, any). True if
  // it was solved and is the best point now.
  bool solve_program(const Matrix& more_gates) {
    if (network_.size() + more_gates.cols() == 0) return best_.weights.cols() == 0;
    const double free = static_cast<double>(network_.weights().size() + more_gates.size());
    const double order = std::min(n_, free);
    if (n_ * free * order + order * order * order / 3.0 > kLargestProgram) return false;
    const NetworkBlocks blocks = blocks_of(network_.weights(), network_.signs(), problem_.X());
    const Problem program(problem_.X(), problem_.y(), joined(blocks.patterns, more_gates),
                          Formulation::relu, rows_.weight, &monitor_);
    const Solution guess =
        make_bounded_solution(program, caller_lam_, Status::unproven, blocks.active_set,
                              blocks.weights, Vector::Zero(problem_.y().size()), 0, 0.0, &monitor_);

    SolveOptions options;
    options.tol = std::clamp(0.01 * options_.tol, 1e-10, 1e-8);
    options.max_iter = kMaxFactorisations;
    options.n_threads = options_.n_threads;
    options.warm_start = &guess;
    std::optional<Stopped> stopped;
    const double unit = scaled_.y_unit() * scaled_.y_unit();
    Monitor inner(
        monitor_.time_left(),
        [&](const Progress& progress) {
          try {
            report("solve", progress.objective / unit);
          } catch (const Stopped& reason) {
            stopped = reason;
          }
          return stopped.has_value();
        },
        [&] { monitor_.check(); });
    const Solution solution = solve(program, caller_lam_, options, inner);
    n_iter_ += solution.n_iter;
    const double objective = solution.objective / unit;
    const bool better = objective <= best_.objective * (1.0 + 1e-12);
    if (better) {
      best_.objective = objective;
      best_.weights = solution.weights / scaled_.weight_unit();
      best_.gates = program.patterns().gates();
      best_.signs.clear();
      best_.gate.clear();
      for (const Block& b : solution.active_set) {
        best_.signs.push_back(b.sign);
        best_.gate.push_back(b.pattern);
      }
      best_.dual = solution.dual.cwiseProduct(scaled_.row_factors()) / scaled_.y_unit();
    }
    if (stopped) throw Stopped(*stopped);
    monitor_.check();
    return better && solution.status == Status::optimal;
  }

  // Patterns, followed by those of more gates that are not among them.
  Patterns joined(const Patterns& patterns, const Matrix& more_gates) const {
    if (more_gates.cols() == 0) return patterns;
    Matrix gates(more_gates.rows(), patterns.size() + more_gates.cols());
    gates.leftCols(patterns.size()) = patterns.gates();
    gates.rightCols(more_gates.cols()) = more_gates;
    const Patterns distinct =
        distinct_patterns_from_gates(problem_.X(), gates, options_.n_threads, &monitor_);
    // The places of the first must stay: one of them may be all-zero, and left out.
    const Index size = patterns.size();
    const bool same =
        distinct.size() >= size && distinct.gates().leftCols(size) == patterns.gates();
    return same ? distinct
                : patterns_from_gates(problem_.X(), gates, options_.n_threads, &monitor_);
  }

  NetworkBlocks blocks_of(const Matrix& weights, const std::vector<int>& signs,
                          const Matrix& X) const {
    Vector output(weights.cols());
    for (Index j = 0; j < output.size(); ++j) output(j) = signs[j];
    return to_blocks(Network((weights * scaled_.weight_unit()).transpose(), output), X, &monitor_);
  }

  // The dual objective of r, made feasible for a largest price.
  double dual_value(const Vector& r, double largest) const {
    return scaled_.dual_value(r, lam_, largest);
  }

  double to_caller(double objective) const {
    return (objective + spread_) * scaled_.y_unit() * scaled_.y_unit();
  }

  void report(const char* phase, double objective) {
    reported_ = std::min(reported_, objective);
    const double gap = bound_ > -kInfinity ? (reported_ - bound_) / (reported_ + spread_) : kNaN;
    monitor_.report(phase, ++n_reports_, to_caller(reported_), gap);
  }

  // With the bound over the problem's own patterns; where time is over and that takes too long, with what is
  // known over all.
  Solution certified(const Problem& problem, Status status, const std::vector<Block>& active_set,
                     const Matrix& weights, const Vector& dual, Monitor& proofs) {
    const long n_iter = n_iter_ + network_.n_steps();
    try {
      return make_solution(problem, caller_lam_, status, active_set, weights, dual, n_iter,
                           options_.n_threads, proofs);
    } catch (const Stopped&) {
      const double bound = bound_ > -kInfinity ? to_caller(std::min(bound_, best_.objective)) : 0.0;
      return make_bounded_solution(problem, caller_lam_, status, active_set, weights, dual, n_iter,
                                   bound, &monitor_);
    }
  }

  Solution finish(Status status) {
    search_.reset();  // its copies of X make room for those of the answer
    network_.release();
    const bool in_haste = status == Status::time_limit;
    Monitor proofs(in_haste ? kWrapUpSeconds + kWrapUpShare * monitor_.seconds() : kInfinity,
                   nullptr, [&] { monitor_.check(); });
    // Without neurons the best direction found, or any, makes a problem of one pattern.
    Matrix gates = best_.gates;
    std::vector<Block> active_set;
    Matrix weights = best_.weights * scaled_.weight_unit();
    Patterns patterns;
    if (status == Status::numerical_failure || weights.cols() == 0) {
      weights.resize(X_.cols(), 0);
      patterns = patterns_from_gates(
          X_, pool_.cols() > 0 ? Matrix(pool_.col(0)) : Matrix(Vector::Unit(X_.cols(), 0)));
    } else if (gates.cols() > 0) {
      patterns = patterns_from_gates(X_, gates, options_.n_threads, &monitor_);
      for (std::size_t j = 0; j < best_.gate.size(); ++j) {
        active_set.push_back({best_.gate[j], best_.signs[j]});
      }
    } else {
      NetworkBlocks blocks = blocks_of(best_.weights, best_.signs, X_);
      patterns = std::move(blocks.patterns);
      active_set = std::move(blocks.active_set);
      weights = std::move(blocks.weights);
    }
    const Problem problem(X_, y_, std::move(patterns), Formulation::relu, sample_weight_,
                          &monitor_);
    Vector dual = Vector::Zero(y_.size());
    for (Index k = 0; k < dual.size() && status != Status::numerical_failure; ++k) {
      const Index i = rows_.group[k];
      if (i < 0) continue;
      dual(k) =
          best_.dual(i) / scaled_.row_factors()(i) * scaled_.y_unit() + (y_(k) - problem_.y()(i));
    }
    if (options_.certify && bound_ == -kInfinity && status != Status::numerical_failure) {
      bound_ = dual_value(best_.dual, price_bound(scaled_.X(), best_.dual, proofs));
    }
    Solution solution = certified(problem, status, active_set, weights, dual, proofs);
    if (solution.status == Status::numerical_failure) return solution;
    solution.global_lower_bound = bound_ > -kInfinity ? to_caller(bound_) : kNaN;
    if (solution.objective == 0.0) solution.global_lower_bound = 0.0;
    if (contradicts(solution.global_lower_bound, solution.objective)) {
      solution.status = Status::numerical_failure;
    } else if (relative_gap(solution.objective, solution.global_lower_bound) <= options_.tol) {
      solution.status = Status::optimal;
    }
    return solution;
  }

  const Matrix& X_;
  const Vector& y_;
  const Vector& sample_weight_;
  const double caller_lam_;
  const GlobalSolverOptions& options_;
  Monitor& monitor_;

  DistinctRows rows_;      // whose X and y are those of the problem
  const Problem problem_;  // of these rows, without patterns
  const ScaledProblem& scaled_;
  const double lam_, n_;
  std::optional<LocalSearch> search_;
  GrowingNetwork network_;
  const double spread_;  // of the targets of equal rows, in scaled units

  Incumbent best_;
  double reported_ = kInfinity;
  double bound_ = -kInfinity;  // over all patterns, scaled units, without the spread
  Matrix pool_;                // (d, at most 60) the last round's best directions
  std::mt19937_64 engine_;
  long n_reports_ = 0, n_iter_ = 0;
};

// Where there was no time to begin: the network given, over its own patterns, or none, over the pattern of any
// one direction, where that is better.
Solution unchanged(const Matrix& X, const Vector& y, double lam, const Vector& sample_weight,
                   const Network* start, StopReason reason, Monitor& monitor) {
  const Status status = reason == StopReason::callback ? Status::callback : Status::time_limit;
  const auto solution = [&](Patterns patterns, std::vector<Block> active_set, Matrix weights) {
    const Problem problem(X, y, std::move(patterns), Formulation::relu, sample_weight, &monitor);
    return make_bounded_solution(problem, lam, status, std::move(active_set), std::move(weights),
                                 Vector::Zero(y.size()), 0, 0.0, &monitor);
  };
  Solution zero = solution(patterns_from_gates(X, Vector::Unit(X.cols(), 0), 1, &monitor), {},
                           Matrix(X.cols(), 0));
  if (start == nullptr) return zero;
  NetworkBlocks blocks = to_blocks(*start, X, &monitor);
  Solution kept =
      solution(std::move(blocks.patterns), std::move(blocks.active_set), std::move(blocks.weights));
  return kept.objective < zero.objective ? kept : zero;
}

}  // namespace

Solution solve_global(const Matrix& X, const Vector& y, double lam, const Vector& sample_weight,
                      const GlobalSolverOptions& options, Monitor& monitor) {
  require_size(y.size(), X.rows(), "y", "entries");
  if (X.size() == 0) throw_invalid("X must have rows and columns");
  require_finite(X, "X");
  require_finite(y, "y");
  require_sample_weight(sample_weight, X.rows());
  require_positive(lam, "lam");
  require_positive(options.tol, "tol");
  if (const Network* start = options.warm_start) {
    if (start->formulation() != Formulation::relu || start->n_features() != X.cols()) {
      throw_invalid("warm_start must be a relu network over the features of X");
    }
  }
  try {
    return GlobalSolver(X, y, lam, sample_weight, options, monitor).run();
  } catch (const Stopped& stopped) {  // before it had begun
    const Monitor::WrapUp wrap_up(monitor);
    return unchanged(X, y, lam, sample_weight, options.warm_start, stopped.reason, monitor);
  }
}

}  // namespace global
}  // namespace convexrelu
