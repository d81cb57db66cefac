#include "path/path_tracer.hpp"

#include <cmath>
#include <iterator>
#include <new>
#include <numeric>
#include <utility>

namespace convexrelu {
inline namespace path {

PathTracer::PathTracer(const Problem& problem, const PathOptions& options, Monitor& monitor)
    : caller_(problem),
      problem_(problem.scaled()),
      options_(options),
      monitor_(monitor),
      n_(static_cast<double>(problem_.n_samples())),
      d_(problem_.n_features()),
      mu_end_(1.0 / problem_.scaled_lam(options.lam_min)),
      at_(problem_, options.n_threads, monitor),
      events_(problem_, at_, options.n_threads, monitor),
      pieces_(problem_, at_, events_, options.n_threads, monitor),
      cones_(problem_.hyperplanes().normals) {}

Status PathTracer::run() {
  Status status = Status::out_of_memory;
  try {
    status = follow();
  } catch (const Stopped& stopped) {
    status = stopped.reason == StopReason::callback ? Status::callback : Status::time_limit;
  } catch (const std::bad_alloc&) {
    if (segments.empty()) throw;
  }
  if (!segments.empty() && std::isnan(segments.back().gap)) segments.pop_back();
  if (static_cast<long>(segments.size()) > options_.max_segments) {  // a restart appends several
    segments.erase(segments.begin() + options_.max_segments, segments.end());
    status = Status::max_iter;
  }
  if (segments.empty() && start_) segments.push_back(std::move(*start_));
  return status;
}

Status PathTracer::follow() {
  bool selected = begin();
  int n_at_point = 0;
  int n_restarts = 0;  // since mu was:
  double counted_from = at_.mu();
  // Ends: a round appends a segment, of max_segments, or is one of kMaxEventsAtPoint at a point, or restarts, of
  // kMaxRestarts while mu doubles, which takes back the last segment at most.
  while (at_.mu() < mu_end_ * (1.0 - 1e-14)) {
    if (static_cast<long>(segments.size()) >= options_.max_segments) return Status::max_iter;
    monitor_.report("path", static_cast<long>(segments.size()), objective_, gap_);
    const double before = at_.mu();
    if (selected) selected = advance();
    if (gap_ > limit()) {
      // Something was missed on the way.
      if (at_.mu() > before) segments.pop_back();
      at_.mu() = before;
      selected = false;
    }
    n_at_point = at_.mu() > before * (1.0 + kSamePoint) ? 0 : n_at_point + 1;
    if (!selected || n_at_point > kMaxEventsAtPoint) {
      if (at_.mu() > 2.0 * counted_from) {
        counted_from = at_.mu();
        n_restarts = 0;
      }
      if (++n_restarts > kMaxRestarts || !restart(selected)) return Status::stalled;
      n_at_point = 0;
    }
  }
  return Status::optimal;
}

bool PathTracer::begin() {
  if (options_.start != nullptr) {
    lam_max = options_.start->lam;
    at_.mu() = 1.0 / problem_.scaled_lam(lam_max);
    take(*options_.start);
    start_ = make_segment(at_.start_series(0), 0.0);
    start_->lam_end = lam_max;
    start_->gap = options_.start->gap;
    return settle_at(*options_.start) && finish_point(Event{}, at_.z());
  }
  lam_max = std::max(caller_.lambda_max(monitor_), options_.lam_min);
  at_.mu() = 1.0 / problem_.scaled_lam(lam_max);
  at_.z() = at_.mu() * problem_.y();
  return lam_max == options_.lam_min || finish_point(Event{}, at_.z());
}

bool PathTracer::advance() {
  Series s = at_.start_series(options_.max_order);
  Event event;
  double reach = 0.0;
  // The order grows, up to max_order.
  for (Index order = std::min(kFirstOrder, options_.max_order);;
       order = std::min<Index>(order + kOrderStep, options_.max_order)) {
    at_.extend(s, order);
    if (!s.z.leftCols(order + 1).allFinite()) return false;
    const double end = mu_end_ / at_.mu() - 1.0;
    const double limit = ActiveSystem::radius(s);
    reach = std::min(limit, end);
    event = events_.first(s, reach);
    if (event.kind != Event::none || limit >= end || order == options_.max_order) break;
  }
  double h = event.kind == Event::none ? reach : event.h;
  bool fit = is_of_use(s, h);
  n_cut_ = fit ? 0 : n_cut_ + 1;
  if (n_cut_ > kMaxCuts) return false;
  while (!fit && h > kSamePoint) {  // a quarter each time
    event = Event{};
    h *= 0.25;
    fit = is_of_use(s, h);
  }
  if (event.kind == Event::none && h <= kSamePoint && reach < mu_end_ / at_.mu() - 1.0) {
    return false;
  }
  if (h > 0.0) {
    record_changes();
    append(make_segment(s, h));
  }
  move_to(s, h);
  return finish_point(event, derivative(s.z.leftCols(s.order + 1), h));
}

bool PathTracer::is_blind(double h) const {
  const double of_fit = kEpsilon * kEpsilon * at_.mu() * (1.0 + h) * problem_.y().norm();
  return at_.rounding() * (1.0 + h) >= 1.0 || of_fit >= kBridged * at_.z().norm();
}

bool PathTracer::is_of_use(const Series& s, double h) {
  if (is_blind(h)) return false;
  const bool is_rounded = at_.rounding() * (1.0 + h) > kBridged;
  if (!is_rounded && fits(s, h)) return true;
  return h > kSamePoint &&
         is_certified(make_segment(s, h), {0.0, 0.25, 0.5, 0.75}, is_rounded ? limit() : kBridged);
}

bool PathTracer::fits(const Series& s, double h) {
  const Index columns = s.order + 1;
  const double rounding = std::min(2.0 * at_.fit_rounding() * (1.0 + std::abs(h)), kFitsRounded);
  for (const double x : {0.5 * h, h}) {
    const Vector alpha = at_.size() > 0 ? horner(s.alpha.leftCols(columns), x) : Vector();
    const Matrix p = at_.size() > 0
                         ? Matrix(horner(s.p.leftCols(columns), x).reshaped(d_, at_.size()))
                         : Matrix(d_, 0);
    const Vector target = at_.mu() * (1.0 + x) * problem_.y();
    const Vector residual =
        target - horner(s.z.leftCols(columns), x) - at_.combine(p * alpha.asDiagonal());
    const double defect =
        at_.size() > 0 ? (p.colwise().norm().array() - 1.0).abs().maxCoeff() : 0.0;
    if (!(residual.norm() <= std::max(kFits, rounding) * target.norm())) return false;
    if (!(defect <= std::max(kFits, 2.0 * at_.rounding()))) return false;
  }
  return true;
}

PathSegment PathTracer::make_segment(const Series& s, double h) const {
  std::vector<std::size_t> order(at_.members().size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return comes_before(at_.members()[a].block, at_.members()[b].block);
  });
  PathSegment segment;
  segment.lam_begin = segments.empty() ? lam_max : segments.back().lam_end;
  const double mu = at_.mu() * (1.0 + h);
  segment.lam_end = mu < mu_end_ * (1.0 - 1e-14) ? lam_of(mu) : options_.lam_min;
  segment.centre = at_.mu();
  segment.z = s.z.leftCols(s.order + 1);
  segment.alpha.resize(at_.size(), s.order + 1);
  for (std::size_t j = 0; j < order.size(); ++j) {
    const Member& m = at_.members()[order[j]];
    segment.blocks.push_back(m.block);
    segment.faces.push_back(m.face.rows());
    segment.alpha.row(static_cast<Index>(j)) =
        s.alpha.row(static_cast<Index>(order[j])).leftCols(s.order + 1);
  }
  segment.gap = kNaN;  // finish_point
  return segment;
}

void PathTracer::append(PathSegment segment) {
  room_ -= sizeof(double) * static_cast<double>(segment.z.size() + segment.alpha.size());
  if (room_ < 0.0) require_memory(room_ = kRoom);
  segments.push_back(std::move(segment));
}

void PathTracer::move_to(const Series& s, double h) {
  at_.z() = horner(s.z.leftCols(s.order + 1), h);
  for (Index b = 0; b < at_.size(); ++b) {
    at_.member(b).alpha = std::max(0.0, horner(&s.alpha(b, 0), s.alpha.rows(), s.order, h));
  }
  at_.mu() *= 1.0 + h;
}

bool PathTracer::finish_point(const Event& event, const Vector& tangent) {
  events_.scan();
  certify_point();
  if (!segments.empty() && std::isnan(segments.back().gap)) segments.back().gap = gap_;
  if (at_.mu() >= mu_end_ * (1.0 - 1e-14)) return true;
  const bool again = at_.mu() <= finished_ * (1.0 + kSamePoint);
  finished_ = at_.mu();
  if (!pieces_.take_in(event, tangent) || !pieces_.select()) return false;
  if (!again) return true;
  // Several events at one point: near ties may have misled them, and the end of the next segment need not show it.
  certify_point();
  return gap_ <= limit();
}

void PathTracer::record_changes() {
  const auto find = [](const std::vector<Member>& list, Block block) {
    return std::find_if(list.begin(), list.end(),
                        [&](const Member& m) { return m.block == block; });
  };
  for (const Member& m : recorded_) {
    if (find(at_.members(), m.block) == at_.members().end()) record(EventKind::leave, m.block);
  }
  for (const Member& m : at_.members()) {
    const auto old = find(recorded_, m.block);
    if (old == recorded_.end()) {
      record(EventKind::enter, m.block);
      continue;
    }
    for (const Index row : m.face.rows()) {
      if (!pieces_.spans(old->face, row)) record(EventKind::bind, m.block, row);
    }
    for (const Index row : old->face.rows()) {
      if (!pieces_.spans(m.face, row)) record(EventKind::release, m.block, row);
    }
  }
  recorded_ = at_.members();
}

void PathTracer::certify_point() {
  at_.compute_point();
  double largest = 1.0;
  for (const auto& b : events_.near()) largest = std::max(largest, b.f);
  for (Index b = 0; b < at_.size(); ++b) {
    std::vector<Index> rows = at_.member(b).face.rows();
    largest = std::max(
        largest, is_relu()
                     ? events_.outside().project(at_.member(b).block, at_.c().col(b), rows).norm
                     : at_.p().col(b).norm());
  }
  const Vector alpha = at_.alphas();
  const Vector residual = at_.mu() * problem_.y() - network_fit(alpha);  // over lam
  const double penalty = alpha.dot(at_.p().colwise().norm().transpose());
  const double primal = residual.squaredNorm() / (2.0 * n_) + penalty;  // over lam^2
  const double zz = at_.z().squaredNorm(), yz = at_.mu() * problem_.y().dot(at_.z());
  const double kappa = zz > 0.0 ? std::clamp(yz / zz, 0.0, 1.0 / largest) : 0.0;
  const double dual = kappa * yz / n_ - kappa * kappa * zz / (2.0 * n_);
  gap_ = primal > 0.0 ? std::max(0.0, (primal - dual) / primal) : 0.0;
  if (gap_ > kBridged) gap_ = std::min(gap_, full_gap());
  const double unit = problem_.y_unit() / at_.mu();
  objective_ = primal * unit * unit;
}

Vector PathTracer::network_fit(const Vector& alpha) {
  if (!is_relu()) return at_.combine(at_.p() * alpha.asDiagonal());
  Matrix outputs(problem_.n_samples(), at_.size());
  product(problem_.X(), at_.p(), outputs, options_.n_threads, monitor_);
  Vector fit = Vector::Zero(outputs.rows());
  for (Index b = 0; b < at_.size(); ++b) {
    fit += at_.member(b).block.sign * alpha(b) * outputs.col(b).cwiseMax(0.0);
  }
  return fit;
}

double PathTracer::full_gap() {
  PathSegment here = make_segment(at_.start_series(0), 0.0);
  const double lam = lam_here();
  PathPoint point = point_of(problem_, here, lam);
  return make_solution(caller_, lam, Status::stalled, std::move(point.active_set),
                       std::move(point.weights), std::move(point.dual), 0, options_.n_threads,
                       monitor_)
      .gap;
}

void PathTracer::record(EventKind kind, Block block, Index row) {
  const Hyperplanes& planes = problem_.hyperplanes();
  const Index sample = row < 0 ? -1 : problem_.rows()[planes.samples[planes.offsets[row]]];
  const double lam = segments.empty() ? lam_max : segments.back().lam_end;
  events.push_back({kind, lam, block, sample});
}

bool PathTracer::restart(bool& selected) {
  // Soon after another restart, further ahead.
  const std::size_t first =
      at_.mu() < restarted_until_ ? std::min(restart_level_ + 1, std::size(kRestartSteps) - 1) : 0;
  const double begin = at_.mu();
  const Vector z_begin = at_.z();
  const std::size_t n_before = segments.size(), n_events_before = events.size();
  const std::vector<Member> recorded_before = recorded_;
  std::vector<std::optional<Solution>> ahead(std::size(kRestartSteps));
  const auto try_level = [&](std::size_t level, Landing landing) {
    const double step = kRestartSteps[level];
    at_.mu() = std::min(begin * (1.0 + step), mu_end_);
    if (!ahead[level]) {
      ahead[level] = solve_ahead();
    }
    if (!land(*ahead[level], begin, z_begin, landing)) return false;
    n_cut_ = 0;
    const double landed = at_.mu();
    bool leads_on = false;
    if (landing >= Landing::certified) {
      selected = advance_by_certificate(gap_limit(landing));
      leads_on = at_.mu() >= landed * (1.0 + 10.0 * step);
    } else {
      // Several events may be at this point.
      selected = true;
      for (int n = 0; selected && !leads_on && n <= kMaxEventsAtPoint; ++n) {
        selected = advance();
        leads_on = gap_ <= limit() && at_.mu() > landed * (1.0 + kSamePoint);
      }
    }
    if (!leads_on && landing != Landing::point) {
      segments.erase(segments.begin() + static_cast<std::ptrdiff_t>(n_before), segments.end());
      events.erase(events.begin() + static_cast<std::ptrdiff_t>(n_events_before), events.end());
      recorded_ = recorded_before;
      return false;
    }
    landed_ = at_.mu();
    restart_level_ = level;
    restarted_until_ = at_.mu() * (1.0 + 100.0 * step);
    return true;
  };
  // Where the piece of the last restart led nowhere, others will not.
  const bool stuck = begin <= landed_ * (1.0 + kSamePoint);
  for (const Landing landing : {Landing::smooth, Landing::piece, Landing::certified}) {
    if (stuck && landing != Landing::certified) continue;
    for (std::size_t level = stuck ? 0 : first; level < ahead.size(); ++level) {
      if (try_level(level, landing)) return true;
    }
  }
  for (std::size_t level = ahead.size(); level-- > 0;) {
    if (try_level(level, Landing::point)) return true;
  }
  at_.mu() = begin;
  return false;
}

double PathTracer::lam_here() const {
  return at_.mu() < mu_end_ * (1.0 - 1e-14) ? lam_of(at_.mu()) : options_.lam_min;
}

Solution PathTracer::last_point() {
  PathPoint point;
  const double lam = segments.empty() ? lam_max : segments.back().lam_end;
  if (!segments.empty()) {
    point = point_of(problem_, segments.back(), lam);
  } else if (options_.start != nullptr) {
    return *options_.start;
  } else {
    point = {{}, Matrix(d_, 0), {}, problem_.from_scaled(problem_.y())};
  }
  return make_bounded_solution(caller_, lam, Status::stalled, std::move(point.active_set),
                               std::move(point.weights), std::move(point.dual), 0, 0.0);
}

Solution PathTracer::solve_ahead() {
  SolveOptions options;
  options.tol = 1e-10;
  options.n_threads = options_.n_threads;
  Solution solution = convexrelu::solve(caller_, lam_here(), options, monitor_);
  if (solution.gap > options.tol) {
    const Solution last = last_point();
    options.warm_start = &last;
    Solution warm = convexrelu::solve(caller_, lam_here(), options, monitor_);
    if (warm.gap < solution.gap) solution = std::move(warm);
  }
  monitor_.check();
  return solution;
}

bool PathTracer::settle_at(const Solution& solution) {
  for (const double dependent : {kDependentColumns, kNearlyDependent}) {
    take(solution);
    at_.make_independent(dependent);
    if (at_.settle()) return true;
  }
  take(solution);
  return false;
}

bool PathTracer::land(const Solution& solution, double begin, const Vector& z_begin,
                      Landing landing) {
  const double limit = gap_limit(landing);
  if (solution.gap > limit) return false;
  const bool settled = settle_at(solution);
  if (!settled && landing != Landing::point) return false;
  events_.scan();
  if (landing == Landing::smooth && at_.independence() < kApart) return false;
  if (landing <= Landing::piece && !pieces_.select()) return false;
  Series s = at_.start_series(options_.max_order);
  if (landing == Landing::smooth) {
    at_.extend(s, std::min(kFirstOrder, options_.max_order));
    if (!fits(s, begin / at_.mu() - 1.0)) return false;
  }
  events_.scan();
  certify_point();
  if (gap_ > limit || is_blind()) return false;
  // Where the straight line from the point at begin is no good, that point is not.
  const Vector shorter = std::min(1.0, feasible_share(begin)) * at_.z();
  for (const Vector* from : {&z_begin, &shorter}) {
    if (landing != Landing::smooth) bridge(s, begin, *from);
    PathSegment segment = make_segment(s, 0.0);
    segment.gap = gap_;
    if (!is_certified(segment, {0.0, 0.25, 0.5, 0.75, 1.0}, limit)) continue;
    record_changes();
    record(EventKind::restart, {-1, 0});
    append(std::move(segment));
    return true;
  }
  return false;
}

double PathTracer::feasible_share(double begin) const {
  const double zz = at_.z().squaredNorm();
  return zz > 0.0 ? begin * problem_.y().dot(at_.z()) / zz : 1.0;
}

bool PathTracer::advance_by_certificate(double limit) {
  constexpr double kShortest = kRestartSteps[0];
  // What would end at once is done first: a member less or a row of a face more each time. Steps are quartered
  // down to kShortest.
  for (;;) {
    if (!at_.settle()) return false;
    Series s = at_.start_series(options_.max_order);
    at_.extend(s, options_.max_order);
    if (!s.z.allFinite() || !s.alpha.allFinite()) return false;
    const double reach = std::min(ActiveSystem::radius(s), mu_end_ / at_.mu() - 1.0);
    Event event = events_.first_of_weights(s, reach);
    if (event.kind != Event::none && event.h <= kShortest) {
      if (event.kind == Event::bind && pieces_.spans(at_.member(event.member).face, event.row))
        return false;
      pieces_.take_in(event, at_.z());
      continue;
    }
    for (double h = event.kind == Event::none ? reach : event.h; h > kShortest; h *= 0.25) {
      if (is_blind(h)) continue;
      PathSegment segment = make_segment(s, h);
      if (is_certified(segment, {0.0, 0.25, 0.5, 0.75}, limit)) {
        record_changes();
        append(std::move(segment));
        move_to(s, h);
        return finish_point(event, derivative(s.z, h));
      }
      event = Event{};
    }
    return false;
  }
}

void PathTracer::bridge(Series& s, double begin, const Vector& z_begin) const {
  const double h = begin / at_.mu() - 1.0;
  const Vector z = at_.z(), y = at_.mu() * problem_.y();
  const Vector dz = h < 0.0 ? Vector((z_begin - z) / h) : Vector(Vector::Zero(z.size()));
  s.order = 2;
  s.z.col(1) = dz;
  s.z.col(2).setZero();
  const double total = s.alpha.col(0).sum();
  const double unit = total > 0.0 ? 1.0 / (n_ * total) : 0.0;
  s.alpha.col(1) = s.alpha.col(0) * (unit * (dz.dot(y - z) + z.dot(y - dz)));
  s.alpha.col(2) = s.alpha.col(0) * (unit * dz.dot(y - dz));
}

bool PathTracer::is_certified(const PathSegment& segment, std::initializer_list<double> shares,
                              double limit) {
  for (const double share : shares) {
    const double lam = segment.lam_end + share * (segment.lam_begin - segment.lam_end);
    PathPoint point = point_of(problem_, segment, lam);
    const Solution solution = make_solution(caller_, lam, Status::stalled,
                                            std::move(point.active_set), std::move(point.weights),
                                            std::move(point.dual), 0, options_.n_threads, monitor_);
    if (!(std::abs(solution.gap) <= limit)) return false;
    const double objective = objective_of(problem_, segment, lam);
    if (!(std::abs(objective - solution.objective) <= limit * solution.objective)) return false;
  }
  return true;
}

void PathTracer::take(const Solution& solution) {
  at_.z() = at_.mu() * problem_.to_scaled(solution.dual);
  at_.members().clear();
  for (std::size_t j = 0; j < solution.active_set.size(); ++j) {
    const double norm = solution.weights.col(static_cast<Index>(j)).norm() / problem_.weight_unit();
    if (norm > 0.0) at_.members().push_back({solution.active_set[j], norm * at_.mu(), {}});
  }
  at_.compute_point();
  if (!is_relu()) return;
  for (Index b = 0; b < at_.size(); ++b) {
    Member& m = at_.member(b);
    std::vector<Index> rows, kept;
    const Projection& projection = events_.outside().project(m.block, at_.c().col(b), rows);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (std::abs(projection.multipliers[i]) > 1e-9) kept.push_back(rows[i]);
    }
    cones_.factor(kept, m.face);
  }
  at_.compute_point();
}

}  // namespace path
}  // namespace convexrelu
