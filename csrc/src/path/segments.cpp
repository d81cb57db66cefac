#include "convexrelu/path/segments.hpp"

#include "convexrelu/base/error.hpp"
#include "path/active_system.hpp"

namespace convexrelu {
inline namespace path {

const char* to_string(EventKind kind) {
  switch (kind) {
    case EventKind::enter:
      return "enter";
    case EventKind::leave:
      return "leave";
    case EventKind::bind:
      return "bind";
    case EventKind::release:
      return "release";
    case EventKind::restart:
      return "restart";
  }
  return "";
}

EventKind event_kind_from(const std::string& word) {
  for (const EventKind kind : {EventKind::enter, EventKind::leave, EventKind::bind,
                               EventKind::release, EventKind::restart}) {
    if (word == to_string(kind)) return kind;
  }
  throw_invalid("'" + word + "' is no kind of event");
}

PathPoint point_of(const ScaledProblem& problem, const PathSegment& segment, double lam) {
  const Index d = problem.n_features(), k = segment.alpha.rows();
  const double scaled_lam = problem.scaled_lam(lam);
  const double h = 1.0 / (scaled_lam * segment.centre) - 1.0;
  Matrix z(problem.n_samples(), 2);
  z << horner(segment.z, h), derivative(segment.z, h);
  PathPoint point;
  point.dual = problem.from_scaled(scaled_lam * z.col(0));
  point.weights.resize(d, k);
  point.slopes.resize(d, k);
  if (k == 0) return point;
  const Vector alpha = horner(segment.alpha, h), dalpha = derivative(segment.alpha, h);
  std::vector<Index> patterns;
  for (const Block& b : segment.blocks) patterns.push_back(b.pattern);
  Matrix c(2 * d, k);
  problem.products().correlate(z, patterns, c);
  ConeProjector cones(problem.hyperplanes().normals);
  Index used = 0;
  for (Index b = 0; b < k; ++b) {
    if (!(alpha(b) > 0.0)) continue;
    const Block block = segment.blocks[b];
    Matrix p = c.col(b).reshaped(d, 2) *
               (block.sign / static_cast<double>(problem.n_samples()));  // and dp/dh
    Face face;
    cones.factor(segment.faces[b], face);
    project_out(face, p.leftCols(2));
    point.active_set.push_back(block);
    point.weights.col(used) = p.col(0) * (alpha(b) * scaled_lam * problem.weight_unit());
    point.slopes.col(used) =  // lam dh/dlam = -(1 + h)
        (alpha(b) * p.col(0) - (1.0 + h) * (dalpha(b) * p.col(0) + alpha(b) * p.col(1))) *
        (problem.weight_unit() / problem.lam_unit());
    ++used;
  }
  point.weights.conservativeResize(d, used);
  point.slopes.conservativeResize(d, used);
  return point;
}

double objective_of(const ScaledProblem& problem, const PathSegment& segment, double lam) {
  const double scaled_lam = problem.scaled_lam(lam);
  const double h = 1.0 / (scaled_lam * segment.centre) - 1.0;
  const Vector z = horner(segment.z, h);
  const double penalty =
      segment.alpha.rows() > 0 ? horner(segment.alpha, h).cwiseMax(0.0).sum() : 0.0;
  return scaled_lam * scaled_lam *
         (z.squaredNorm() / (2.0 * static_cast<double>(problem.n_samples())) + penalty) *
         (problem.y_unit() * problem.y_unit());
}

}  // namespace path
}  // namespace convexrelu
