// What the core throws. Invalid arguments are std::invalid_argument, whose message
// names the argument, its wrong value and what would be right; memory that cannot be
// had is std::bad_alloc.
#pragma once

#include <stdexcept>
#include <string>

namespace convexrelu {
inline namespace base {

// A limit that the caller set (max_patterns, max_vertices, ...) does not suffice.
class LimitExceeded : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// float64 does not hold the accuracy that an answer needs. The message names what was attained.
class AccuracyError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void throw_invalid(const std::string& message) {
  throw std::invalid_argument(message);
}

}  // namespace base
}  // namespace convexrelu
