// Sums of rows over subsets by table look-up: the method of the Four Russians (Arlazarov, Dinic,
// Kronrod & Faradzev 1970).
//
//   z_0 ... z_63   up to 64 rows of kLanes numbers
//   word           a subset of them: row k is in it iff bit k is set
//   group          kBits consecutive rows; their subset sums are tabulated, 2^kBits rows a group
//
// The sum over a subset is then one table row per group. Adding a row is a few vector instructions
// at any instruction-set level, so that what pays is the same at all of them.
//
// The order of the additions is fixed by Scalar and kLanes alone, whichever tables are built and
// however many of the rows are in use: within a group its low and its high half from the lowest bit
// up, then the halves; among the groups the even and the odd ones from the lowest up, then both.
#pragma once

#include <cstdint>
#include <utility>

#include "convexrelu/types.hpp"

namespace convexrelu {

template <typename Scalar, int kLanes>
class SubsetSums {
 public:
  using Row = Eigen::Array<Scalar, kLanes, 1>;
  using Word = std::uint64_t;

  static constexpr int kRowBytes = kLanes * static_cast<int>(sizeof(Scalar));
  // More bits a group mean fewer look-ups and larger tables; these, 32 to 64 KB, were fastest.
  static constexpr int kBits = kRowBytes <= 16 ? 8 : kRowBytes <= 64 ? 6 : 4;
  static constexpr int kGroups = (64 + kBits - 1) / kBits;

  // How many numbers of memory, aligned to kAlignment bytes, it works in.
  static constexpr int kAlignment = 64;
  static constexpr std::size_t memory_size() {
    return static_cast<std::size_t>(kGroups * (kBits + kEntries) * kLanes);
  }
  explicit SubsetSums(Scalar* memory) : rows_(memory), tables_(memory + kGroups * kBits * kLanes) {}

  using RowMap = Eigen::Map < Row, kRowBytes<kAlignment ? kRowBytes : kAlignment>;
  static RowMap map(Scalar* at) { return RowMap(at); }
  RowMap row(int k) { return map(rows_ + k * kLanes); }

  // To be called once rows 0 ... n_rows - 1 are set. n_sums, the number of sums that will be
  // asked for, decides which tables pay.
  void tabulate(int n_rows, Index n_sums);

  // use(i, sum over the subset word(i)) for i = 0 ... n_sums - 1. No bit past the last row is set.
  template <typename WordOf, typename Use>
  void for_each_sum(Index n_sums, const WordOf& word, const Use& use) const {
    if (halved_) {
      for (Index i = 0; i < n_sums; ++i) use(i, sum_of_halves(word(i)));
    } else {
      unrolled<(kGroups + 1) / 2>(n_sums, word, use);
    }
  }

 private:
  using ConstRowMap = Eigen::Map < const Row, kRowBytes<kAlignment ? kRowBytes : kAlignment>;

  static constexpr int kEntries = 1 << kBits;
  static constexpr int kHalfBits = kBits / 2;
  static constexpr int kHalfEntries = 1 << kHalfBits;
  static constexpr int log2(int x) { return x == 1 ? 0 : 1 + log2(x / 2); }
  static constexpr int kLaneShift = log2(kLanes);
  static_assert(kLanes == 1 << kLaneShift && kBits % 2 == 0);

  // The table row for the field of `bits` bits of the word from `shift` on. The field is
  // moved to where it counts numbers instead of rows: it is the offset.
  template <int bits>
  static ConstRowMap entry(const Scalar* table, Word word, int shift) {
    constexpr Word kField = ((Word{1} << bits) - 1) << kLaneShift;
    const Word moved =
        shift >= kLaneShift ? word >> (shift - kLaneShift) : word << (kLaneShift - shift);
    return ConstRowMap(table + (moved & kField));
  }

  template <int group>
  ConstRowMap group_entry(Word word) const {
    return entry<kBits>(tables_ + group * kEntries * kLanes, word, group * kBits);
  }

  template <int... pair>
  Row sum_of_pairs(Word word, std::integer_sequence<int, 0, pair...>) const {
    Row even = group_entry<0>(word);
    Row odd = group_entry<1>(word);
    ((even += group_entry<2 * pair>(word), add_odd<2 * pair + 1>(word, odd)), ...);
    return even + odd;
  }

  template <int group>
  void add_odd(Word word, Row& odd) const {
    if constexpr (group < kGroups) odd += group_entry<group>(word);
  }

  // One loop for every number of pairs of groups that can be in use.
  template <int n_pairs, typename WordOf, typename Use>
  void unrolled(Index n_sums, const WordOf& word, const Use& use) const {
    if constexpr (n_pairs > 1) {
      if (n_groups_ <= 2 * (n_pairs - 1)) return unrolled<n_pairs - 1>(n_sums, word, use);
    }
    constexpr std::make_integer_sequence<int, n_pairs> kPairs{};
    for (Index i = 0; i < n_sums; ++i) use(i, sum_of_pairs(word(i), kPairs));
  }

  Row sum_of_halves(Word word) const {
    Row sums[2] = {Row::Zero(), Row::Zero()};
    for (int g = 0; g < n_groups_; ++g) {
      const Scalar* low = half_table(g);
      sums[g % 2] += entry<kHalfBits>(low, word, g * kBits) +
                     entry<kHalfBits>(low + kHalfEntries * kLanes, word, g * kBits + kHalfBits);
    }
    return sums[0] + sums[1];
  }

  Scalar* half_table(int group) const { return tables_ + group * 2 * kHalfEntries * kLanes; }

  // Sums over the subsets of kHalfBits rows from `first` on.
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
  bool halved_ = false;
};

template <typename Scalar, int kLanes>
void SubsetSums<Scalar, kLanes>::tabulate(int n_rows, Index n_sums) {
  n_groups_ = (n_rows + kBits - 1) / kBits;
  // A halved table saves kEntries additions and costs each sum one more.
  halved_ = n_sums < kEntries;
  if (!halved_ && n_groups_ % 2 == 1 && n_groups_ < kGroups) ++n_groups_;
  for (int k = n_rows; k < n_groups_ * kBits; ++k) row(k).setZero();
  for (int g = 0; g < n_groups_; ++g) {
    if (halved_) {
      tabulate_half(g * kBits, half_table(g));
      tabulate_half(g * kBits + kHalfBits, half_table(g) + kHalfEntries * kLanes);
      continue;
    }
    alignas(kAlignment) Scalar low[kHalfEntries * kLanes];
    alignas(kAlignment) Scalar high[kHalfEntries * kLanes];
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

}  // namespace convexrelu
