// Follows the path from event to event. See docs/theory/path/path.md.
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <iterator>
#include <new>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "convexrelu/base/memory.hpp"
#include "convexrelu/path/segments.hpp"
#include "convexrelu/solver/solver.hpp"
#include "numeric/tiled_product.hpp"
#include "path/active_system.hpp"
#include "path/event_finder.hpp"
#include "path/piece_selection.hpp"

namespace convexrelu {
inline namespace path {

class PathTracer {
 public:
  PathTracer(const Problem& problem, const PathOptions& options, Monitor& monitor)
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

  Status run() {
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

  std::vector<PathSegment> segments;
  std::vector<PathEvent> events;
  double lam_max = 0.0;
  long n_factorisations() const { return at_.n_factorisations(); }

 private:
  // The order of the series grows in these steps until the next event, or the end, is within reach.
  static constexpr int kFirstOrder = 8;
  static constexpr int kOrderStep = 4;
  // A series is of use where it leaves less of the equations than this.
  static constexpr double kFits = 5e-11;
  // Or than rounding of the fit, up to this: its square is what the objective sees.
  static constexpr double kFitsRounded = 1e-7;
  // Events at one point.
  static constexpr int kMaxEventsAtPoint = 12;
  // Steps in a row that may be cut short because the series does not fit.
  static constexpr int kMaxCuts = 20;
  // Two points are one when mu differs by less, relatively.
  static constexpr double kSamePoint = 1e-11;
  // Memory of segments, which are small and many, is asked for in portions of so many bytes.
  static constexpr double kRoom = 64e6;
  // So many restarts while mu doubles are rounding. (At 1 % a step the longest bridges take 70. Of 35,000 tiny
  // problems with near ties 37 paths ended where `solve` does not when this was 50, most of them for this.)
  static constexpr int kMaxRestarts = 100;
  // How far beyond the present point a restart solves, and how independent the columns are to be there.
  static constexpr double kRestartSteps[] = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2};
  static constexpr double kApart = 1e-6;
  // A restart is led to by points with a gap of at most this; or of tol, where nothing else leads on.
  static constexpr double kBridged = 1e-10;
  // Unit columns with so small a remainder depend on the others where the system is singular otherwise.
  static constexpr double kNearlyDependent = 1e-6;

  bool is_relu() const { return problem_.formulation() == Formulation::relu; }
  double lam_of(double mu) const { return problem_.lam_unit() / mu; }

  Status follow() {
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

  // At lambda_max every block of that norm is a candidate; at a solution, its own blocks.
  bool begin() {
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

  // From the present point to the next event.
  bool advance() {
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

  // Whether rounding of f is as large as f there, or that of y - fit, whose square the objective sees, as a gap is
  // allowed to be: then float64 knows nothing of the path.
  bool is_blind(double h = 0.0) const {
    const double of_fit = kEpsilon * kEpsilon * at_.mu() * (1.0 + h) * problem_.y().norm();
    return at_.rounding() * (1.0 + h) >= 1.0 || of_fit >= kBridged * at_.z().norm();
  }

  // Whether the series satisfies the equations; or its points are certified, where rounding leaves more of the
  // equations than that. Where rounding of f may cost what a gap is allowed the equations say too little, and
  // certificates alone decide.
  bool is_of_use(const Series& s, double h) {
    if (is_blind(h)) return false;
    const bool is_rounded = at_.rounding() * (1.0 + h) > kBridged;
    if (!is_rounded && fits(s, h)) return true;
    return h > kSamePoint && is_certified(make_segment(s, h), {0.0, 0.25, 0.5, 0.75},
                                          is_rounded ? limit() : kBridged);
  }

  // Whether the series satisfies the equations at h and on the way, to be on the safe side of a
  // system that is nearly singular.
  bool fits(const Series& s, double h) {
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

  // From where the path has got to, to h.
  PathSegment make_segment(const Series& s, double h) const {
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

  void append(PathSegment segment) {
    room_ -= sizeof(double) * static_cast<double>(segment.z.size() + segment.alpha.size());
    if (room_ < 0.0) require_memory(room_ = kRoom);
    segments.push_back(std::move(segment));
  }

  void move_to(const Series& s, double h) {
    at_.z() = horner(s.z.leftCols(s.order + 1), h);
    for (Index b = 0; b < at_.size(); ++b) {
      at_.member(b).alpha = std::max(0.0, horner(&s.alpha(b, 0), s.alpha.rows(), s.order, h));
    }
    at_.mu() *= 1.0 + h;
  }

  // Certifies the point, takes the event in, and settles members and faces ahead of it.
  // tangent: dz/dh on arrival.
  bool finish_point(const Event& event, const Vector& tangent) {
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

  // Events since the last segment: leaves, enters, then the rows that became tight or ceased to
  // be: by the spans of the faces, since on a face with more rows than dimensions several lists
  // mean the same.
  void record_changes() {
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

  // The gap of the weights alpha_b lam p_b, with z as the dual point.
  void certify_point() {
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

  // sum_b alpha_b A_b p_b; of relu neurons as their network has it, wherever p_b may be outside its cone.
  Vector network_fit(const Vector& alpha) {
    if (!is_relu()) return at_.combine(at_.p() * alpha.asDiagonal());
    Matrix outputs(problem_.n_samples(), at_.size());
    product(problem_.X(), at_.p(), outputs, options_.n_threads, monitor_);
    Vector fit = Vector::Zero(outputs.rows());
    for (Index b = 0; b < at_.size(); ++b) {
      fit += at_.member(b).block.sign * alpha(b) * outputs.col(b).cwiseMax(0.0);
    }
    return fit;
  }

  // With y - f as another dual point: z has lost digits where lam is far below the rounding of y.
  double full_gap() {
    PathSegment here = make_segment(at_.start_series(0), 0.0);
    const double lam = lam_here();
    PathPoint point = point_of(problem_, here, lam);
    return make_solution(caller_, lam, Status::stalled, std::move(point.active_set),
                         std::move(point.weights), std::move(point.dual), 0, options_.n_threads,
                         monitor_)
        .gap;
  }

  void record(EventKind kind, Block block, Index row = -1) {
    const Hyperplanes& planes = problem_.hyperplanes();
    const Index sample =
        row < 0 ? -1
                : problem_.rows()[static_cast<std::size_t>(planes.samples[static_cast<std::size_t>(
                      planes.offsets[static_cast<std::size_t>(row)])])];
    const double lam = segments.empty() ? lam_max : segments.back().lam_end;
    events.push_back({kind, lam, block, sample});
  }

  // What a solution ahead is good for: a piece of the path with columns apart, whose series holds on this
  // side too; any piece; a way on by certificate; a point, from which to look again. All but the last have to lead
  // on: close to a tie a solution may have found, to rounding, a vertex from which nothing does.
  enum class Landing { smooth, piece, certified, point };

  // Goes on from a solution a little further ahead: the nearest of the first kind that there is; of points, the
  // farthest. selected: whether there is a piece ahead of it. The levels are few, and each is solved once.
  bool restart(bool& selected) {
    // Soon after another restart, further ahead.
    const std::size_t first = at_.mu() < restarted_until_
                                  ? std::min(restart_level_ + 1, std::size(kRestartSteps) - 1)
                                  : 0;
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

  double lam_here() const {
    return at_.mu() < mu_end_ * (1.0 - 1e-14) ? lam_of(at_.mu()) : options_.lam_min;
  }

  // Where the path has got to: its weights and z, without a certificate.
  Solution last_point() {
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

  // From nothing: near ties the last point may be a vertex that no neighbour shares, and what a warm solve finds
  // from there leans on it. From there where nothing else arrives.
  Solution solve_ahead() {
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

  // The point of a solution, with independent columns: more so where the system is singular otherwise.
  bool settle_at(const Solution& solution) {
    for (const double dependent : {ActiveSystem::kDependent, kNearlyDependent}) {
      take(solution);
      at_.make_independent(dependent);
      if (at_.settle()) return true;
    }
    take(solution);
    return false;
  }

  // Leads the path from begin to a solution at at_.mu(), by a segment of its own.
  bool land(const Solution& solution, double begin, const Vector& z_begin, Landing landing) {
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

  // The multiple of z that is the best dual point at begin.
  double feasible_share(double begin) const {
    const double zz = at_.z().squaredNorm();
    return zz > 0.0 ? begin * problem_.y().dot(at_.z()) / zz : 1.0;
  }

  // From a solution, with its own blocks and faces, as far as the points are certified; the change of weights
  // alone is watched for on the way. Returns as finish_point() does.
  bool advance_by_certificate(double limit) {
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

  // The dual point goes straight to one at begin, and the weights stay but for a factor. Between two feasible
  // z all are feasible, so this leaves a gap of second order in the distance; and that factor makes
  // lam^2 (||z||^2/2n + sum alpha) the dual value: n sum alpha = z.(mu y - z).
  void bridge(Series& s, double begin, const Vector& z_begin) const {
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

  double limit() const { return std::max(kBridged, options_.tol); }
  double gap_limit(Landing landing) const { return landing == Landing::point ? limit() : kBridged; }

  // Whether points of a segment, at these shares of it from its end, have gaps within the limit, and their
  // objective is that of their weights.
  bool is_certified(const PathSegment& segment, std::initializer_list<double> shares,
                    double limit) {
    for (const double share : shares) {
      const double lam = segment.lam_end + share * (segment.lam_begin - segment.lam_end);
      PathPoint point = point_of(problem_, segment, lam);
      const Solution solution = make_solution(
          caller_, lam, Status::stalled, std::move(point.active_set), std::move(point.weights),
          std::move(point.dual), 0, options_.n_threads, monitor_);
      if (!(std::abs(solution.gap) <= limit)) return false;
      const double objective = objective_of(problem_, segment, lam);
      if (!(std::abs(objective - solution.objective) <= limit * solution.objective)) return false;
    }
    return true;
  }

  // Members, alpha and z of a solution at at_.mu().
  void take(const Solution& solution) {
    at_.z() = at_.mu() * problem_.to_scaled(solution.dual);
    at_.members().clear();
    for (std::size_t j = 0; j < solution.active_set.size(); ++j) {
      const double norm =
          solution.weights.col(static_cast<Index>(j)).norm() / problem_.weight_unit();
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

  const Problem& caller_;
  const ScaledProblem& problem_;
  const PathOptions& options_;
  Monitor& monitor_;
  const double n_;
  const Index d_;
  const double mu_end_;
  ActiveSystem at_;
  EventFinder events_;
  PieceSelection pieces_;
  ConeProjector cones_;
  std::size_t restart_level_ = 0;
  double restarted_until_ = 0.0;  // mu
  double landed_ = 0.0;           // mu, of the last restart
  double finished_ = 0.0;         // mu, of the last finish_point()
  int n_cut_ = 0;
  std::optional<PathSegment> start_;  // the point where the path was told to begin
  double room_ = kRoom;               // that was asked for; the first is taken for granted
  std::vector<Member> recorded_;      // the members up to which events are told
  double objective_ = kNaN, gap_ = kNaN;
};

}  // namespace path
}  // namespace convexrelu
