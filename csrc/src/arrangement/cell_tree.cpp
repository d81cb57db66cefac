#include "convexrelu/arrangement/cell_tree.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "arrangement/arrangement.hpp"
#include "arrangement/cell_walk.hpp"
#include "arrangement/lanes.hpp"
#include "arrangement/quadrants.hpp"
#include "arrangement/root_cones.hpp"
#include "arrangement/sample_bits.hpp"
#include "base/expected_room.hpp"
#include "base/preconditions.hpp"
#include "base/random.hpp"
#include "convexrelu/arrangement/hyperplanes.hpp"
#include "convexrelu/base/bit_matrix.hpp"
#include "convexrelu/base/buffer.hpp"
#include "convexrelu/base/error.hpp"
#include "convexrelu/base/parallel.hpp"

namespace convexrelu {
inline namespace arrangement {

namespace {

using Word = BitMatrix::Word;

// Cells, and the root cones of half of them, are counted in 64 bits.
constexpr int kMaxRank = 62;

// What threads share while they count cells.
class Census {
 public:
  Census(double max_patterns, Monitor& monitor)
      : max_patterns_(max_patterns), monitor_(monitor), owner_(std::this_thread::get_id()) {}

  // Throws LimitExceeded. Every cell has a mirror image.
  void add(Index n_cells) {
    n_cells_ += n_cells;
    require(n_patterns());
    if (std::this_thread::get_id() == owner_) monitor_.check();
  }

  // There are at least that many patterns.
  void require(double n_patterns) const {
    if (n_patterns <= max_patterns_) return;
    char limit[320];  // as long as any double
    std::snprintf(limit, sizeof limit, "%.0f", max_patterns_);
    throw LimitExceeded("X has more than max_patterns = " + std::string(limit) +
                        " activation patterns");
  }

  void report() { monitor_.report("enumerate", static_cast<long>(n_patterns()), kNaN, kNaN); }

 private:
  double n_patterns() const { return 2.0 * static_cast<double>(n_cells_.load()); }

  double max_patterns_;
  Monitor& monitor_;
  std::thread::id owner_;
  std::atomic<Index> n_cells_{0};
};

struct NoState {};

// What enumeration does at a node, whatever it then writes down. One pattern is kept and overwritten:
// on the way to a cell every hyperplane is fixed.
class CellVisitor {
 public:
  using State = NoState;
  static constexpr bool kNeedsFacets = false;

  CellVisitor(const SampleBits& bits, double tol)
      : bits_(bits), pattern_(bits.constant()), tol_(tol) {}

  void fix(NoState, int hyperplane, bool positive) {
    bits_.write(pattern_.data(), hyperplane, positive);
  }
  void neglect(NoState, int, double) {}

 protected:
  void find_conflicts(const ConeView& cone, const std::vector<int>& candidates,
                      Conflicts& conflicts) {
    const int n = static_cast<int>(candidates.size());
    const Lanes tol = Lanes::all(tol_), zero = Lanes::all(0.0);
    for (int block = 0; block < n_blocks(n); ++block) {
      const auto [low, high] = cone.extent(block);
      const Lanes depth = zero - low;  // on the negative side
      const Lanes::Mask cuts = (depth > tol) & (high > tol), positive = high > depth;
      conflicts.set(block, cuts, min(depth, high));
      // A conflict is fixed again below.
      const int first = block * Lanes::kSize, end = std::min(n, first + Lanes::kSize);
      for (int i = first; i < end; ++i) {
        fix({}, candidates[i], positive >> (i - first) & 1);
      }
    }
  }

  const SampleBits& bits_;
  std::vector<Word> pattern_;
  double tol_;
};

// A part of the tree that is left for later.
struct Subtree {
  StoredNode<NoState> node;
  std::vector<Word> pattern;
};

enum class Output { patterns, points };

// Writes down all cells of a subtree: their patterns, or points inside them, the means of their
// rays.
template <Output kOutput>
class CellWriter : public CellVisitor {
 public:
  using Value = std::conditional_t<kOutput == Output::patterns, Word, double>;
  static constexpr bool kNeedsCells = kOutput == Output::points;

  CellWriter(const SampleBits& bits, double tol, int rank, Census& census)
      : CellVisitor(bits, tol), rank_(rank), census_(census), walk_(rank, tol, *this) {}

  CellWriter(const CellWriter&) = delete;
  CellWriter& operator=(const CellWriter&) = delete;

  void write(const Subtree& subtree, Buffer<Value>& values) {
    pattern_ = subtree.pattern;
    values_ = &values;
    const StoredNode<NoState>& node = subtree.node;
    if (enter(node.cone(), node.candidates(), node.conflicts())) {
      walk_.run(node.cone(), node.candidates(), node.conflicts(), {});
    }
    census_.add(std::exchange(n_uncounted_, 0));
  }

  bool examine(const ConeView& cone, const std::vector<int>& candidates, NoState,
               Conflicts& conflicts) {
    find_conflicts(cone, candidates, conflicts);
    return enter(cone, candidates, conflicts);
  }

 private:
  static constexpr Index kCensusInterval = 1024;

  // Whether to go on below.
  bool enter(const ConeView& cone, const std::vector<int>& candidates, const Conflicts& conflicts) {
    if constexpr (kOutput == Output::points) {
      if (conflicts.size() > 0) return true;
      Eigen::Map<Vector> point(values_->extend(rank_), rank_);
      const Eigen::Map<const Matrix> rays(cone.coordinates, rank_, cone.n_rays);
      // One by one: the order in which Eigen's reductions add depends on where the data lie.
      point = rays.col(0);
      for (Index j = 1; j < rays.cols(); ++j) point += rays.col(j);
      point /= static_cast<double>(rays.cols());
      count();
    } else {
      if (conflicts.size() > 2) return true;
      if (conflicts.size() == 2) return !write_quadrants(cone, candidates, conflicts);
      if (conflicts.size() == 0) write_pattern();
      conflicts.for_each([&](int i) {  // one: both cells at once, their geometry is not needed
        for (const bool positive : {true, false}) {
          bits_.write(write_pattern(), candidates[i], positive);
        }
      });
    }
    return false;
  }

  // Two conflicts: their cells in the order in which splits would write them. False where it takes splits
  // to see which there are.
  bool write_quadrants(const ConeView& cone, const std::vector<int>& candidates,
                       const Conflicts& conflicts) {
    const int first = conflicts.best();
    int second = first;
    conflicts.for_each([&](int i) { second = i == first ? second : i; });
    const unsigned quadrants =
        find_quadrants(cone.values + first, cone.values + second, cone.n_rays, cone.stride, tol_);
    for (unsigned quadrant = 4; quadrant-- > 0;) {
      if ((quadrants >> quadrant & 1) == 0) continue;
      Word* const pattern = write_pattern();
      bits_.write(pattern, candidates[first], quadrant >> 1 != 0);
      bits_.write(pattern, candidates[second], (quadrant & 1) != 0);
    }
    return quadrants != 0;
  }

  // Returns where, in the answer, for what it has in place of pattern_. In steps of a whole vector register,
  // over the end of the pattern, into room that is there.
  Word* write_pattern() {
    constexpr Index kStep = 8;
    const Index n = bits_.n_words();
    Word* const out = values_->room(n + kStep);
    for (Index w = 0; w < n; w += kStep) {
      std::memcpy(out + w, pattern_.data() + w, kStep * sizeof(Word));
    }
    values_->advance(n);
    count();
    return out;
  }

  void count() {
    if (++n_uncounted_ == kCensusInterval) census_.add(std::exchange(n_uncounted_, 0));
  }

  int rank_;
  Census& census_;
  CellWalk<CellWriter> walk_;
  Index n_uncounted_ = 0;
  Buffer<Value>* values_ = nullptr;
};

// m hyperplanes cut a cone in R^r into at most sum_{k<r} C(m, k) cells.
double max_cells(int m, int rank) {
  double term = 1.0, sum = 0.0;
  for (int k = 0; k < rank && k <= m; ++k) {
    sum += term;
    term *= static_cast<double>(m - k) / (k + 1);
  }
  return sum;
}

// Walks the top of the tree and hands out what is below in subtrees of bounded size. Subtrees
// are written down in rounds, those of one round in parallel, and appended in depth-first order.
template <Output kOutput>
class Enumeration : public CellVisitor {
 public:
  using Value = typename CellWriter<kOutput>::Value;
  static constexpr bool kNeedsCells = true;

  Enumeration(const Arrangement& arrangement, const SampleBits& bits, double tol, int n_threads,
              Census& census)
      : CellVisitor(bits, tol),
        roots_(arrangement.roots),
        rank_(arrangement.rank()),
        cell_size_(kOutput == Output::points ? rank_ : bits.n_words()),
        n_threads_(usable_threads(n_threads)),
        census_(census) {
    max_cells_ = std::clamp(kMaxValues / static_cast<double>(cell_size_), kMinCells, kMaxCells);
    for (int w = 0; w < n_threads_; ++w) {
      writers_.push_back(std::make_unique<CellWriter<kOutput>>(bits, tol, rank_, census));
    }
  }

  // The cells on the positive side of the first base hyperplane, in a buffer that may grow to max_size cells.
  Buffer<Value> run(double max_size) {
    make_expected_room(values_, max_size * static_cast<double>(cell_size_));
    CellWalk<Enumeration> walk(rank_, tol_, *this);
    Conflicts conflicts;
    for (std::uint64_t i = 0; i >> (rank_ - 1) == 0; ++i) {
      const std::uint64_t negative = i << 1;
      const RootCone root(roots_, negative, kOutput == Output::points);
      for (int j = 0; j < rank_; ++j) {
        fix({}, roots_.base[j], RootCone::is_positive(negative, j));
      }
      conflicts.clear(static_cast<int>(root.candidates().size()));
      if (examine(root.cone(), root.candidates(), {}, conflicts)) {
        walk.run(root.cone(), root.candidates(), conflicts, {});
      }
    }
    write_round();
    return std::move(values_);
  }

  bool examine(const ConeView& cone, const std::vector<int>& candidates, NoState,
               Conflicts& conflicts) {
    find_conflicts(cone, candidates, conflicts);
    if (max_cells(conflicts.size(), rank_) > max_cells_) return true;
    round_.push_back({{cone, candidates, conflicts, {}}, pattern_});
    if (round_.size() == kRoundSize) write_round();
    return false;
  }

 private:
  static constexpr std::size_t kRoundSize = 64;
  static constexpr double kMaxValues = 50e3, kMinCells = 256, kMaxCells = 20e3;  // of a subtree

  void write_round() {
    std::atomic<std::size_t> next{0};
    parallel_for(n_threads_, n_threads_, [&](Index w) {
      for (std::size_t i; (i = next++) < round_.size();) {
        written_[i].clear();
        writers_[w]->write(round_[i], written_[i]);
      }
    });
    std::vector<Value*> place;
    Index size = 0;
    for (std::size_t i = 0; i < round_.size(); ++i) size += written_[i].size();
    Value* end = values_.extend(size);
    for (std::size_t i = 0; i < round_.size(); ++i) {
      place.push_back(end);
      end += written_[i].size();
    }
    parallel_for(static_cast<Index>(round_.size()), n_threads_, [&](Index i) {
      const Buffer<Value>& part = written_[i];
      std::copy_n(part.data(), part.size(), place[i]);
    });
    round_.clear();
    census_.report();
  }

  const RootCones& roots_;
  int rank_;
  Index cell_size_;
  int n_threads_;
  Census& census_;
  double max_cells_;
  std::vector<std::unique_ptr<CellWriter<kOutput>>> writers_;
  std::vector<Subtree> round_;
  std::array<Buffer<Value>, kRoundSize> written_;
  Buffer<Value> values_;
};

// Appends mirror images: mirror(begin, end, out) takes cells [begin, end), of `size` values each.
template <typename T, typename Mirror>
void append_mirrored(Buffer<T>& values, Index size, int n_threads, const Mirror& mirror) {
  constexpr Index kChunk = 4096;
  const Index n = values.size() / size;
  T* const out = values.extend(values.size());
  const T* const in = values.data();
  parallel_for((n + kChunk - 1) / kChunk, n_threads, [&](Index chunk) {
    for (Index i = chunk * kChunk; i < std::min(n, (chunk + 1) * kChunk); ++i) {
      mirror(in + i * size, out + i * size);
    }
  });
}

BitMatrix find_masks(const Arrangement& arrangement, Index n_samples,
                     const EnumerationOptions& options, Monitor& monitor) {
  const SampleBits bits(arrangement.planes, n_samples);
  Census census(options.max_patterns, monitor);
  const int r = arrangement.rank();
  census.require(std::ldexp(1.0, r));  // r independent hyperplanes alone make so many cells
  if (r > kMaxRank) {
    throw LimitExceeded(
        "X of rank " + std::to_string(r) + " has 2^" + std::to_string(r) +
        " activation patterns at least, which no limit lets be enumerated: its rank must be " +
        std::to_string(kMaxRank) + " at most");
  }
  if (r == 0) {
    BitMatrix masks(n_samples, 1);
    std::copy_n(bits.constant().data(), bits.n_words(), masks.col(0));
    return masks;
  }
  Enumeration<Output::patterns> cells(arrangement, bits, options.tol, options.n_threads, census);
  const double bound = max_pattern_count(arrangement.planes.size(), r);
  Buffer<Word> words = cells.run(std::min(bound, options.max_patterns));
  append_mirrored(words, bits.n_words(), options.n_threads,
                  [&](const Word* in, Word* out) { bits.mirror(in, out); });
  return BitMatrix(n_samples, std::move(words));
}

Matrix find_gates(const Matrix& X, const EnumerationOptions& options, Monitor& monitor) {
  const Arrangement arrangement = arrange(X, kMaxRank, true, &monitor);
  const int r = arrangement.rank();
  if (r == 0) return Matrix::Zero(X.cols(), 1);
  Census census(kInfinity, monitor);
  const SampleBits bits(arrangement.planes, X.rows());
  Enumeration<Output::points> cells(arrangement, bits, options.tol, options.n_threads, census);
  const Buffer<double> points = cells.run(0.5 * max_pattern_count(arrangement.planes.size(), r));
  const Index half = points.size() / r;
  require_memory(16.0 * static_cast<double>(half * X.cols()));
  Matrix gates(X.cols(), 2 * half);
  gates.leftCols(half) =
      arrangement.expand(Eigen::Map<const Matrix>(points.data(), r, half), X.cols());
  gates.rightCols(half) = -gates.leftCols(half);
  return gates;
}

// Draws cells around rays of an arrangement of rank r, normals (r, h).
class RaySampler {
 public:
  RaySampler(const Matrix& normals, std::uint64_t seed, Monitor& monitor)
      : normals_(normals),
        random_(seed),
        monitor_(monitor),
        order_(static_cast<std::size_t>(normals.cols())) {
    std::iota(order_.begin(), order_.end(), Index{0});
  }

  // A point (r) inside a cell.
  Vector draw() {
    draw_hyperplanes();
    const Vector ray = draw_ray();
    const Vector away = draw_side();
    // As far as the nearest hyperplane that does not hold the ray, half way.
    const Vector at_ray = normals_.transpose() * ray, along = normals_.transpose() * away;
    double step = 1.0;
    for (Index l = 0; l < normals_.cols(); ++l) {
      const double distance = std::abs(at_ray[l]);
      if (distance > kTie) step = std::min(step, 0.5 * distance / std::abs(along[l]));
    }
    return ray + step * away;
  }

 private:
  static constexpr double kTie = 1e-12, kDependent = 1e-9;

  // r - 1 hyperplanes with independent normals: basis_ R is the matrix of these normals.
  void draw_hyperplanes() {
    const Index r = normals_.rows(), h = normals_.cols();
    basis_.resize(r, r - 1);
    R_.setZero(r - 1, r - 1);
    Index k = 0;
    for (Index i = 0; i < h && k < r - 1; ++i) {
      monitor_.check();
      std::swap(order_[i], order_[i + random_.below(h - i)]);
      const Vector normal = normals_.col(order_[i]);
      Vector coefficients;
      const Vector rest = orthogonal_part(normal, k, coefficients);
      if (rest.norm() <= kDependent * normal.norm()) continue;
      R_.col(k).head(k) = coefficients;
      R_(k, k) = rest.norm();
      basis_.col(k++) = rest.normalized();
    }
    basis_.conservativeResize(r, k);
    R_.conservativeResize(k, k);
  }

  // One draw is enough but with a probability of the order of kDependent: basis_ has a column less than rows.
  Vector draw_ray() {
    Vector ray, coefficients;
    do {
      ray.resize(normals_.rows());
      for (double& entry : ray) entry = 2.0 * random_.uniform() - 1.0;
      ray = orthogonal_part(ray, basis_.cols(), coefficients);
    } while (ray.norm() < kDependent);
    return ray.normalized();
  }

  // A direction with random signs on the hyperplanes drawn, and no sign in particular on others
  // that hold the ray.
  Vector draw_side() {
    Vector sides(basis_.cols());
    for (double& side : sides) side = random_.sign() * (0.5 + random_.uniform());
    R_.triangularView<Eigen::Upper>().transpose().solveInPlace(sides);
    return (basis_ * sides).normalized();
  }

  // x less its projection onto the first k columns of the basis, which is these columns times
  // the coefficients; done twice for orthogonality to rounding.
  Vector orthogonal_part(Vector x, Index k, Vector& coefficients) const {
    coefficients.setZero(k);
    for (int pass = 0; pass < 2; ++pass) {
      const Vector part = basis_.leftCols(k).transpose() * x;
      x -= basis_.leftCols(k) * part;
      coefficients += part;
    }
    return x;
  }

  const Matrix& normals_;
  Random random_;
  Monitor& monitor_;
  std::vector<Index> order_;
  Matrix basis_, R_;
};

}  // namespace

Patterns enumerate_patterns(ConstMatrixRef X, const EnumerationOptions& options, Monitor& monitor) {
  require_not_negative(options.tol, "tol");
  BitMatrix masks = find_masks(arrange(X, kMaxRank, true, &monitor), X.rows(), options, monitor);
  const auto gates = [X = Matrix(X), options](Monitor& watch) {
    return find_gates(X, options, watch);
  };
  std::optional<std::uint64_t> complete_for;
  if (options.tol <= kCompleteTolerance) complete_for = fingerprint(X);
  return Patterns(std::move(masks), X.cols(), gates, complete_for);
}

Matrix sample_ray_gates(ConstMatrixRef X, Index n_gates, std::uint64_t seed, Monitor& monitor) {
  require_at_least(0, n_gates, "n_gates");
  const Arrangement arrangement = arrange(X, X.cols(), true, &monitor);
  const int r = arrangement.rank();
  if (r == 0) return Matrix(X.cols(), 0);
  RaySampler sampler(arrangement.roots.values, seed, monitor);
  Matrix points(r, n_gates);
  for (Index i = 0; i < n_gates; ++i) {
    monitor.check();
    points.col(i) = arrangement.roots.rays * sampler.draw();
  }
  return arrangement.expand(points, X.cols());
}

}  // namespace arrangement
}  // namespace convexrelu
