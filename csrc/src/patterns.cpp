#include "convexrelu/patterns.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "convexrelu/error.hpp"

namespace convexrelu {

namespace {

// Calls take(i, words) for the pattern of each gate, in order.
template <typename Take>
void for_each_pattern(const Matrix& X, const Matrix& gates, Take&& take) {
  if (gates.rows() != X.cols()) {
    throw_invalid("gates must have one row per column of X (" + std::to_string(X.cols()) +
                  "), but has " + std::to_string(gates.rows()));
  }
  constexpr Index kBlock = 32;
  BitMatrix pattern(X.rows(), 1);
  Matrix outputs;
  // Signs do not change with the scale, but products of large or small entries overflow.
  const double largest = X.size() > 0 ? X.cwiseAbs().maxCoeff() : 0.0;
  const double unit = largest > 0.0 ? std::ldexp(1.0, std::ilogb(largest)) : 1.0;
  const Matrix scaled = X / unit;
  for (Index begin = 0; begin < gates.cols(); begin += kBlock) {
    const Index size = std::min(kBlock, gates.cols() - begin);
    Matrix block = gates.middleCols(begin, size);
    for (Index j = 0; j < size; ++j) {
      const double length = block.col(j).cwiseAbs().maxCoeff();
      if (length > 0.0) block.col(j) /= std::ldexp(1.0, std::ilogb(length));
    }
    outputs.noalias() = scaled * block;
    for (Index j = 0; j < size; ++j) {
      BitMatrix::Word* words = pattern.col(0);
      std::fill_n(words, pattern.words_per_col(), BitMatrix::Word{0});
      for (Index k = 0; k < X.rows(); ++k) {
        if (outputs(k, j) >= 0.0) pattern.set(k, 0);
      }
      take(begin + j, words);
    }
  }
}

}  // namespace

Patterns::Patterns(BitMatrix masks, Matrix gates, bool is_complete) {
  if (gates.cols() != masks.n_cols()) {
    throw_invalid("gates must have one column per pattern (" + std::to_string(masks.n_cols()) +
                  "), but has " + std::to_string(gates.cols()));
  }
  data_ = std::make_shared<const Data>(Data{std::move(masks), std::move(gates), is_complete});
}

Patterns patterns_from_gates(const Matrix& X, const Matrix& gates) {
  BitMatrix masks(X.rows(), gates.cols());
  for_each_pattern(X, gates, [&](Index i, const BitMatrix::Word* words) {
    std::copy_n(words, masks.words_per_col(), masks.col(i));
  });
  return {std::move(masks), gates, false};
}

Patterns distinct_patterns_from_gates(const Matrix& X, const Matrix& gates) {
  BitMatrix masks(X.rows(), 0);
  std::vector<Index> kept;
  std::unordered_set<std::string> seen;
  const std::size_t n_bytes = static_cast<std::size_t>(masks.words_per_col()) * sizeof(BitMatrix::Word);
  seen.emplace(n_bytes, '\0');
  for_each_pattern(X, gates, [&](Index i, const BitMatrix::Word* words) {
    if (!seen.emplace(reinterpret_cast<const char*>(words), n_bytes).second) return;
    std::copy_n(words, masks.words_per_col(), masks.append_col());
    kept.push_back(i);
  });
  Matrix kept_gates(gates.rows(), static_cast<Index>(kept.size()));
  for (std::size_t j = 0; j < kept.size(); ++j) {
    kept_gates.col(static_cast<Index>(j)) = gates.col(kept[j]);
  }
  return {std::move(masks), std::move(kept_gates), false};
}

double max_pattern_count(Index n, Index rank) {
  if (rank == 0) return 1.0;
  double term = 1.0, sum = 0.0;
  for (Index k = 0; k < rank && k < n; ++k) {
    sum += term;
    term *= static_cast<double>(n - 1 - k) / static_cast<double>(k + 1);
  }
  return 2.0 * sum;
}

}  // namespace convexrelu
