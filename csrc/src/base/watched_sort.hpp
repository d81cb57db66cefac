// std::sort() under a monitor.
#pragma once

#include <algorithm>
#include <iterator>

#include "convexrelu/base/monitor.hpp"

namespace convexrelu {
inline namespace base {

// Sorts pieces and merges them: what lies between two looks at the monitor takes a few milliseconds for a
// million elements. Elements that are equal may come in any order, as with std::sort().
template <typename Iterator, typename Less>
void watched_sort(Iterator first, Iterator last, const Less& less, Monitor* monitor) {
  using Size = typename std::iterator_traits<Iterator>::difference_type;
  constexpr Size kPiece = 1 << 13;
  const Size n = last - first;
  for (Size i = 0; i < n; i += kPiece) {
    keep_going(monitor);
    std::sort(first + i, first + std::min(i + kPiece, n), less);
  }
  for (Size size = kPiece; size < n; size *= 2) {
    for (Size i = 0; i + size < n; i += 2 * size) {
      keep_going(monitor);
      std::inplace_merge(first + i, first + (i + size), first + std::min(i + 2 * size, n), less);
    }
  }
}

}  // namespace base
}  // namespace convexrelu
