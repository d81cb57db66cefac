// The set of all optima of the convex problem at one lam, as a polytope (Mishkin & Pilanci 2023,
// Corollary 4.1).
//
//   E           equicorrelation set: blocks with ||q_b|| = lam at the residual r of the optima
//   q   (d, k)  directions of the distinct neurons of E: equal q_b and sign are merged
//   Q   (n, k)  their activations A_b q_b
//   alpha (k)   a point: w_b = alpha_b q_b, the norm ||w_b|| is alpha_b lam
//
//   optima = {alpha >= 0 : Q alpha = fitted},   bounded: sum_b alpha_b = r'fitted / (n lam^2)
//
// In relu problems a neuron on the boundary of its cone belongs to the neighbouring pattern too,
// with the same q_b: one neuron, several blocks. Gated ones are merged where pattern and gate are
// equal.
//
// Data are often tied to within rounding only: a table printed with nine decimals, columns in float32. A
// tie tolerance, one for each set, says which directions are one neuron, which columns of Q depend on
// each other and which coordinates are zero; it lies between what rounding leaves of ties and what is
// real, and the set is that of a nearby problem in which the ties are exact. tie_error() says how near.
// Every point is checked against Q alpha = fitted of the problem as it is before it is returned.
//
// The support S holds the neurons that are active in some optimum. On it the polytope has interior
// points, and its dimension is |S| - rank Q_S. docs/theory/optimal_set/optimal_set.md
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/numeric/simplex.hpp"
#include "convexrelu/optimal_set/options.hpp"
#include "convexrelu/program/solution.hpp"

namespace convexrelu {
inline namespace optimal_set {

struct Equicorrelation;

// Immutable. Points alpha (k) are in the caller's units, in the order of blocks().
class OptimalSet {
 public:
  const Problem& problem() const { return solution_.problem; }
  double lam() const { return solution_.lam; }
  // One optimum, to the accuracy that the set needs.
  const Solution& solution() const { return solution_; }

  Index size() const { return directions_.cols(); }                          // k
  const std::vector<Block>& blocks() const { return blocks_; }               // one for each neuron
  const std::vector<std::vector<Block>>& merged() const { return merged_; }  // all of them
  const Matrix& directions() const { return directions_; }                   // (d, k)
  Matrix Q() const;                                                          // (n, k)

  Index dimension() const { return static_cast<Index>(support_.size()) - polytope_.rank(); }
  // The convex problem has one optimum: one point, none of whose neurons can be shared by blocks.
  bool is_unique() const;
  // Up to permutation and splitting of neurons there is one optimal network.
  bool is_p_unique() const { return dimension() == 0; }
  // The set is that of all activation patterns of the data.
  bool is_complete() const { return is_complete_; }
  // How far this is from the set of a problem with exact ties: the largest of the misses of ||q_b|| = lam,
  // relative to lam, of the distances between merged directions, relative to lam, and of the misfits
  // ||Q alpha - fitted||, relative to ||y||, at the vertices that were met. At most 1e-8; some 1e-12
  // and less is rounding.
  double tie_error() const { return std::max(tie_error_, misfit_); }
  const std::vector<Index>& support() const { return support_; }      // ascending
  const std::vector<Index>& necessary() const { return necessary_; }  // active in every optimum

  // A point that minimises cost.alpha, a vertex. A linear program of |S| variables.
  Vector minimize(ConstVectorRef cost, Monitor& monitor) const;
  // The least and the largest ||w_b|| over all optima. 2 |S| linear programs.
  std::pair<Vector, Vector> norm_bounds(Monitor& monitor) const;
  // A vertex with the fewest neurons, proven: from the list of vertices where it is short, by branch and
  // bound where it is not. Throws LimitExceeded, saying what is known, where the monitor ends it.
  Vector smallest(Monitor& monitor) const;
  // The one point of least ||alpha||.
  Vector min_norm(Monitor& monitor) const;
  // A point that minimises ||F alpha - target||, F (m, k).
  Vector best_for(ConstMatrixRef F, ConstVectorRef target, Monitor& monitor) const;
  // All vertices (v, k). Throws LimitExceeded when there are more than max_vertices.
  Matrix vertices(Index max_vertices, Monitor& monitor) const;
  // Points (size, k), approximately uniform on the polytope: hit-and-run.
  Matrix sample(Index size, std::uint64_t seed, Monitor& monitor) const;

  // F (m, k): what neuron b adds to the prediction at row x of X_new with alpha_b = 1.
  Matrix outputs(ConstMatrixRef X_new, Monitor& monitor) const;
  // The least and the largest prediction (m) over all optimal networks. Two linear programs a row,
  // each from the vertex where the last one ended.
  std::pair<Vector, Vector> prediction_range(ConstMatrixRef X_new, Monitor& monitor) const;

  // The optimum at a point. Throws std::invalid_argument when it is not in the set.
  Solution solution_at(ConstVectorRef alpha) const;
  // Whether a solution, of whatever problem on these data, is one of the set, to tol.
  bool contains(const Solution& solution, double tol = 1e-7) const;
  // The point nearest to a solution on these data that need not be an optimum, each of its weights
  // w_j taken for a multiple of the neuron that is closest to it; and its distance, the root of the sum of
  // all ||w_j - its multiple||^2 and lam^2 ||alpha - the multiples||^2, relative to sum_j ||w_j||.
  std::pair<Vector, double> nearest(const Solution& solution, Monitor& monitor) const;

 private:
  friend OptimalSet find_optimal_set(const Solution&, const OptimalSetOptions&, Monitor&);
  OptimalSet(Solution solution, const Equicorrelation& active, double tight, double tie,
             bool is_complete, Monitor& monitor);

  Vector coordinates(const Solution& other, double& off) const;
  void find_neurons(const Equicorrelation& active, double tight, Monitor& monitor);
  void find_support(Monitor& monitor);
  void note_pivots(const Simplex& simplex);
  double misfit(ConstVectorRef alpha) const;
  bool is_member(ConstVectorRef alpha) const;
  Vector checked(Vector alpha) const;
  Vector nearest_point(Matrix F, Vector target, Monitor& monitor) const;
  Vector vertex(const Simplex& walk, const Matrix& columns, Monitor& monitor) const;
  Vector vertex(const Simplex& walk, Monitor& monitor) const {
    return vertex(walk, support_Q_, monitor);
  }
  Vector on_support(ConstVectorRef v) const;
  Vector from_support(ConstVectorRef v) const;

  Solution solution_;
  bool is_complete_;
  std::vector<Block> blocks_;
  std::vector<std::vector<Block>> merged_;
  Matrix directions_;
  std::vector<Index> support_, necessary_;
  double tie_;                // the tie tolerance
  bool is_separated_ = true;  // nothing that was met is near the tolerance
  double tie_error_ = 0.0, misfit_ = 0.0;
  Matrix scaled_Q_;   // (n', k) in the units of alpha of the caller, rows as in ScaledProblem
  Matrix support_Q_;  // (n', |S|) its columns of the support
  Vector fitted_;     // (n') of the solution
  Vector interior_;   // (|S|) a point all of whose entries are positive
  Simplex polytope_;  // over the support, at a vertex
};

// The set that a solution belongs to, over the patterns of its problem, or over all of the data. A
// solution that is stationary to more than tol is solved further first; throws AccuracyError,
// naming what was attained, where that is not enough, or where the data have near ties that no tolerance
// separates from what is real. Cost: one scan of all blocks (blocks_above),
// O(n |E|^2) and |E| linear programs.
//
// all_patterns: branch and bound (pricing.hpp) lists every cell of the arrangement with ||q_b|| close to
// lam or above; what is above joins the problem, which is solved again, until nothing is. The set's
// problem is the given one and all blocks of E. Throws std::invalid_argument for gated problems and
// above rank 20, and Stopped, never a part of the set.
OptimalSet find_optimal_set(const Solution& solution, const OptimalSetOptions& options,
                            Monitor& monitor);

}  // namespace optimal_set
}  // namespace convexrelu
