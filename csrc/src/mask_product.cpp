#include "convexrelu/mask_product.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <type_traits>

#include "convexrelu/error.hpp"
#include "convexrelu/parallel.hpp"
#include "subset_sums.hpp"

namespace convexrelu {

namespace {

using Word = BitMatrix::Word;
using Slabs = MaskProduct::Slabs;

constexpr Index kWordBits = BitMatrix::kWordBits;
constexpr Index kSlabFeatures = 32;
constexpr Index kSumsPerPass = 2048;  // running sums (128 KB) stay in the second-level cache
constexpr Index kMinPatternsPerWorker = 128;
constexpr Index kMinWordsPerWorker = 4;

// forward() takes as many features at once as fill four vector registers.
constexpr int kForwardLanes = std::min(32, 4 * Eigen::internal::packet_traits<double>::size);
constexpr int kForwardSums = std::min(8, kForwardLanes);  // partial sums per sample

// The columns of a slab, of which the last are zero: blocks of 16, of 8 and of 4 add up to it.
Index padded(Index n_features) {
  const Index n_left = n_features % 16;
  return n_features - n_left + (n_left == 0 ? 0 : n_left <= 4 ? 4 : n_left <= 8 ? 8 : 16);
}

// work(lanes, j) for blocks of kLanes and, at the end, fewer columns from j on. `lanes` is an
// std::integral_constant.
template <int kLanes, typename Work>
void for_each_block(Index width, const Work& work, Index j = 0) {
  for (; width - j >= kLanes; j += kLanes) work(std::integral_constant<int, kLanes>(), j);
  if constexpr (kLanes > 4) for_each_block<kLanes / 2>(width, work, j);
}

template <int kLanes>
using DataRow = Eigen::Map<const Eigen::Array<double, kLanes, 1>>;

template <int kLanes>
DataRow<kLanes> data_row(const Slabs::value_type& slab, Index k, Index j) {
  return DataRow<kLanes>(&slab.coeffRef(k, j));
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
          static_cast<std::byte*>(::operator new(n_bytes, std::align_val_t{kAlignment})));
      scratch.n_bytes_ = n_bytes;
    }
    return scratch.memory_.get();
  }

 private:
  struct Delete {
    void operator()(std::byte* memory) const {
      ::operator delete(memory, std::align_val_t{kAlignment});
    }
  };
  std::unique_ptr<std::byte, Delete> memory_;
  std::size_t n_bytes_ = 0;
};

// What one worker needs: the tables of a block, a row of running sums per pattern or sample, and
// the patterns that hold a sample, 64 of them a word.
class Workspace {
 public:
  static std::size_t n_bytes(Index n_words) {
    return kTableBytes + kSumBytes + static_cast<std::size_t>(n_words) * sizeof(Word);
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
  static constexpr std::size_t kTableBytes = std::max(
      {SubsetSums<float, 4>::memory_size() * 4, SubsetSums<float, 8>::memory_size() * 4,
       SubsetSums<float, 16>::memory_size() * 4, SubsetSums<double, 8>::memory_size() * 8,
       SubsetSums<double, 16>::memory_size() * 8, SubsetSums<double, 32>::memory_size() * 8});
  static constexpr std::size_t kSumBytes = kSumsPerPass * 64;
  static_assert(kTableBytes % Scratch::kAlignment == 0);

  std::byte* memory_;
};

// Splits [0, size) evenly among workers and calls pass(workspace, first, count) on parts of at
// most max_per_pass. Fewer than min_per_worker do not pay for a worker's tables.
template <typename Pass>
void for_each_pass(Index size, Index max_per_pass, Index min_per_worker, Index n_words,
                   int n_threads, const Pass& pass) {
  const Index n_workers = std::clamp<Index>(size / min_per_worker, 1, std::max(n_threads, 1));
  const std::size_t n_bytes =
      (Workspace::n_bytes(n_words) + Scratch::kAlignment - 1) & ~(Scratch::kAlignment - 1);
  std::byte* const memory = Scratch::get(static_cast<std::size_t>(n_workers) * n_bytes);
  const auto work = [&](Index worker) {
    const Workspace workspace(memory + static_cast<std::size_t>(worker) * n_bytes);
    const Index end = size * (worker + 1) / n_workers;
    for (Index first = size * worker / n_workers; first < end; first += max_per_pass) {
      pass(workspace, first, std::min(max_per_pass, end - first));
    }
  };
  parallel_for(n_workers, static_cast<int>(n_workers), std::cref(work));
}

// Row i of the sums = sum over the samples k of pattern i of (scale_x x_k)(scale_r r_k), for
// i < count and the kLanes columns of the slab from j on. word(i, w) is word w of pattern i.
template <typename Scalar, int kLanes, typename WordOf>
void sum_over_samples(const Slabs::value_type& slab, Index j, double scale_x, const double* r,
                      double scale_r, Index count, const WordOf& word, const Workspace& workspace) {
  using Sums = SubsetSums<Scalar, kLanes>;
  Sums subsets(workspace.tables<Scalar>());
  Scalar* const sums = workspace.sums<Scalar>();
  std::fill_n(sums, count * kLanes, Scalar{0});
  for (Index first = 0; first < slab.rows(); first += kWordBits) {
    const int n_rows = static_cast<int>(std::min(kWordBits, slab.rows() - first));
    for (int k = 0; k < n_rows; ++k) {
      const double r_k = scale_r * r[first + k];
      subsets.row(k) =
          (data_row<kLanes>(slab, first + k, j) * scale_x * r_k).template cast<Scalar>();
    }
    subsets.tabulate(n_rows, count);
    const Index w = first / kWordBits;
    subsets.for_each_sum(
        count, [&](Index i) { return word(i, w); },
        [&](Index i, const auto& sum) { Sums::map(sums + i * kLanes) += sum; });
  }
}

// Columns first ... first + count - 1 of C, for the patterns whose words are word(i, w).
template <typename WordOf>
void correlate_pass(const Slabs& slabs, Index n_features, const ConstMatrixRef& R,
                    const WordOf& word, const Workspace& workspace, Index first, Index count,
                    MatrixRef& C) {
  const auto word_of = [&](Index i, Index w) { return word(first + i, w); };
  const double* const sums = workspace.sums<double>();
  for (Index a = 0; a < R.cols(); ++a) {
    Index slab_start = 0;
    for (const auto& slab : slabs) {
      for_each_block<8>(slab.cols(), [&](auto lanes, Index j) {
        constexpr Index kLanes = lanes;
        sum_over_samples<double, kLanes>(slab, j, 1.0, &R.coeffRef(0, a), 1.0, count, word_of,
                                         workspace);
        const Index feature = slab_start + j;
        const Index n_used = std::min(kLanes, n_features - feature);
        for (Index i = 0; i < count; ++i) {
          std::copy_n(sums + i * kLanes, n_used, &C.coeffRef(a * n_features + feature, first + i));
        }
      });
      slab_start += kSlabFeatures;
    }
  }
}

// The exponent e with 2^(e-1) <= x < 2^e, raised to what can be divided by in double.
int exponent_of(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::max(exponent, -1020);
}

// || |X|' |r| || of the scaled data.
double norm_of_absolute_sums(const Slabs& slabs, double scale_x, const double* r, double scale_r) {
  double squares = 0.0;
  for (const auto& slab : slabs) {
    for_each_block<8>(slab.cols(), [&](auto lanes, Index j) {
      Eigen::Array<double, lanes, 1> sum = Eigen::Array<double, lanes, 1>::Zero();
      for (Index k = 0; k < slab.rows(); ++k) {
        sum += (data_row<lanes>(slab, k, j) * scale_x * (scale_r * r[k])).abs();
      }
      squares += sum.matrix().squaredNorm();
    });
  }
  return std::sqrt(squares);
}

// Bit j of word k becomes bit k of word j: swaps of ever smaller blocks across the diagonal
// (Warren, Hacker's Delight, section 7-3).
void transpose(Word* words) {
  Word mask = 0x00000000FFFFFFFF;
  for (int size = 32; size > 0; size /= 2, mask ^= mask << size) {
    for (int k = 0; k < 64; k = ((k | size) + 1) & ~size) {
      const Word swap = ((words[k] >> size) ^ words[k | size]) & mask;
      words[k] ^= swap << size;
      words[k | size] ^= swap;
    }
  }
}

// words[k]: bit b says whether pattern list[b] holds sample k of the n_words * 64 samples from
// word first_word on, b < n_listed <= 64.
void gather_words(const BitMatrix& masks, const Index* list, int n_listed, Index first_word,
                  Index n_words, Word* words) {
  for (Index w = 0; w < n_words; ++w) {
    Word* const block = words + w * kWordBits;
    for (int b = 0; b < n_listed; ++b) block[b] = masks.col(list[b])[first_word + w];
    std::fill(block + n_listed, block + kWordBits, Word{0});
    transpose(block);
  }
}

// sums row k += x_k * (sum of the U_b whose bit b of words[k] is set), for the kLanes columns of
// the slab from j on and samples first ... first + count - 1; kForwardSums of them are kept apart.
template <int kLanes>
void add_forward(const Slabs::value_type& slab, Index j, const ConstMatrixRef& U, Index first_row,
                 Index first_col, int n_cols, const Word* words, Index first, Index count,
                 const Workspace& workspace) {
  constexpr int kSums = std::min(kForwardSums, kLanes);
  using Sums = Eigen::Array<double, kSums, 1>;
  SubsetSums<double, kLanes> subsets(workspace.tables<double>());
  const Index n_used = std::min<Index>(kLanes, U.rows() - first_row);
  for (int b = 0; b < n_cols; ++b) {
    auto row = subsets.row(b);
    row.setZero();
    std::copy_n(&U.coeffRef(first_row, first_col + b), n_used, row.data());
  }
  subsets.tabulate(n_cols, count);
  double* const sums = workspace.sums<double>();
  subsets.for_each_sum(
      count, [&](Index k) { return words[k]; },
      [&](Index k, const auto& u) {
        const auto x = data_row<kLanes>(slab, first + k, j);
        Eigen::Map<Sums> sum(sums + k * kForwardSums);
        Sums products = u.template head<kSums>() * x.template head<kSums>();
        for (int lane = kSums; lane < kLanes; lane += kSums) {
          products += u.template segment<kSums>(lane) * x.template segment<kSums>(lane);
        }
        sum += products;
      });
}

}  // namespace

MaskProduct::MaskProduct(ConstMatrixRef X, const BitMatrix& masks)
    : masks_(&masks), n_features_(X.cols()), max_abs_X_(0.0) {
  if (X.rows() != masks.n_rows()) {
    throw_invalid("masks must have a row per row of X: " + std::to_string(masks.n_rows()) +
                  " and " + std::to_string(X.rows()));
  }
  for (Index j = 0; j < X.cols(); j += kSlabFeatures) {
    const Index n_features = std::min(kSlabFeatures, X.cols() - j);
    slabs_.emplace_back(X.rows(), padded(n_features));
    slabs_.back() << X.middleCols(j, n_features),
        Matrix::Zero(X.rows(), padded(n_features) - n_features);
  }
  if (X.size() > 0) max_abs_X_ = X.cwiseAbs().maxCoeff<Eigen::PropagateNaN>();
}

void MaskProduct::correlate(ConstMatrixRef R, MatrixRef C, int n_threads) const {
  const Word* const words = masks_->words().data();
  const Index stride = masks_->words_per_col();
  const auto word = [=](Index i, Index w) { return words[i * stride + w]; };
  for_each_pass(n_patterns(), kSumsPerPass, kMinPatternsPerWorker, 0, n_threads,
                [&](const Workspace& workspace, Index first, Index count) {
                  correlate_pass(slabs_, n_features_, R, word, workspace, first, count, C);
                });
}

void MaskProduct::correlate(ConstMatrixRef R, const std::vector<Index>& patterns, MatrixRef C,
                            int n_threads) const {
  const Index* const list = patterns.data();
  const auto word = [&](Index i, Index w) { return masks_->col(list[i])[w]; };
  for_each_pass(static_cast<Index>(patterns.size()), kSumsPerPass, kMinPatternsPerWorker, 0,
                n_threads, [&](const Workspace& workspace, Index first, Index count) {
                  correlate_pass(slabs_, n_features_, R, word, workspace, first, count, C);
                });
}

double MaskProduct::correlation_norms(ConstVectorRef r, VectorRef norms, int n_threads) const {
  norms.setZero();
  if (slabs_.empty() || r.size() == 0) return 0.0;
  const double max_abs_r = r.cwiseAbs().maxCoeff<Eigen::PropagateNaN>();
  if (!std::isfinite(max_abs_X_) || !std::isfinite(max_abs_r)) return kInfinity;

  const int exponent_x = exponent_of(max_abs_X_);
  const int exponent_r = exponent_of(max_abs_r);
  const double scale_x = std::ldexp(1.0, -exponent_x);
  const double scale_r = std::ldexp(1.0, -exponent_r);
  // Undone by two factors, either of which is a double.
  const int half_exponent = (exponent_x + exponent_r) / 2;
  const double unscale_1 = std::ldexp(1.0, half_exponent);
  const double unscale_2 = std::ldexp(1.0, exponent_x + exponent_r - half_exponent);

  const Word* const words = masks_->words().data();
  const Index stride = masks_->words_per_col();
  for_each_pass(
      n_patterns(), kSumsPerPass, kMinPatternsPerWorker, 0, n_threads,
      [&](const Workspace& workspace, Index first, Index count) {
        const auto word = [=](Index i, Index w) { return words[(first + i) * stride + w]; };
        auto squares = norms.segment(first, count).array();
        for (const auto& slab : slabs_) {
          for_each_block<16>(slab.cols(), [&](auto lanes, Index j) {
            sum_over_samples<float, lanes>(slab, j, scale_x, r.data(), scale_r, count, word,
                                           workspace);
            using Sums = SubsetSums<float, lanes>;
            float* const sums = workspace.sums<float>();
            for (Index i = 0; i < count; ++i) {
              squares[i] +=
                  Sums::map(sums + i * lanes).matrix().template cast<double>().squaredNorm();
            }
          });
        }
        squares = squares.sqrt() * unscale_1 * unscale_2;
      });

  // A product goes through one rounding to float, at most 11 additions in SubsetSums and one per
  // word, each of relative error 2^-24; below the range of float it loses at most 2^-149. The
  // roundings in double are covered by one more.
  const double roundings = 2.0 + 11.0 + static_cast<double>(stride);
  const double unit = std::ldexp(1.0, -24);
  const double relative = roundings * unit / (1.0 - roundings * unit);
  const double absolute = std::ldexp(static_cast<double>(r.size() * n_features_), -149);
  const double sums = norm_of_absolute_sums(slabs_, scale_x, r.data(), scale_r);
  return (relative * sums + absolute) * unscale_1 * unscale_2;
}

void MaskProduct::forward(const std::vector<Index>& patterns, ConstMatrixRef U, VectorRef f,
                          int n_threads) const {
  const Index n_listed = static_cast<Index>(patterns.size());
  const Index n_lists = BitMatrix::words_for(n_listed);
  for_each_pass(
      masks_->words_per_col(), kSumsPerPass / kWordBits, kMinWordsPerWorker, kSumsPerPass * n_lists,
      n_threads, [&](const Workspace& workspace, Index first_word, Index n_words) {
        const Index first = first_word * kWordBits;
        const Index count = std::min(n_samples() - first, n_words * kWordBits);
        const auto n_cols = [&](Index list) {
          return static_cast<int>(std::min(kWordBits, n_listed - list * kWordBits));
        };
        const auto words = [&](Index list) { return workspace.words() + list * kSumsPerPass; };
        for (Index list = 0; list < n_lists; ++list) {
          gather_words(*masks_, patterns.data() + list * kWordBits, n_cols(list), first_word,
                       n_words, words(list));
        }
        double* const sums = workspace.sums<double>();
        std::fill_n(sums, count * kForwardSums, 0.0);
        Index slab_start = 0;
        for (const auto& slab : slabs_) {
          for_each_block<kForwardLanes>(slab.cols(), [&](auto lanes, Index j) {
            for (Index list = 0; list < n_lists; ++list) {
              add_forward<lanes>(slab, j, U, slab_start + j, list * kWordBits, n_cols(list),
                                 words(list), first, count, workspace);
            }
          });
          slab_start += kSlabFeatures;
        }
        for (Index k = 0; k < count; ++k) {
          f[first + k] =
              Eigen::Map<const Eigen::Array<double, kForwardSums, 1>>(sums + k * kForwardSums)
                  .sum();
        }
      });
}

}  // namespace convexrelu
