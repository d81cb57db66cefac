// Turns sides of hyperplanes into the bits of samples: a hyperplane may hold several samples, of
// either orientation, and a zero row has none and bit 1.
#pragma once

#include <cstddef>
#include <vector>

#include "convexrelu/arrangement/hyperplanes.hpp"
#include "convexrelu/base/bit_matrix.hpp"

namespace convexrelu {
inline namespace arrangement {

class SampleBits {
 public:
  using Word = BitMatrix::Word;
  static constexpr Index kPadding = 8;

  SampleBits(const Hyperplanes& planes, Index n_samples)
      : n_words_(BitMatrix::words_for(n_samples)),
        valid_(static_cast<std::size_t>(n_words_), 0),
        constant_(static_cast<std::size_t>(n_words_ + kPadding), 0) {
    for (Index k = 0; k < n_samples; ++k) {
      valid_[word_of(k)] |= bit_of(k);
      if (planes.plane[k] < 0) constant_[word_of(k)] |= bit_of(k);
    }
    const std::size_t h = static_cast<std::size_t>(planes.size());
    first_.assign(h, Entry{});
    for (std::size_t l = 0; l < h; ++l) {
      first_[l].more_begin = static_cast<int>(more_.size());
      for (Index i = planes.offsets[l]; i < planes.offsets[l + 1]; ++i) {
        const Index k = planes.samples[i];
        const bool is_along = planes.orientation[k] > 0;
        Entry& entry = entry_of(l, static_cast<int>(word_of(k)), i == planes.offsets[l]);
        (is_along ? entry.along : entry.against) |= bit_of(k);
      }
      first_[l].more_end = static_cast<int>(more_.size());
    }
  }

  Index n_words() const { return n_words_; }

  // The bits that never change. A pattern that starts as a copy of them has kPadding words to spare.
  const std::vector<Word>& constant() const { return constant_; }

  void write(Word* pattern, int hyperplane, bool positive) const {
    const Entry& entry = first_[hyperplane];
    write(pattern, entry, positive);
    for (int i = entry.more_begin; i < entry.more_end; ++i) {
      write(pattern, more_[i], positive);
    }
  }

  // The pattern of -u from that of u.
  void mirror(const Word* pattern, Word* out) const {
    for (std::size_t w = 0; w < valid_.size(); ++w) {
      out[w] = (~pattern[w] & valid_[w]) | constant_[w];
    }
  }

 private:
  // Samples of one hyperplane whose bits are in one word. Most hyperplanes have one entry.
  struct Entry {
    int word = 0;
    int more_begin = 0, more_end = 0;
    Word along = 0, against = 0;
  };

  static std::size_t word_of(Index k) { return static_cast<std::size_t>(k / BitMatrix::kWordBits); }
  static Word bit_of(Index k) { return Word{1} << (k % BitMatrix::kWordBits); }

  static void write(Word* pattern, const Entry& entry, bool positive) {
    Word& word = pattern[entry.word];
    word = (word & ~(entry.along | entry.against)) | (positive ? entry.along : entry.against);
  }

  // The samples of a hyperplane come in ascending order.
  Entry& entry_of(std::size_t l, int word, bool is_first) {
    if (is_first) first_[l].word = word;
    if (first_[l].word == word) return first_[l];
    if (static_cast<int>(more_.size()) == first_[l].more_begin || more_.back().word != word) {
      more_.push_back({});
      more_.back().word = word;
    }
    return more_.back();
  }

  Index n_words_;
  std::vector<Word> valid_, constant_;
  std::vector<Entry> first_, more_;
};

}  // namespace arrangement
}  // namespace convexrelu
