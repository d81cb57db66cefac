// Counts allocations where malloc can be wrapped: new, std::vector and Eigen all end there. To be
// included by one file of a program.
#pragma once

#include <cstdlib>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CONVEXRELU_COUNTS_ALLOCATIONS
#endif

struct Allocations {
  long count = 0;
  long bytes = 0;
};

inline Allocations so_far;

#ifdef CONVEXRELU_COUNTS_ALLOCATIONS
extern "C" void* __libc_malloc(std::size_t);
extern "C" void* malloc(std::size_t size) {
  ++so_far.count;
  so_far.bytes += static_cast<long>(size);
  return __libc_malloc(size);
}
#endif

// What `body` allocates; nothing where that cannot be counted.
template <typename Body>
Allocations allocations(const Body& body) {
  const Allocations before = so_far;
  body();
  return {so_far.count - before.count, so_far.bytes - before.bytes};
}
