#include "convexrelu/mask_product.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <new>
#include <string>

#include "convexrelu/error.hpp"
#include "convexrelu/parallel.hpp"
#include "subset_sums.hpp"

namespace convexrelu {

namespace {

using Word = BitMatrix::Word;

constexpr Index kWordBits = BitMatrix::kWordBits;
constexpr Index kSumsPerPass = 2048;  // running sums (128 KB) stay in the second-level cache
constexpr Index kMinPatternsPerWorker = 128;
constexpr Index kMinWordsPerWorker = 4;

using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Features are taken kLanes at a time, fewer in the last block. The data are padded to what the
// widest blocks, those of float, read.
template <typename Scalar>
Index block_lanes(Index n_left) {
  if (n_left <= 4) return 4;
  return n_left <= 8 || sizeof(Scalar) == 8 ? 8 : 16;
}

Index padded(Index n_features) {
  Index j = 0;
  while (j < n_features) j += block_lanes<float>(n_features - j);
  return j;
}

// work(lanes, first): lanes is an std::integral_constant.
template <typename Scalar, typename Work>
void for_each_block(Index n_features, const Work& work) {
  for (Index j = 0; j < n_features;) {
    const Index lanes = block_lanes<Scalar>(n_features - j);
    if (lanes == 4) {
      work(std::integral_constant<int, 4>(), j);
    } else if (lanes == 8) {
      work(std::integral_constant<int, 8>(), j);
    } else if constexpr (sizeof(Scalar) == 4) {
      work(std::integral_constant<int, 16>(), j);
    }
    j += lanes;
  }
}

template <typename Scalar, int kLanes>
using RowMap = Eigen::Map<Eigen::Array<Scalar, kLanes, 1>, kLanes * int{sizeof(Scalar)}>;
template <int kLanes>
using DataRow = Eigen::Map<const Eigen::Array<double, kLanes, 1>>;

// Scratch memory of the calling thread, kept for its next call: bytes for each of n_workers.
class Scratch {
 public:
  static constexpr std::size_t kAlignment = 64;

  static std::byte* get(std::size_t bytes) {
    thread_local Scratch scratch;
    if (bytes > scratch.size_) {
      scratch.memory_.reset();
      scratch.size_ = 0;
      scratch.memory_.reset(
          static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kAlignment})));
      scratch.size_ = bytes;
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
  std::size_t size_ = 0;
};

// What one worker needs: the tables of a block and a running sum per pattern or sample.
struct Workspace {
  static constexpr std::size_t kTableBytes =
      std::max({SubsetSums<float, 4>::size() * 4, SubsetSums<float, 16>::size() * 4,
                SubsetSums<double, 8>::size() * 8});
  static constexpr std::size_t kSumBytes = kSumsPerPass * Scratch::kAlignment;
  static constexpr std::size_t kWordBytes = kSumsPerPass * sizeof(Word);
  static constexpr std::size_t kBytes = kTableBytes + kSumBytes + kWordBytes;
  static_assert(kTableBytes % Scratch::kAlignment == 0);

  std::byte* memory;

  template <typename Scalar>
  Scalar* tables() const {
    return reinterpret_cast<Scalar*>(memory);
  }
  template <typename Scalar>
  Scalar* sums() const {
    return reinterpret_cast<Scalar*>(memory + kTableBytes);
  }
  Word* words() const { return reinterpret_cast<Word*>(memory + kTableBytes + kSumBytes); }
};

// Splits [0, size) evenly among workers, each with its workspace, and calls
// pass(workspace, first, count) on parts of at most max_per_pass. Fewer than min_per_worker do not
// pay for the worker's tables.
template <typename Pass>
void for_each_pass(Index size, Index max_per_pass, Index min_per_worker, int n_threads,
                   const Pass& pass) {
  const Index n_workers = std::clamp<Index>(size / min_per_worker, 1, std::max(n_threads, 1));
  std::byte* memory = Scratch::get(static_cast<std::size_t>(n_workers) * Workspace::kBytes);
  const auto work = [&](Index worker) {
    const Workspace workspace{memory + static_cast<std::size_t>(worker) * Workspace::kBytes};
    const Index end = size * (worker + 1) / n_workers;
    for (Index first = size * worker / n_workers; first < end; first += max_per_pass) {
      pass(workspace, first, std::min(max_per_pass, end - first));
    }
  };
  parallel_for(n_workers, static_cast<int>(n_workers), std::cref(work));
}

// sums row i = sum over the samples k of pattern i of (scale_x x_k)(scale_r r_k), for
// i < count and the features of the block that starts with feature j. word(i, w) is word w of
// pattern i.
template <typename Scalar, int kLanes, typename WordOf>
void sum_over_samples(const RowMatrix& rows, Index j, double scale_x, const double* r,
                      double scale_r, Index count, const WordOf& word, const Workspace& workspace) {
  SubsetSums<Scalar, kLanes> subsets(workspace.tables<Scalar>());
  Scalar* const sums = workspace.sums<Scalar>();
  std::fill_n(sums, count * kLanes, Scalar{0});
  for (Index first = 0; first < rows.rows(); first += kWordBits) {
    const int n_rows = static_cast<int>(std::min(kWordBits, rows.rows() - first));
    for (int k = 0; k < n_rows; ++k) {
      const DataRow<kLanes> x(&rows.coeffRef(first + k, j));
      const double r_k = r[first + k] * scale_r;
      subsets.row(k) = (x * scale_x * r_k).template cast<Scalar>();
    }
    subsets.tabulate(n_rows, count);
    const Index w = first / kWordBits;
    subsets.for_each_sum(
        count, [&](Index i) { return word(i, w); },
        [&](Index i, const auto& sum) { RowMap<Scalar, kLanes>(sums + i * kLanes) += sum; });
  }
}

// Columns first ... first + count - 1 of C.
template <typename WordOf>
void correlate_pass(const RowMatrix& rows, Index n_features, const ConstMatrixRef& R,
                    const WordOf& word, const Workspace& workspace, Index first, Index count,
                    MatrixRef& C) {
  const auto word_of = [&](Index i, Index w) { return word(first + i, w); };
  for (Index a = 0; a < R.cols(); ++a) {
    for_each_block<double>(n_features, [&](auto lanes, Index j) {
      constexpr int kLanes = decltype(lanes)::value;
      sum_over_samples<double, kLanes>(rows, j, 1.0, &R.coeffRef(0, a), 1.0, count, word_of,
                                       workspace);
      const double* sums = workspace.sums<double>();
      const Index n_used = std::min<Index>(kLanes, n_features - j);
      for (Index i = 0; i < count; ++i) {
        std::copy_n(sums + i * kLanes, n_used, &C.coeffRef(a * n_features + j, first + i));
      }
    });
  }
}

// The exponent e with 2^(e-1) <= x < 2^e, within what a double can be scaled by.
int exponent_of(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::max(exponent, -1020);
}

// || |X|' |r| || of the scaled data.
double norm_of_absolute_sums(const RowMatrix& rows, Index n_features, double scale_x,
                             const double* r, double scale_r) {
  double squares = 0.0;
  for_each_block<double>(n_features, [&](auto lanes, Index j) {
    constexpr int kLanes = decltype(lanes)::value;
    Eigen::Array<double, kLanes, 1> sum = Eigen::Array<double, kLanes, 1>::Zero();
    for (Index k = 0; k < rows.rows(); ++k) {
      sum += (DataRow<kLanes>(&rows.coeffRef(k, j)) * scale_x * (r[k] * scale_r)).abs();
    }
    squares += sum.matrix().squaredNorm();
  });
  return std::sqrt(squares);
}

// Bit j of word k becomes bit k of word j: three masked swaps of ever smaller blocks (Warren,
// Hacker's Delight, 7-3).
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

}  // namespace

MaskProduct::MaskProduct(ConstMatrixRef X, const BitMatrix& masks)
    : masks_(&masks), n_features_(X.cols()), rows_(X.rows(), padded(X.cols())), max_abs_X_(0.0) {
  if (X.rows() != masks.n_rows()) {
    throw_invalid("masks must have a row per row of X: " + std::to_string(masks.n_rows()) +
                  " and " + std::to_string(X.rows()));
  }
  rows_.leftCols(X.cols()) = X;
  rows_.rightCols(rows_.cols() - X.cols()).setZero();
  if (X.size() > 0) max_abs_X_ = X.cwiseAbs().maxCoeff<Eigen::PropagateNaN>();
}

void MaskProduct::correlate(ConstMatrixRef R, MatrixRef C, int n_threads) const {
  const Word* words = masks_->words().data();
  const Index stride = masks_->words_per_col();
  const auto word = [=](Index i, Index w) { return words[i * stride + w]; };
  for_each_pass(n_patterns(), kSumsPerPass, kMinPatternsPerWorker, n_threads,
                [&](const Workspace& workspace, Index first, Index count) {
                  correlate_pass(rows_, n_features_, R, word, workspace, first, count, C);
                });
}

void MaskProduct::correlate(ConstMatrixRef R, const std::vector<Index>& patterns, MatrixRef C,
                            int n_threads) const {
  const Index* list = patterns.data();
  const auto word = [&](Index i, Index w) { return masks_->col(list[i])[w]; };
  for_each_pass(static_cast<Index>(patterns.size()), kSumsPerPass, kMinPatternsPerWorker, n_threads,
                [&](const Workspace& workspace, Index first, Index count) {
                  correlate_pass(rows_, n_features_, R, word, workspace, first, count, C);
                });
}

double MaskProduct::correlation_norms(ConstVectorRef r, VectorRef norms, int n_threads) const {
  norms.setZero();
  if (rows_.size() == 0) return 0.0;
  const double max_abs_r = r.cwiseAbs().maxCoeff<Eigen::PropagateNaN>();
  if (!std::isfinite(max_abs_X_) || !std::isfinite(max_abs_r)) return kInfinity;

  const int exponent_x = exponent_of(max_abs_X_);
  const int exponent_r = exponent_of(max_abs_r);
  const double scale_x = std::ldexp(1.0, -exponent_x);
  const double scale_r = std::ldexp(1.0, -exponent_r);
  // Undone in two steps, either of which alone cannot overflow.
  const int half_exponent = (exponent_x + exponent_r) / 2;
  const double unscale_1 = std::ldexp(1.0, half_exponent);
  const double unscale_2 = std::ldexp(1.0, exponent_x + exponent_r - half_exponent);

  const Word* words = masks_->words().data();
  const Index stride = masks_->words_per_col();
  for_each_pass(
      n_patterns(), kSumsPerPass, kMinPatternsPerWorker, n_threads,
      [&](const Workspace& workspace, Index first, Index count) {
        const auto word = [=](Index i, Index w) { return words[(first + i) * stride + w]; };
        for_each_block<float>(n_features_, [&](auto lanes, Index j) {
          constexpr int kLanes = decltype(lanes)::value;
          sum_over_samples<float, kLanes>(rows_, j, scale_x, r.data(), scale_r, count, word,
                                          workspace);
          float* sums = workspace.sums<float>();
          for (Index i = 0; i < count; ++i) {
            const RowMap<float, kLanes> sum(sums + i * kLanes);
            norms[first + i] += sum.matrix().template cast<double>().squaredNorm();
          }
        });
        auto part = norms.segment(first, count).array();
        part = part.sqrt() * unscale_1 * unscale_2;
      });

  // Every product passes through one rounding to float, at most 12 additions inside
  // SubsetSums and one per word, each of relative error 2^-24; a product below the range of float loses
  // at most 2^-149. What is done in double is far below the last term of `roundings`.
  const double roundings = static_cast<double>(masks_->words_per_col() + 12 + 1 + 1);
  const double unit = std::ldexp(1.0, -24);
  const double relative = roundings * unit / (1.0 - roundings * unit);
  const double absolute = std::ldexp(static_cast<double>(rows_.size()), -149);
  const double scaled_bound =
      relative * norm_of_absolute_sums(rows_, n_features_, scale_x, r.data(), scale_r) + absolute;
  return scaled_bound * unscale_1 * unscale_2;
}

void MaskProduct::forward(const std::vector<Index>& patterns, ConstMatrixRef U, VectorRef f,
                          int n_threads) const {
  constexpr int kStride = 8;  // numbers per sample of the running sums
  const Index n_listed = static_cast<Index>(patterns.size());
  for_each_pass(
      masks_->words_per_col(), kSumsPerPass / kWordBits, kMinWordsPerWorker, n_threads,
      [&](const Workspace& workspace, Index first_word, Index n_words) {
        const Index first = first_word * kWordBits;
        const Index count = std::min(n_samples() - first, n_words * kWordBits);
        double* const sums = workspace.sums<double>();
        std::fill_n(sums, count * kStride, 0.0);
        for (Index listed = 0; listed < n_listed; listed += kWordBits) {
          const int n_rows = static_cast<int>(std::min(kWordBits, n_listed - listed));
          Word* const words = workspace.words();  // of each sample: the patterns that hold it
          for (Index w = 0; w < n_words; ++w) {
            Word* const block = words + w * kWordBits;
            for (int b = 0; b < n_rows; ++b) {
              block[b] = masks_->col(patterns[static_cast<std::size_t>(listed + b)])[first_word + w];
            }
            std::fill(block + n_rows, block + kWordBits, Word{0});
            transpose(block);
          }
          for_each_block<double>(n_features_, [&](auto lanes, Index j) {
            constexpr int kLanes = decltype(lanes)::value;
            SubsetSums<double, kLanes> subsets(workspace.tables<double>());
            const Index n_used = std::min<Index>(kLanes, n_features_ - j);
            for (int b = 0; b < n_rows; ++b) {
              auto row = subsets.row(b);
              row.setZero();
              std::copy_n(&U.coeffRef(j, listed + b), n_used, row.data());
            }
            subsets.tabulate(n_rows, count);
            subsets.for_each_sum(
                count, [&](Index i) { return words[i]; },
                [&](Index i, const auto& sum) {
                  RowMap<double, kLanes>(sums + i * kStride) +=
                      sum * DataRow<kLanes>(&rows_.coeffRef(first + i, j));
                });
          });
        }
        for (Index i = 0; i < count; ++i) f[first + i] = RowMap<double, kStride>(sums + i * kStride).sum();
      });
}

}  // namespace convexrelu
