#include "convexrelu/solver/solver.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "base/preconditions.hpp"
#include "convexrelu/base/memory.hpp"
#include "convexrelu/kkt/kkt_system.hpp"
#include "solver/interior_point.hpp"
#include "solver/optimality_newton.hpp"
#include "solver/proximal_objective.hpp"

namespace convexrelu {
inline namespace solver {

namespace {

// Newton's method accepts a step by Armijo's rule.
constexpr double kSufficientDecrease = 1e-4;
constexpr double kSmallestStep = 1e-8;
// A proximal step is exact enough once its residual is this fraction of its own length.
constexpr double kInnerAccuracy = 1.0;
// Where Newton's directions are found by iteration: how much of the decrease they are to bring.
constexpr double kShare = 0.999;
// On the optimality conditions: their accuracy relative to that of the point, but at least and at most.
constexpr double kPolishStep = 1e-2;
constexpr double kFinestPolishStep = 1e-7;
constexpr double kCoarsestPolishStep = 1e-5;
// Newton steps of full length that leave more than half of the residual are rounding.
constexpr int kMaxSlowSteps = 3;
// A proximal step of so many directions is too large. (With 60, relu diabetes of 300 and 500 gates at .003 to
// .0005 lambda_max takes as many factorisations, to 6 %.)
constexpr int kMaxDirections = 40;
// Interior points: the relative gap asked of them (from 1e-6 on it is rounding that ends them as often), and how
// many factorisations at most (they take 15 to 75).
constexpr double kInteriorTolerance = 1e-9;
constexpr long kMaxInteriorIterations = 100;
// Where the start violates the conditions by this factor, times the columns over the samples where there are
// more, they come first. (60 problems at .001 lambda_max: 27 factorisations in the median at 100 and at 300, 50 at
// 1000, where proximal steps alone are tried; at .01 these take as few, and smaller ones.)
constexpr double kFarAway = 300.0;
// Later, once the proximal steps that were given up have cost as much as so many factorisations of theirs.
constexpr double kFactorisationsLost = 6.0;
// First (and least) and largest sigma ||X||^2/n, and its growth from one proximal step to the next: the square of
// it after a step of few directions.
constexpr double kFirstSigma = 30.0;
// tau of losses with flat pieces, as a multiple of sigma ||X||^2/n.
constexpr double kFlatStep = 10.0;
constexpr double kLargestSigma = 1e12;
constexpr double kSigmaGrowth = 6.0;
constexpr int kFewDirections = 2;
// Within the tolerance: what is left to do there is to move weight between blocks that are nearly
// the same neuron, whose ||q_b|| differ in the square of their distance.
constexpr double kLastSigmaGrowth = 100.0;
constexpr double kLargestLastSigma = 1e10;  // times the mean of ||w_b|| / lam
// The working set starts with this many blocks times max ||q_b|| / lam; the number of violated ones
// that may join grows by the second factor from round to round.
constexpr double kFirstBlocks = 2.0;
constexpr double kRoomGrowth = 4.0;
// Newton on the optimality conditions is tried from here on (relative gap).
constexpr double kPolishGap = 0.3;
constexpr double kPolishGapIterative = 0.005;  // where its directions cost more
// The next one goes on from it with new blocks where these are few: a quarter of this and of all.
constexpr std::size_t kFewViolated = 20;
// It has converged when its residual, relative to ||y|| and lam, is below the first, and is of use
// below the second where steps gain no more; below the third where those with a matrix that is used again don't.
constexpr double kPolishTolerance = 1e-14;
constexpr double kPolishAccepted = 1e-10;
constexpr double kChordAccepted = 1e-13;
// From below the first residual on, so many steps may leave more than half of it: where two neurons are
// nearly twins it first rises, by the square of what moves from one to the other.
constexpr double kPatient = 1e-5;
constexpr int kMaxPatience = 8;
// So many steps with a matrix that is used again may fail to gain, before none is any more.
constexpr int kMaxFailedChords = 3;
// Below this residual a factored matrix is used again while it still gains a digit a step.
constexpr double kChord = 1e-4;
constexpr double kChordGain = 0.1;
// Below this reciprocal condition number the activations count as dependent: the optimum need not be
// unique, and Newton's matrix is regularised by 1/sigma = the second times ||X||^2/n: by less after steps
// that gained little, but at least by the third.
constexpr double kDependent = 1e-13;
constexpr double kRegularisation = 1e-10;
constexpr double kLeastRegularisation = 1e-14;
// Blocks outside count as violated beyond this, relative to lam, and | ||q_b|| / lam - 1 | over the
// active ones is rounding below it.
constexpr double kStationary = 1e-11;
// Rounding of primal and dual value, relative to them.
constexpr double kSmallestGap = 1e-15;
// Rounds without progress after which the answer is as good as it gets: within the tolerance, where progress
// is a halving, and short of it, where it is anything beyond rounding.
constexpr int kMaxStalledOptimal = 6;
constexpr int kMaxStalled = 12;

// Where what is done need not be complete: the next check() throws again.
bool has_time(Monitor& monitor) {
  try {
    monitor.check();
    return true;
  } catch (const Stopped&) {
    return false;
  }
}

// ||S X||_2^2, S = diag(row_scale), by the power method, from the longest row.
double largest_singular_value_squared(Matrix X, const Vector& row_scale, Monitor& monitor) {
  X.array().colwise() *= row_scale.array();
  Index longest = 0;
  if (X.size() == 0 || X.rowwise().squaredNorm().maxCoeff(&longest) == 0.0) return 0.0;
  Vector v = X.row(longest);
  double value = 0.0;
  for (int i = 0; i < 20; ++i) {
    if (!has_time(monitor)) break;
    const Vector image = X.transpose() * (X * v.normalized());
    value = image.norm();
    v = image;
  }
  return value;
}

class Solver {
 public:
  Solver(const ScaledProblem& problem, double lam, const SolveOptions& options, Monitor& monitor)
      : problem_(problem),
        lam_(lam),
        n_(static_cast<double>(problem.n_samples())),
        options_(options),
        monitor_(monitor),
        kkt_(problem),
        projector_(problem),
        phi_(problem, lam, options.n_threads, monitor),
        newton_(problem, lam, options.n_threads, monitor),
        loss_(problem.loss()),
        x_(problem.null_point()),
        g_size_(problem.y().norm()) {
    const Vector curvature = loss_.curvature_scale();
    x_norm_squared_ =
        largest_singular_value_squared(problem.X(), curvature.cwiseSqrt(), monitor) / n_;
    const double mean_curvature = curvature.mean();
    free_scale_ = mean_curvature > 0.0 ? x_norm_squared_ / mean_curvature : 1.0;
    value_size_ =
        loss_.is_squared() ? g_size_ * g_size_ / n_ : 2.0 * loss_.value(problem.null_point());
    set_.weights.resize(problem.n_features(), 0);
    best_ = set_;
    best_g_ = x_.g;
    sigma_ = least_sigma();
  }

  // Takes over the weights of another solution, unless zero is better, and of its dual point, moved
  // to the present lam, and its residual the better one.
  void start_from(const Solution& solution) {
    if (solution.active_set.empty() || !solution.weights.allFinite()) return;
    WorkingSet warm = projected(solution.active_set, solution.weights / problem_.weight_unit());
    if (problem_.has_intercept()) warm.intercept = problem_.from_intercept(solution.intercept);
    const FitPoint fit = settle(warm);
    const double primal = objective(fit, warm);
    if (!(primal < loss_.value(problem_.null_point()))) return;
    const double mean_norm = warm.weights.colwise().norm().mean();
    sigma_ = std::max(sigma_, mean_norm / lam_);
    best_ = set_ = std::move(warm);
    x_ = fit;
    best_g_ = x_.g;
    const Vector dual =
        (lam_ / problem_.scaled_lam(solution.lam)) * problem_.to_scaled(solution.dual);
    if (dual.allFinite() && restricted_gap(set_, dual) < restricted_gap(set_, x_.g)) {
      take_dual(dual);
    }
    newton_first_ = true;
  }

  Status run() {
    try {
      if (options_.warm_start != nullptr) start_from(*options_.warm_start);
      const Status status = iterate();
      if (problem_.has_intercept()) settle(set_);
      return status;
    } catch (const Stopped& stopped) {
      return_best();
      return stopped.reason == StopReason::callback ? Status::callback : Status::time_limit;
    }
  }

  const WorkingSet& working_set() const { return set_; }
  const Vector& dual() const { return x_.g; }
  // Proven by the scans of all blocks so far, whatever their rounding was: what they let pass as
  // stationary makes the dual point shorter, and its value at most in that proportion.
  double lower_bound() const {
    const double rounding = 8.0 * kEpsilon * value_size_;
    return std::max(0.0, best_dual_ / (1.0 + stationary()) - rounding);
  }
  long n_iter() const { return n_iter_; }

 private:
  Status iterate() {
    int n_stalled = 0;
    bool untried = false;  // Newton's method at this point
    double best_gap = kInfinity, best_deviation = kInfinity, bracket = kInfinity;
    if (newton_first_) newton_first_ = polish(false);
    for (bool first = !newton_first_;; first = false) {
      const std::vector<BlockNorm> violated = blocks_above(
          problem_, feasible(x_.g), lam_ * (1.0 + stationary()), options_.n_threads, monitor_);
      const double gap = relative_gap(violated);
      if (!std::isfinite(gap)) return Status::numerical_failure;
      // Short of the tolerance progress is a smaller distance between the best primal and dual values, which
      // only falls, then digits of the directions.
      const bool within = gap <= options_.tol;
      const double deviation = within ? largest_deviation(violated) : kInfinity;
      keep_best(deviation, best_deviation);
      const bool halved = std::max(gap, kSmallestGap) < 0.5 * best_gap;
      const bool closer = best_primal_ - best_dual_ < bracket - value_rounding();
      const bool converging = std::min(deviation, best_deviation) == kInfinity && closer;
      const bool progress = halved || converging || deviation < 0.5 * last_deviation_;
      n_stalled = progress ? 0 : n_stalled + 1;
      best_gap = std::min(best_gap, gap);
      bracket = std::min(bracket, best_primal_ - best_dual_);
      last_deviation_ = std::min(last_deviation_, deviation);
      monitor_.report("solve", n_iter_, primal_ * problem_.y_unit() * problem_.y_unit(), gap);
      if (deviation <= stationary() || (within && !options_.polished)) return Status::optimal;
      const bool exhausted = n_iter_ >= options_.max_iter;
      if (exhausted ||
          n_stalled > (best_deviation < kInfinity ? kMaxStalledOptimal : kMaxStalled)) {
        return_best();
        return exhausted ? Status::max_iter : Status::stalled;
      }
      if (std::exchange(untried, false) && gap < polish_gap() && is_whole(violated) &&
          polish(false)) {
        newton_first_ = true;
        continue;
      }
      const bool few = 4 * violated.size() <= kFewViolated + set_.blocks.size();
      update_working_set(violated);
      // Where Newton's method has just converged, few blocks more are no reason to leave it.
      if (newton_first_ && few && n_stalled == 0 && polish(true)) continue;
      newton_first_ = false;
      if ((first && is_far(violated)) || work_lost_ > kFactorisationsLost * inside_work()) {
        work_lost_ = 0.0;
        if (jump_inside()) continue;
      }
      if (proximal_step()) {
        untried = !(gap < polish_gap());
        if (!untried) newton_first_ = polish(false);
        const double growth = std::pow(kSigmaGrowth, n_directions_ <= kFewDirections ? 2 : 1);
        grow_sigma(within ? kLastSigmaGrowth : growth);
      } else {
        sigma_ = std::max(sigma_ / kSigmaGrowth, least_sigma());
        work_lost_ += static_cast<double>(n_directions_) * flops(kkt_.size());
      }
    }
  }

  // Of a factorisation with so many columns, the cheaper way.
  double flops(Index n_columns) const {
    const double m = static_cast<double>(n_columns), less = std::min(n_, m);
    return n_ * m * less + less * less * less / 3.0;
  }

  // Interior points are those of the squared loss, in cones and without an intercept.
  bool has_inside() const {
    return problem_.formulation() == Formulation::relu && loss_.is_squared() &&
           !problem_.has_intercept();
  }

  // Of one for an interior point over all blocks.
  double inside_work() const {
    if (!has_inside()) return kInfinity;
    return flops(problem_.n_patterns() * problem_.n_features());
  }

  // Whether the start is so far from optimal that proximal steps would change the faces of the cones too often.
  bool is_far(const std::vector<BlockNorm>& violated) const {
    if (!has_inside()) return false;
    double largest = 0.0;
    for (const BlockNorm& b : violated) largest = std::max(largest, b.norm);
    const double columns = static_cast<double>(problem_.n_patterns() * problem_.n_features());
    return largest > kFarAway * std::max(1.0, columns / n_) * lam_;
  }

  // Goes on from an interior point of the program over all blocks, if that is a better one. Once: it is as near
  // to the optimum as another would be.
  bool jump_inside() {
    if (std::exchange(has_jumped_, true) || n_iter_ >= options_.max_iter) return false;
    std::vector<Block> blocks;
    for (Index i = 0; i < problem_.n_patterns(); ++i) {
      blocks.push_back({i, +1});
      blocks.push_back({i, -1});
    }
    // Half of what there is, so that the rest of the process keeps some.
    if (interior_point_memory(problem_, blocks) > 0.5 * available_memory()) return false;
    const long n_left = std::min(kMaxInteriorIterations, options_.max_iter - n_iter_);
    InteriorPoint point = find_interior_point(problem_, lam_, blocks, kInteriorTolerance, n_left,
                                              options_.n_threads, monitor_);
    n_iter_ += point.n_iterations;
    WorkingSet inside = projected(std::move(blocks), point.weights);
    const double before = restricted_gap(set_, x_.g);
    std::swap(set_, inside);
    if (!(restricted_gap(set_, point.r) < before)) {
      std::swap(set_, inside);
      return false;
    }
    take_dual(point.r);
    sigma_ = std::max(least_sigma(), set_.weights.colwise().norm().mean() / lam_);
    return true;
  }

  // Blocks with the projections of given weights (d, k) onto their cones.
  WorkingSet projected(std::vector<Block> blocks, const Matrix& weights) {
    WorkingSet set;
    set.blocks = std::move(blocks);
    set.weights.resizeLike(weights);
    set.faces.resize(set.blocks.size());
    for (Index j = 0; j < set.size(); ++j) {
      monitor_.check();
      projector_.project(set.blocks[j], weights.col(j), set.faces[j], set.weights.col(j));
    }
    return set;
  }

  // Another dual point, of which the squared loss tells the fit too.
  void take_dual(const Vector& g) {
    x_.g = g;
    if (loss_.is_squared()) x_.u = problem_.y() - g;
  }

  Vector feasible(Vector g) const {
    problem_.make_feasible(g);
    return g;
  }

  double least_sigma() const { return x_norm_squared_ > 0.0 ? kFirstSigma / x_norm_squared_ : 1.0; }

  // What the dual value is known to: r is feasible up to the rounding of X'r.
  double value_rounding() const { return stationary() * best_primal_; }

  void grow_sigma(double factor) {
    const double mean_norm = set_.size() > 0 ? set_.weights.colwise().norm().mean() : 0.0;
    const double largest =
        std::max(kLargestSigma / x_norm_squared_, kLargestLastSigma * mean_norm / lam_);
    sigma_ = std::min(factor * sigma_, largest);
  }

  // Whether no block outside the working set is violated.
  bool is_whole(const std::vector<BlockNorm>& violated) const {
    return std::all_of(violated.begin(), violated.end(),
                       [&](const BlockNorm& b) { return set_.holds(b.block); });
  }

  double polish_gap() const {
    return kkt_.form() == KktSystem::Form::iterative ? kPolishGapIterative : kPolishGap;
  }

  // Whether steps are found by iteration: a matrix that is used again saves nothing there.
  bool by_iteration() const {
    return kkt_.form() == KktSystem::Form::iterative || kkt_.form() == KktSystem::Form::mixed;
  }

  // What | ||q_b|| / lam - 1 | may be: rounding of X'r shows in it where lam is small.
  double stationary() const {
    const double largest = std::sqrt(x_norm_squared_ / n_) * x_.g.norm();
    return std::max(kStationary, 4.0 * kEpsilon * largest / lam_);
  }

  // The lowest primal and the highest dual point; once within the tolerance, the most stationary pair.
  void keep_best(double deviation, double& best_deviation) {
    const bool better = deviation < best_deviation;
    const bool within = better || best_deviation < kInfinity;
    if (within ? better : primal_ < best_primal_) best_ = set_;
    if (within ? better : dual_ > best_dual_) best_g_ = x_.g;
    best_primal_ = std::min(best_primal_, primal_);
    best_dual_ = std::max(best_dual_, dual_);
    best_deviation = std::min(best_deviation, deviation);
  }

  void return_best() {
    set_ = best_;
    x_.g = best_g_;
  }

  // The largest of | ||q_b|| / lam - 1 | over the active blocks, the excess over the violated ones,
  // the distance of g from that of the weights and, with an intercept, what it sums to.
  double largest_deviation(const std::vector<BlockNorm>& violated) {
    double deviation = g_size_ > 0.0 ? (at_weights(set_).g - x_.g).norm() / g_size_ : 0.0;
    if (problem_.has_intercept() && g_size_ > 0.0) {
      const Vector& column = problem_.free_column();
      deviation = std::max(deviation, std::abs(column.dot(x_.g)) / (column.norm() * g_size_));
    }
    for (const BlockNorm& b : violated) deviation = std::max(deviation, b.norm / lam_ - 1.0);
    Matrix c(problem_.n_features(), set_.size());
    problem_.products().correlate(x_.g, set_.patterns(), c, options_.n_threads, &monitor_);
    Vector q(c.rows());
    for (Index j = 0; j < set_.size(); ++j) {
      monitor_.check();
      if (set_.weights.col(j).norm() == 0.0) continue;
      const Block block = set_.blocks[j];
      const double norm = projector_.project(block, (block.sign / n_) * c.col(j), set_.faces[j], q);
      deviation = std::max(deviation, std::abs(norm / lam_ - 1.0));
    }
    return deviation;
  }

  // Gap of the present weights, with g made feasible, by the blocks that violate.
  double relative_gap(const std::vector<BlockNorm>& violated) {
    primal_ = primal_value(set_);
    double largest = lam_;
    for (const BlockNorm& b : violated) largest = std::max(largest, b.norm);
    dual_ = problem_.dual_value(feasible(x_.g), lam_, largest);
    return primal_ > 0.0 ? (primal_ - dual_) / primal_ : 0.0;
  }

  double objective(const FitPoint& fit, const WorkingSet& set) const {
    return loss_.value(fit) + lam_ * set.weights.colwise().norm().sum();
  }

  // With the best intercept for these weights.
  double primal_value(const WorkingSet& set) const {
    if (!problem_.has_intercept()) return objective(at_weights(set), set);
    WorkingSet settled = set;
    return objective(settle(settled), settled);
  }

  FitPoint at_weights(const WorkingSet& set) const {
    FitPoint point;
    loss_.move_to(fitted(set), point);
    return point;
  }

  // Moves the intercept to its best place. Returns where that is.
  FitPoint settle(WorkingSet& set) const {
    FitPoint point = at_weights(set);
    if (!problem_.has_intercept()) return point;
    const Vector& column = problem_.free_column();
    const double shift = loss_.best_shift(point, column);
    FitPoint shifted;
    loss_.move_to(point.u + shift * column, shifted);
    if (!(loss_.value(shifted) < loss_.value(point))) return point;
    set.intercept += shift;
    return shifted;
  }

  Vector fitted(const WorkingSet& set) const {
    Matrix signed_weights = set.weights;
    for (Index j = 0; j < set.size(); ++j) {
      signed_weights.col(j) *= set.blocks[j].sign;
    }
    Vector result(problem_.n_samples());
    problem_.products().forward(set.patterns(), signed_weights, result, options_.n_threads,
                                &monitor_);
    if (problem_.has_intercept()) result += set.intercept * problem_.free_column();
    return result;
  }

  // Keeps the active blocks and adds the most violated others.
  void update_working_set(std::vector<BlockNorm> violated) {
    std::size_t n_kept = 0;
    for (std::size_t j = 0; j < set_.blocks.size(); ++j) {
      if (set_.weights.col(static_cast<Index>(j)).norm() == 0.0) continue;
      if (n_kept < j) {
        set_.blocks[n_kept] = set_.blocks[j];
        std::swap(set_.faces[n_kept], set_.faces[j]);
        set_.weights.col(static_cast<Index>(n_kept)) = set_.weights.col(static_cast<Index>(j));
      }
      ++n_kept;
    }
    set_.blocks.resize(n_kept);
    const auto present = [&](const BlockNorm& b) { return set_.holds(b.block); };
    violated.erase(std::remove_if(violated.begin(), violated.end(), present), violated.end());
    std::stable_sort(violated.begin(), violated.end(),
                     [](const BlockNorm& a, const BlockNorm& b) { return a.norm > b.norm; });
    if (room_ == 0.0 && !violated.empty()) room_ = kFirstBlocks * violated.front().norm / lam_;
    const double room = std::max(room_, static_cast<double>(n_kept));
    if (room < static_cast<double>(violated.size())) {
      violated.resize(static_cast<std::size_t>(room));
    }
    room_ *= kRoomGrowth;

    for (const BlockNorm& b : violated) set_.blocks.push_back(b.block);
    set_.faces.resize(n_kept);
    set_.faces.resize(set_.blocks.size());
    set_.weights.conservativeResize(Eigen::NoChange, static_cast<Index>(set_.blocks.size()));
    set_.weights.rightCols(static_cast<Index>(violated.size())).setZero();
  }

  // One proximal step: minimises phi by Newton's method with a line search. True if phi was minimised
  // to the accuracy that the step needs. If rounding prevents that, the point moves only where that
  // does not widen the gap over the working set.
  bool proximal_step() {
    const FitPoint start = x_;
    if (!loss_.is_squared()) loss_.move_to(start.u, x_);  // g may be another solution's
    start_step();
    phi_.evaluate(x_, at_);
    if (carried_.g.size() > 0) {
      phi_.evaluate(carried_, next_);
      if (next_.value < at_.value) {
        x_ = carried_;
        std::swap(at_, next_);
      }
      carried_.g.resize(0);
    }
    double residual = distance(x_, at_);
    const bool must_end = sigma_ <= least_sigma();  // by its accuracy or by rounding
    bool accurate = false;
    int n_slow = 0;
    for (n_directions_ = 0;
         !accurate && n_slow < kMaxSlowSteps && (must_end || n_directions_ < kMaxDirections);
         ++n_directions_) {
      monitor_.check();
      if (n_iter_ >= options_.max_iter || !newton_direction()) break;
      const double slope = at_.gradient.dot(dg_) / n_;
      if (!(slope < 0.0)) break;
      double step = 2.0;
      do {
        step *= 0.5;
        loss_.step(x_, step, du_, dg_, trial_);
        phi_.evaluate(trial_, next_);
      } while (step > kSmallestStep && !decreased(step * slope));
      if (step <= kSmallestStep) break;
      std::swap(x_, trial_);
      const double next_residual = distance(x_, next_);
      const bool slow = (step == 1.0 || std::abs(next_.value - at_.value) <= noise()) &&
                        next_residual > 0.5 * residual;
      n_slow = slow ? n_slow + 1 : 0;
      std::swap(at_, next_);
      residual = next_residual;
      accurate = residual <= kInnerAccuracy * length();
    }
    WorkingSet moved = set_;
    moved.weights = at_.prox;
    moved.intercept = at_.intercept;
    if (accurate || restricted_gap(moved, x_.g) <= restricted_gap(set_, start.g)) {
      set_ = std::move(moved);
    } else {
      carried_ = std::exchange(x_, start);
    }
    return accurate;
  }

  void start_step() {
    steps_.sigma = sigma_;
    steps_.sigma_free = sigma_ * free_scale_;
    if (loss_.is_strictly_convex()) return phi_.start(set_, steps_, Vector());
    steps_.tau = kFlatStep * sigma_ * x_norm_squared_;
    fit_ = fitted(set_);
    phi_.start(set_, steps_, fit_);
  }

  // The Bregman distance of what p fits from u: of squares ||u - A p||.
  double distance(const FitPoint& x, const ProximalObjective::Point& at) const {
    const double of_loss = loss_.distance(x, at.gradient);
    if (steps_.tau == kInfinity) return of_loss;
    return std::hypot(of_loss, at.gradient.norm() / std::sqrt(steps_.tau));
  }

  // Of the step so far, in the same norm.
  double length() const {
    const double weights = (at_.prox - set_.weights).norm();
    if (!problem_.has_intercept() && steps_.tau == kInfinity) {
      return std::sqrt(n_ / sigma_) * weights;
    }
    double square = n_ / sigma_ * weights * weights;
    const double shift = at_.intercept - set_.intercept;
    if (problem_.has_intercept()) square += n_ / steps_.sigma_free * shift * shift;
    if (steps_.tau < kInfinity) {
      square += (x_.u + at_.gradient - fit_).squaredNorm() / steps_.tau;
    }
    return std::sqrt(square);
  }

  // Armijo's rule; where values differ by rounding only, the slope at the new point decides.
  bool decreased(double predicted) const {
    if (next_.value <= at_.value + kSufficientDecrease * predicted) return true;
    return std::abs(next_.value - at_.value) <= noise() &&
           next_.gradient.dot(dg_) <= 0.9 * std::abs(at_.gradient.dot(dg_));
  }

  double noise() const { return 16.0 * kEpsilon * std::max(std::abs(at_.value), value_size_); }

  // With J the system's at S^2 = L(u) + 1/tau: J (x; da) = (-S gradient; 0), dg = S x,
  // du = (N + B Delta^-1 B') dg + gradient, where B'S x = Delta da.
  bool newton_direction() {
    members_.clear();
    for (Index j = 0; j < set_.size(); ++j) {
      const double shrink = at_.shrink(j);
      if (shrink >= 1.0) continue;
      members_.push_back({set_.blocks[j], sigma_ * (1.0 - shrink), n_ / (sigma_ * shrink),
                          at_.direction.col(j).data(), &set_.faces[j]});
    }
    const bool is_scaled = !loss_.is_squared();
    if (is_scaled) {
      loss_.curvature(x_.u, row_scale_);
      row_scale_ = (row_scale_.array() + 1.0 / steps_.tau).sqrt();
    }
    ++n_iter_;
    if (!kkt_.factor(members_, options_.n_threads, monitor_, row_scale_, n_ / steps_.sigma_free)) {
      return false;
    }
    const Index k = static_cast<Index>(members_.size()) + (problem_.has_intercept() ? 1 : 0);
    dg_.resize(x_.g.size());
    dalpha_.resize(k);
    down_ = -at_.gradient;
    if (is_scaled) down_.array() *= row_scale_.array();
    kkt_.descend(down_, kShare, dg_, dalpha_, monitor_);
    if (is_scaled) {
      dg_.array() *= row_scale_.array();
      du_.resize(dg_.size());
      image_.resize(k);
      kkt_.image(dg_, dalpha_, du_, image_, monitor_);
      du_ += at_.gradient;
      if (!du_.allFinite()) return false;
    }
    return dg_.allFinite();
  }

  // Newton's method on the optimality conditions over the active blocks, and those of the working set
  // that are still zero if they shall enter. Replaces the point, and is true, if it got to rounding.
  bool polish(bool all_enter) {
    newton_.start(set_, x_, all_enter);
    double last = kInfinity, least = kInfinity, regularisation = kRegularisation;
    int patience = kMaxPatience;
    Activations activations = Activations::unknown;
    bool chord = false;  // the last step used the matrix of an earlier one
    int n_failed_chords = 0;
    // Ends: every step halves the residual but for kMaxPatience and kMaxFailedChords of them, and
    // starts anew only when a block has left.
    for (;;) {
      const double size = newton_.evaluate();
      if (!std::isfinite(size)) return false;
      const bool slow = size > 0.25 * std::min(last, least);
      if (size <= kPolishTolerance ||
          (slow && size <= (chord ? kChordAccepted : kPolishAccepted))) {
        break;
      }
      if (!chord && !(size < 0.5 * last)) {
        if (!(least < kPatient && patience-- > 0)) return false;
        regularisation = std::max(0.1 * regularisation, kLeastRegularisation);
      }
      if (chord && !(size < 0.5 * last)) ++n_failed_chords;
      least = std::min(least, size);
      chord = n_failed_chords < kMaxFailedChords && activations == Activations::independent &&
              !by_iteration() && size < kChord && size < kChordGain * last;
      last = size;
      if (!chord && !factor_for_polish(activations, regularisation)) return false;
      const double accuracy =
          by_iteration() ? std::clamp(kPolishStep * size, kFinestPolishStep, kCoarsestPolishStep)
                         : kFinestPolishStep;
      if (!newton_.step(kkt_, accuracy)) return false;
      // Leaving at a weight other than zero, they leave the fit with a jump.
      if (newton_.drop_negative()) {
        last = least = kInfinity;
        activations = Activations::unknown;
      }
    }
    // Newton may have converged to the optimum over fewer blocks.
    if (restricted_gap(newton_.set(), newton_.point().g) > restricted_gap(set_, x_.g)) {
      return false;
    }
    set_ = newton_.set();
    x_ = newton_.point();
    return true;
  }

  // What the last matrix told of the blocks of the polish, until one of them leaves.
  enum class Activations { unknown, independent, dependent };

  // On entry it is taken for granted, unless unknown or the matrix is singular; on return it is known.
  bool factor_for_polish(Activations& activations, double regularisation) {
    const double delta = n_ * x_norm_squared_ * regularisation;
    const double free_delta = delta / free_scale_;
    const auto factor = [&](double of_blocks, double of_free) {
      return kkt_.factor(newton_.members(of_blocks), options_.n_threads, monitor_,
                         newton_.row_scale(), of_free);
    };
    if (n_iter_ >= options_.max_iter) return false;
    ++n_iter_;
    if (activations == Activations::dependent) {
      return factor(delta, free_delta);
    }
    if (factor(0.0, 0.0) &&
        (activations == Activations::independent || kkt_.reciprocal_condition() > kDependent)) {
      activations = Activations::independent;
      return true;
    }
    activations = Activations::dependent;
    return kkt_.refactor(delta, monitor_, free_delta);
  }

  // Relative gap of a point over the blocks of the working set alone.
  double restricted_gap(const WorkingSet& point, const Vector& dual) {
    const Vector g = feasible(dual);
    Matrix c(problem_.n_features(), set_.size());
    problem_.products().correlate(g, set_.patterns(), c, options_.n_threads, &monitor_);
    double largest = lam_;
    for (Index j = 0; j < set_.size(); ++j) {
      const Block block = set_.blocks[j];
      monitor_.check();
      largest =
          std::max(largest, projector_.norm_above(block, (block.sign / n_) * c.col(j), largest));
    }
    const double primal = primal_value(point);
    return primal > 0.0 ? (primal - problem_.dual_value(g, lam_, largest)) / primal : 0.0;
  }

  const ScaledProblem& problem_;
  const double lam_;
  const double n_;
  const SolveOptions& options_;
  Monitor& monitor_;
  KktSystem kkt_;
  BlockProjector projector_;
  ProximalObjective phi_;
  ProximalObjective::Point at_, next_;  // of a proximal step
  OptimalityNewton newton_;
  ProximalObjective::Steps steps_{1.0, 1.0};
  int n_directions_ = 0;  // of the last of them
  FitPoint trial_;
  Vector du_, dg_, dalpha_, down_, row_scale_, image_;
  Vector fit_;  // of the weights where a step of a loss with flat pieces starts
  std::vector<KktSystem::Member> members_;
  const Loss& loss_;

  WorkingSet set_;
  FitPoint x_;  // the dual point g and its fit, up to the accuracy of the last step
  WorkingSet best_;
  Vector best_g_;
  bool newton_first_ = false;  // the point is one of Newton's method on the optimality conditions
  bool has_jumped_ = false;    // to an interior point
  double work_lost_ = 0.0;     // in proximal steps that were given up, flops
  FitPoint carried_;           // where the last of them got to
  double last_deviation_ = kInfinity;
  double sigma_ = 0.0;
  double room_ = 0.0;  // for violated blocks to join the working set
  double primal_ = 0.0, dual_ = 0.0;
  double best_primal_ = kInfinity, best_dual_ = 0.0;
  double g_size_;          // ||g_0||
  double value_size_;      // that of primal and dual values, for their rounding
  double x_norm_squared_;  // ||Lbar^(1/2) X||^2 / n, Lbar the scale of the curvature
  double free_scale_;      // sigma of the free column, as a multiple of that of the weights
  long n_iter_ = 0;
};

Solution zero_for_failure(const Problem& problem, double lam, long n_iter, Monitor& monitor) {
  return make_solution(problem, lam, Status::numerical_failure, {}, Matrix(problem.n_features(), 0),
                       Vector::Zero(problem.n_samples()), n_iter, 1, monitor);
}

}  // namespace

Solution solve(const Problem& problem, double lam, const SolveOptions& options, Monitor& monitor) {
  require_positive(lam, "lam");
  require_positive(options.tol, "tol");
  require_at_least(0, options.max_iter, "max_iter");
  if (options.warm_start != nullptr) require_parts_of(problem, *options.warm_start, "warm_start");
  const ScaledProblem& scaled = problem.scaled();
  const double scaled_lam = scaled.scaled_lam(lam);
  if (!scaled.in_range() || scaled_lam == 0.0) return zero_for_failure(problem, lam, 0, monitor);
  Solver solver(scaled, scaled_lam, options, monitor);
  const Status status = solver.run();
  const Monitor::WrapUp wrap_up(monitor);

  const WorkingSet& set = solver.working_set();
  std::vector<Index> order;
  for (Index j = 0; j < set.size(); ++j) {
    if (set.weights.col(j).norm() > 0.0) order.push_back(j);
  }
  const auto block = [&](Index j) { return set.blocks[j]; };
  std::sort(order.begin(), order.end(),
            [&](Index a, Index b) { return comes_before(block(a), block(b)); });
  std::vector<Block> active_set;
  Matrix weights(problem.n_features(), static_cast<Index>(order.size()));
  for (std::size_t j = 0; j < order.size(); ++j) {
    active_set.push_back(block(order[j]));
    weights.col(static_cast<Index>(j)) = set.weights.col(order[j]) * scaled.weight_unit();
  }
  const double intercept = scaled.has_intercept() ? scaled.to_intercept(set.intercept) : 0.0;
  Vector dual = scaled.from_scaled(solver.dual());
  if (status == Status::time_limit || status == Status::callback) {
    return make_bounded_solution(problem, lam, status, std::move(active_set), std::move(weights),
                                 std::move(dual), solver.n_iter(),
                                 solver.lower_bound() * scaled.y_unit() * scaled.y_unit(), &monitor,
                                 intercept);
  }
  Solution solution =
      make_solution(problem, lam, status, std::move(active_set), std::move(weights),
                    std::move(dual), solver.n_iter(), options.n_threads, monitor, intercept);
  if (status == Status::numerical_failure || !std::isfinite(solution.objective)) {
    return zero_for_failure(problem, lam, solver.n_iter(), monitor);
  }
  // The certificate has the last word.
  if (solution.status == Status::numerical_failure) return solution;
  if (solution.gap <= options.tol) {
    solution.status = Status::optimal;
  } else if (status == Status::optimal) {
    solution.status = Status::stalled;
  }
  return solution;
}

}  // namespace solver
}  // namespace convexrelu
