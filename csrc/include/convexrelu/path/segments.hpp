// What a path consists of, segments and events, its points, and what is asked of its tracing. Notation: path.hpp.
#pragma once

#include <string>
#include <vector>

#include "convexrelu/base/types.hpp"
#include "convexrelu/program/problem.hpp"
#include "convexrelu/program/solution.hpp"

namespace convexrelu {
inline namespace path {

// bind: a row of the cone becomes tight at q_b; release: it ceases to be. restart: the active set
// beyond this point was found by solving there anew. A block that leaves as another enters at the
// same lam has been exchanged for it (the neuron crosses a sample, or the optimal set is not a
// point).
enum class EventKind { enter, leave, bind, release, restart };

const char* to_string(EventKind kind);
// The inverse; std::invalid_argument for other words.
EventKind event_kind_from(const std::string& word);

struct PathEvent {
  EventKind kind;
  double lam;
  Block block;   // restart: {-1, 0}
  Index sample;  // the first of the row's hyperplane; -1 for the other kinds
};

struct PathSegment {
  double lam_begin, lam_end;              // caller's units, lam_begin > lam_end, or a point
  double centre;                          // mu0 in the problem's scaled units
  std::vector<Block> blocks;              // (k) members, sorted by pattern, + before -
  std::vector<std::vector<Index>> faces;  // of each: hyperplanes with independent normals
  Matrix z;                               // (n_scaled, order + 1) Taylor coefficients, scaled units
  Matrix alpha;                           // (k, order + 1)
  double gap;  // relative duality gap of the point at lam_end, from weights and z
};

// A point of the path, in the caller's units.
struct PathPoint {
  std::vector<Block> active_set;
  Matrix weights;  // (d, k)
  Matrix slopes;   // (d, k) d weights/d lam, from the right (larger lam) at a breakpoint
  Vector dual;     // (n)
};

// At a lam of a segment, from its polynomials: no system is solved. O(n order + n d k) and O((n + k) order).
PathPoint point_of(const ScaledProblem& problem, const PathSegment& segment, double lam);
double objective_of(const ScaledProblem& problem, const PathSegment& segment, double lam);

struct PathOptions {
  double lam_min = 0.0;  // > 0, caller's units
  double tol = 1e-9;     // relative gap beyond which the path is not called optimal
  long max_segments = 1000000;
  int max_order = 24;  // of the Taylor series, at least 4
  int n_threads = 1;
  const Solution* start = nullptr;  // begin there rather than at lambda_max
};

}  // namespace path
}  // namespace convexrelu
