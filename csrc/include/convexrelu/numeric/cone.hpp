// Euclidean projection onto activation cones.
//
//   N      (d, h)  unit normals of the distinct hyperplanes of the data (hyperplanes.hpp)
//   sigma  (h)     side of every hyperplane the cone is on: +1, -1, or 0 for both (an equality)
//   K = {u : sigma_l n_l.u >= 0 where sigma_l != 0,  n_l.u = 0 where sigma_l = 0}
//   c, q   (d)     a point and its projection Proj_K(c)
//   F      (k)     a face of K: hyperplanes with independent normals on which n_l.q = 0
//   tau    (k)     multipliers of F: q = c + N_F tau, sigma_l tau_l >= 0
//
// q is the projection iff it lies in K, n_l.q = 0 on F and sigma_l tau_l >= 0 there (Moreau 1962).
// The method is the dual active-set method of Goldfarb & Idnani (1983), which for this problem
// keeps the signs of tau right and lets the most violated hyperplanes enter, so that
// ||c + N_F tau|| falls towards ||q|| and bounds it from above at every step. docs/theory/numeric/cone.md
#pragma once

#include <cstdint>
#include <vector>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

// A list of hyperplanes with independent normals and the factorisation N_F = Q R, Q (d, k)
// orthonormal, R (k, k) upper triangular. A value: keep one per block and hand it back to the next
// projection, which then costs one product N'q and O(d k). It belongs to one set of normals.
class Face {
 public:
  const std::vector<Index>& rows() const { return rows_; }
  Index size() const { return static_cast<Index>(rows_.size()); }

  Eigen::Ref<const Matrix> q() const { return q_.leftCols(size()); }
  // What stands below the diagonal is not part of it.
  Eigen::Ref<const Matrix> r() const { return r_.topLeftCorner(size(), size()); }

  // Orthonormal basis (d, d - k) of {u : n_l.u = 0 on F}. O(d^2 k)
  Matrix null_basis(Index d) const;

 private:
  friend class ConeProjector;

  struct Rotation {
    double cosine, sine;
  };

  static void rotate(Rotation rotation, double& x, double& y);
  void clear();
  void reserve(Index d, Index n_rows);
  // Adds n_row = Q coordinates + remainder, length = ||remainder|| > 0.
  void append(Index row, ConstVectorRef coordinates, ConstVectorRef remainder, double length);
  // Takes a row out. Coordinates (k) of a vector with respect to Q follow: the last of them is then
  // that along column k - 1 of q_, the direction which the span has lost. O(d k)
  void remove(Index position, VectorRef coordinates);

  std::vector<Index> rows_;
  Matrix q_;                         // the first k columns are Q, the others are reserve
  Matrix r_;                         // the leading (k, k) block is R
  long n_updates_ = 0;               // since the factorisation was made from scratch
  std::vector<Rotation> rotations_;  // scratch
};

struct Projection {
  Vector q;
  double norm = 0.0;                // ||q||, or an upper bound on it when stopped early
  std::vector<double> multipliers;  // tau, in the order of the face; none is zero or of wrong sign
  // The largest of: violation of K and lack of tightness on F, relative to ||q|| (or 1e-8 ||c||
  // where that is more); multipliers of the wrong sign and ||q - c - N_F tau||, relative to
  // ||c|| + sum |tau|. Measured on what is returned, by code that knows nothing of the iteration.
  // NaN where c is not finite.
  double kkt_error = 0.0;
  bool converged = false;      // kkt_error <= ConeProjector::kTolerance
  bool stopped_early = false;  // ||Proj_K(c)|| <= norm <= threshold is proven; q is no projection
  long n_steps = 0;            // rows that entered or left the face
};

// Projects onto cones over one set of hyperplanes. Owns its workspaces: one per thread.
class ConeProjector {
 public:
  static constexpr double kTolerance = 1e-12;

  // The normals (d, h) are not copied and must outlive the projector.
  explicit ConeProjector(const Matrix& normals);
  explicit ConeProjector(Matrix&& normals) = delete;

  // Proj_K(c). face: a guess on entry (any face of these hyperplanes), the face of q on return.
  // With a threshold >= 0 it ends as soon as ||Proj_K(c)|| <= threshold is proven. The result is
  // valid until the next call. A projection whose face grows no larger than it has been allocates
  // nothing. No exceptions: an accuracy that cannot be met shows in kkt_error.
  const Projection& project(ConstVectorRef c, const std::int8_t* sigma, Face& face,
                            double threshold = -1.0);

  // The same with a face that is only a list of rows, distinct and in [0, h); those that depend on
  // earlier ones are left out. Factoring a new one costs O(d k^2).
  const Projection& project(ConstVectorRef c, const std::int8_t* sigma, std::vector<Index>& rows,
                            double threshold = -1.0);

  // ||c + N_F tau|| without the multipliers of the wrong sign, plus what rounding can have taken
  // from it: an upper bound on ||Proj_K(c)|| for any rows and multipliers. O(d k)
  double norm_bound(ConstVectorRef c, const std::int8_t* sigma, const std::vector<Index>& rows,
                    const std::vector<double>& multipliers);

  // Replaces the rows of a face and factors them, leaving out those that depend on earlier ones.
  void factor(const std::vector<Index>& rows, Face& face);

 private:
  void iterate(const std::int8_t* sigma, Face& face, double threshold);
  void restore_signs(const std::int8_t* sigma, Face& face);
  void compute_multipliers(const Face& face);
  void compute_point(const Face& face);
  void find_candidates(const std::int8_t* sigma);
  bool enter_candidates(const std::int8_t* sigma, Face& face);
  bool enter(Index row, const std::int8_t* sigma, Face& face);
  void drop(Index position, Face& face);
  void count_step();
  void split(Index row, const Face& face);
  void orthogonalise(const Face& face);
  bool solve_dependence(const Face& face);
  double measure_kkt_error(const std::int8_t* sigma, const Face& face);

  const Matrix& normals_;
  const Matrix transposed_;  // (h, d), so that N'q runs along hyperplanes

  Vector c_;  // the point, scaled by a power of two to the order of 1
  double c_norm_ = 0.0;
  Vector q_;
  double q_norm_ = 0.0;
  std::vector<double> tau_;
  Vector slack_, violation_;  // (h) N'q, and how far it is on the wrong side
  double largest_violation_ = 0.0;

  // The entering normal n = Q coordinates + remainder = N_F solution + remainder.
  Vector coordinates_, remainder_, solution_;
  double length_ = 0.0;  // ||remainder||

  double tolerance_ = 0.0;  // violations up to this, relative to ||q||, are left
  long steps_left_ = 0;     // until the tolerance is doubled
  std::vector<Index> candidates_, rows_;
  Vector scratch_;
  Face face_;
  Projection result_;
};

}  // namespace numeric
}  // namespace convexrelu
