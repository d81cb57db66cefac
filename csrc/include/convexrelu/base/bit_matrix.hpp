// Activation patterns as packed bits: a 0/1 matrix of n_rows samples by n_cols patterns.
//
// Pattern i is a column of words_per_col() 64-bit words; the bit of sample k is bit k % 64 of word
// k / 64. Bits past the last sample are zero, so that columns can be compared, hashed
// and counted by words.
#pragma once

#include <cstdint>
#include <utility>

#include "convexrelu/base/buffer.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace base {

class BitMatrix {
 public:
  using Word = std::uint64_t;
  static constexpr Index kWordBits = 64;

  BitMatrix() = default;
  BitMatrix(Index n_rows, Index n_cols)
      : n_rows_(n_rows), n_cols_(n_cols), words_(Buffer<Word>::zeros(words_for(n_rows) * n_cols)) {}

  // From its words, words_for(n_rows) > 0 a column.
  BitMatrix(Index n_rows, Buffer<Word> words)
      : n_rows_(n_rows), n_cols_(words.size() / words_for(n_rows)), words_(std::move(words)) {}

  static constexpr Index words_for(Index n_rows) { return (n_rows + kWordBits - 1) / kWordBits; }

  Index n_rows() const { return n_rows_; }
  Index n_cols() const { return n_cols_; }
  Index words_per_col() const { return words_for(n_rows_); }

  const Word* col(Index i) const { return words_.data() + i * words_per_col(); }
  Word* col(Index i) { return words_.data() + i * words_per_col(); }
  const Buffer<Word>& words() const { return words_; }

  bool test(Index k, Index i) const { return (col(i)[k / kWordBits] >> (k % kWordBits)) & 1U; }
  void set(Index k, Index i) { col(i)[k / kWordBits] |= Word{1} << (k % kWordBits); }

  // Appends a column of zeros and returns its place.
  Word* append_col() {
    Word* const words = words_.extend(words_per_col());
    std::fill_n(words, words_per_col(), Word{0});
    ++n_cols_;
    return words;
  }

 private:
  Index n_rows_ = 0;
  Index n_cols_ = 0;
  Buffer<Word> words_;
};

}  // namespace base
}  // namespace convexrelu
