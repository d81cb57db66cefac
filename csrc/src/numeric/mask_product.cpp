#include "convexrelu/numeric/mask_product.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <type_traits>

#include "base/bits.hpp"
#include "base/watched_for.hpp"
#include "convexrelu/base/error.hpp"
#include "numeric/subset_sums.hpp"

namespace convexrelu {
inline namespace numeric {

namespace {

using Word = BitMatrix::Word;
using Slabs = MaskProduct::Slabs;
using Slab = Slabs::value_type;

constexpr Index kWordBits = BitMatrix::kWordBits;
constexpr int kSlabFeatures = 16;

// Larger tables pay from kManySums sums on, as long as they (32 and 44 KB) stay close to the core.
// With small tables wider rows are better, of up to four vector registers.
constexpr Index kManySums = 128;
constexpr int kWideLanes = std::min(16, 4 * Eigen::internal::packet_traits<double>::size);
template <typename Scalar, int kLanes>
using LargeTables = SubsetSums<Scalar, kLanes, kLanes * sizeof(Scalar) <= 16 ? 8 : 6>;
template <typename Scalar, int kLanes>
using SmallTables = SubsetSums<Scalar, kLanes, 4>;
// Patterns of few words are asked for so many ahead.
constexpr Index kAhead = 32;
// Words of the patterns between two looks at the monitor: a millisecond at most.
constexpr Index kUnwatchedWords = 32;

template <int kLanes>
using DataRow = Eigen::Map<const Eigen::Array<double, kLanes, 1>>;

template <int kLanes>
DataRow<kLanes> data_row(const Slab& slab, Index k, Index j) {
  return DataRow<kLanes>(&slab.coeffRef(k, j));
}

// work(lanes, slab, j, feature) for blocks of at most kMaxLanes columns: the slab's from j on, which
// are those of X from `feature` on. `lanes` is an std::integral_constant.
template <int kMaxLanes, typename Work>
void for_each_block(const Slab& slab, Index slab_start, const Work& work) {
  if constexpr (kMaxLanes > 4) {
    if (slab.cols() < kMaxLanes) return for_each_block<kMaxLanes / 2>(slab, slab_start, work);
  }
  for (Index j = 0; j < slab.cols(); j += kMaxLanes) {
    work(std::integral_constant<int, kMaxLanes>(), slab, j, slab_start + j);
  }
}

template <int kMaxLanes, typename Work>
void for_each_block(const Slabs& slabs, const Work& work) {
  Index slab_start = 0;
  for (const Slab& slab : slabs) {
    for_each_block<kMaxLanes>(slab, slab_start, work);
    slab_start += kSlabFeatures;
  }
}

// Scratch memory of the calling thread, kept for its next call.
class Scratch {
 public:
  static constexpr std::size_t kAlignment = 64;

  static std::byte* get(std::size_t n_bytes) {
    thread_local Scratch scratch;
    if (n_bytes > scratch.n_bytes_) {
      scratch.n_bytes_ = 0;
      scratch.memory_.reset();
      scratch.memory_.reset(
          static_cast<std::byte*>(::operator new (n_bytes, std::align_val_t{kAlignment})));
      scratch.n_bytes_ = n_bytes;
    }
    return scratch.memory_.get();
  }

 private:
  struct Delete {
    void operator()(std::byte* memory) const {
      ::operator delete (memory, std::align_val_t{kAlignment});
    }
  };
  std::unique_ptr<std::byte, Delete> memory_;
  std::size_t n_bytes_ = 0;
};

// What one worker needs: the tables of a block; a row of running sums per pattern or sample; and
// for forward(), words.
class Workspace {
 public:
  static constexpr Index kSumBytes = 128 * 1024;  // stays in the second-level cache

  static std::size_t n_bytes(Index n_words) {
    const std::size_t all =
        kTableBytes + std::size_t{kSumBytes} + static_cast<std::size_t>(n_words) * sizeof(Word);
    return (all + Scratch::kAlignment - 1) / Scratch::kAlignment * Scratch::kAlignment;
  }

  explicit Workspace(std::byte* memory) : memory_(memory) {}

  template <typename Scalar>
  Scalar* tables() const {
    return reinterpret_cast<Scalar*>(memory_);
  }
  template <typename Scalar>
  Scalar* sums() const {
    return reinterpret_cast<Scalar*>(memory_ + kTableBytes);
  }
  Word* words() const { return reinterpret_cast<Word*>(memory_ + kTableBytes + kSumBytes); }

 private:
  static constexpr std::size_t kTableBytes =
      std::max({LargeTables<float, 4>::kMemoryBytes, LargeTables<float, 8>::kMemoryBytes,
                LargeTables<float, 16>::kMemoryBytes, LargeTables<double, 4>::kMemoryBytes,
                LargeTables<double, 8>::kMemoryBytes, SmallTables<double, 16>::kMemoryBytes});
  static_assert(kTableBytes % Scratch::kAlignment == 0);

  std::byte* memory_;
};

// Splits [0, size) evenly among workers and calls pass(workspace, first, count) on parts of at
// most max_per_pass. Fewer than min_per_worker do not pay for a worker's tables.
template <typename Pass>
void for_each_pass(Index size, Index max_per_pass, Index min_per_worker, Index n_words,
                   int n_threads, Monitor* monitor, const Pass& pass) {
  const Index n_workers = std::clamp<Index>(size / min_per_worker, 1, usable_threads(n_threads));
  const std::size_t n_bytes = Workspace::n_bytes(n_words);
  std::byte* const memory = Scratch::get(static_cast<std::size_t>(n_workers) * n_bytes);
  const auto work = [&](Index worker) {
    const Workspace workspace(memory + static_cast<std::size_t>(worker) * n_bytes);
    const Index end = size * (worker + 1) / n_workers;
    for (Index first = size * worker / n_workers; first < end && keep_going(monitor);
         first += max_per_pass) {
      pass(workspace, first, std::min(max_per_pass, end - first));
    }
  };
  const auto watch = [monitor] { keep_going(monitor); };
  parallel_for(n_workers, static_cast<int>(n_workers), std::cref(work), std::cref(watch));
}

// A vector over samples, and the powers of two by which it and X are multiplied.
struct ScaledVector {
  const double* r;
  double scale_r = 1.0;
  double scale_x = 1.0;
};

// What is done with a sum, called from many loops: functors, because compilers do not inline a lambda
// into all of them.
template <typename Subsets>
struct AddRow {
  typename Subsets::Number* sums;

  EIGEN_ALWAYS_INLINE void operator()(Index i, const typename Subsets::Row& sum) const {
    Subsets::map(sums + i * Subsets::kWidth) += sum;
  }
};

// Row i of the sums = sum over the samples k of pattern i of r_k x_k, i < count, for the columns
// of the slab from j on. word(i, w) is word w of pattern i.
template <typename Subsets, typename WordOf>
void sum_over_samples(const Slab& slab, Index j, const ScaledVector& vector, Index count,
                      const WordOf& word, const Workspace& workspace, Monitor* monitor) {
  using Scalar = typename Subsets::Number;
  constexpr int kLanes = Subsets::kWidth;
  Subsets subsets(workspace.tables<Scalar>());
  Scalar* const sums = workspace.sums<Scalar>();
  std::fill_n(sums, count * kLanes, Scalar{0});
  for (Index first = 0; first < slab.rows(); first += kWordBits) {
    const int n_rows = static_cast<int>(std::min(kWordBits, slab.rows() - first));
    const Index w = first / kWordBits;
    if (w % kUnwatchedWords == 0 && !keep_going(monitor)) return;
    for (int k = 0; k < n_rows; ++k) {
      const double r_k = vector.scale_r * vector.r[first + k];
      subsets.row(k) =
          (data_row<kLanes>(slab, first + k, j) * vector.scale_x * r_k).template cast<Scalar>();
    }
    subsets.tabulate(n_rows);
    subsets.for_each_sum(
        count, [=](Index i) { return word(i, w); }, AddRow<Subsets>{sums});
  }
}

// C for n_patterns patterns, whose words are word(i, w).
template <template <typename, int> class Tables, int kMaxLanes, typename WordOf>
void correlate_by(const Slabs& slabs, Index n_features, const ConstMatrixRef& R, Index n_patterns,
                  const WordOf& word, int n_threads, Monitor* monitor, MatrixRef& C) {
  constexpr Index kMaxPerPass = Workspace::kSumBytes / (kMaxLanes * Index{sizeof(double)});
  for_each_pass(n_patterns, kMaxPerPass, kManySums, 0, n_threads, monitor,
                [&](const Workspace& workspace, Index first, Index count) {
                  const auto word_of = [=](Index i, Index w) { return word(first + i, w); };
                  const double* const sums = workspace.sums<double>();
                  for (Index a = 0; a < R.cols(); ++a) {
                    const ScaledVector r{&R.coeffRef(0, a)};
                    for_each_block<kMaxLanes>(
                        slabs, [&](auto lanes, const Slab& slab, Index j, Index feature) {
                          sum_over_samples<Tables<double, lanes>>(slab, j, r, count, word_of,
                                                                  workspace, monitor);
                          const Index n_used = std::min<Index>(lanes, n_features - feature);
                          for (Index i = 0; i < count; ++i) {
                            std::copy_n(sums + i * lanes, n_used,
                                        &C.coeffRef(a * n_features + feature, first + i));
                          }
                        });
                  }
                });
}

template <typename WordOf>
void correlate_patterns(const Slabs& slabs, Index n_features, const ConstMatrixRef& R,
                        Index n_patterns, const WordOf& word, int n_threads, Monitor* monitor,
                        MatrixRef& C) {
  if (n_patterns < kManySums) {
    correlate_by<SmallTables, kWideLanes>(slabs, n_features, R, n_patterns, word, n_threads,
                                          monitor, C);
  } else {
    correlate_by<LargeTables, 8>(slabs, n_features, R, n_patterns, word, n_threads, monitor, C);
  }
}

// The exponent e with 2^(e-1) <= x < 2^e, raised to what can be divided by in double.
int exponent_of(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::max(exponent, -1020);
}

// Bit j of word k becomes bit k of word j, j, k < 64, where the words from n on are zero: swaps of ever
// larger blocks across the diagonal (after Warren, Hacker's Delight, section 7-3).
void transpose(Word* words, int n) {
  for (int size = 1; size < 64; size *= 2) {
    const Word mask = ~Word{0} / ((Word{1} << size) + 1);  // the low half of each 2 size bits
    for (int k = 0; k < n; k = ((k | size) + 1) & ~size) {
      const Word swap = ((words[k] >> size) ^ words[k | size]) & mask;
      words[k] ^= swap << size;
      words[k | size] ^= swap;
    }
    n = (n + 2 * size - 1) / (2 * size) * (2 * size);
  }
}

// At most 64 of the patterns listed in a call of forward().
struct ListPart {
  const Index* patterns;
  Index first;  // place in the list
  int size;
  Word* words;  // one per sample of the pass: bit b says whether patterns[b] holds it
};

void gather_words(const BitMatrix& masks, const ListPart& part, Index first_word, Index n_words) {
  for (Index w = 0; w < n_words; ++w) {
    Word* const block = part.words + w * kWordBits;
    for (int b = 0; b < part.size; ++b) block[b] = masks.col(part.patterns[b])[first_word + w];
    std::fill(block + part.size, block + kWordBits, Word{0});
    transpose(block, part.size);
  }
}

// forward() keeps kPartialSums of a sample apart.
constexpr int kPartialSums = 8;
using PartialSums = Eigen::Map<Eigen::Array<double, kPartialSums, 1>>;

template <int kLanes>
struct AddProduct {
  static constexpr int kSums = std::min(kPartialSums, kLanes);
  using Row = Eigen::Array<double, kLanes, 1>;

  const double* x;  // the columns of the first sample
  Index stride;
  double* sums;

  EIGEN_ALWAYS_INLINE void operator()(Index k, const Row& u) const {
    const DataRow<kLanes> x_k(x + k * stride);
    Eigen::Array<double, kSums, 1> products = u.template head<kSums>() * x_k.template head<kSums>();
    for (int lane = kSums; lane < kLanes; lane += kSums) {
      products += u.template segment<kSums>(lane) * x_k.template segment<kSums>(lane);
    }
    PartialSums(sums + k * kPartialSums).template head<kSums>() += products;
  }
};

// Adds x_k . (sum of the U_b whose pattern b holds sample k) for samples first ... first + count -
// 1, as far as kLanes columns of the slab from j on go.
template <int kLanes>
void add_forward(const Slab& slab, Index j, Index feature, const ConstMatrixRef& U,
                 const ListPart& part, Index first, Index count, const Workspace& workspace) {
  SmallTables<double, kLanes> subsets(workspace.tables<double>());
  const Index n_used = std::min<Index>(kLanes, U.rows() - feature);
  for (int b = 0; b < part.size; ++b) {
    auto row = subsets.row(b);
    row.setZero();
    std::copy_n(&U.coeffRef(feature, part.first + b), n_used, row.data());
  }
  subsets.tabulate(part.size);
  subsets.for_each_sum(
      count, [words = part.words](Index k) { return words[k]; },
      AddProduct<kLanes>{&slab.coeffRef(first, j), slab.cols(), workspace.sums<double>()});
}

}  // namespace

MaskProduct::MaskProduct(ConstMatrixRef X, const BitMatrix& masks)
    : masks_(&masks), n_features_(X.cols()), max_abs_X_(0.0), norm_X_(0.0) {
  if (X.rows() != masks.n_rows()) {
    throw_invalid("masks must have a row per row of X: " + std::to_string(masks.n_rows()) +
                  " and " + std::to_string(X.rows()));
  }
  for (Index j = 0; j < X.cols(); j += kSlabFeatures) {
    const Index n_features = std::min<Index>(kSlabFeatures, X.cols() - j);
    const Index width = n_features <= 4 ? 4 : n_features <= 8 ? 8 : kSlabFeatures;
    Slab& slab = slabs_.emplace_back(X.rows(), width);
    slab.leftCols(n_features) = X.middleCols(j, n_features);
    slab.rightCols(width - n_features).setZero();
  }
  if (X.size() > 0) {
    max_abs_X_ = X.cwiseAbs().maxCoeff<Eigen::PropagateNaN>();
    norm_X_ = X.stableNorm();
  }
}

void MaskProduct::correlate(ConstMatrixRef R, MatrixRef C, int n_threads, Monitor* monitor) const {
  const Word* const words = masks_->words().data();
  const Index stride = masks_->words_per_col();
  const auto word = [=](Index i, Index w) { return words[i * stride + w]; };
  correlate_patterns(slabs_, n_features_, R, n_patterns(), word, n_threads, monitor, C);
}

void MaskProduct::correlate(ConstMatrixRef R, const std::vector<Index>& patterns, MatrixRef C,
                            int n_threads, Monitor* monitor) const {
  const Index* const list = patterns.data();
  const Word* const words = masks_->words().data();
  const Index stride = masks_->words_per_col();
  const auto word = [=](Index i, Index w) { return words[list[i] * stride + w]; };
  correlate_patterns(slabs_, n_features_, R, static_cast<Index>(patterns.size()), word, n_threads,
                     monitor, C);
}

double MaskProduct::correlation_norms(ConstVectorRef r, VectorRef norms, int n_threads, Index start,
                                      Monitor* monitor) const {
  norms.setZero();
  if (slabs_.empty() || r.size() == 0) return 0.0;
  const double max_abs_r = r.cwiseAbs().maxCoeff<Eigen::PropagateNaN>();
  if (!std::isfinite(max_abs_X_) || !std::isfinite(max_abs_r)) return kInfinity;

  const int exponent_x = exponent_of(max_abs_X_);
  const int exponent_r = exponent_of(max_abs_r);
  const ScaledVector scaled{r.data(), std::ldexp(1.0, -exponent_r), std::ldexp(1.0, -exponent_x)};
  // The scales are undone by two factors, either of which is a double.
  const int half_exponent = (exponent_x + exponent_r) / 2;
  const double unscale_1 = std::ldexp(1.0, half_exponent);
  const double unscale_2 = std::ldexp(1.0, exponent_x + exponent_r - half_exponent);

  const Index stride = masks_->words_per_col();
  const Word* const words = masks_->words().data() + start * stride;
  const Index row_bytes = slabs_.front().cols() * Index{sizeof(float)};
  for_each_pass(norms.size(), Workspace::kSumBytes / row_bytes, kManySums, 0, n_threads, monitor,
                [&](const Workspace& workspace, Index first, Index count) {
                  const auto word = [=](Index i, Index w) {
                    const Word* const at = words + (first + i) * stride + w;
                    prefetch(at + kAhead * stride);
                    return *at;
                  };
                  double* const squares = norms.data() + first;
                  for_each_block<16>(slabs_, [&](auto lanes, const Slab& slab, Index j, Index) {
                    using Subsets = LargeTables<float, lanes>;
                    sum_over_samples<Subsets>(slab, j, scaled, count, word, workspace, monitor);
                    float* const sums = workspace.sums<float>();
                    for (Index i = 0; i < count; ++i) {
                      const typename Subsets::Row sum = Subsets::map(sums + i * lanes);
                      squares[i] += sum.matrix().template cast<double>().squaredNorm();
                    }
                  });
                  // A plain loop is one of vector instructions at every level; Eigen's is not.
                  const double factor_1 = unscale_1, factor_2 = unscale_2;
                  for (Index i = 0; i < count; ++i) {
                    squares[i] = std::sqrt(squares[i]) * factor_1 * factor_2;
                  }
                });

  // A product r_k x_kj goes through one rounding to float, at most 11 additions in SubsetSums and one
  // per word, each of relative error 2^-24; below the range of float it loses at most 2^-149.
  // The roundings in double are covered by one more. || |X|' |r| || <= ||X||_F ||r||.
  const double roundings = 2.0 + 11.0 + static_cast<double>(stride);
  const double unit = std::ldexp(1.0, -24);
  const double relative = roundings * unit / (1.0 - roundings * unit);
  const double absolute = std::ldexp(static_cast<double>(r.size() * n_features_), -149);
  const double norm_r = (r * scaled.scale_r).norm();
  return (relative * (norm_X_ * scaled.scale_x) * norm_r + absolute) * unscale_1 * unscale_2;
}

void MaskProduct::forward(const std::vector<Index>& patterns, ConstMatrixRef U, VectorRef f,
                          int n_threads, Monitor* monitor) const {
  constexpr Index kSamplesPerPass = Workspace::kSumBytes / (kPartialSums * Index{sizeof(double)});
  constexpr Index kMinWordsPerWorker = 4;
  const Index n_listed = static_cast<Index>(patterns.size());
  const Index n_parts = BitMatrix::words_for(n_listed);
  for_each_pass(masks_->words_per_col(), kSamplesPerPass / kWordBits, kMinWordsPerWorker,
                n_parts * kSamplesPerPass, n_threads, monitor,
                [&](const Workspace& workspace, Index first_word, Index n_words) {
                  const Index first = first_word * kWordBits;
                  const Index count = std::min(n_samples() - first, n_words * kWordBits);
                  const auto part_of_list = [&](Index part) {
                    const Index start = part * kWordBits;
                    return ListPart{patterns.data() + start, start,
                                    static_cast<int>(std::min(kWordBits, n_listed - start)),
                                    workspace.words() + part * kSamplesPerPass};
                  };
                  for (Index part = 0; part < n_parts; ++part) {
                    gather_words(*masks_, part_of_list(part), first_word, n_words);
                  }
                  double* const sums = workspace.sums<double>();
                  std::fill_n(sums, count * kPartialSums, 0.0);
                  for_each_block<kWideLanes>(
                      slabs_, [&](auto lanes, const Slab& slab, Index j, Index feature) {
                        for (Index part = 0; part < n_parts && keep_going(monitor); ++part) {
                          add_forward<lanes>(slab, j, feature, U, part_of_list(part), first, count,
                                             workspace);
                        }
                      });
                  for (Index k = 0; k < count; ++k) {
                    f[first + k] = PartialSums(sums + k * kPartialSums).sum();
                  }
                });
}

}  // namespace numeric
}  // namespace convexrelu
