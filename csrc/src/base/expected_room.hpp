// Address space for a large answer ahead of time: a buffer that grows there is not moved, and the system can
// back it by large pages, which halves what the first use of memory costs. Memory is used when it is
// written to. All of this is a wish: without it the buffer grows as it always does.
#pragma once

#include <cstddef>
#include <new>

#include "convexrelu/base/buffer.hpp"
#include "convexrelu/base/memory.hpp"

#if defined(__linux__)
#include <sys/mman.h>

#include <cstdint>
#endif

namespace convexrelu {
inline namespace base {

inline void prefer_large_pages([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr std::uintptr_t kPage = std::uintptr_t{2} << 20;
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t begin = (address + kPage - 1) / kPage * kPage;
  const std::uintptr_t end = (address + bytes) / kPage * kPage;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

// For an empty buffer that may grow to n elements.
template <typename T>
void make_expected_room(Buffer<T>& buffer, double n) {
  const double bytes = n * sizeof(T);
  if (bytes > available_memory() / 2) return;
  try {
    prefer_large_pages(buffer.room(static_cast<Index>(n)), static_cast<std::size_t>(bytes));
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace base
}  // namespace convexrelu
