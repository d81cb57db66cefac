// The convex training problem over a set of activation patterns (Pilanci & Ergen 2020;
// Mishkin & Pilanci 2023):
//
//   minimise over w_b in K_b, beta:   (1/n) sum_k l(f_k, y_k) + lam sum_b ||w_b||_2
//
//   f = o + beta + sum_b A_b w_b   offset (given), intercept (unpenalised, if asked for) and network
//   l                       a loss (loss.hpp); (f - y)^2/2 unless another is asked for
//   A_b = s D_i X   (n, d)  columns of block b = (i, s)
//   K_b             (d)     relu: {u : (2 D_i - I) X u >= 0};  gated: R^d
//   g               (n)     -l'(f): the residual y - f for the squared loss
//   c_b = A_b' g/n  (d)     correlation
//   q_b = Proj_{K_b}(c_b)   direction. w is optimal iff q_b = lam w_b/||w_b|| where w_b != 0,
//                           ||q_b|| <= lam elsewhere and, with an intercept, sum g = 0; w = 0 is iff
//                           lam >= lambda_max = max_b ||q_b|| where w = 0
//
// With sample weights v the loss is (1/sum v) sum_k v_k l(f_k, y_k); the cones keep the unweighted rows,
// and a row of weight 0 is left out of both: what is fitted there is what the network predicts, which needs
// not be s D_i x_k.w_b.
#pragma once

#include <memory>
#include <vector>

#include "convexrelu/arrangement/hyperplanes.hpp"
#include "convexrelu/arrangement/patterns.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/numeric/cone.hpp"
#include "convexrelu/numeric/mask_product.hpp"
#include "convexrelu/program/loss.hpp"

namespace convexrelu {
inline namespace program {

// What is fitted to the targets beside the blocks, and how it is judged.
struct Model {
  LossChoice loss;
  bool fit_intercept = false;
  Vector offset;  // (n), or empty for none
};

// The problem in the units in which it is solved: rows of weight 0 left out, X divided by a power of two so
// that its largest entry lies in [1, 2), and y, offset and delta by another where the loss is homogeneous
// (squared, huber). The weights v_k n / sum v belong to the loss; those of the squared loss are in the rows of
// X and y, which are multiplied by their roots. What is fitted is counted from the best fit without the
// network, offset and intercept (base). Everything below n_samples() etc. refers to these rows.
class ScaledProblem {
 public:
  ScaledProblem(const Matrix& X, const Vector& y, const Vector& sample_weight,
                const Patterns& patterns, Formulation formulation, Monitor* monitor = nullptr,
                const Model& model = {});

  // The products refer to the masks.
  ScaledProblem(const ScaledProblem&) = delete;
  ScaledProblem& operator=(const ScaledProblem&) = delete;

  Index n_samples() const { return X_.rows(); }
  Index n_features() const { return X_.cols(); }
  Index n_patterns() const { return masks_.n_cols(); }
  Formulation formulation() const { return formulation_; }
  const Matrix& X() const { return X_; }
  const Loss& loss() const { return *loss_; }
  // g where all weights are zero; of the squared loss the targets, less the base.
  const Vector& y() const { return null_.g; }
  // u = 0 and g there.
  const FitPoint& null_point() const { return null_; }
  // The unpenalised column (n), positive; empty without an intercept.
  const Vector& free_column() const { return free_column_; }
  bool has_intercept() const { return free_column_.size() > 0; }
  const MaskProduct& products() const { return *products_; }
  const Hyperplanes& hyperplanes() const { return hyperplanes_; }

  // lam, weights and objective in the caller's units are those here times lam_unit(),
  // weight_unit() and y_unit()^2, all powers of two.
  double lam_unit() const { return X_unit_ * y_unit_; }
  double weight_unit() const { return y_unit_ / X_unit_; }
  double X_unit() const { return X_unit_; }
  double y_unit() const { return y_unit_; }

  // A lam of the caller in the units here: exact, but cut off far beyond any lambda_max, and 0 where
  // a double cannot hold it.
  double scaled_lam(double lam) const;

  // Whether doubles can hold lambda_max, weights and objective in the caller's units.
  bool in_range() const;

  // The original row of each row here, and the factor of its rows of X, sqrt(v_k n / sum v) for the squared
  // loss and 1 for others.
  const std::vector<Index>& rows() const { return rows_; }
  const Vector& row_factors() const { return row_factors_; }

  // Between -l' over the caller's samples, in the units of y, and g over the rows here. Samples of weight zero
  // are left out, and come back as zeros.
  Vector to_scaled(const Vector& v) const;
  Vector from_scaled(const Vector& v) const;
  // Where the caller's problem, of these targets, fits f (n).
  FitPoint to_point(const Vector& y, const Vector& f) const;

  // The caller's intercept, and what is added to the base here.
  double to_intercept(double beta) const { return base_intercept_ + y_unit_ * beta; }
  double from_intercept(double intercept) const { return (intercept - base_intercept_) / y_unit_; }

  // g <- a feasible point but for the norms ||q_b||: in the domain of the loss and, with an intercept, of sum
  // zero. The sum is mended by making the heavier of the positive and the negative entries smaller, which
  // leaves them in the domain.
  void make_feasible(Vector& g) const;

  // The dual objective at the best multiple of g (n) that is feasible, given max_b ||q_b|| at g, which
  // make_feasible() has seen. That norm is taken for larger by what rounding can have taken from it, 8 units in
  // the last place of ||g|| ||X|| / n; sums are in extended precision.
  double dual_value(const Vector& g, double lam, double largest_norm) const;

  // columns <- s_b D_b columns, columns (n, any).
  void apply_mask(Block block, MatrixRef columns) const;

  // |D_i and D_j| / n over the listed patterns (k, k).
  Matrix overlaps(const std::vector<Index>& patterns, Monitor* monitor = nullptr) const;

  // sigma (n_hyperplanes): the side of every hyperplane on which the cone of a pattern lies; 0
  // where its bits ask for both sides (then the cone lies in the hyperplane).
  void cone_signs(Index pattern, std::int8_t* sigma) const;

 private:
  void make_base(const Model& model);

  Formulation formulation_;
  Index n_callers_samples_;
  double X_unit_ = 1.0, y_unit_ = 1.0;
  std::vector<Index> rows_;
  Vector row_factors_, g_factors_;
  Matrix X_;
  std::unique_ptr<Loss> loss_;
  FitPoint null_;
  Vector free_column_;
  Vector base_;  // (n) in the units here, without row factors
  double base_intercept_ = 0.0;
  double X_norm_;  // Frobenius
  BitMatrix masks_;
  std::unique_ptr<MaskProduct> products_;
  Hyperplanes hyperplanes_;
};

// Projects onto the cones of a problem: the identity where there are none. Owns the work space
// of one thread.
class BlockProjector {
 public:
  explicit BlockProjector(const ScaledProblem& problem);

  // q = Proj_{K_b}(x), x (d). face: in a guess, out the face of q. Returns ||q||.
  double project(Block block, ConstVectorRef x, Face& face, VectorRef q);

  // ||Proj_{K_b}(x)||, or any upper bound on it that is at most floor. (Where the projection
  // does not converge, an upper bound: what is shown to be feasible with it, is.)
  double norm_above(Block block, ConstVectorRef x, double floor);

 private:
  void face_cone(Index pattern);

  const ScaledProblem& problem_;
  ConeProjector cones_;
  std::vector<std::int8_t> signs_;  // of the cone of pattern signs_of_
  Index signs_of_ = -1;
  Face scratch_face_;
};

struct BlockNorm {
  Block block;
  double norm;  // ||q_b||
};

// All blocks with ||q_b|| > floor at the residual r (n), in the order of patterns, + before -.
// Cost 2 n d P and a projection for every block with ||c_b|| > floor.
std::vector<BlockNorm> blocks_above(const ScaledProblem& problem, ConstVectorRef r, double floor,
                                    int n_threads, Monitor& monitor);

// max_b ||q_b|| at the residual r, or floor where none is above it. Projects only the blocks that
// could hold the maximum.
double largest_norm(const ScaledProblem& problem, ConstVectorRef r, double floor, int n_threads,
                    Monitor& monitor);

// Immutable; copies share the data.
class Problem {
 public:
  // sample_weight (n) or empty for equal weights. Throws std::invalid_argument when shapes differ, an entry is
  // not finite, the loss has no such targets, or no intercept is best where the network is zero: all labels
  // equal, all counts zero. O(n (d log n + P)).
  Problem(Matrix X, Vector y, Patterns patterns, Formulation formulation,
          Vector sample_weight = Vector(), Monitor* monitor = nullptr, Model model = {});

  const Matrix& X() const;
  const Vector& y() const;
  const Vector& sample_weight() const;  // empty: equal weights
  const Patterns& patterns() const;
  Formulation formulation() const;
  const Model& model() const;
  Index n_samples() const { return X().rows(); }
  Index n_features() const { return X().cols(); }
  Index n_patterns() const;
  Index n_blocks() const;
  bool is_complete() const;  // the patterns are complete for this very X

  // The smallest lam whose optimum is 0. Computed once, at the first call.
  double lambda_max(Monitor& monitor) const;
  double lambda_max() const;

  const ScaledProblem& scaled() const;

 private:
  struct Data;
  std::shared_ptr<const Data> data_;
};

// Throws std::invalid_argument, "`what` only; this problem has ...", unless the problem is of the squared loss
// without intercept and offset.
void require_squared(const Problem& problem, const char* what);

}  // namespace program
}  // namespace convexrelu
