#include "convexrelu/problem.hpp"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>
#include <utility>

#include "convexrelu/error.hpp"
#include "convexrelu/parallel.hpp"

namespace convexrelu {

namespace {

// 2^+-1000 leaves room for a factor of a million on both sides.
constexpr int kLargestExponent = 1000;

// The power of two in (a/2, a], a the largest magnitude of the entries; 1 where all are zero.
double power_of_two_unit(const double* entries, Index size) {
  double largest = 0.0;
  for (Index i = 0; i < size; ++i) largest = std::max(largest, std::abs(entries[i]));
  return largest > 0.0 ? std::ldexp(1.0, std::ilogb(largest)) : 1.0;
}

BitMatrix select_rows(const BitMatrix& masks, const std::vector<Index>& rows) {
  if (static_cast<Index>(rows.size()) == masks.n_rows()) return masks;
  BitMatrix selected(static_cast<Index>(rows.size()), masks.n_cols());
  for (Index i = 0; i < masks.n_cols(); ++i) {
    for (std::size_t k = 0; k < rows.size(); ++k) {
      if (masks.test(rows[k], i)) selected.set(static_cast<Index>(k), i);
    }
  }
  return selected;
}

}  // namespace

ScaledProblem::ScaledProblem(const Matrix& X, const Vector& y, const Vector& sample_weight,
                             const Patterns& patterns, Formulation formulation)
    : formulation_(formulation) {
  const Index n = X.rows();
  for (Index k = 0; k < n; ++k) {
    if (sample_weight.size() == 0 || sample_weight(k) > 0.0) rows_.push_back(k);
  }
  const Index n_used = static_cast<Index>(rows_.size());
  row_factors_.setOnes(n_used);
  if (sample_weight.size() > 0) {
    const double unit = power_of_two_unit(sample_weight.data(), n);
    const double total = (sample_weight / unit).sum();
    for (Index k = 0; k < n_used; ++k) {
      const double v = sample_weight(rows_[static_cast<std::size_t>(k)]) / unit;
      row_factors_(k) = std::sqrt(v * static_cast<double>(n_used) / total);
    }
  }
  X_unit_ = power_of_two_unit(X.data(), X.size());
  y_unit_ = power_of_two_unit(y.data(), y.size());
  Matrix unweighted(n_used, X.cols());
  y_.resize(n_used);
  for (Index k = 0; k < n_used; ++k) {
    const Index row = rows_[static_cast<std::size_t>(k)];
    unweighted.row(k) = X.row(row) / X_unit_;
    y_(k) = y(row) / y_unit_ * row_factors_(k);
  }
  if (formulation == Formulation::relu) hyperplanes_ = find_hyperplanes(unweighted);
  X_ = row_factors_.asDiagonal() * unweighted;
  masks_ = select_rows(patterns.masks(), rows_);
  products_ = std::make_unique<MaskProduct>(X_, masks_);
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

void ScaledProblem::cone_signs(Index pattern, std::int8_t* sigma) const {
  constexpr std::int8_t kUnset = 2;
  std::fill_n(sigma, hyperplanes_.size(), kUnset);
  for (Index k = 0; k < n_samples(); ++k) {
    const Index plane = hyperplanes_.plane[static_cast<std::size_t>(k)];
    if (plane < 0) continue;
    const bool positive =
        masks_.test(k, pattern) == (hyperplanes_.orientation[static_cast<std::size_t>(k)] > 0);
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

std::vector<BlockNorm> blocks_above(const ScaledProblem& problem, ConstVectorRef r, double floor,
                                    int n_threads, Monitor& monitor) {
  constexpr Index kChunk = 256;
  const Index n_patterns = problem.n_patterns();
  const Index n_chunks = (n_patterns + kChunk - 1) / kChunk;
  const bool relu = problem.formulation() == Formulation::relu;
  std::vector<std::vector<BlockNorm>> found(static_cast<std::size_t>(n_chunks));
  const std::thread::id owner = std::this_thread::get_id();
  parallel_for(n_chunks, n_threads, [&](Index chunk) {
    const Index begin = chunk * kChunk;
    const Index size = std::min(kChunk, n_patterns - begin);
    std::vector<Index> patterns(static_cast<std::size_t>(size));
    std::iota(patterns.begin(), patterns.end(), begin);
    Matrix c(problem.n_features(), size);
    problem.products().correlate(r, patterns, c, 1);
    c /= static_cast<double>(problem.n_samples());
    BlockProjector projector(problem);
    for (Index j = 0; j < size; ++j) {
      if (monitor.stop_requested()) return;
      if (std::this_thread::get_id() == owner) monitor.check();
      if (c.col(j).norm() <= floor) continue;
      for (int sign = +1; sign >= (relu ? -1 : +1); sign -= 2) {
        const Block block{begin + j, sign};
        const double norm = projector.norm_above(block, sign * c.col(j), floor);
        if (norm > floor) found[static_cast<std::size_t>(chunk)].push_back({block, norm});
      }
    }
  });
  monitor.check();
  std::vector<BlockNorm> all;
  for (const auto& part : found) all.insert(all.end(), part.begin(), part.end());
  return all;
}

struct Problem::Data {
  Data(Matrix X_, Vector y_, Patterns patterns_, Formulation formulation, Vector weight)
      : X(std::move(X_)),
        y(std::move(y_)),
        sample_weight(std::move(weight)),
        patterns(std::move(patterns_)),
        scaled(X, y, sample_weight, patterns, formulation) {}

  Matrix X;
  Vector y;
  Vector sample_weight;
  Patterns patterns;
  ScaledProblem scaled;
  mutable std::once_flag lambda_max_once;
  mutable double lambda_max = 0.0;
};

Problem::Problem(Matrix X, Vector y, Patterns patterns, Formulation formulation,
                 Vector sample_weight) {
  const auto check_size = [](const char* name, Index size, const char* what, Index expected) {
    if (size != expected) {
      throw_invalid(std::string(name) + " has " + std::to_string(size) + " " + what +
                    ", but X has " + std::to_string(expected));
    }
  };
  check_size("y", y.size(), "entries", X.rows());
  check_size("patterns", patterns.n_samples(), "samples", X.rows());
  check_size("patterns", patterns.n_features(), "features", X.cols());
  if (sample_weight.size() > 0) {
    check_size("sample_weight", sample_weight.size(), "entries", X.rows());
    if (!(sample_weight.array() >= 0.0).all() || !sample_weight.allFinite()) {
      throw_invalid("sample_weight must be finite and non-negative");
    }
    if (!(sample_weight.array() > 0.0).any()) {
      throw_invalid("sample_weight must have a positive entry, but all are zero");
    }
  }
  data_ = std::make_shared<const Data>(std::move(X), std::move(y), std::move(patterns), formulation,
                                       std::move(sample_weight));
}

const Matrix& Problem::X() const { return data_->X; }
const Vector& Problem::y() const { return data_->y; }
const Vector& Problem::sample_weight() const { return data_->sample_weight; }
const Patterns& Problem::patterns() const { return data_->patterns; }
Formulation Problem::formulation() const { return data_->scaled.formulation(); }
const ScaledProblem& Problem::scaled() const { return data_->scaled; }
Index Problem::n_patterns() const { return patterns().size(); }
Index Problem::n_blocks() const {
  return formulation() == Formulation::relu ? 2 * n_patterns() : n_patterns();
}

double Problem::lambda_max() const {
  Monitor unwatched;
  return lambda_max(unwatched);
}

double Problem::lambda_max(Monitor& monitor) const {
  std::call_once(data_->lambda_max_once, [&] {
    // Largest correlations first, so that few need a projection.
    const ScaledProblem& problem = scaled();
    Matrix c(problem.n_features(), problem.n_patterns());
    problem.products().correlate(problem.y(), c, 1);
    c /= static_cast<double>(problem.n_samples());
    const Vector norms = c.colwise().norm();
    std::vector<Index> order(static_cast<std::size_t>(norms.size()));
    std::iota(order.begin(), order.end(), Index{0});
    std::sort(order.begin(), order.end(),
              [&](Index a, Index b) { return norms(a) != norms(b) ? norms(a) > norms(b) : a < b; });
    BlockProjector projector(problem);
    double largest = 0.0;
    for (const Index i : order) {
      if (norms(i) <= largest) break;
      monitor.check();
      largest = std::max(largest, projector.norm_above({i, +1}, c.col(i), largest));
      if (formulation() == Formulation::relu) {
        largest = std::max(largest, projector.norm_above({i, -1}, -c.col(i), largest));
      }
    }
    data_->lambda_max =
        std::ldexp(largest, std::ilogb(problem.X_unit()) + std::ilogb(problem.y_unit()));
  });
  return data_->lambda_max;
}

}  // namespace convexrelu
