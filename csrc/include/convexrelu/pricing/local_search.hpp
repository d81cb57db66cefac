// Local maxima of the price of a pattern, from many starts at once.
//
//   F(u) = r'(Xu)_+ / n    X (n, d), r (n), u (d);    wanted: max |F(u)| over ||u|| <= 1
//
// That maximum is max_b ||q_b|| over all activation patterns (problem.hpp), so a u with |F(u)| > lam is
// a pattern that improves a network whose residual is r. What is found here is a lower bound on the
// maximum and nothing more: it proves violation, never optimality.
//
//   ascent: u <- (1 - t) u + t c(u)/||c(u)||, normalised, c(u) = sum of r_k x_k over x_k.u > 0, so that
//           n F(u) = c(u).u; a step is kept only where F rises, t follows success and failure
//   polish: at a maximum u lies on kinks x_k.u = 0 of concave terms (r_k < 0), where F has many slopes;
//           the steepest ascent over all within reach is the shortest vector
//           c(u) + sum_A (tau_k - bit_k) r_k x_k over 0 <= tau <= 1, A the concave terms with |x_k.u| <=
//           delta ||x_k||. u moves there where that is uphill, else delta shrinks.
//
// Proportional rows are merged before anything else, so neither the order nor the multiplicity
// of rows matters, beyond rounding. docs/theory/pricing/local_search.md
#pragma once

#include <cstdint>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace pricing {

struct LocalMaximum {
  Vector direction;  // u (d), unit length
  int sign;          // of F(u)
  double value;      // |F(u)|
};

struct LocalSearchOptions {
  int n_steps = 20;        // of ascent
  Index n_polished = 50;   // of the best distinct points are polished
  Index n_results = 1000;  // at most, the best ones
  double distinct = 0.99;  // points of a sign with a larger cosine are one before the polish
  double floor = 0.0;      // only values above this are returned
  int n_threads = 1;
};

// m unit vectors (d, m), uniform on the sphere; a function of the seed alone.
Matrix random_directions(Index d, Index m, std::uint64_t seed);

class LocalSearch {
 public:
  // Finite X (n, d), which is copied. O(n d + n log n)
  explicit LocalSearch(ConstMatrixRef X, Monitor* monitor = nullptr);

  Index n_features() const { return d_; }
  // Unit normals (d, h) of the distinct hyperplanes of the rows, in an order of their own.
  const Matrix& normals() const { return normals_; }

  // Ascent of F and of -F from every start (d, m), then the polish; of maxima that agree to 1e-8 in
  // cosine one is returned. Descending in value. For finite r; the bits do not depend on n_threads.
  // Throws Stopped and what the monitor's interrupt throws.
  // Cost 8 m n_steps h d, in float32, and O(h d) for each of some tens of steps of a polish.
  std::vector<LocalMaximum> maximise(ConstVectorRef r, ConstMatrixRef starts,
                                     const LocalSearchOptions& options, Monitor& monitor) const;

 private:
  class Target;
  class Chunk;
  class Polisher;

  Index n_, d_;
  std::vector<Index> plane_;  // (n) the hyperplane of every row, -1 for a zero row
  Vector length_;             // (n) x_k = length_k normals_.col(plane_k), of either sign
  Matrix normals_;
  Eigen::MatrixXf normals32_, rows32_;  // (d, h), (h, d), with features of zeros behind
};

}  // namespace pricing
}  // namespace convexrelu
