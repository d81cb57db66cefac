// Counts allocations where malloc can be wrapped: new, std::vector and Eigen all end there. To be
// included by one file of a program.
#pragma once

#include <cstdlib>

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CONVEXRELU_COUNTS_ALLOCATIONS
inline long n_allocations = 0;
extern "C" void* __libc_malloc(std::size_t);
extern "C" void* malloc(std::size_t size) {
  ++n_allocations;
  return __libc_malloc(size);
}

// How often `body` allocates; 0 where that cannot be counted.
template <typename Body>
long allocations(const Body& body) {
  const long before = n_allocations;
  body();
  return n_allocations - before;
}
#else
template <typename Body>
long allocations(const Body& body) {
  body();
  return 0;
}
#endif
