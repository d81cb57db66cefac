#include "convexrelu/path/path.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "base/preconditions.hpp"
#include "convexrelu/base/error.hpp"
#include "convexrelu/program/network.hpp"
#include "path/path_tracer.hpp"

namespace convexrelu {
inline namespace path {

Path::Path(Problem problem, double lam_max, double tol, Status status,
           std::vector<PathSegment> segments, std::vector<PathEvent> events, long n_factorisations)
    : problem_(std::move(problem)),
      lam_max_(lam_max),
      tol_(tol),
      status_(status),
      segments_(std::move(segments)),
      events_(std::move(events)),
      n_factorisations_(n_factorisations) {
  require_squared(problem_, "a Path is that of the squared loss");
  check();
}

void Path::check() const {
  const ScaledProblem& scaled = problem_.scaled();
  double lam = lam_max_;
  for (const PathSegment& s : segments_) {
    const Index k = static_cast<Index>(s.blocks.size());
    const bool fits = s.lam_begin == lam && s.lam_end > 0.0 && s.lam_end <= lam && s.centre > 0.0 &&
                      s.z.rows() == scaled.n_samples() && s.z.cols() >= 1 && s.alpha.rows() == k &&
                      s.alpha.cols() == s.z.cols() && s.faces.size() == s.blocks.size() &&
                      s.z.allFinite() && s.alpha.allFinite();
    if (!fits) throw_invalid("segments must follow one another and fit the problem");
    for (std::size_t b = 0; b < s.blocks.size(); ++b) {
      const bool sign_exists =
          s.blocks[b].sign == +1 ||
          (s.blocks[b].sign == -1 && problem_.formulation() == Formulation::relu);
      if (s.blocks[b].pattern < 0 || s.blocks[b].pattern >= problem_.n_patterns() || !sign_exists) {
        throw_invalid("segments have a block that the problem has not");
      }
      for (const Index row : s.faces[b]) {
        if (row < 0 || row >= scaled.hyperplanes().size()) {
          throw_invalid("segments have a face of rows that the problem has not");
        }
      }
    }
    lam = s.lam_end;
  }
}

const PathSegment* Path::segment_of(double lam, Monitor& monitor) const {
  if (!(lam >= lam_min())) {
    throw_invalid("lam is " + std::to_string(lam) + ", but the path ends at " +
                  std::to_string(lam_min()));
  }
  if (lam >= lam_max_) {
    if (lam > lam_max_ && lam < problem_.lambda_max(monitor)) {
      throw_invalid("lam is " + std::to_string(lam) + ", but the path begins at " +
                    std::to_string(lam_max_));
    }
    if (lam >= problem_.lambda_max(monitor)) return nullptr;
  }
  if (segments_.empty()) {
    throw_invalid("lam is " + std::to_string(lam) + ", but the path ended before its first point");
  }
  return &*std::lower_bound(segments_.begin(), segments_.end(), lam,
                            [](const PathSegment& s, double l) { return s.lam_end > l; });
}

Vector Path::objectives(ConstVectorRef lams, Monitor& monitor) const {
  const ScaledProblem& scaled = problem_.scaled();
  Vector result(lams.size());
  for (Index i = 0; i < lams.size(); ++i) {
    const PathSegment* s = segment_of(lams(i), monitor);
    if (s == nullptr) {
      result(i) = scaled.y().squaredNorm() / (2.0 * static_cast<double>(scaled.n_samples())) *
                  (scaled.y_unit() * scaled.y_unit());
      continue;
    }
    result(i) = objective_of(scaled, *s, lams(i));
  }
  return result;
}

Eigen::Matrix<Index, Eigen::Dynamic, 1> Path::n_active(ConstVectorRef lams,
                                                       Monitor& monitor) const {
  Eigen::Matrix<Index, Eigen::Dynamic, 1> result(lams.size());
  for (Index i = 0; i < lams.size(); ++i) {
    const PathSegment* s = segment_of(lams(i), monitor);
    Index count = 0;
    if (s != nullptr && s->alpha.rows() > 0) {
      const double h = 1.0 / (problem_.scaled().scaled_lam(lams(i)) * s->centre) - 1.0;
      count = (horner(s->alpha, h).array() > 0.0).count();
    }
    result(i) = count;
  }
  return result;
}

Matrix Path::predict(ConstMatrixRef X, ConstVectorRef lams, int n_threads, Monitor& monitor) const {
  Matrix predictions(lams.size(), X.rows());
  for (Index i = 0; i < lams.size(); ++i) {
    PathPoint point = at(lams(i), monitor);
    const Solution solution =
        make_bounded_solution(problem_, lams(i), Status::stalled, std::move(point.active_set),
                              std::move(point.weights), std::move(point.dual), 0, 0.0);
    predictions.row(i) = to_network(solution).predict(X, n_threads, monitor).transpose();
  }
  return predictions;
}

PathPoint Path::at(double lam, Monitor& monitor) const {
  const ScaledProblem& scaled = problem_.scaled();
  if (const PathSegment* s = segment_of(lam, monitor)) return point_of(scaled, *s, lam);
  const Index d = problem_.n_features();
  return {{}, Matrix(d, 0), Matrix(d, 0), scaled.from_scaled(scaled.y())};
}

Solution Path::solution(double lam, int n_threads, Monitor& monitor) const {
  PathPoint point = at(lam, monitor);
  Solution solution =
      make_solution(problem_, lam, Status::stalled, std::move(point.active_set),
                    std::move(point.weights), std::move(point.dual), 0, n_threads, monitor);
  if (solution.gap <= tol_) solution.status = Status::optimal;
  return solution;
}

Path trace_path(const Problem& problem, const PathOptions& options, Monitor& monitor) {
  require_squared(problem, "trace_path follows the path of the squared loss");
  require_positive(options.lam_min, "lam_min");
  require_positive(options.tol, "tol");
  require_at_least(0, options.max_segments, "max_segments");
  require_at_least(4, options.max_order, "max_order");
  if (options.start != nullptr) require_parts_of(problem, *options.start, "start");
  const ScaledProblem& scaled = problem.scaled();
  if (!scaled.in_range() || scaled.scaled_lam(options.lam_min) == 0.0) {
    return {problem, options.lam_min, options.tol, Status::numerical_failure, {}, {}, 0};
  }
  PathTracer tracer(problem, options, monitor);
  Status status = tracer.run();
  if (tracer.lam_max == 0.0) {  // stopped before it was known
    const Monitor::WrapUp wrap_up(monitor);
    tracer.lam_max = std::max(problem.lambda_max(monitor), options.lam_min);
  }
  for (const PathSegment& s : tracer.segments) {
    if (!(s.gap <= options.tol) && status == Status::optimal) status = Status::stalled;
  }
  return {problem,
          tracer.lam_max,
          options.tol,
          status,
          std::move(tracer.segments),
          std::move(tracer.events),
          tracer.n_factorisations()};
}

}  // namespace path
}  // namespace convexrelu
