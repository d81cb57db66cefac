#include "convexrelu/program/problem.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "base/bits.hpp"
#include "base/preconditions.hpp"
#include "base/watched_for.hpp"
#include "base/watched_once.hpp"
#include "convexrelu/program/make_loss.hpp"
#include "numeric/extended_dot.hpp"

namespace convexrelu {
inline namespace program {

namespace {

// 2^+-1000 leaves room for a factor of a million on both sides.
constexpr int kLargestExponent = 1000;
constexpr Index kRows = 1024;  // between two looks at the monitor

// The power of two in (a/2, a], a the largest magnitude of the entries; 1 where all are zero.
double power_of_two_unit(const double* entries, Index size) {
  double largest = 0.0;
  for (Index i = 0; i < size; ++i) largest = std::max(largest, std::abs(entries[i]));
  return largest > 0.0 ? std::ldexp(1.0, std::ilogb(largest)) : 1.0;
}

BitMatrix select_rows(const BitMatrix& masks, const std::vector<Index>& rows, Monitor* monitor) {
  if (static_cast<Index>(rows.size()) == masks.n_rows()) return masks;
  BitMatrix selected(static_cast<Index>(rows.size()), masks.n_cols());
  for (Index i = 0; i < masks.n_cols(); ++i) {
    keep_going(monitor);
    for (std::size_t k = 0; k < rows.size(); ++k) {
      if (masks.test(rows[k], i)) selected.set(static_cast<Index>(k), i);
    }
  }
  return selected;
}

}  // namespace

ScaledProblem::ScaledProblem(const Matrix& X, const Vector& y, const Vector& sample_weight,
                             const Patterns& patterns, Formulation formulation, Monitor* monitor,
                             const Model& model)
    : formulation_(formulation), n_callers_samples_(X.rows()) {
  const Index n = X.rows();
  const bool is_squared = model.loss.kind == LossKind::squared;
  for (Index k = 0; k < n; ++k) {
    if (sample_weight.size() == 0 || sample_weight(k) > 0.0) rows_.push_back(k);
  }
  const Index n_used = static_cast<Index>(rows_.size());
  row_factors_.setOnes(n_used);
  Vector nu;
  if (sample_weight.size() > 0) {
    const double unit = power_of_two_unit(sample_weight.data(), n);
    const double total = (sample_weight / unit).sum();
    nu.resize(n_used);
    for (Index k = 0; k < n_used; ++k) {
      const double v = sample_weight(rows_[k]) / unit;
      nu(k) = v * static_cast<double>(n_used) / total;
    }
    if (is_squared) row_factors_ = nu.cwiseSqrt();
  }
  g_factors_ = is_squared || nu.size() == 0 ? row_factors_ : nu;
  X_unit_ = power_of_two_unit(X.data(), X.size());
  if (is_squared || model.loss.kind == LossKind::huber) {
    const Vector targets = model.offset.size() > 0 ? Vector(y - model.offset) : y;
    y_unit_ = power_of_two_unit(targets.data(), targets.size());
  }
  Matrix unweighted(n_used, X.cols());
  Vector scaled_y(n_used);
  for (Index k = 0; k < n_used; ++k) {
    if (k % kRows == 0) keep_going(monitor);
    const Index row = rows_[k];
    unweighted.row(k) = X.row(row) / X_unit_;
    scaled_y(k) = y(row) / y_unit_ * row_factors_(k);
  }
  if (formulation == Formulation::relu) hyperplanes_ = find_hyperplanes(unweighted, monitor);
  X_ = row_factors_.asDiagonal() * unweighted;
  X_norm_ = X_.norm();
  LossChoice choice = model.loss;
  choice.delta /= y_unit_;
  loss_ = make_loss(choice, std::move(scaled_y), std::move(nu));
  make_base(model);
  masks_ = select_rows(patterns.masks(), rows_, monitor);
  keep_going(monitor);
  products_ = std::make_unique<MaskProduct>(X_, masks_);
}

// Offset and best intercept without the network.
void ScaledProblem::make_base(const Model& model) {
  base_.setZero(n_samples());
  if (model.offset.size() > 0) {
    for (Index k = 0; k < n_samples(); ++k) {
      base_(k) = model.offset(rows_[k]) / y_unit_;
    }
    loss_->add_offset(base_.cwiseProduct(row_factors_));
  }
  loss_->move_to(Vector::Zero(n_samples()), null_);
  if (!model.fit_intercept) return;
  free_column_ = row_factors_;
  const double beta = loss_->best_shift(null_, free_column_);
  base_.array() += beta;
  base_intercept_ = beta * y_unit_;
  loss_->add_offset(beta * free_column_);
  loss_->move_to(null_.u, null_);
}

double ScaledProblem::scaled_lam(double lam) const {
  constexpr double kLargestLam = 1e300;
  return std::min(std::ldexp(lam, -std::ilogb(X_unit_) - std::ilogb(y_unit_)), kLargestLam);
}

bool ScaledProblem::in_range() const {
  const int x = std::ilogb(X_unit_), y = std::ilogb(y_unit_);
  const auto holds = [](int exponent) { return std::abs(exponent) <= kLargestExponent; };
  return holds(x + y) && holds(y - x) && holds(2 * y);
}

Vector ScaledProblem::to_scaled(const Vector& v) const {
  Vector scaled(n_samples());
  for (Index k = 0; k < scaled.size(); ++k) {
    scaled(k) = v(rows_[k]) / y_unit_ * g_factors_(k);
  }
  return scaled;
}

Vector ScaledProblem::from_scaled(const Vector& v) const {
  Vector result = Vector::Zero(n_callers_samples_);
  for (Index k = 0; k < v.size(); ++k) {
    result(rows_[k]) = v(k) / g_factors_(k) * y_unit_;
  }
  return result;
}

FitPoint ScaledProblem::to_point(const Vector& y, const Vector& f) const {
  if (loss_->is_squared()) {
    FitPoint point;
    point.g = to_scaled(y - f);
    point.u = null_.g - point.g;
    return point;
  }
  Vector u(n_samples());
  for (Index k = 0; k < u.size(); ++k) {
    u(k) = f(rows_[k]) / y_unit_ - base_(k);
  }
  FitPoint point;
  loss_->move_to(u, point);
  return point;
}

void ScaledProblem::make_feasible(Vector& g) const {
  loss_->clip(g);
  if (!has_intercept()) return;
  const double above = g.cwiseMax(0.0).dot(free_column_),
               below = -g.cwiseMin(0.0).dot(free_column_);
  if (above > below) g = (g.array() > 0.0).select(g * (below / above), g);
  if (below > above) g = (g.array() < 0.0).select(g * (above / below), g);
}

double ScaledProblem::dual_value(const Vector& g, double lam, double largest_norm) const {
  const double n = static_cast<double>(n_samples());
  const double gg = extended_dot(g, g);
  const double largest = largest_norm + 8.0 * kEpsilon * std::sqrt(gg) * X_norm_ / n;
  return loss_->dual_value(g, largest > lam ? lam / largest : 1.0);
}

void ScaledProblem::apply_mask(Block block, MatrixRef columns) const {
  const BitMatrix::Word* mask = masks_.col(block.pattern);
  const Index n = n_samples();
  for (Index j = 0; j < columns.cols(); ++j) {
    double* column = columns.col(j).data();
    for (Index k = 0; k < n; ++k) {
      const bool on = (mask[k / BitMatrix::kWordBits] >> (k % BitMatrix::kWordBits)) & 1U;
      column[k] = on ? block.sign * column[k] : 0.0;
    }
  }
}

Matrix ScaledProblem::overlaps(const std::vector<Index>& patterns, Monitor* monitor) const {
  const Index k = static_cast<Index>(patterns.size());
  Matrix result(k, k);
  for (Index a = 0; a < k; ++a) {
    keep_going(monitor);
    const BitMatrix::Word* first = masks_.col(patterns[a]);
    for (Index b = 0; b <= a; ++b) {
      const BitMatrix::Word* second = masks_.col(patterns[b]);
      int count = 0;
      for (Index word = 0; word < masks_.words_per_col(); ++word) {
        count += count_bits(first[word] & second[word]);
      }
      result(a, b) = result(b, a) = static_cast<double>(count) / static_cast<double>(n_samples());
    }
  }
  return result;
}

void ScaledProblem::cone_signs(Index pattern, std::int8_t* sigma) const {
  constexpr std::int8_t kUnset = 2;
  std::fill_n(sigma, hyperplanes_.size(), kUnset);
  for (Index k = 0; k < n_samples(); ++k) {
    const Index plane = hyperplanes_.plane[k];
    if (plane < 0) continue;
    const bool positive = masks_.test(k, pattern) == (hyperplanes_.orientation[k] > 0);
    const std::int8_t side = positive ? 1 : -1;
    sigma[plane] = sigma[plane] == kUnset || sigma[plane] == side ? side : std::int8_t{0};
  }
}

BlockProjector::BlockProjector(const ScaledProblem& problem)
    : problem_(problem),
      cones_(problem.hyperplanes().normals),
      signs_(static_cast<std::size_t>(problem.hyperplanes().size())) {}

void BlockProjector::face_cone(Index pattern) {
  if (signs_of_ == pattern) return;
  problem_.cone_signs(pattern, signs_.data());
  signs_of_ = pattern;
}

double BlockProjector::project(Block block, ConstVectorRef x, Face& face, VectorRef q) {
  if (problem_.formulation() == Formulation::gated) {
    q = x;
    return q.norm();
  }
  face_cone(block.pattern);
  const Projection& projection = cones_.project(x, signs_.data(), face);
  q = projection.q;
  return projection.norm;
}

double BlockProjector::norm_above(Block block, ConstVectorRef x, double floor) {
  const double norm = x.norm();
  if (norm <= floor || problem_.formulation() == Formulation::gated) return norm;
  face_cone(block.pattern);
  cones_.factor({}, scratch_face_);
  const Projection& projection = cones_.project(x, signs_.data(), scratch_face_, floor);
  if (projection.converged || projection.stopped_early) return projection.norm;
  return cones_.norm_bound(x, signs_.data(), scratch_face_.rows(), projection.multipliers);
}

namespace {

constexpr Index kChunk = 256;  // patterns
// Operations below which a screen in float32 is not worth a call, and those between two looks at the
// monitor.
constexpr double kShortestScreen = 1e6;
constexpr double kLongestScreen = 2e9;

// The correlations of one chunk of patterns, and what it takes to project them.
struct Chunk {
  Index index;
  const Index* patterns;
  Matrix c;  // (d, size) with sign +1
  Vector norms;
  BlockProjector projector;
};

// The patterns whose correlation at r could be longer than floor, as far as float32 with its bound on
// the error tells; all, where that is not asked.
std::vector<Index> candidates(const ScaledProblem& problem, ConstVectorRef r, double floor,
                              int n_threads, Monitor& monitor) {
  const double n = static_cast<double>(problem.n_samples());
  const Index n_patterns = problem.n_patterns();
  std::vector<Index> result;
  const double operations = 2.0 * n * static_cast<double>(problem.n_features());  // a pattern
  if (!(floor > 0.0) || operations * static_cast<double>(n_patterns) < kShortestScreen) {
    result.resize(static_cast<std::size_t>(n_patterns));
    std::iota(result.begin(), result.end(), Index{0});
    return result;
  }
  const Index at_once = std::max<Index>(static_cast<Index>(kLongestScreen / operations), 1);
  Vector norms(std::min(at_once, n_patterns));
  for (Index first = 0; first < n_patterns; first += at_once) {
    monitor.check();
    auto here = norms.head(std::min(at_once, n_patterns - first));
    const double error = problem.products().correlation_norms(r, here, n_threads, first, &monitor);
    for (Index i = 0; i < here.size(); ++i) {
      if (!(here(i) + error <= n * floor)) result.push_back(first + i);
    }
  }
  return result;
}

std::size_t n_chunks(const std::vector<Index>& patterns) {
  return (patterns.size() + kChunk - 1) / kChunk;
}

// Calls body(chunk, keep_going) for all chunks; body ends early when keep_going() is false.
template <typename Body>
void for_chunks(const ScaledProblem& problem, const std::vector<Index>& patterns, ConstVectorRef r,
                int n_threads, Monitor& monitor, const Body& body) {
  const Index n = static_cast<Index>(n_chunks(patterns));
  watched_for(n, n_threads, monitor, [&](Index index, const auto& keep_going) {
    const auto first = patterns.begin() + index * kChunk;
    const auto last = patterns.end() - first > kChunk ? first + kChunk : patterns.end();
    const std::vector<Index> here(first, last);
    Matrix c(problem.n_features(), static_cast<Index>(here.size()));
    problem.products().correlate(r, here, c, 1, &monitor);
    c /= static_cast<double>(problem.n_samples());
    Vector norms = c.colwise().norm();
    norms = norms.array().isNaN().select(kInfinity, norms);  // of an r that overflows: the longest
    Chunk chunk{index, here.data(), std::move(c), std::move(norms), BlockProjector(problem)};
    body(chunk, keep_going);
  });
}

int last_sign(const ScaledProblem& problem) {
  return problem.formulation() == Formulation::relu ? -1 : +1;
}

}  // namespace

std::vector<BlockNorm> blocks_above(const ScaledProblem& problem, ConstVectorRef r, double floor,
                                    int n_threads, Monitor& monitor) {
  const std::vector<Index> patterns = candidates(problem, r, floor, n_threads, monitor);
  std::vector<std::vector<BlockNorm>> found(n_chunks(patterns));
  for_chunks(problem, patterns, r, n_threads, monitor, [&](Chunk& chunk, const auto& keep_going) {
    for (Index j = 0; j < chunk.c.cols() && keep_going(); ++j) {
      if (chunk.norms(j) <= floor) continue;
      for (int sign = +1; sign >= last_sign(problem); sign -= 2) {
        const Block block{chunk.patterns[j], sign};
        const double norm = chunk.projector.norm_above(block, sign * chunk.c.col(j), floor);
        if (norm > floor) found[chunk.index].push_back({block, norm});
      }
    }
  });
  std::vector<BlockNorm> all;
  for (const auto& part : found) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// Long correlations first, so that few are projected. Each chunk has a floor of its own: whether a
// norm within rounding of it is found must not depend on the order in which chunks are done.
double largest_norm(const ScaledProblem& problem, ConstVectorRef r, double floor, int n_threads,
                    Monitor& monitor) {
  const std::vector<Index> patterns = candidates(problem, r, floor, n_threads, monitor);
  std::vector<double> largest(n_chunks(patterns), floor);
  for_chunks(problem, patterns, r, n_threads, monitor, [&](Chunk& chunk, const auto& keep_going) {
    double& here = largest[chunk.index];
    std::vector<Index> order(static_cast<std::size_t>(chunk.c.cols()));
    std::iota(order.begin(), order.end(), Index{0});
    std::sort(order.begin(), order.end(), [&](Index a, Index b) {
      return chunk.norms(a) != chunk.norms(b) ? chunk.norms(a) > chunk.norms(b) : a < b;
    });
    if (chunk.norms(order.front()) == kInfinity) here = kInfinity;
    for (const Index j : order) {
      if (chunk.norms(j) <= here || !keep_going()) break;
      for (int sign = +1; sign >= last_sign(problem); sign -= 2) {
        const Block block{chunk.patterns[j], sign};
        here = std::max(here, chunk.projector.norm_above(block, sign * chunk.c.col(j), here));
      }
    }
  });
  return std::accumulate(largest.begin(), largest.end(), floor,
                         [](double a, double b) { return std::max(a, b); });
}

struct Problem::Data {
  Data(Matrix X_, Vector y_, Patterns patterns_, Formulation formulation, Vector weight,
       Monitor* monitor, Model model_)
      : X(std::move(X_)),
        y(std::move(y_)),
        sample_weight(std::move(weight)),
        model(std::move(model_)),
        patterns(std::move(patterns_)),
        is_complete(patterns.is_complete_for(X)),
        scaled(X, y, sample_weight, patterns, formulation, monitor, model) {}

  Matrix X;
  Vector y;
  Vector sample_weight;
  Model model;
  Patterns patterns;
  bool is_complete;
  ScaledProblem scaled;
  mutable WatchedOnce lambda_max_once;
  mutable double lambda_max = 0.0;
};

namespace {

// With an intercept, targets that are better fitted the farther it goes have no optimum.
void require_intercept(LossKind kind, const Vector& y, const Vector& sample_weight) {
  if (kind != LossKind::logistic && kind != LossKind::poisson) return;
  bool any_below = kind == LossKind::poisson, any_above = false;
  for (Index k = 0; k < y.size(); ++k) {
    if (sample_weight.size() > 0 && sample_weight(k) == 0.0) continue;
    any_above = any_above || y(k) > 0.0;
    any_below = any_below || y(k) < 1.0;
  }
  if (any_above && any_below) return;
  throw_invalid(std::string("y must ") +
                (kind == LossKind::poisson ? "have a count above 0" : "have both classes") +
                " for loss='" + to_string(kind) + "' with fit_intercept=True, but all are " +
                (any_above ? "1" : "0"));
}

}  // namespace

Problem::Problem(Matrix X, Vector y, Patterns patterns, Formulation formulation,
                 Vector sample_weight, Monitor* monitor, Model model) {
  require_size(y.size(), X.rows(), "y", "entries");
  require_size(patterns.n_samples(), X.rows(), "patterns", "samples");
  require_size(patterns.n_features(), X.cols(), "patterns", "features");
  require_finite(X, "X");
  require_finite(y, "y");
  require_sample_weight(sample_weight, X.rows());
  require_targets(model.loss, y);
  if (model.offset.size() > 0) {
    require_size(model.offset.size(), X.rows(), "offset", "entries");
    require_finite(model.offset, "offset");
    require_finite(y - model.offset, "y - offset");
  }
  if (model.fit_intercept) require_intercept(model.loss.kind, y, sample_weight);
  data_ = std::make_shared<const Data>(std::move(X), std::move(y), std::move(patterns), formulation,
                                       std::move(sample_weight), monitor, std::move(model));
}

const Matrix& Problem::X() const { return data_->X; }
const Vector& Problem::y() const { return data_->y; }
const Vector& Problem::sample_weight() const { return data_->sample_weight; }
const Patterns& Problem::patterns() const { return data_->patterns; }
const Model& Problem::model() const { return data_->model; }
Formulation Problem::formulation() const { return data_->scaled.formulation(); }
const ScaledProblem& Problem::scaled() const { return data_->scaled; }
bool Problem::is_complete() const { return data_->is_complete; }
Index Problem::n_patterns() const { return patterns().size(); }
Index Problem::n_blocks() const {
  return formulation() == Formulation::relu ? 2 * n_patterns() : n_patterns();
}

double Problem::lambda_max() const {
  Monitor unwatched;
  return lambda_max(unwatched);
}

double Problem::lambda_max(Monitor& monitor) const {
  data_->lambda_max_once.call(&monitor, [&] {
    const ScaledProblem& problem = scaled();
    const double largest = largest_norm(problem, problem.y(), 0.0, 1, monitor);
    data_->lambda_max =
        std::ldexp(largest, std::ilogb(problem.X_unit()) + std::ilogb(problem.y_unit()));
  });
  return data_->lambda_max;
}

void require_squared(const Problem& problem, const char* what) {
  const Model& model = problem.model();
  const std::string only = std::string(what) + " only; this problem has ";
  if (model.loss.kind != LossKind::squared) {
    throw_invalid(only + "loss='" + to_string(model.loss.kind) + "'");
  }
  if (model.fit_intercept) throw_invalid(only + "fit_intercept=True");
  if (model.offset.size() > 0) throw_invalid(only + "an offset");
}

}  // namespace program
}  // namespace convexrelu
