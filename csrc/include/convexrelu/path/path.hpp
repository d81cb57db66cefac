// The regularisation path: the optimum as a function of lam, exactly (docs/theory/path/path.md).
//
//   mu = 1/lam          z = r/lam  (n)   the dual point, the projection of mu y onto a fixed convex set
//   alpha_b = ||w_b||/lam                p_b = q_b/lam  (d)   so that w_b = alpha_b lam p_b, ||p_b|| = 1
//
// Between events the active blocks (members) A and the faces of their cones stay, and with M_b =
// A_b Pi_b A_b'/n, Pi_b the projection onto the span of the face,
//
//   (I + sum_{b in A} alpha_b M_b) z = mu y,      z'M_b z = n  (b in A).
//
// The system is quadratic, so all Taylor coefficients of z and alpha in h = mu/mu0 - 1 come from
// one factorisation, and the polynomials are the path there: a segment. It ends where a block
// enters or leaves, a row of a cone binds or is released, or the series does (Mishkin & Pilanci
// 2023, section on solution paths). The state satisfies the optimality conditions at every mu by
// itself, so errors do not accumulate. Where the optimal set is not a point the path follows a
// vertex of it.
#pragma once

#include <string>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/path/segments.hpp"
#include "convexrelu/program/problem.hpp"
#include "convexrelu/program/solution.hpp"

namespace convexrelu {
inline namespace path {

// Immutable.
class Path {
 public:
  // Throws std::invalid_argument where the parts do not fit the problem or one another.
  Path(Problem problem, double lam_max, double tol, Status status,
       std::vector<PathSegment> segments, std::vector<PathEvent> events, long n_factorisations);

  const Problem& problem() const { return problem_; }
  double lam_max() const { return lam_max_; }  // where it begins
  double lam_min() const { return segments_.empty() ? lam_max_ : segments_.back().lam_end; }
  double tol() const { return tol_; }
  Status status() const { return status_; }
  const std::vector<PathSegment>& segments() const { return segments_; }
  const std::vector<PathEvent>& events() const { return events_; }
  long n_factorisations() const { return n_factorisations_; }

  // At lams (m), each at least lam_min(), from the polynomials: no system is solved. Above
  // lam_max() of a path that begins at lambda_max the weights are zero; above that of another, and
  // below lambda_max on one without segments: std::invalid_argument.
  Vector objectives(ConstVectorRef lams, Monitor& monitor) const;  // O((n + k) order) each
  Eigen::Matrix<Index, Eigen::Dynamic, 1> n_active(ConstVectorRef lams, Monitor& monitor) const;
  // (m, rows of X): what the networks say of X (any, d).
  Matrix predict(ConstMatrixRef X, ConstVectorRef lams, int n_threads, Monitor& monitor) const;
  PathPoint at(double lam, Monitor& monitor) const;  // O(n order + n d k)
  // The same point with its certificate.
  Solution solution(double lam, int n_threads, Monitor& monitor) const;

 private:
  void check() const;
  const PathSegment* segment_of(double lam, Monitor& monitor) const;  // null: the weights are zero

  Problem problem_;
  double lam_max_, tol_;
  Status status_;
  std::vector<PathSegment> segments_;
  std::vector<PathEvent> events_;
  long n_factorisations_;
};

// Traces the path from lambda_max, or from options.start, down to lam_min. status: optimal (it got
// there and every gap is within tol), time_limit, callback, max_iter (max_segments), stalled, out_of_memory,
// numerical_failure; whatever it is, what is in the segments holds, with the gaps given there. A path
// from a start that got nowhere has a segment of one point. std::bad_alloc where there is no room for the first.
Path trace_path(const Problem& problem, const PathOptions& options, Monitor& monitor);

}  // namespace path
}  // namespace convexrelu
