// Counting and finding bits of 64-bit words, and asking for them early.
#pragma once

#include <cstdint>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

namespace convexrelu {
inline namespace base {

inline int count_bits(std::uint64_t word) {
#if defined(_MSC_VER)
  return static_cast<int>(__popcnt64(word));
#else
  return __builtin_popcountll(word);
#endif
}

// Position of the lowest bit that is set; word != 0.
inline int lowest_bit(std::uint64_t word) {
#if defined(_MSC_VER)
  unsigned long position;
  _BitScanForward64(&position, word);
  return static_cast<int>(position);
#else
  return __builtin_ctzll(word);
#endif
}

// A hint that memory will be read soon; it may lie anywhere.
inline void prefetch(const void* at) {
#if defined(_MSC_VER)
  static_cast<void>(at);
#else
  __builtin_prefetch(at);
#endif
}

}  // namespace base
}  // namespace convexrelu
