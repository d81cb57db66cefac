#include "convexrelu/arrangement/patterns.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "arrangement/exact_sign.hpp"
#include "base/preconditions.hpp"
#include "base/watched_for.hpp"
#include "base/watched_once.hpp"
#include "convexrelu/base/error.hpp"

namespace convexrelu {
inline namespace arrangement {

namespace {

using Word = BitMatrix::Word;

constexpr Index kWordBits = BitMatrix::kWordBits;
constexpr Index kSampleBlock = 4 * kWordBits;
constexpr Index kGateBlock = 128;
constexpr Index kSampleBlocks = 16;  // in one task
constexpr Index kColumns = 4096;     // compared between two looks at the monitor

// The power of two that brings the largest entry of v into [1/2, 1); 1 for a zero vector.
template <typename Derived>
double scale_of(const Eigen::MatrixBase<Derived>& v) {
  int exponent = 0;
  std::frexp(v.template lpNorm<Eigen::Infinity>(), &exponent);
  return std::ldexp(1.0, std::min(-exponent, 1023));
}

// Sets the bits of patterns first ... first + count - 1 on samples begin ... end - 1, whole words.
template <typename KeepGoing>
void set_bits(ConstMatrixRef X, Index begin, Index end, ConstMatrixRef all_gates, Index first,
              Index count, const KeepGoing& keep_going, BitMatrix& masks) {
  const Index d = X.cols();
  Matrix gates = all_gates.middleCols(first, count);
  for (Index i = 0; i < count; ++i) gates.col(i) *= scale_of(gates.col(i));
  // |fl(x . g) - x . g| <= (d + 2) eps ||x|| ||g||, in whichever order the sum is taken.
  const Vector gate_errors =
      static_cast<double>(d + 2) * kEpsilon * gates.colwise().norm().transpose();

  Matrix rows;
  Matrix products;
  Vector row_norms;
  ExactSign exact_sign;
  for (Index block = begin; block < end && keep_going(); block += kSampleBlock) {
    const Index n_rows = std::min(kSampleBlock, end - block);
    rows = X.middleRows(block, n_rows);
    for (Index k = 0; k < n_rows; ++k) rows.row(k) *= scale_of(rows.row(k));
    row_norms = rows.rowwise().norm();
    products.noalias() = rows * gates;
    for (Index i = 0; i < count; ++i) {
      for (Index start = 0; start < n_rows; start += kWordBits) {
        const Index stop = std::min(start + kWordBits, n_rows);
        Word positive = 0;
        Word uncertain = 0;
        for (Index k = start; k < stop; ++k) {
          const double product = products(k, i);
          positive |= Word{product > 0.0} << (k - start);
          uncertain |= Word{std::abs(product) <= row_norms[k] * gate_errors[i]} << (k - start);
        }
        if (uncertain != 0) {
          if (!keep_going()) return;
          for (Index k = start; k < stop; ++k) {
            const Word bit = Word{1} << (k - start);
            if ((uncertain & bit) == 0) continue;
            const int sign =
                exact_sign.of_dot(&rows.coeffRef(k, 0), rows.outerStride(), gates.col(i).data(), d);
            positive = sign >= 0 ? positive | bit : positive & ~bit;
          }
        }
        masks.col(first + i)[(block + start) / kWordBits] = positive;
      }
    }
  }
}

BitMatrix masks_of(ConstMatrixRef X, ConstMatrixRef gates, int n_threads, Monitor* monitor) {
  if (gates.rows() != X.cols()) {
    throw_invalid("gates must have one row per column of X (" + std::to_string(X.cols()) +
                  "), but has " + std::to_string(gates.rows()));
  }
  require_finite(X, "X");
  require_finite(gates, "gates");
  BitMatrix masks(X.rows(), gates.cols());
  const Index n = X.rows(), stripe = kSampleBlocks * kSampleBlock;
  const Index n_stripes = (n + stripe - 1) / stripe;
  const Index n_blocks = (gates.cols() + kGateBlock - 1) / kGateBlock;
  watched_for(n_blocks * n_stripes, n_threads, monitor, [&](Index task, const auto& keep_going) {
    const Index first = task / n_stripes * kGateBlock, begin = task % n_stripes * stripe;
    set_bits(X, begin, std::min(begin + stripe, n), gates, first,
             std::min(kGateBlock, gates.cols() - first), keep_going, masks);
  });
  return masks;
}

// Columns that are neither zero nor equal to an earlier one.
std::vector<Index> distinct_nonzero_columns(const BitMatrix& masks, Monitor* monitor) {
  const std::size_t n_words = static_cast<std::size_t>(masks.words_per_col());
  const auto equal = [&](Index a, Index b) {
    return std::memcmp(masks.col(a), masks.col(b), n_words * sizeof(Word)) == 0;
  };
  // Open addressing, at most half full.
  std::size_t capacity = 16;
  while (capacity < 2 * static_cast<std::size_t>(masks.n_cols())) capacity *= 2;
  constexpr Index kFree = -1;
  std::vector<Index> slots(capacity, kFree);
  std::vector<Index> kept;
  for (Index i = 0; i < masks.n_cols(); ++i) {
    if (i % kColumns == 0) keep_going(monitor);
    const Word* column = masks.col(i);
    Word hash = 0;
    bool zero = true;
    for (std::size_t w = 0; w < n_words; ++w) {
      zero = zero && column[w] == 0;
      hash = (hash ^ column[w]) * 0x9E3779B97F4A7C15;
      hash ^= hash >> 32;
    }
    if (zero) continue;
    std::size_t slot = hash & (capacity - 1);
    while (slots[slot] != kFree && !equal(slots[slot], i)) slot = (slot + 1) & (capacity - 1);
    if (slots[slot] != kFree) continue;
    slots[slot] = i;
    kept.push_back(i);
  }
  return kept;
}

}  // namespace

struct Patterns::Data {
  Data(BitMatrix masks_in, Index n_features_in, std::optional<std::uint64_t> complete_for_in)
      : masks(std::move(masks_in)), n_features(n_features_in), complete_for(complete_for_in) {}

  BitMatrix masks;
  Index n_features;
  std::optional<std::uint64_t> complete_for;
  GateSource gate_source;  // empty: the gates are there
  mutable Matrix gates;
  mutable WatchedOnce gates_made;
};

std::uint64_t fingerprint(ConstMatrixRef X) {
  std::uint64_t hash = 0;
  const auto add = [&hash](std::uint64_t word) {  // one to one for any word
    hash = (hash ^ word) * 0x9E3779B97F4A7C15;
    hash ^= hash >> 32;
  };
  add(static_cast<std::uint64_t>(X.rows()));
  add(static_cast<std::uint64_t>(X.cols()));
  for (Index j = 0; j < X.cols(); ++j) {
    for (Index k = 0; k < X.rows(); ++k) {
      const double entry = X(k, j) + 0.0;  // -0 becomes 0
      std::uint64_t word;
      std::memcpy(&word, &entry, sizeof word);
      add(word);
    }
  }
  return hash;
}

Patterns::Patterns(BitMatrix masks, Matrix gates, std::optional<std::uint64_t> complete_for) {
  if (gates.cols() != masks.n_cols()) {
    throw_invalid("gates must have a column per pattern: " + std::to_string(gates.cols()) +
                  " and " + std::to_string(masks.n_cols()));
  }
  auto data = std::make_shared<Data>(std::move(masks), gates.rows(), complete_for);
  data->gates = std::move(gates);
  data_ = std::move(data);
}

Patterns::Patterns(BitMatrix masks, Index n_features, GateSource gates,
                   std::optional<std::uint64_t> complete_for) {
  auto data = std::make_shared<Data>(std::move(masks), n_features, complete_for);
  data->gate_source = std::move(gates);
  data_ = std::move(data);
}

Index Patterns::n_features() const { return data_->n_features; }
const BitMatrix& Patterns::masks() const { return data_->masks; }
std::optional<std::uint64_t> Patterns::complete_for() const { return data_->complete_for; }

bool Patterns::is_complete_for(ConstMatrixRef X) const {
  return is_complete() && *complete_for() == fingerprint(X);
}

const Matrix& Patterns::gates(Monitor* monitor) const {
  if (data_->gate_source) {
    data_->gates_made.call(monitor, [&] {
      Monitor unwatched;
      data_->gates = data_->gate_source(monitor != nullptr ? *monitor : unwatched);
    });
  }
  return data_->gates;
}

Patterns patterns_from_gates(ConstMatrixRef X, ConstMatrixRef gates, int n_threads,
                             Monitor* monitor) {
  return {masks_of(X, gates, n_threads, monitor), gates};
}

Patterns distinct_patterns_from_gates(ConstMatrixRef X, ConstMatrixRef gates, int n_threads,
                                      Monitor* monitor) {
  const BitMatrix all = masks_of(X, gates, n_threads, monitor);
  const std::vector<Index> kept = distinct_nonzero_columns(all, monitor);
  BitMatrix masks(X.rows(), static_cast<Index>(kept.size()));
  Matrix kept_gates(gates.rows(), masks.n_cols());
  for (Index i = 0; i < masks.n_cols(); ++i) {
    if (i % kColumns == 0) keep_going(monitor);
    const Index from = kept[i];
    std::copy_n(all.col(from), masks.words_per_col(), masks.col(i));
    kept_gates.col(i) = gates.col(from);
  }
  return {std::move(masks), std::move(kept_gates)};
}

double max_pattern_count(Index n, Index rank) {
  if (rank < 0 || rank > n) {
    throw_invalid("rank must be between 0 and n = " + std::to_string(n) + ", got " +
                  std::to_string(rank));
  }
  if (rank == 0) return 1.0;
  double sum = 0.0;
  double binomial = 1.0;
  for (Index k = 0; k < rank; ++k) {
    sum += binomial;
    binomial = binomial * static_cast<double>(n - 1 - k) / static_cast<double>(k + 1);
  }
  return 2.0 * sum;
}

}  // namespace arrangement
}  // namespace convexrelu
