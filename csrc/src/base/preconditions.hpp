// What the entries of the library check of their arguments, each in one way. All throw
// std::invalid_argument with the name of the argument, its wrong value and what would be right.
#pragma once

#include <cmath>
#include <string>

#include "convexrelu/base/error.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace base {

inline void require_finite(ConstMatrixRef values, const char* name) {
  if (!values.allFinite()) {
    throw_invalid(std::string(name) + " must be finite, but holds NaN or infinity");
  }
}

inline void require_positive(double value, const char* name) {
  if (!(value > 0.0 && std::isfinite(value))) {
    throw_invalid(std::string(name) + " must be a finite number > 0, got " + std::to_string(value));
  }
}

inline void require_not_negative(double value, const char* name) {
  if (!(value >= 0.0 && std::isfinite(value))) {
    throw_invalid(std::string(name) + " must be a finite number >= 0, got " +
                  std::to_string(value));
  }
}

inline void require_at_least(long least, long value, const char* name) {
  if (value < least) {
    throw_invalid(std::string(name) + " must be at least " + std::to_string(least) + ", got " +
                  std::to_string(value));
  }
}

inline void require_size(Index size, Index expected, const char* name, const char* what) {
  if (size != expected) {
    throw_invalid(std::string(name) + " has " + std::to_string(size) + " " + what + ", but X has " +
                  std::to_string(expected));
  }
}

// Empty, or finite, non-negative and not all zero.
inline void require_sample_weight(const Vector& sample_weight, Index n_samples) {
  if (sample_weight.size() == 0) return;
  require_size(sample_weight.size(), n_samples, "sample_weight", "entries");
  if (!(sample_weight.array() >= 0.0).all() || !sample_weight.allFinite()) {
    throw_invalid("sample_weight must be finite and non-negative");
  }
  if (!(sample_weight.array() > 0.0).any()) {
    throw_invalid("sample_weight must have a positive entry, but all are zero");
  }
}

}  // namespace base
}  // namespace convexrelu
