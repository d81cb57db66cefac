// The active blocks at a point of the path, the linear system there, and the Taylor series around
// it. Notation as in path.hpp; the system and its series are those of docs/theory/path/path.md.
#pragma once

#include <algorithm>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/kkt/kkt_system.hpp"
#include "convexrelu/numeric/cone.hpp"
#include "convexrelu/program/problem.hpp"
#include "path/tolerances.hpp"

namespace convexrelu {
inline namespace path {

double horner(const double* c, Index stride, Index order, double x);

Vector horner(const Matrix& coefficients, double x);

// Of the polynomial with these coefficients.
Vector derivative(const Matrix& coefficients, double x);

// v minus what lies along the normals of the face, twice so that rounding is relative to the
// result.
template <typename Derived>
void project_out(const Face& face, Eigen::MatrixBase<Derived>&& v) {
  if (face.size() == 0) return;
  for (int pass = 0; pass < 2; ++pass) v -= face.q() * (face.q().transpose() * v).eval();
}

struct Member {
  Block block;
  double alpha;
  Face face;
};

// Taylor coefficients around mu0: column j holds those of h^j.
struct Series {
  Index order;
  Matrix z;      // (n, order + 1)
  Matrix alpha;  // (k, order + 1)
  Matrix c, p;   // (d k, order + 1), member after member: c_b and p_b
};

bool holds(const Face& face, Index row);

// tau with c + N_F tau in the span of the face: -R^-1 Q'c.
Matrix multipliers(const Face& face, const Matrix& c);

class ActiveSystem {
 public:
  ActiveSystem(const ScaledProblem& problem, int n_threads, Monitor& monitor);

  // The state. What else there is belongs to it once compute_point() was called.
  double& mu() { return mu_; }
  Vector& z() { return z_; }
  std::vector<Member>& members() { return members_; }
  double mu() const { return mu_; }
  const Vector& z() const { return z_; }
  const std::vector<Member>& members() const { return members_; }
  const Member& member(Index b) const { return members_[b]; }
  Member& member(Index b) { return members_[b]; }
  Index size() const { return static_cast<Index>(members_.size()); }

  const Matrix& c() const { return c_; }  // (d, k)
  const Matrix& p() const { return p_; }
  long n_factorisations() const { return n_factorisations_; }

  std::vector<Index> patterns() const;

  std::vector<Block> blocks() const;

  Vector alphas() const;

  // c (d, k) = A_b'z/n.
  void correlate(ConstVectorRef z, MatrixRef c) const;

  // And p, its projection onto the span of the face.
  void correlate(ConstVectorRef z, MatrixRef c, MatrixRef p) const;

  // sum_b A_b u_b, u (d, k).
  Vector combine(const Matrix& u) const;

  // A_b p for one block.
  Vector column(Block block, const Vector& p) const;

  // A_b p_b of all members (n, k).
  Matrix columns() const;

  void compute_point();

  // Of f_b = ||Proj_{K_b}(A_b'z/n)||, which is 1 while z = r/lam grows as lam falls.
  double rounding() const { return rounding_; }
  // Of sum_b alpha_b A_b p_b, relative to mu ||y||: as far as p_b = A_b'z/n is rounded it is from mu y - z. It is
  // along directions in which the objective is stationary.
  double fit_rounding() const { return fit_rounding_; }
  // A threshold, or rounding where that is more.
  double visible(double threshold) const { return std::max(threshold, rounding_); }
  // alpha, slacks and multipliers (of unit normals, relative to their scales) and 1 - f below this
  // are zero.
  double tight() const { return visible(kTight); }

  // False where the system is singular.
  bool factor();

  // J (dz, dalpha) = (g1, g2), with a step of refinement where an alpha is so small that it needs
  // one.
  void solve(const Vector& g1, const Vector& g2, Vector& dz, Vector& dalpha) const;

  // Newton's method with the factorisation at hand, as long as the residual falls to 0.3 of the last. Returns the
  // residual.
  double correct();

  // Factors, and brings the point to the path. False where the system is singular or too far off. Where
  // columns are nearly dependent the residual may rise before it falls; kMaxPatience bounds the loop.
  bool settle();

  Series start_series(int max_order) const;

  // H z_j + B alpha_j = [j = 1] mu0 y - sum_{0 < a < j} sum_b alpha_{b,a} A_b p_{b,j-a},
  // B'z_j = -(n/2) sum_{0 < a < j} p_{b,a} . p_{b,j-a}
  void extend(Series& s, Index order) const;

  // Up to here the terms left out are below kTruncation.
  static double radius(const Series& s);

  // How far the columns, scaled to unit length, are from dependent: the smallest diagonal entry of
  // their pivoted R. Rounding of alpha is that of z over it squared.
  double independence() const;

  // Moves alpha along dependences of the columns until they are independent (a vertex of the
  // optimal set): a member less each time.
  void make_independent(double dependent);

 private:
  const ScaledProblem& problem_;
  const double n_;
  const Index d_;
  const double y_norm_, x_norm_;
  const int n_threads_;
  Monitor& monitor_;
  KktSystem kkt_;

  double mu_ = 0.0;
  Vector z_;
  std::vector<Member> members_;
  Matrix c_, p_, directions_;
  double rounding_ = 0.0, fit_rounding_ = 0.0;
  bool refine_ = false;
  long n_factorisations_ = 0;
};

}  // namespace path
}  // namespace convexrelu
