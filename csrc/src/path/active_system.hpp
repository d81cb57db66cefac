// The active blocks at a point of the path, the linear system there, and the Taylor series around
// it. Notation as in path.hpp; the system and its series are those of docs/theory/path/path.md.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/kkt/kkt_system.hpp"
#include "convexrelu/numeric/cone.hpp"
#include "convexrelu/program/problem.hpp"
#include "numeric/pivots.hpp"

namespace convexrelu {
inline namespace path {

inline double horner(const double* c, Index stride, Index order, double x) {
  double sum = 0.0;
  for (Index k = order; k >= 0; --k) sum = sum * x + c[k * stride];
  return sum;
}

inline Vector horner(const Matrix& coefficients, double x) {
  Vector sum = coefficients.col(coefficients.cols() - 1);
  for (Index k = coefficients.cols() - 2; k >= 0; --k) sum = sum * x + coefficients.col(k);
  return sum;
}

// Of the polynomial with these coefficients.
inline Vector derivative(const Matrix& coefficients, double x) {
  Vector sum = Vector::Zero(coefficients.rows());
  for (Index k = coefficients.cols() - 1; k >= 1; --k) {
    sum = sum * x + static_cast<double>(k) * coefficients.col(k);
  }
  return sum;
}

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

inline bool holds(const Face& face, Index row) {
  return std::find(face.rows().begin(), face.rows().end(), row) != face.rows().end();
}

// tau with c + N_F tau in the span of the face: -R^-1 Q'c.
inline Matrix multipliers(const Face& face, const Matrix& c) {
  if (face.size() == 0) return Matrix(0, c.cols());
  Matrix tau = -(face.q().transpose() * c);
  face.r().triangularView<Eigen::Upper>().solveInPlace(tau);
  return tau;
}

class ActiveSystem {
 public:
  ActiveSystem(const ScaledProblem& problem, int n_threads, Monitor& monitor)
      : problem_(problem),
        n_(static_cast<double>(problem.n_samples())),
        d_(problem.n_features()),
        y_norm_(problem.y().norm()),
        x_norm_(problem.X().norm()),
        n_threads_(n_threads),
        monitor_(monitor),
        kkt_(problem, KktSystem::Form::direct) {}

  // The state. What else there is belongs to it once compute_point() was called.
  double& mu() { return mu_; }
  Vector& z() { return z_; }
  std::vector<Member>& members() { return members_; }
  double mu() const { return mu_; }
  const Vector& z() const { return z_; }
  const std::vector<Member>& members() const { return members_; }
  const Member& member(Index b) const { return members_[static_cast<std::size_t>(b)]; }
  Member& member(Index b) { return members_[static_cast<std::size_t>(b)]; }
  Index size() const { return static_cast<Index>(members_.size()); }

  const Matrix& c() const { return c_; }  // (d, k)
  const Matrix& p() const { return p_; }
  long n_factorisations() const { return n_factorisations_; }

  std::vector<Index> patterns() const {
    std::vector<Index> result;
    for (const Member& m : members_) result.push_back(m.block.pattern);
    return result;
  }

  std::vector<Block> blocks() const {
    std::vector<Block> result;
    for (const Member& m : members_) result.push_back(m.block);
    return result;
  }

  Vector alphas() const {
    Vector result(size());
    for (Index b = 0; b < size(); ++b) result(b) = member(b).alpha;
    return result;
  }

  // c (d, k) = A_b'z/n.
  void correlate(ConstVectorRef z, MatrixRef c) const {
    if (size() == 0) return;
    problem_.products().correlate(z, patterns(), c, n_threads_, &monitor_);
    for (Index b = 0; b < size(); ++b) c.col(b) *= member(b).block.sign / n_;
  }

  // And p, its projection onto the span of the face.
  void correlate(ConstVectorRef z, MatrixRef c, MatrixRef p) const {
    correlate(z, c);
    for (Index b = 0; b < size(); ++b) {
      p.col(b) = c.col(b);
      project_out(member(b).face, p.col(b));
    }
  }

  // sum_b A_b u_b, u (d, k).
  Vector combine(const Matrix& u) const {
    Vector sum = Vector::Zero(problem_.n_samples());
    if (size() == 0) return sum;
    Matrix signed_u = u;
    for (Index b = 0; b < size(); ++b) {
      signed_u.col(b) *= member(b).block.sign;
    }
    problem_.products().forward(patterns(), signed_u, sum, n_threads_, &monitor_);
    return sum;
  }

  // A_b p for one block.
  Vector column(Block block, const Vector& p) const {
    Vector result = problem_.X() * p;
    problem_.apply_mask(block, result);
    return result;
  }

  // A_b p_b of all members (n, k).
  Matrix columns() const {
    Matrix result(z_.size(), size());
    for (Index b = 0; b < size(); ++b) result.col(b) = column(member(b).block, p_.col(b));
    return result;
  }

  void compute_point() {
    c_.resize(d_, size());
    p_.resize(d_, size());
    correlate(z_, c_, p_);
    rounding_ = kEpsilon * x_norm_ * z_.norm() / n_;
    fit_rounding_ = rounding_ * x_norm_ * alphas().sum() / (mu_ * y_norm_);
  }

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
  bool factor() {
    compute_point();
    directions_ = p_.colwise().normalized();
    if (!directions_.allFinite()) return false;
    const double scale = size() > 0 ? alphas().maxCoeff() : 0.0;
    refine_ = false;
    std::vector<KktSystem::Member> members;
    for (Index b = 0; b < size(); ++b) {
      const Member& m = member(b);
      const double alpha = m.alpha > 1e-14 * scale ? m.alpha : 0.0;
      refine_ = refine_ || (alpha > 0.0 && alpha < kSmallAlpha * scale);
      members.push_back({m.block, alpha, 0.0, directions_.col(b).data(), &m.face});
    }
    ++n_factorisations_;
    return kkt_.factor(members, n_threads_, monitor_);
  }

  // J (dz, dalpha) = (g1, g2), with a step of refinement where an alpha is so small that it needs
  // one.
  void solve(const Vector& g1, const Vector& g2, Vector& dz, Vector& dalpha) const {
    dz.resize(problem_.n_samples());
    dalpha.resize(size());
    kkt_.solve(g1, g2, dz, dalpha, refine_ ? kRefined : kNotRefined, monitor_);
  }

  // Newton's method with the factorisation at hand, as long as the residual falls to 0.3 of the last. Returns the
  // residual.
  double correct() {
    for (double last = kInfinity;;) {
      const Vector g1 = mu_ * problem_.y() - z_ - combine(p_ * alphas().asDiagonal());
      const Vector norms = p_.colwise().norm().transpose();
      const Vector g2 = 0.5 * n_ * (1.0 - norms.array().square()) / norms.array();
      const double residual = std::max(g1.norm() / (mu_ * y_norm_),
                                       size() > 0 ? g2.lpNorm<Eigen::Infinity>() / n_ : 0.0);
      if (std::isnan(residual)) return kInfinity;
      if (residual <= kConverged || !(residual < 0.3 * last)) return residual;
      last = residual;
      Vector dz, dalpha;
      dz.resize(z_.size());
      dalpha.resize(size());
      kkt_.solve(g1, g2, dz, dalpha, kRefined, monitor_);
      z_ += dz;
      for (Index b = 0; b < size(); ++b) member(b).alpha += dalpha(b);
      compute_point();
    }
  }

  // Factors, and brings the point to the path. False where the system is singular or too far off. Where
  // columns are nearly dependent the residual may rise before it falls; kMaxPatience bounds the loop.
  bool settle() {
    for (int patience = kMaxPatience;; --patience) {
      if (!factor()) return false;
      const double residual = correct();
      const double rounding = visible(fit_rounding_);
      if (residual <= std::max(kSettled, rounding)) return true;
      if (patience == 0 || !(residual < kTooFar)) return residual <= std::max(kAccepted, rounding);
    }
  }

  Series start_series(int max_order) const {
    const Index columns = max_order + 1;
    Series s{0, Matrix(problem_.n_samples(), columns), Matrix(size(), columns),
             Matrix(d_ * size(), columns), Matrix(d_ * size(), columns)};
    s.z.col(0) = z_;
    s.alpha.col(0) = alphas();
    s.c.col(0) = c_.reshaped();
    s.p.col(0) = p_.reshaped();
    return s;
  }

  // H z_j + B alpha_j = [j = 1] mu0 y - sum_{0 < a < j} sum_b alpha_{b,a} A_b p_{b,j-a},
  // B'z_j = -(n/2) sum_{0 < a < j} p_{b,a} . p_{b,j-a}
  void extend(Series& s, Index order) const {
    for (Index j = s.order + 1; j <= order; ++j) {
      Vector g1 = Vector::Zero(z_.size());
      Vector g2 = Vector::Zero(size());
      if (j == 1) {
        g1 = mu_ * problem_.y();
      } else if (size() > 0) {
        Matrix u = Matrix::Zero(d_, size());
        for (Index b = 0; b < size(); ++b) {
          for (Index a = 1; a < j; ++a) {
            const auto other = s.p.col(j - a).segment(b * d_, d_);
            u.col(b) += s.alpha(b, a) * other;
            g2(b) += s.p.col(a).segment(b * d_, d_).dot(other);
          }
        }
        g1 = -combine(u);
        g2 *= -0.5 * n_;
      }
      Vector z, alpha;
      solve(g1, g2, z, alpha);
      s.z.col(j) = z;
      s.alpha.col(j) = alpha;
      correlate(z, Eigen::Map<Matrix>(s.c.col(j).data(), d_, size()),
                Eigen::Map<Matrix>(s.p.col(j).data(), d_, size()));
    }
    s.order = std::max(s.order, order);
  }

  // Up to here the terms left out are below kTruncation.
  static double radius(const Series& s) {
    double reach = kLongestStep;
    for (const Matrix* x : {&s.z, &s.alpha}) {
      if (x->rows() == 0) continue;
      const double size = std::max(x->col(0).norm(), x->col(1).norm());
      for (Index k = s.order - 1; k <= s.order; ++k) {
        const double term = x->col(k).norm();
        if (term > 0.0) {
          reach =
              std::min(reach, std::pow(kTruncation * size / term, 1.0 / static_cast<double>(k)));
        }
      }
    }
    return reach;
  }

  // How far the columns, scaled to unit length, are from dependent: the smallest diagonal entry of
  // their pivoted R. Rounding of alpha is that of z over it squared.
  double independence() const {
    if (size() == 0) return 1.0;
    if (size() > z_.size()) return 0.0;
    Matrix units = columns().colwise().normalized();
    const PivotedQr qr = factor_pivoted_qr(units, 0.0, size(), &monitor_);
    return qr.rank < size() ? 0.0 : std::abs(units(size() - 1, size() - 1));
  }

  // Unit columns whose remainder is below this are dependent.
  static constexpr double kDependent = 1e-9;

  // Moves alpha along dependences of the columns until they are independent (a vertex of the
  // optimal set): a member less each time.
  void make_independent(double dependent) {
    while (size() > 0) {
      Matrix unit = columns();
      const Vector lengths = unit.colwise().norm().transpose();
      unit.colwise().normalize();
      const PivotedQr qr = factor_pivoted_qr(unit, dependent, size(), &monitor_);
      const Index rank = qr.rank;
      if (rank == size()) return;
      Vector in_order = Vector::Zero(size());
      in_order.head(rank) = -unit.topLeftCorner(rank, rank)
                                 .triangularView<Eigen::Upper>()
                                 .solve(unit.col(rank).head(rank));
      in_order(rank) = 1.0;
      Vector null(size());
      null(qr.order) = in_order;
      null = null.cwiseQuotient(lengths.cwiseMax(1e-300)).eval();  // of the columns as they are
      Index leaving = -1;
      double step = kInfinity;
      if (!(null.array() > 0.0).any()) null = -null;
      for (Index b = 0; b < size(); ++b) {
        if (!(null(b) > 0.0)) continue;
        const double limit = member(b).alpha / null(b);
        if (limit < step) {
          step = limit;
          leaving = b;
        }
      }
      for (Index b = 0; b < size(); ++b) {
        member(b).alpha = std::max(0.0, member(b).alpha - step * null(b));
      }
      members_.erase(members_.begin() + leaving);
      compute_point();
    }
  }

 private:
  static constexpr double kTight = 1e-10;
  // The series is cut where its terms are this small, relative to z and alpha.
  static constexpr double kTruncation = 1e-13;
  // Longest step in h.
  static constexpr double kLongestStep = 3.0;
  // Newton's method has converged, and is of use, below these residuals, relative to mu ||y||.
  static constexpr double kConverged = 2e-15;
  static constexpr double kAccepted = 1e-10;
  // Above the first it is tried so many times to get on with another factorisation, unless it is above the
  // second.
  static constexpr double kSettled = 1e-13;
  static constexpr double kTooFar = 1e-5;
  static constexpr int kMaxPatience = 8;
  // Accuracies to ask of the system; an alpha below this fraction of the largest needs the first.
  static constexpr double kRefined = 1e-12;
  static constexpr double kNotRefined = 1.0;
  static constexpr double kSmallAlpha = 1e-3;

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
