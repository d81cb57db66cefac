// The whole test framework of the C++ tests: a test is a function, a failed CHECK says where
// and is counted, and main returns the count.
#pragma once

#include <cstdio>

inline int failed_checks = 0;

#define CHECK(condition)                                                        \
  do {                                                                          \
    if (!(condition)) {                                                         \
      ++failed_checks;                                                          \
      std::printf("%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition); \
    }                                                                           \
  } while (false)

// Runs one test function and names it when it fails.
inline void run(const char* name, void (*test)()) {
  const int before = failed_checks;
  test();
  std::printf("%s %s\n", failed_checks == before ? "passed" : "FAILED", name);
}

#define RUN(test) run(#test, test)
