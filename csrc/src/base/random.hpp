// Random numbers that are the same on every machine; the distributions of the standard library are
// not.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace base {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  double uniform() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }  // in [0, 1)
  double sign() { return engine_() >> 63 ? 1.0 : -1.0; }
  Index below(Index n) {
    return std::min(n - 1, static_cast<Index>(uniform() * static_cast<double>(n)));
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace base
}  // namespace convexrelu
