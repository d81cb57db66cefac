// Removing neurons: as many as possible without a change of the fit, then the least harmful ones.
//
//   z_b = A_b w_b   (n)   activation of neuron b = 1..k, scaled by beta_b >= 0, 1 at the start
//   p_b             penalty of neuron b: ||w_b||, of a network's neuron (||W||^2 + a^2)/2
//
// Exact steps (Mishkin & Pilanci 2023, Algorithm 1): while activations depend on each other, sum
// nu_b z_b = 0, the betas move along nu until one is zero, in the direction in which sum beta_b p_b
// does not rise. The fit stays, and at an optimum the penalty too; what is left has independent
// activations, at most n neurons, and is a vertex of the optimal set. One dictionary for all steps
// (simplex.hpp).
//
// Approximate steps (the paper's appendix): the neuron with the lowest score is expressed by the
// others in least squares, and the same update is taken along those coefficients and its own, -1.
// Without the correction it is simply left out. docs/theory/optimal_set/pruning.md
#pragma once

#include <cstdint>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/program/network.hpp"
#include "convexrelu/program/solution.hpp"

namespace convexrelu {
inline namespace optimal_set {

enum class PruningScore {
  magnitude,   // ||w_b||
  activation,  // ||z_b||
  gradient,    // ||w_b o A_b' r / n||^2, entry by entry, r the residual
  residual,    // what the other neurons leave of z_b in least squares
  random,
};

struct PruningOptions {
  Index n_neurons = -1;  // stop as soon as there are no more than this; -1: exact steps only
  PruningScore score = PruningScore::residual;
  bool correct = true;     // false: no exact steps, no correction
  std::uint64_t seed = 0;  // of random scores
};

struct PruningStep {
  Index removed;     // which neuron, as numbered in what was given
  Index n_neurons;   // that are left
  double objective;  // NaN where y or lam is not known
  bool is_exact;     // the fit stayed
};

struct PrunedSolution {
  Solution solution;  // Status::pruned after an approximate step
  std::vector<PruningStep> history;
};

struct PrunedNetwork {
  Network network;
  std::vector<PruningStep> history;
};

// O(n k^2) for all exact steps together, O(k^3) for an approximate one.
PrunedSolution prune(const Solution& solution, const PruningOptions& options, Monitor& monitor);

// The same for a network from anywhere, on data X. y (n), or empty if there is none, and lam >= 0,
// or NaN, are for the objective in the history; the gradient score needs y. Neurons keep their
// directions: their weights are scaled by sqrt(beta). Throws std::invalid_argument where shapes
// differ or |a_j| ||W_j|| exceeds the range of float64.
PrunedNetwork prune(const Network& network, ConstMatrixRef X, const Vector& y, double lam,
                    const PruningOptions& options, Monitor& monitor);

}  // namespace optimal_set
}  // namespace convexrelu
