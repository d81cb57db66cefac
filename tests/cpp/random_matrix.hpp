// Random data of the C++ tests.
#pragma once

#include <random>

#include "convexrelu/base/types.hpp"

namespace convexrelu {

using Rng = std::mt19937_64;

// Whole numbers from -2 to 2 (ties, repeated, opposite and zero rows) or Gaussian.
inline Matrix random_matrix(Rng& rng, bool whole, Index rows, Index cols) {
  std::normal_distribution<double> normal;
  Matrix matrix(rows, cols);
  for (double& entry : matrix.reshaped()) {
    entry = whole ? static_cast<double>(rng() % 5) - 2.0 : normal(rng);
  }
  return matrix;
}

}  // namespace convexrelu
