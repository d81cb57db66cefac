#include "convexrelu/optimal_set/optimal_set.hpp"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <string>

#include "base/preconditions.hpp"
#include "base/random.hpp"
#include "convexrelu/base/error.hpp"
#include "numeric/pivots.hpp"
#include "numeric/watched_dense.hpp"
#include "optimal_set/all_patterns.hpp"
#include "optimal_set/sparsest_vertex.hpp"

namespace convexrelu {
inline namespace optimal_set {

namespace {

// Tie tolerances, the first that separates is taken. Ties of tables of six decimals and more leave 1e-8
// and less (else the fit would show it), and data with ties have little that is smaller than 1e-5;
// where something is, a smaller tolerance takes it for real.
constexpr double kTies[] = {1e-6, 1e-8, 1e-10};
// What is nearer to a tie tolerance than this factor is not separated by it.
constexpr double kApart = 10.0;
// Blocks need not be tighter than that: rounding of ||q_b||, relative to lam.
constexpr double kTightest = 1e-13;
// The vertices that are met while the set is found fit this much better than points have to.
constexpr double kReserve = 3.0;
// Coordinates of a vertex that are taken for zero are so up to rounding.
constexpr double kRounding = 1e-12;
// As many vertices are listed in search of the smallest before branch and bound.
constexpr Index kListed = 2000;
// The fit of a point may differ from that of the solution by this, relative to ||y||.
constexpr double kFit = 1e-8;
// Entries of a point up to this, relative to its largest, are zero.
constexpr double kNegligible = 1e-9;

// Vertices are the points whose support holds that of no other: near ties can leave one with a trace of a
// neuron that another does without. O(v^2 k)
void keep_minimal(std::vector<Vector>& points, Monitor& monitor) {
  const auto support = [](const Vector& x) {
    std::vector<Index> positive;
    for (Index j = 0; j < x.size(); ++j) {
      if (x(j) > 0.0) positive.push_back(j);
    }
    return positive;
  };
  std::stable_sort(points.begin(), points.end(), [](const Vector& a, const Vector& b) {
    return (a.array() > 0.0).count() < (b.array() > 0.0).count();
  });
  std::vector<Vector> kept;
  std::vector<std::vector<Index>> supports;
  for (Vector& point : points) {
    monitor.check();
    std::vector<Index> own = support(point);
    const bool is_minimal = std::none_of(supports.begin(), supports.end(), [&](const auto& other) {
      return std::includes(own.begin(), own.end(), other.begin(), other.end());
    });
    if (!is_minimal) continue;
    kept.push_back(std::move(point));
    supports.push_back(std::move(own));
  }
  points = std::move(kept);
}

// A column-major copy of some columns.
Matrix select(const Matrix& A, const std::vector<Index>& columns) { return A(Eigen::all, columns); }

}  // namespace

OptimalSet find_optimal_set(const Solution& solution, const OptimalSetOptions& options,
                            Monitor& monitor) {
  require_squared(solution.problem, "find_optimal_set takes solutions of the squared loss");
  require_parts_of(solution.problem, solution, "solution");
  require_positive(options.tol, "tol");
  const bool is_relu = solution.problem.formulation() == Formulation::relu;
  const bool has_all = solution.problem.is_complete();
  if (options.all_patterns && !is_relu) {
    throw_invalid("all_patterns must not be asked for with a gated problem, whose gates are given");
  }
  Optimum optimum = accurate_optimum(solution, options, monitor);
  if (options.all_patterns && !has_all) {
    optimum = optimum_over_all_patterns(std::move(optimum), options, monitor);
  }
  // Blocks that miss lam by more than the tightest may be tied to within rounding that shows in the fit.
  // The tolerance falls by 10 as long as it keeps the active ones.
  const double least = std::max(kTightest, optimum.active.accuracy);
  for (double tight = optimum.active.tol;; tight = std::max(0.1 * tight, least)) {
    for (const double tie : kTies) {
      OptimalSet set(optimum.solution, optimum.active, tight, tie, has_all || options.all_patterns,
                     monitor);
      const bool is_last = tie == kTies[std::size(kTies) - 1];
      if (set.misfit_ * kReserve <= kFit && (set.is_separated_ || is_last)) return set;
    }
    if (tight <= least) break;
  }
  throw AccuracyError(
      "solution has near ties that float64 cannot tell from what is real: neurons that are optimal "
      "to rounding fit to no better than 1e-8 of ||y||; round the data to fewer decimals, or "
      "perturb "
      "them");
}

OptimalSet::OptimalSet(Solution solution, const Equicorrelation& active, double tight, double tie,
                       bool is_complete, Monitor& monitor)
    : solution_(std::move(solution)),
      is_complete_(is_complete),
      tie_(tie),
      polytope_(Matrix(), Vector()) {
  const ScaledProblem& scaled = problem().scaled();
  fitted_ = scaled.y() - scaled.to_scaled(solution_.residual);
  find_neurons(active, tight, monitor);
  find_support(monitor);
}

// Directions, activations, and which blocks are one neuron.
void OptimalSet::find_neurons(const Equicorrelation& active, double tight, Monitor& monitor) {
  const ScaledProblem& scaled = problem().scaled();
  const double n = static_cast<double>(scaled.n_samples());
  const double lam = scaled.scaled_lam(solution_.lam);
  const BitMatrix& masks = problem().patterns().masks();
  std::vector<Block> equicorrelated;
  std::vector<Index> patterns;
  for (std::size_t e = 0; e < active.blocks.size(); ++e) {
    if (active.misses[e] > tight) continue;
    equicorrelated.push_back(active.blocks[e]);
    patterns.push_back(active.blocks[e].pattern);
    tie_error_ = std::max(tie_error_, std::abs(active.misses[e]));
  }
  Matrix c(scaled.n_features(), static_cast<Index>(patterns.size()));
  scaled.products().correlate(active.r, patterns, c, 1, &monitor);

  const auto is_same = [&](Block a, const Vector& q_a, Block b, const auto& q_b) {
    if (a.sign != b.sign) return false;
    if (scaled.formulation() == Formulation::relu) {
      const double distance = (q_a - q_b).norm() / lam;
      if (distance > tie_ / kApart && distance < tie_ * kApart) is_separated_ = false;
      if (distance <= tie_) tie_error_ = std::max(tie_error_, distance);
      return distance <= tie_;
    }
    const Matrix& gates = problem().patterns().gates(monitor);
    return gates.col(a.pattern) == gates.col(b.pattern) &&
           std::equal(masks.col(a.pattern), masks.col(a.pattern) + masks.words_per_col(),
                      masks.col(b.pattern));
  };
  BlockProjector projector(scaled);
  Vector q(scaled.n_features());
  directions_.resize(q.size(), c.cols());
  for (std::size_t e = 0; e < equicorrelated.size(); ++e) {
    monitor.check();
    const Block block = equicorrelated[e];
    Face face;
    projector.project(block, (block.sign / n) * c.col(static_cast<Index>(e)), face, q);
    std::size_t j = 0;
    while (j < blocks_.size() &&
           !is_same(block, q, blocks_[j], directions_.col(static_cast<Index>(j)))) {
      ++j;
    }
    if (j == blocks_.size()) {
      directions_.col(static_cast<Index>(j)) = q;
      blocks_.push_back(block);
      merged_.emplace_back();
    }
    merged_[j].push_back(block);
  }
  const Index k = static_cast<Index>(blocks_.size());
  directions_.conservativeResize(Eigen::NoChange, k);
  // Alpha in the caller's units has to multiply these columns.
  scaled_Q_ = scaled.X() * directions_;
  for (Index j = 0; j < k; ++j) scaled.apply_mask(blocks_[j], scaled_Q_.col(j));
  scaled_Q_ *= scaled.lam_unit() / scaled.weight_unit();
  directions_ *= scaled.lam_unit();
}

// Neurons that can be positive: of those not seen to be, the sum is maximised until that shows
// none. Those that must be: each is minimised, unless it has been seen to be zero.
void OptimalSet::find_support(Monitor& monitor) {
  const Index k = size();
  Vector start = Vector::Zero(k);
  for (Index j = 0; j < solution_.weights.cols(); ++j) {
    for (std::size_t b = 0; b < merged_.size(); ++b) {
      const std::vector<Block>& blocks = merged_[b];
      if (std::find(blocks.begin(), blocks.end(), solution_.active_set[j]) == blocks.end()) {
        continue;
      }
      const auto q = directions_.col(static_cast<Index>(b)) / lam();
      start(static_cast<Index>(b)) += std::max(0.0, q.dot(solution_.weights.col(j))) / lam();
    }
  }

  Simplex all(scaled_Q_, start, tie_, &monitor);
  note_pivots(all);
  Vector seen = Vector::Zero(k), before;
  double n_seen = 0.0;
  // Where a vertex needs coordinates that are taken for zero, the tolerance does not separate those from real
  // ones.
  const auto vertex_of = [&](const Simplex& walk, const Matrix& columns) {
    const Vector point = vertex(walk, columns, monitor);
    if ((point.array() > 0.0).count() > (walk.point().array() > 0.0).count()) is_separated_ = false;
    return point;
  };
  const auto look = [&](const Vector& point) {
    seen += point;
    n_seen += 1.0;
    misfit_ = std::max(misfit_, misfit(point));
  };
  // Ends: every round sees a neuron that was not seen before.
  all.move_to_vertex(&monitor);
  look(vertex_of(all, scaled_Q_));
  for (;;) {
    monitor.check();
    Vector cost(k);
    for (Index b = 0; b < k; ++b) cost(b) = seen(b) > 0.0 ? 0.0 : -scaled_Q_.col(b).norm();
    if (!all.minimize(cost, &monitor)) {
      is_separated_ = false;
      misfit_ = kInfinity;
      break;
    }
    const Vector point = vertex_of(all, scaled_Q_);
    if (!(cost.dot(point) < 0.0)) break;
    look(point);
  }
  for (Index b = 0; b < k; ++b) {
    if (seen(b) > 0.0) support_.push_back(b);
  }
  const Index s = static_cast<Index>(support_.size());
  interior_ = on_support(seen) / n_seen;
  support_Q_ = select(scaled_Q_, support_);
  polytope_ = Simplex(support_Q_, interior_, tie_, &monitor);
  note_pivots(polytope_);
  polytope_.move_to_vertex(&monitor);

  std::vector<bool> can_be_zero(support_.size(), false);
  Simplex walk(polytope_);
  for (Index b = 0; b < s; ++b) {
    monitor.check();
    if (!can_be_zero[b] && dimension() > 0) walk.minimize(Vector::Unit(s, b), &monitor);
    const Vector point = vertex_of(walk, support_Q_);
    misfit_ = std::max(misfit_, misfit(from_support(point)));
    for (Index j = 0; j < s; ++j) {
      if (point(j) <= 0.0) can_be_zero[j] = true;
    }
  }
  for (Index b = 0; b < s; ++b) {
    if (!can_be_zero[b]) necessary_.push_back(support_[b]);
  }
}

// Whether the tie tolerance is far from all that decided the rank.
void OptimalSet::note_pivots(const Simplex& simplex) {
  if (simplex.least_kept() < tie_ * kApart || simplex.most_left() > tie_ / kApart)
    is_separated_ = false;
}

// ||Q alpha - fitted|| relative to ||y||.
double OptimalSet::misfit(ConstVectorRef alpha) const {
  const double error = (scaled_Q_ * alpha - fitted_).norm(), y = problem().scaled().y().norm();
  return error > 0.0 ? error / y : 0.0;
}

bool OptimalSet::is_member(ConstVectorRef alpha) const {
  return alpha.allFinite() &&
         (size() == 0 || alpha.minCoeff() >= -kFit * alpha.lpNorm<Eigen::Infinity>()) &&
         misfit(alpha) <= kFit;
}

// Points leave by this door.
Vector OptimalSet::checked(Vector alpha) const {
  if (!is_member(alpha)) {
    char message[200];
    std::snprintf(
        message, sizeof(message),
        "the optimal set has near ties that float64 cannot tell from what is real: a point "
        "of it would miss the fit by %.1e of ||y||, more than %.1e",
        misfit(alpha), kFit);
    throw AccuracyError(message);
  }
  return alpha;
}

// The vertex at which a walk over some columns is. What it takes for zero is left out, and where that is
// more than rounding the others are fitted again.
Vector OptimalSet::vertex(const Simplex& walk, const Matrix& columns, Monitor& monitor) const {
  const Vector x = walk.point();
  if (walk.noise() <= kRounding) return x;
  std::vector<Index> positive;
  for (Index j = 0; j < x.size(); ++j) {
    if (x(j) > 0.0) positive.push_back(j);
  }
  Matrix units = select(columns, positive);
  const Vector lengths = units.colwise().norm();
  units.array().rowwise() /= lengths.transpose().array();
  const Vector values = least_squares(units, fitted_, &monitor).cwiseQuotient(lengths);
  Vector fitting = Vector::Zero(x.size());
  fitting(positive) = values.cwiseMax(0.0);
  const Vector raw = walk.raw_point();
  const auto error = [&](const Vector& point) { return (columns * point - fitted_).norm(); };
  const double enough = kFit * problem().scaled().y().norm();
  return error(fitting) <= std::max(enough, error(raw)) ? fitting : raw;
}

Matrix OptimalSet::Q() const {
  Matrix Q(problem().n_samples(), size());
  for (Index j = 0; j < size(); ++j) {
    Q.col(j) = fitted_values(problem(), {blocks_[j]}, directions_.col(j));
  }
  return Q;
}

bool OptimalSet::is_unique() const {
  return dimension() == 0 && std::all_of(support_.begin(), support_.end(),
                                         [&](Index b) { return merged_[b].size() == 1; });
}

Vector OptimalSet::on_support(ConstVectorRef v) const { return v(support_); }

Vector OptimalSet::from_support(ConstVectorRef v) const {
  Vector all = Vector::Zero(size());
  all(support_) = v;
  return all;
}

Vector OptimalSet::minimize(ConstVectorRef cost, Monitor& monitor) const {
  Simplex walk(polytope_);
  walk.minimize(on_support(cost), &monitor);
  return checked(from_support(vertex(walk, monitor)));
}

std::pair<Vector, Vector> OptimalSet::norm_bounds(Monitor& monitor) const {
  const Index s = static_cast<Index>(support_.size());
  Vector low(s), high(s);
  Simplex walk(polytope_);
  for (Index b = 0; b < s; ++b) {
    walk.minimize(Vector::Unit(s, b), &monitor);
    low(b) = vertex(walk, monitor)(b);
    walk.minimize(-Vector::Unit(s, b), &monitor);
    high(b) = vertex(walk, monitor)(b);
  }
  return {from_support(low) * lam(), from_support(high) * lam()};
}

Vector OptimalSet::smallest(Monitor& monitor) const {
  Simplex best = polytope_;
  const auto count = [&](const Simplex& walk) {
    return (vertex(walk, monitor).array() > 0.0).count();
  };
  Index least = count(best), bound = 0, n_listed = 0;
  const auto look = [&](const Simplex& walk) {
    const Index n = count(walk);
    if (n < least) {
      least = n;
      best = walk;
    }
    return ++n_listed < kListed;
  };
  try {
    if (!polytope_.for_each_vertex(look, monitor)) {
      const Vector high = on_support(norm_bounds(monitor).second);
      std::vector<char> necessary(support_.size(), 0);
      for (std::size_t j = 0, b = 0; j < support_.size() && b < necessary_.size(); ++j) {
        if (support_[j] != necessary_[b]) continue;
        necessary[j] = 1;
        ++b;
      }
      SparsestVertex search(best, high / lam(), std::move(necessary), count);
      const auto note = [&] {
        best = search.best();
        least = search.least();
        bound = search.bound();
      };
      try {
        search.search(monitor);
      } catch (const Stopped&) {
        note();
        throw;
      }
      note();
    }
  } catch (const Stopped& stopped) {
    bound = std::max(bound, static_cast<Index>(necessary_.size()));
    throw LimitExceeded((stopped.reason == StopReason::time_limit ? "time_limit" : "callback") +
                        std::string(" ended the work before the fewest neurons were proven: ") +
                        std::to_string(least) + " are enough, no fewer than " +
                        std::to_string(bound) + " can be");
  }
  return checked(from_support(vertex(best, monitor)));
}

Vector OptimalSet::min_norm(Monitor& monitor) const {
  const Index s = static_cast<Index>(support_.size());
  return checked(from_support(nearest_point(Matrix::Identity(s, s), Vector::Zero(s), monitor)));
}

Vector OptimalSet::best_for(ConstMatrixRef F, ConstVectorRef target, Monitor& monitor) const {
  return checked(from_support(nearest_point(select(F, support_), target, monitor)));
}

// The point of the polytope that minimises ||F x - target||, F (m, |S|), as a convex combination of vertices
// whose images are affinely independent (Wolfe 1976): the vertex that is the furthest downhill joins, and
// the combination moves to the least point of the affine hull, or up to where a vertex leaves. The length
// falls in every round, and ends the rounds where float64 shows no more of it.
Vector OptimalSet::nearest_point(Matrix F, Vector target, Monitor& monitor) const {
  constexpr double kDownhill = 1e-14;
  if (F.rows() > F.cols()) {  // lengths differ by the same
    const Index r = F.cols();
    Matrix stacked(F.rows(), r + 1);
    stacked << F, target;
    factor_qr(stacked, &monitor);
    F = stacked.topLeftCorner(r, r).triangularView<Eigen::Upper>();
    target = stacked.col(r).head(r);
  }
  Simplex walk(polytope_);
  std::vector<Vector> vertices{vertex(walk, monitor)}, images{F * vertices[0] - target};
  std::vector<double> share{1.0};
  const auto combined = [&](const std::vector<Vector>& points) {
    Vector sum = Vector::Zero(points[0].size());
    for (std::size_t i = 0; i < points.size(); ++i) sum += share[i] * points[i];
    return sum;
  };
  Vector best = vertices[0];
  double least = kInfinity, size = images[0].norm();
  for (;;) {
    monitor.check();
    const Vector p = combined(images);
    if (!(p.norm() < least * (1.0 - kEpsilon))) break;
    least = p.norm();
    best = combined(vertices);
    walk.minimize(F.transpose() * p, &monitor);
    const Vector next = vertex(walk, monitor), image = F * next - target;
    size = std::max(size, image.norm());
    if (!(p.dot(p - image) > kDownhill * size * (p - image).norm())) break;
    vertices.push_back(next);
    images.push_back(image);
    share.push_back(0.0);
    // Every round takes a vertex out, but the last.
    while (images.size() > 1) {
      const Index c = static_cast<Index>(images.size()) - 1;
      Matrix apart(F.rows(), c);
      for (Index i = 0; i < c; ++i) apart.col(i) = images[i + 1] - images[0];
      const Vector coefficients = least_squares(apart, -images[0], &monitor);
      Vector least_shares(c + 1);
      least_shares << 1.0 - coefficients.sum(), coefficients;
      double step = 1.0;
      Index leaves = -1;
      for (Index i = 0; i <= c; ++i) {
        if (least_shares(i) > 0.0) continue;
        const double falls = share[i] - least_shares(i);
        const double until = falls > 0.0 ? share[i] / falls : 0.0;
        if (leaves >= 0 && !(until < step)) continue;
        step = std::min(until, 1.0);
        leaves = i;
      }
      for (Index i = 0; i <= c; ++i)
        share[i] = std::max(0.0, share[i] + step * (least_shares(i) - share[i]));
      if (leaves < 0) break;
      vertices.erase(vertices.begin() + leaves);
      images.erase(images.begin() + leaves);
      share.erase(share.begin() + leaves);
    }
    double total = 0.0;
    for (const double one : share) total += one;
    for (double& one : share) one /= total;
  }
  return best;
}

Matrix OptimalSet::vertices(Index max_vertices, Monitor& monitor) const {
  std::vector<Vector> found;
  bool is_exact = true;
  const auto add = [&](const Simplex& walk) {
    if (static_cast<Index>(found.size()) == max_vertices) return false;
    is_exact = is_exact && walk.noise() <= kRounding;
    found.push_back(checked(from_support(vertex(walk, monitor))));
    return true;
  };
  if (!polytope_.for_each_vertex(add, monitor)) {
    throw LimitExceeded("max_vertices = " + std::to_string(max_vertices) +
                        " is fewer than there are");
  }
  if (!is_exact) keep_minimal(found, monitor);
  Matrix all(static_cast<Index>(found.size()), size());
  for (std::size_t v = 0; v < found.size(); ++v) all.row(static_cast<Index>(v)) = found[v];
  return all;
}

// Hit-and-run (Smith 1984): the uniform distribution stays as it is under a move to a uniform point
// of the chord in a random direction. Directions are uniform in coordinates in which the points of
// a first run have unit covariance; on a round body D^2 steps and more forget where they started.
Matrix OptimalSet::sample(Index size, std::uint64_t seed, Monitor& monitor) const {
  constexpr int kRounds = 4;
  const Index D = dimension();
  Matrix points(size, this->size());
  if (D == 0) {
    points.rowwise() = checked(from_support(vertex(polytope_, monitor))).transpose();
    return points;
  }
  Random random(seed);
  const auto normal = [&] {  // Box & Muller 1958
    return std::sqrt(-2.0 * std::log1p(-random.uniform())) *
           std::cos(6.283185307179586 * random.uniform());
  };
  const Matrix N = polytope_.null_basis();
  Matrix shape = Matrix::Identity(D, D);  // a direction is N shape times normal numbers
  Matrix steps = N;
  Vector t = Vector::Zero(D), x = interior_, g(D), along(x.size());
  const auto move = [&](Index n_steps) {
    for (Index step = 0; step < n_steps; ++step) {
      for (double& entry : g) entry = normal();
      along.noalias() = steps * g;
      double low = -kInfinity, high = kInfinity;
      for (Index i = 0; i < x.size(); ++i) {
        if (along(i) > 0.0) low = std::max(low, -x(i) / along(i));
        if (along(i) < 0.0) high = std::min(high, -x(i) / along(i));
      }
      if (!(low < high) || !std::isfinite(low) || !std::isfinite(high)) continue;
      const double length = low + (high - low) * random.uniform();
      t += length * (shape * g);
      x += length * along;
      x = x.cwiseMax(0.0);
    }
    x = (interior_ + N * t).cwiseMax(0.0);  // without the rounding errors of the steps
    monitor.check();
  };
  const Index apart = D == 1 ? 1 : D * D + 8 * D;
  for (int round = 0; round < kRounds; ++round) {
    Matrix seen(D, 20 * D + 20);
    for (Index i = 0; i < seen.cols(); ++i) {
      move(D);
      seen.col(i) = t;
    }
    seen.colwise() -= seen.rowwise().mean().eval();
    const Eigen::LLT<Matrix> factor(seen * seen.transpose());
    if (factor.info() != Eigen::Success) continue;
    shape = factor.matrixL();
    steps = N * shape;
  }
  for (Index i = 0; i < size; ++i) {
    move(apart);
    points.row(i) = checked(from_support(x));
  }
  return points;
}

Matrix OptimalSet::outputs(ConstMatrixRef X_new, Monitor& monitor) const {
  Matrix F = X_new * directions_;
  if (problem().formulation() == Formulation::relu) {
    F = F.cwiseMax(0.0);
  } else {
    const Matrix& all = problem().patterns().gates(monitor);
    Matrix gates(X_new.cols(), size());
    for (Index j = 0; j < size(); ++j) {
      gates.col(j) = all.col(blocks_[j].pattern);
    }
    const Patterns active = patterns_from_gates(X_new, gates, 1, &monitor);
    for (Index j = 0; j < size(); ++j) {
      for (Index k = 0; k < F.rows(); ++k) {
        if (!active.masks().test(k, j)) F(k, j) = 0.0;
      }
    }
  }
  for (Index j = 0; j < size(); ++j) F.col(j) *= blocks_[j].sign;
  return F;
}

std::pair<Vector, Vector> OptimalSet::prediction_range(ConstMatrixRef X_new,
                                                       Monitor& monitor) const {
  const Matrix costs = select(outputs(X_new, monitor), support_).transpose();
  Vector low(X_new.rows()), high(X_new.rows());
  Simplex walk(polytope_);
  for (Index k = 0; k < low.size(); ++k) {
    if (k % 64 == 0) monitor.check();
    walk.minimize(costs.col(k), &monitor);
    low(k) = costs.col(k).dot(vertex(walk, monitor));
    if (dimension() == 0) {
      high(k) = low(k);
      continue;
    }
    walk.minimize(-costs.col(k), &monitor);
    high(k) = std::max(low(k), costs.col(k).dot(vertex(walk, monitor)));
  }
  return {low, high};
}

Solution OptimalSet::solution_at(ConstVectorRef alpha) const {
  if (alpha.size() != size()) {
    throw_invalid("alpha must have an entry for each of the " + std::to_string(size()) +
                  " blocks, got " + std::to_string(alpha.size()));
  }
  if (!is_member(alpha)) {
    char message[200];
    std::snprintf(message, sizeof(message),
                  "alpha is not in the optimal set: its least entry is %.1e, which must not be "
                  "negative, and its fit is off by %.1e of ||y||",
                  size() > 0 ? alpha.minCoeff() : 0.0, misfit(alpha));
    throw_invalid(message);
  }
  std::vector<Index> order;
  for (Index j = 0; j < size(); ++j) {
    if (alpha(j) > 0.0) order.push_back(j);
  }
  std::sort(order.begin(), order.end(),
            [&](Index a, Index b) { return comes_before(blocks_[a], blocks_[b]); });
  std::vector<Block> active_set;
  Matrix weights(directions_.rows(), static_cast<Index>(order.size()));
  for (std::size_t j = 0; j < order.size(); ++j) {
    active_set.push_back(blocks_[order[j]]);
    weights.col(static_cast<Index>(j)) = alpha(order[j]) * directions_.col(order[j]);
  }
  Solution member =
      make_bounded_solution(problem(), lam(), solution_.status, std::move(active_set),
                            std::move(weights), solution_.dual, 0, solution_.lower_bound);
  member.global_lower_bound = solution_.global_lower_bound;
  return member;
}

// Of weights that are multiples of neurons of the set, or nearly so. off: the distance of the weights
// from such multiples, or from zero where that is closer, relative to the sum of all norms.
Vector OptimalSet::coordinates(const Solution& other, double& off) const {
  const Patterns &here = problem().patterns(), &there = other.problem.patterns();
  const bool is_gated = problem().formulation() == Formulation::gated;
  const double total = other.weights.colwise().norm().sum();
  Vector alpha = Vector::Zero(size());
  off = 0.0;
  for (Index j = 0; j < other.weights.cols(); ++j) {
    const Block block = other.active_set[j];
    const auto w = other.weights.col(j);
    Index nearest = -1;
    double distance = w.norm();
    for (Index b = 0; b < size(); ++b) {
      if (blocks_[b].sign != block.sign) continue;
      if (is_gated && there.gates().col(block.pattern) != here.gates().col(blocks_[b].pattern))
        continue;
      const double away = (w - w.norm() / lam() * directions_.col(b)).norm();
      if (away < distance) {
        nearest = b;
        distance = away;
      }
    }
    if (nearest >= 0) alpha(nearest) += w.norm() / lam();
    if (total > 0.0) off = std::hypot(off, distance / total);
  }
  return alpha;
}

bool OptimalSet::contains(const Solution& other, double tol) const {
  const Problem &here = problem(), &there = other.problem;
  if (here.formulation() != there.formulation() || here.X() != there.X() || here.y() != there.y() ||
      here.sample_weight() != there.sample_weight() || std::abs(other.lam - lam()) > kFit * lam()) {
    return false;
  }
  double off;
  const Vector alpha = coordinates(other, off);
  return off <= tol && misfit(alpha) <= tol;
}

std::pair<Vector, double> OptimalSet::nearest(const Solution& other, Monitor& monitor) const {
  double off;
  const Vector alpha = coordinates(other, off);
  Vector point = best_for(Matrix::Identity(size(), size()), alpha, monitor);
  const double zero =
      kNegligible * (size() > 0 ? point.maxCoeff() : 0.0);  // on a face, to rounding
  point = (point.array() > zero).select(point, 0.0);
  const double total = other.weights.colwise().norm().sum();
  const double away = lam() * (point - alpha).norm();
  return {std::move(point), total > 0.0 ? std::hypot(off, away / total) : 0.0};
}

}  // namespace optimal_set
}  // namespace convexrelu
