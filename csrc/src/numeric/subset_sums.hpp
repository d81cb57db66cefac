// Sums of rows over subsets by table look-up: the method of the Four Russians (Arlazarov, Dinic,
// Kronrod & Faradzev 1970).
//
//   z_0 ... z_63   up to 64 rows of kLanes numbers
//   word           a subset of them: row k is in it iff bit k is set
//   group          kBits consecutive rows; their subset sums are tabulated, 2^kBits rows a group
//
// The sum over a subset is then one table row per group. Adding a row is a few vector instructions
// at any instruction-set level, so that what pays is the same at all of them. More bits a group
// mean fewer look-ups and larger tables: worth it when many sums are asked for.
//
// The order of the additions depends on the type alone: within a group the sums of its low and of
// its high half, from the lowest bit up, are added; among the groups the even and the odd ones.
#pragma once

#include <cstdint>
#include <utility>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

template <typename Scalar, int kLanes, int kBits>
class SubsetSums {
 public:
  using Number = Scalar;
  using Row = Eigen::Array<Scalar, kLanes, 1>;
  using Word = std::uint64_t;

  static constexpr int kWidth = kLanes;
  static constexpr int kRowBytes = kLanes * static_cast<int>(sizeof(Scalar));
  static constexpr int kGroups = (64 + kBits - 1) / kBits;

  // How many bytes of memory, aligned to kAlignment, it works in.
  static constexpr int kAlignment = 64;
  static constexpr std::size_t kMemoryBytes =
      static_cast<std::size_t>(kGroups) * (kBits + (1 << kBits)) * kRowBytes;
  explicit SubsetSums(Scalar* memory) : rows_(memory), tables_(memory + kGroups * kBits * kLanes) {}

  using RowMap = Eigen::Map < Row, kRowBytes<kAlignment ? kRowBytes : kAlignment>;
  static RowMap map(Scalar* at) { return RowMap(at); }
  RowMap row(int k) { return map(rows_ + k * kLanes); }

  // To be called once rows 0 ... n_rows - 1 are set.
  void tabulate(int n_rows);

  // use(i, sum over the subset word(i)) for i = 0 ... n_sums - 1. No bit past the last row is set.
  // Both are taken by value, so that what they hold stays in registers.
  template <typename WordOf, typename Use>
  void for_each_sum(Index n_sums, WordOf word, Use use) const {
    unrolled<(kGroups + 1) / 2>(tables_, n_sums, word, use);
  }

 private:
  static constexpr int kEntries = 1 << kBits;
  static constexpr int kHalfBits = kBits / 2;
  static constexpr int kHalfEntries = 1 << kHalfBits;
  static constexpr int log2(int x) { return x == 1 ? 0 : 1 + log2(x / 2); }
  static constexpr int kLaneShift = log2(kLanes);
  static_assert(kLanes == 1 << kLaneShift && kBits % 2 == 0);

  // The sum over the rows of a group that are in the subset. The group's field of the word is
  // moved to where it counts numbers instead of rows, so that it is the offset into the table.
  template <int group>
  static EIGEN_ALWAYS_INLINE RowMap sum_of_group(Scalar* tables, Word word) {
    constexpr int kShift = group * kBits - kLaneShift;
    constexpr Word kField = static_cast<Word>(kEntries - 1) << kLaneShift;
    const Word moved = kShift >= 0 ? word >> (kShift & 63) : word << (-kShift & 63);
    return map(tables + group * kEntries * kLanes + (moved & kField));
  }

  template <int... pair>
  static EIGEN_ALWAYS_INLINE Row sum_of_pairs(Scalar* tables, Word word,
                                              std::integer_sequence<int, 0, pair...>) {
    Row even = sum_of_group<0>(tables, word);
    Row odd = sum_of_group<1>(tables, word);
    ((even += sum_of_group<2 * pair>(tables, word), add_odd<2 * pair + 1>(tables, word, odd)), ...);
    return even + odd;
  }

  template <int group>
  static EIGEN_ALWAYS_INLINE void add_odd(Scalar* tables, Word word, Row& odd) {
    if constexpr (group < kGroups) odd += sum_of_group<group>(tables, word);
  }

  // One loop for every number of pairs of groups that can be in use.
  template <int n_pairs, typename WordOf, typename Use>
  void unrolled(Scalar* tables, Index n_sums, WordOf word, Use use) const {
    if constexpr (n_pairs > 1) {
      if (n_groups_ <= 2 * (n_pairs - 1)) return unrolled<n_pairs - 1>(tables, n_sums, word, use);
    }
    constexpr std::make_integer_sequence<int, n_pairs> kPairs{};
    for (Index i = 0; i < n_sums; ++i) use(i, sum_of_pairs(tables, word(i), kPairs));
  }

  // The sums over the subsets of kHalfBits rows from row `first` on.
  void tabulate_half(int first, Scalar* table) const {
    map(table).setZero();
    for (int b = 0; b < kHalfBits; ++b) {
      const int size = 1 << b;
      for (int m = 0; m < size; ++m) {
        map(table + (size + m) * kLanes) =
            map(table + m * kLanes) + map(rows_ + (first + b) * kLanes);
      }
    }
  }

  Scalar* rows_;
  Scalar* tables_;
  int n_groups_ = 0;
};

template <typename Scalar, int kLanes, int kBits>
void SubsetSums<Scalar, kLanes, kBits>::tabulate(int n_rows) {
  n_groups_ = (n_rows + kBits - 1) / kBits;
  if (n_groups_ % 2 == 1 && n_groups_ < kGroups) ++n_groups_;
  for (int k = n_rows; k < n_groups_ * kBits; ++k) row(k).setZero();
  alignas(kAlignment) Scalar low[kHalfEntries * kLanes];
  alignas(kAlignment) Scalar high[kHalfEntries * kLanes];
  for (int g = 0; g < n_groups_; ++g) {
    tabulate_half(g * kBits, low);
    tabulate_half(g * kBits + kHalfBits, high);
    Scalar* table = tables_ + g * kEntries * kLanes;
    for (int h = 0; h < kHalfEntries; ++h) {
      const Row high_sum = map(high + h * kLanes);
      for (int l = 0; l < kHalfEntries; ++l, table += kLanes) {
        map(table) = map(low + l * kLanes) + high_sum;
      }
    }
  }
}

}  // namespace numeric
}  // namespace convexrelu
