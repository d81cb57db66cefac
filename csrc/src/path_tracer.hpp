// Follows the path from event to event. See docs/theory/path.md.
#pragma once

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>
#include <vector>

#include "active_system.hpp"
#include "convexrelu/memory.hpp"
#include "convexrelu/path.hpp"
#include "convexrelu/solver.hpp"
#include "event_finder.hpp"
#include "piece_selection.hpp"

namespace convexrelu {

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
    try {
      return follow();
    } catch (const Stopped& stopped) {
      return stopped.reason == StopReason::callback ? Status::callback : Status::time_limit;
    }
  }

  std::vector<PathSegment> segments;
  std::vector<PathEvent> events;
  double lam_max = 0.0;
  long n_factorisations() const { return at_.n_factorisations(); }

 private:
  // The order of the series grows in these steps until the next event, or the end, is within reach.
  static constexpr int kFirstOrder = 8;
  static constexpr int kOrderStep = 4;
  // The path ends where rounding of f is more than this, or the gap of a point: there f = 1 says
  // nothing in float64, or weights do not fit y closely enough.
  static constexpr double kBlind = 1e-6;
  // A series is of use where it leaves less of the equations than this.
  static constexpr double kFits = 5e-11;
  // Events at one point.
  static constexpr int kMaxEventsAtPoint = 12;
  // Steps in a row that may be cut short because the series does not fit.
  static constexpr int kMaxCuts = 20;
  // Two points are one when mu differs by less, relatively.
  static constexpr double kSamePoint = 1e-11;
  // Memory of segments, which are small and many, is asked for in portions of so many bytes.
  static constexpr double kRoom = 64e6;
  // So many restarts while mu doubles are rounding.
  static constexpr int kMaxRestarts = 50;
  // How far beyond the present point a restart solves, and how independent the columns are to be there.
  static constexpr double kRestartSteps[] = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2};
  static constexpr double kApart = 1e-6;

  bool is_relu() const { return problem_.formulation() == Formulation::relu; }
  double lam_of(double mu) const { return problem_.lam_unit() / mu; }

  Status follow() {
    bool selected = begin();
    int n_at_point = 0;
    int n_restarts = 0;  // since mu was:
    double counted_from = at_.mu();
    while (at_.mu() < mu_end_ * (1.0 - 1e-14)) {
      if (static_cast<long>(segments.size()) >= options_.max_segments) return Status::max_iter;
      monitor_.report("path", static_cast<long>(segments.size()), objective_, gap_);
      const double before = at_.mu();
      if (selected) selected = advance();
      if (at_.rounding() > kBlind) return Status::stalled;
      if (gap_ > std::max(kBlind, options_.tol)) {
        if (!segments.empty()) segments.pop_back();
        return Status::stalled;
      }
      n_at_point = at_.mu() > before * (1.0 + kSamePoint) ? 0 : n_at_point + 1;
      if (!selected || n_at_point > kMaxEventsAtPoint) {
        if (at_.mu() > 2.0 * counted_from) {
          counted_from = at_.mu();
          n_restarts = 0;
        }
        if (++n_restarts > kMaxRestarts || !restart()) return Status::stalled;
        selected = true;
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
      return adopt(*options_.start) && finish_point(Event{}, at_.z());
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
    bool fit = fits(s, h);
    n_cut_ = fit ? 0 : n_cut_ + 1;
    if (n_cut_ > kMaxCuts) return false;
    while (!fit && h > kSamePoint) {
      event = Event{};
      h *= 0.25;
      fit = fits(s, h);
    }
    if (event.kind == Event::none && h <= kSamePoint && reach < mu_end_ / at_.mu() - 1.0) {
      return false;
    }
    if (h > 0.0) append_segment(s, h);
    move_to(s, h);
    return finish_point(event, derivative(s.z.leftCols(s.order + 1), h));
  }

  // Whether the series satisfies the equations at h and on the way, to be on the safe side of a
  // system that is nearly singular.
  bool fits(const Series& s, double h) {
    const Index columns = s.order + 1;
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
      if (!(residual.norm() <= kFits * target.norm())) return false;
      if (!(defect <= std::max(kFits, 2.0 * at_.rounding()))) return false;
    }
    return true;
  }

  void append_segment(const Series& s, double h) {
    record_changes();
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
    return pieces_.take_in(event, tangent) && pieces_.select();
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
    const Vector residual =
        at_.mu() * problem_.y() - at_.combine(at_.p() * alpha.asDiagonal());  // over lam
    const double penalty = alpha.dot(at_.p().colwise().norm().transpose());
    const double primal = residual.squaredNorm() / (2.0 * n_) + penalty;  // over lam^2
    const double zz = at_.z().squaredNorm(), yz = at_.mu() * problem_.y().dot(at_.z());
    const double kappa = zz > 0.0 ? std::clamp(yz / zz, 0.0, 1.0 / largest) : 0.0;
    const double dual = kappa * yz / n_ - kappa * kappa * zz / (2.0 * n_);
    gap_ = primal > 0.0 ? std::max(0.0, (primal - dual) / primal) : 0.0;
    const double unit = problem_.y_unit() / at_.mu();
    objective_ = primal * unit * unit;
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

  // Goes on from a solution a little further ahead, of the least distance at which the columns are apart; or,
  // where they are nowhere, at which there is a piece of the path.
  bool restart() {
    // Soon after another restart, further ahead.
    restart_level_ = at_.mu() < restarted_until_
                         ? std::min(restart_level_ + 1, std::size(kRestartSteps) - 1)
                         : 0;
    for (const double independence : {kApart, 0.0}) {
      for (std::size_t level = restart_level_; level < std::size(kRestartSteps); ++level) {
        if (restart_at(kRestartSteps[level], independence)) {
          restarted_until_ = at_.mu() * (1.0 + 100.0 * kRestartSteps[level]);
          restart_level_ = level;
          n_cut_ = 0;
          return true;
        }
      }
    }
    return false;
  }

  bool restart_at(double step, double independence) {
    const double begin = at_.mu();
    const double mu = std::min(begin * (1.0 + step), mu_end_);
    const double lam = mu < mu_end_ ? lam_of(mu) : options_.lam_min;
    SolveOptions options;
    options.tol = 1e-10;
    options.n_threads = options_.n_threads;
    const Solution solution = convexrelu::solve(caller_, lam, options, monitor_);
    monitor_.check();
    if (solution.gap > 1e-8) return false;
    const std::vector<Member> before = at_.members();
    const Vector z_before = at_.z();
    at_.mu() = mu;
    if (adopt(solution) && at_.independence() >= independence) {
      events_.scan();
      if (pieces_.select()) {
        // The series holds on this side of the point too.
        Series s = at_.start_series(options_.max_order);
        at_.extend(s, std::min(kFirstOrder, options_.max_order));
        if (independence == 0.0 || fits(s, begin / mu - 1.0)) {
          record(EventKind::restart, {-1, 0});
          append_segment(s, 0.0);
          certify_point();
          segments.back().gap = gap_;
          return true;
        }
      }
    }
    at_.mu() = begin;
    at_.members() = before;
    at_.z() = z_before;
    return false;
  }

  // Members, alpha and z of a solution at at_.mu(), with independent columns.
  bool adopt(const Solution& solution) {
    at_.z() = at_.mu() * problem_.to_scaled(solution.dual);
    at_.members().clear();
    for (std::size_t j = 0; j < solution.active_set.size(); ++j) {
      const double norm =
          solution.weights.col(static_cast<Index>(j)).norm() / problem_.weight_unit();
      if (norm > 0.0) at_.members().push_back({solution.active_set[j], norm * at_.mu(), {}});
    }
    at_.compute_point();
    if (is_relu()) {
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
    at_.make_independent();
    return at_.settle();
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
  int n_cut_ = 0;
  double room_ = kRoom;           // that was asked for; the first is taken for granted
  std::vector<Member> recorded_;  // the members up to which events are told
  double objective_ = kNaN, gap_ = kNaN;
};

}  // namespace convexrelu
