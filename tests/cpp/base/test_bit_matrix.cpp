#include <vector>

#include "check.hpp"
#include "convexrelu/base/bit_matrix.hpp"

using convexrelu::BitMatrix;
using convexrelu::Index;

namespace {

bool reference_bit(Index k, Index i) { return (k * 7 + i * 3) % 5 < 2; }

// Sizes around the word boundary: bits come back, bits past the last sample stay zero.
void bits_are_what_was_set() {
  for (const Index n_rows : {1, 63, 64, 65, 200}) {
    const Index n_cols = 9;
    BitMatrix bits(n_rows, n_cols);
    CHECK(bits.n_rows() == n_rows && bits.n_cols() == n_cols);
    CHECK(bits.words_per_col() == (n_rows + 63) / 64);
    for (Index i = 0; i < n_cols; ++i) {
      for (Index k = 0; k < n_rows; ++k) {
        if (reference_bit(k, i)) bits.set(k, i);
      }
    }
    for (Index i = 0; i < n_cols; ++i) {
      for (Index k = 0; k < n_rows; ++k) CHECK(bits.test(k, i) == reference_bit(k, i));
      if (n_rows % BitMatrix::kWordBits != 0) {
        const BitMatrix::Word last = bits.col(i)[bits.words_per_col() - 1];
        CHECK(last >> (n_rows % BitMatrix::kWordBits) == 0);
      }
    }
  }
}

void columns_are_appended_empty() {
  BitMatrix bits(70, 0);
  CHECK(bits.words().empty());
  for (Index i = 0; i < 20; ++i) {
    const BitMatrix::Word* col = bits.append_col();
    CHECK(col == bits.col(i) && bits.n_cols() == i + 1);
    CHECK(col[0] == 0 && col[1] == 0);
    bits.set(69, i);
    CHECK(bits.test(69, i) && !bits.test(68, i));
  }
  CHECK(bits.words().size() == 40);
  for (Index i = 0; i < 20; ++i) CHECK(bits.test(69, i));
}

}  // namespace

int main() {
  RUN(bits_are_what_was_set);
  RUN(columns_are_appended_empty);
  return failed_checks;
}
