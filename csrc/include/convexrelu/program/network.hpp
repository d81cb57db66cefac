// Two-layer networks, and what they are in the convex program.
//
//   W_j (d), a_j   hidden weights and output weight of neuron j = 1..m
//   g_j (d)        its gate, in gated networks only
//
//   beta           intercept
//
//   f(x) = beta + sum_j a_j (W_j.x)_+   gated:  f(x) = beta + sum_j a_j 1[g_j.x >= 0] W_j.x
//
//   network problem:  (1/n) sum_k l(o_k + f(x_k), y_k) + lam/2 sum_j (||W_j||^2 + a_j^2)
//
// Only |a_j| W_j and the sign of a_j matter to f. Of all neurons with |a_j| W_j = u the balanced
// one, ||W_j|| = |a_j|, has the least penalty, lam ||u||. So a block w_b != 0 of the convex program
// is the neuron W = w_b/sqrt||w_b||, a = s sqrt||w_b|| (Pilanci & Ergen 2020), and a neuron is the
// vector |a_j| W_j in the block of its activation pattern and of the sign of a_j; gated, a_j W_j in
// the block of the pattern of its gate. The two objectives agree, except that neurons of one block
// that are not parallel have a lower one as a sum. docs/theory/program/network.md
#pragma once

#include <optional>
#include <vector>

#include "convexrelu/arrangement/patterns.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/program/solution.hpp"

namespace convexrelu {
inline namespace program {

// Immutable. Every method that returns a network leaves the function f as it is.
class Network {
 public:
  // hidden (m, d), output (m), gates (m, d) or none. Throws std::invalid_argument where shapes
  // differ or an entry is not finite.
  Network(Matrix hidden, Vector output, std::optional<Matrix> gates = std::nullopt,
          double intercept = 0.0);

  Index n_neurons() const { return hidden_.rows(); }
  Index n_features() const { return hidden_.cols(); }
  Formulation formulation() const { return gates_ ? Formulation::gated : Formulation::relu; }
  const Matrix& hidden() const { return hidden_; }
  const Vector& output() const { return output_; }
  const std::optional<Matrix>& gates() const { return gates_; }
  double intercept() const { return intercept_; }

  // f(X) (n), X (n, d) finite. Throws std::invalid_argument where it exceeds the range of float64.
  // 2 n d m flops (gated: twice that), 0.5 MB per thread; the bits do not depend on n_threads.
  Vector predict(ConstMatrixRef X, int n_threads, Monitor& monitor) const;

  // The objective of the network problem. With sample_weight v (n), or empty for equal weights, the
  // loss is 1/(sum v) sum_k v_k l(o_k + f(x_k), y_k), the offset o (n) or empty for none. Infinite where float64
  // cannot hold it. Throws std::invalid_argument where shapes differ or the loss has no such targets.
  double objective(ConstMatrixRef X, const Vector& y, double lam, const Vector& sample_weight,
                   int n_threads, Monitor& monitor, LossChoice loss = {},
                   const Vector& offset = Vector()) const;

  // ||W_j|| = |a_j| for all neurons; dead ones (W_j = 0 or a_j = 0) become zero. The objective does
  // not rise. A gated neuron keeps its gate.
  Network balance() const;

  // Fewer neurons: dead ones go, and those that add up to one become that one, balanced, in the
  // place of the first of them; the others stay as they are. relu: neurons with the same sign of
  // a_j whose directions W_j/||W_j|| are within tol of one of them, so that f(x) changes by at most
  // 2 tol ||x|| sum_j |a_j| ||W_j||. Gated: neurons with equal gates; tol has no effect. Apart from
  // that change the objective does not rise. O(m d + m log m) unless many directions nearly agree.
  Network merge(double tol = 1e-9) const;

  // Neuron j in its place becomes shares.size() parallel ones, whose penalties are in the
  // proportion of the shares (positive). The objective stays.
  Network split(Index neuron, const Vector& shares) const;

 private:
  Matrix hidden_;
  Vector output_;
  std::optional<Matrix> gates_;
  double intercept_;
};

// Throws std::invalid_argument, "`what` only; this network has intercept=...", unless that is zero.
void require_no_intercept(const Network& network, const char* what);

// The balanced network of a solution, a neuron per active block and its intercept, with the solution's fit
// (less the offset) and objective. Gated: throws std::invalid_argument where a gate does not give its pattern on the
// problem's X.
Network to_network(const Solution& solution, Monitor* monitor = nullptr);

// What a network is in the convex program on given data.
struct NetworkBlocks {
  Patterns patterns;              // the distinct ones of the neurons, in the order of first neurons
  std::vector<Block> active_set;  // (k) sorted by pattern, + before -
  Matrix weights;                 // (d, k)
};

// Neurons of one block add up; dead ones are left out, and so is the intercept. A neuron on a kink, W_j.x_k = 0, goes to the
// pattern that holds x_k. relu: the weights lie in their cones, to rounding.
NetworkBlocks to_blocks(const Network& network, ConstMatrixRef X, Monitor* monitor = nullptr);

}  // namespace program
}  // namespace convexrelu
