// Sums of rows over subsets by table look-up: the method of the Four Russians (Arlazarov, Dinic,
// Kronrod & Faradzev 1970).
//
//   z_0 ... z_63   up to 64 rows of kLanes numbers
//   word           a subset of them: row k is in it iff bit k is set
//   group          kBits consecutive rows; their subset sums are tabulated, 2^kBits rows a group
//
// The sum over a subset is one table row per group. The adds of a row are one or two vector
// instructions at any instruction-set level, so that a sum of 64 rows costs 8 to 11 of them.
//
// The order of the additions is fixed by kLanes and Scalar alone, whichever tables are built and
// however many of the rows are in use: halves of a group first, from low to high bits, then the
// groups, even and odd ones apart.
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
  // Larger tables need fewer look-ups; these (32 to 44 KB) are still near the core.
  static constexpr int kBits = kRowBytes <= 16 ? 8 : 6;
  static constexpr int kGroups = (64 + kBits - 1) / kBits;
  static constexpr int kRows = kGroups * kBits;  // those past 63 stay zero

  // `memory`: size() numbers, aligned to 64 bytes.
  static constexpr std::size_t size() {
    return static_cast<std::size_t>((kRows + kGroups * kEntries) * kLanes);
  }
  explicit SubsetSums(Scalar* memory) : rows_(memory), tables_(memory + kRows * kLanes) {}

  Eigen::Map<Row, kRowBytes> row(int k) { return map(rows_ + k * kLanes); }

  // To be called when rows 0 ... n_rows - 1 are set; n_sums, the number of sums that will be
  // asked for, decides which tables pay.
  void tabulate(int n_rows, Index n_sums);

  // use(i, sum over the subset word(i)) for i = 0 ... n_sums - 1.
  template <typename WordOf, typename Use>
  void for_each_sum(Index n_sums, const WordOf& word, const Use& use) const;

 private:
  static constexpr int kEntries = 1 << kBits;
  static constexpr int kHalfBits = kBits / 2;
  static constexpr int kHalfEntries = 1 << kHalfBits;
  static constexpr int kLaneShift = kLanes == 16 ? 4 : kLanes == 8 ? 3 : 2;
  static_assert(kLanes == 1 << kLaneShift);

  static Eigen::Map<Row, kRowBytes> map(Scalar* at) { return Eigen::Map<Row, kRowBytes>(at); }

  // Sums over the subsets of kHalfBits rows from `first` on, written to table.
  void tabulate_half(int first, Scalar* table) const {
    map(table).setZero();
    for (int b = 0; b < kHalfBits; ++b) {
      const int size = 1 << b;
      for (int m = 0; m < size; ++m) {
        map(table + (size + m) * kLanes) = map(table + m * kLanes) + map(rows_ + (first + b) * kLanes);
      }
    }
  }

  // The table row for `bits` bits of the word from `shift` on. The field is moved
  // to where it counts numbers instead of rows, so that it is the offset.
  template <int bits>
  static Eigen::Map<const Row, kRowBytes> entry(const Scalar* table, Word word, int shift) {
    constexpr Word kField = ((Word{1} << bits) - 1) << kLaneShift;
    const Word offset =
        (shift >= kLaneShift ? word >> (shift - kLaneShift) : word << (kLaneShift - shift)) & kField;
    return Eigen::Map<const Row, kRowBytes>(table + offset);
  }

  template <int group>
  Eigen::Map<const Row, kRowBytes> whole(Word word) const {
    return entry<kBits>(tables_ + group * kEntries * kLanes, word, group * kBits);
  }

  template <int... pair>
  Row sum_all_groups(Word word, std::integer_sequence<int, pair...>) const {
    Row even = whole<0>(word);
    Row odd = whole<1>(word);
    ((even += whole<2 * pair + 2>(word), odd += whole<2 * pair + 3>(word)), ...);
    if constexpr (kGroups % 2 == 1) even += whole<kGroups - 1>(word);
    return even + odd;
  }

  Row group_sum(Word word, int group) const {
    if (halved_) {
      const Scalar* low = tables_ + group * 2 * kHalfEntries * kLanes;
      return entry<kHalfBits>(low, word, group * kBits) +
             entry<kHalfBits>(low + kHalfEntries * kLanes, word, group * kBits + kHalfBits);
    }
    return entry<kBits>(tables_ + group * kEntries * kLanes, word, group * kBits);
  }

  Row sum_groups_in_use(Word word) const {
    Row even = group_sum(word, 0);
    Row odd = Row::Zero();
    for (int g = 1; g + 1 < n_groups_; g += 2) {
      odd += group_sum(word, g);
      even += group_sum(word, g + 1);
    }
    if (n_groups_ % 2 == 0) odd += group_sum(word, n_groups_ - 1);
    return even + odd;
  }

  Scalar* rows_;
  Scalar* tables_;
  int n_groups_ = 0;
  bool halved_ = false;
};

template <typename Scalar, int kLanes>
void SubsetSums<Scalar, kLanes>::tabulate(int n_rows, Index n_sums) {
  n_groups_ = (n_rows + kBits - 1) / kBits;
  for (int k = n_rows; k < n_groups_ * kBits; ++k) row(k).setZero();
  // A halved table saves kEntries additions and costs one more per sum.
  halved_ = n_sums < kEntries;
  for (int g = 0; g < n_groups_; ++g) {
    if (halved_) {
      Scalar* low = tables_ + g * 2 * kHalfEntries * kLanes;
      tabulate_half(g * kBits, low);
      tabulate_half(g * kBits + kHalfBits, low + kHalfEntries * kLanes);
      continue;
    }
    alignas(64) Scalar low[kHalfEntries * kLanes];
    alignas(64) Scalar high[kHalfEntries * kLanes];
    tabulate_half(g * kBits, low);
    tabulate_half(g * kBits + kHalfBits, high);
    Scalar* table = tables_ + g * kEntries * kLanes;
    for (int h = 0; h < kHalfEntries; ++h) {
      for (int l = 0; l < kHalfEntries; ++l, table += kLanes) {
        map(table) = map(low + l * kLanes) + map(high + h * kLanes);
      }
    }
  }
}

template <typename Scalar, int kLanes>
template <typename WordOf, typename Use>
void SubsetSums<Scalar, kLanes>::for_each_sum(Index n_sums, const WordOf& word,
                                              const Use& use) const {
  if (n_groups_ == kGroups && !halved_) {
    constexpr std::make_integer_sequence<int, kGroups / 2 - 1> kPairs{};
    for (Index i = 0; i < n_sums; ++i) use(i, sum_all_groups(word(i), kPairs));
  } else {
    for (Index i = 0; i < n_sums; ++i) use(i, sum_groups_in_use(word(i)));
  }
}

}  // namespace convexrelu
