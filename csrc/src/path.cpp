#include "convexrelu/path.hpp"

#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "convexrelu/error.hpp"
#include "convexrelu/kkt_system.hpp"
#include "convexrelu/network.hpp"
#include "convexrelu/solver.hpp"
#include "first_root.hpp"
#include "outside_blocks.hpp"

namespace convexrelu {

namespace {

// The series is cut where its terms are this small, relative to z and alpha.
constexpr double kTruncation = 1e-13;
// Its order grows in these steps until the next event, or the end, is within reach.
constexpr int kFirstOrder = 8;
constexpr int kOrderStep = 4;
// Longest step in h = mu/mu0 - 1.
constexpr double kLongestStep = 3.0;
// alpha, slacks and multipliers (of unit normals, relative to their scales) and 1 - f below this are zero.
constexpr double kTight = 1e-10;
// Polynomials this small over the whole step are zero.
constexpr double kIdentical = 1e-11;
constexpr double kNoise = 1e-13;
// f_b beyond 1 by this is a violation.
constexpr double kViolated = 2e-12;
// Blocks outside that are this close to 1 at the beginning of a step are looked at during it.
constexpr double kSmallestMargin = 1e-6;
constexpr double kLargestMargin = 0.1;
// f' above this, relative to the tangent, is not zero.
constexpr double kRising = 1e-9;
// Newton's method has converged at the first, and is of use below the second, relative to mu ||y||.
constexpr double kConverged = 2e-15;
constexpr double kAccepted = 1e-10;
// An entering column whose remainder is this fraction of it depends on those of the active blocks.
constexpr double kDependent = 1e-7;
// A unit normal with less than this outside the span of others depends on them.
constexpr double kDependentRow = 1e-9;
// Rounds in which blocks and faces may change at one point, and events at one point.
constexpr int kMaxRounds = 80;
constexpr int kMaxEventsAtPoint = 12;
// Two points are one when mu differs by less, relatively.
constexpr double kSamePoint = 1e-11;
// How far beyond the present point a restart solves.
constexpr double kRestartSteps[] = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4};

bool comes_before(Block a, Block b) {
  return a.pattern != b.pattern ? a.pattern < b.pattern : a.sign > b.sign;
}

double horner(const double* c, Index stride, Index order, double x) {
  double sum = 0.0;
  for (Index k = order; k >= 0; --k) sum = sum * x + c[k * stride];
  return sum;
}

Vector horner(const Matrix& coefficients, double x) {
  Vector sum = coefficients.col(coefficients.cols() - 1);
  for (Index k = coefficients.cols() - 2; k >= 0; --k) sum = sum * x + coefficients.col(k);
  return sum;
}

// v minus what lies along the normals of the face, twice so that rounding is relative to the result.
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

struct Event {
  enum Kind { none, leave, bind, release, enter, exchange } kind = none;
  double h = 0.0;
  Index member = -1;   // leave, bind, release
  Index row = -1;      // hyperplane, of bind and release
  Block block{-1, 0};  // enter, exchange
};

class Tracer {
 public:
  Tracer(const Problem& problem, const PathOptions& options, Monitor& monitor)
      : caller_(problem),
        problem_(problem.scaled()),
        options_(options),
        monitor_(monitor),
        n_(static_cast<double>(problem_.n_samples())),
        d_(problem_.n_features()),
        y_norm_(problem_.y().norm()),
        mu_end_(1.0 / problem_.scaled_lam(options.lam_min)),
        kkt_(problem_, KktSystem::Form::direct),
        cones_(problem_.hyperplanes().normals),
        transposed_normals_(problem_.hyperplanes().normals.transpose()),
        signs_(static_cast<std::size_t>(problem_.hyperplanes().size())),
        outside_(problem_, options.n_threads),
        x_norm_(problem_.X().norm()) {}

  Status run() {
    try {
      return follow();
    } catch (const Stopped& stopped) {
      return stopped.reason == StopReason::callback ? Status::callback : Status::time_limit;
    }
  }

  std::vector<PathSegment> segments;
  std::vector<PathEvent> events;
  long n_factorisations = 0;
  double lam_max = 0.0;

 private:
  bool is_relu() const { return problem_.formulation() == Formulation::relu; }
  Index size() const { return static_cast<Index>(members_.size()); }
  double lam_of(double mu) const { return problem_.lam_unit() / mu; }

  Status follow() {
    bool selected = begin();
    int n_at_point = 0;
    long n_restarts = 0;
    while (mu_ < mu_end_ * (1.0 - 1e-14)) {
      if (static_cast<long>(segments.size()) >= options_.max_segments) return Status::max_iter;
      monitor_.report("path", static_cast<long>(segments.size()), objective_, gap_);
      const double before = mu_;
      if (selected) selected = advance();
      n_at_point = mu_ > before * (1.0 + kSamePoint) ? 0 : n_at_point + 1;
      if (!selected || n_at_point > kMaxEventsAtPoint) {
        if (++n_restarts > 1000 || !restart()) return Status::stalled;
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
      mu_ = 1.0 / problem_.scaled_lam(lam_max);
      return adopt(*options_.start) && finish_point(Event{});
    }
    lam_max = caller_.lambda_max(monitor_);
    mu_ = 1.0 / problem_.scaled_lam(lam_max);
    z_ = mu_ * problem_.y();
    return mu_ >= mu_end_ || finish_point(Event{});
  }

  // ---- the system of the present members

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

  // c (d, k) = A_b'z/n and p, its projection onto the span of the face.
  void correlate(ConstVectorRef z, MatrixRef c, MatrixRef p) const {
    if (size() == 0) return;
    problem_.products().correlate(z, patterns(), c, options_.n_threads);
    for (Index b = 0; b < size(); ++b) {
      const Member& m = members_[static_cast<std::size_t>(b)];
      c.col(b) *= m.block.sign / n_;
      p.col(b) = c.col(b);
      project_out(m.face, p.col(b));
    }
  }

  // sum_b A_b u_b, u (d, k).
  Vector combine(const Matrix& u) const {
    Vector sum = Vector::Zero(problem_.n_samples());
    if (size() == 0) return sum;
    Matrix signed_u = u;
    for (Index b = 0; b < size(); ++b) {
      signed_u.col(b) *= members_[static_cast<std::size_t>(b)].block.sign;
    }
    problem_.products().forward(patterns(), signed_u, sum, options_.n_threads);
    return sum;
  }

  Vector alphas() const {
    Vector result(size());
    for (Index b = 0; b < size(); ++b) result(b) = members_[static_cast<std::size_t>(b)].alpha;
    return result;
  }

  void compute_point() {
    c_.resize(d_, size());
    p_.resize(d_, size());
    correlate(z_, c_, p_);
  }

  bool factor() {
    compute_point();
    directions_ = p_.colwise().normalized();
    if (!directions_.allFinite()) return false;
    const double scale = size() > 0 ? alphas().maxCoeff() : 0.0;
    std::vector<KktSystem::Member> members;
    for (Index b = 0; b < size(); ++b) {
      const Member& m = members_[static_cast<std::size_t>(b)];
      const double alpha = m.alpha > 1e-14 * scale ? m.alpha : 0.0;
      members.push_back({m.block, alpha, 0.0, directions_.col(b).data(), &m.face});
    }
    ++n_factorisations;
    return kkt_.factor(members, options_.n_threads, monitor_);
  }

  void solve(const Vector& g1, const Vector& g2, Vector& dz, Vector& dalpha, bool refined) {
    dz.resize(problem_.n_samples());
    dalpha.resize(size());
    kkt_.solve(g1, g2, dz, dalpha, refined ? 1e-12 : 1.0, monitor_);
  }

  // Newton's method with the factorisation at hand. Returns the residual.
  double correct() {
    double last = kInfinity;
    for (;;) {
      const Vector g1 = mu_ * problem_.y() - z_ - combine(p_ * alphas().asDiagonal());
      const Vector norms = p_.colwise().norm().transpose();
      const Vector g2 = 0.5 * n_ * (1.0 - norms.array().square()) / norms.array();
      const double residual = std::max(g1.norm() / (mu_ * y_norm_),
                                       size() > 0 ? g2.lpNorm<Eigen::Infinity>() / n_ : 0.0);
      if (!(residual > kConverged) || !(residual < 0.3 * last)) {
        return std::isnan(residual) ? kInfinity : std::min(residual, last);
      }
      last = residual;
      Vector dz, dalpha;
      solve(g1, g2, dz, dalpha, true);
      z_ += dz;
      for (Index b = 0; b < size(); ++b) members_[static_cast<std::size_t>(b)].alpha += dalpha(b);
      compute_point();
    }
  }

  // ---- the series of a segment

  Series start_series() const {
    const Index columns = options_.max_order + 1;
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
  void extend(Series& s, Index order) {
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
      solve(g1, g2, z, alpha, refine_);
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

  // ---- events

  // From the present point to the next event.
  bool advance() {
    Series s = start_series();
    Event event;
    double reach = 0.0;
    for (Index order = std::min(kFirstOrder, options_.max_order);;
         order = std::min<Index>(order + kOrderStep, options_.max_order)) {
      extend(s, order);
      if (!s.z.leftCols(order + 1).allFinite()) return false;
      const double end = mu_end_ / mu_ - 1.0;
      const double limit = radius(s);
      reach = std::min(limit, end);
      event = first_event(s, reach);
      if (event.kind != Event::none || limit >= end || order == options_.max_order) break;
    }
    const double h = event.kind == Event::none ? reach : event.h;
    if (h > 0.0) append_segment(s, h);
    move_to(s, h);
    return finish_point(event);
  }

  Event first_event(const Series& s, double reach) {
    const Index columns = s.order + 1;
    Vector powers(columns);
    powers(0) = 1.0;
    for (Index k = 1; k < columns; ++k) powers(k) = powers(k - 1) * reach;
    Event event;
    double x = 1.0;  // h / reach of the earliest so far
    const auto note = [&](Event::Kind kind, double root, Index member, Index row) {
      if (root >= x) return;
      x = root;
      event = {kind, root * reach, member, row, {-1, 0}};
    };

    const Matrix alpha = s.alpha.leftCols(columns) * powers.asDiagonal();
    const double scale = size() > 0 ? alpha.cwiseAbs().maxCoeff() : 1.0;
    for (Index b = 0; b < size(); ++b) {
      note(Event::leave, root_of(alpha.row(b).transpose() / scale), b, -1);
    }
    if (is_relu()) {
      for (Index b = 0; b < size(); ++b) {
        const Member& m = members_[static_cast<std::size_t>(b)];
        problem_.cone_signs(m.block.pattern, signs_.data());
        const Matrix p = s.p.block(b * d_, 0, d_, columns) * powers.asDiagonal();
        const Matrix slack = transposed_normals_ * p;
        for (Index row = 0; row < slack.rows(); ++row) {
          const double side = signs_[static_cast<std::size_t>(row)];
          if (side == 0.0 || holds(m.face, row)) continue;
          double lower = side * slack(row, 0);
          for (Index k = 1; k < columns; ++k) lower -= std::abs(slack(row, k));
          if (lower > 0.0) continue;
          note(Event::bind, root_of(side * slack.row(row).transpose()), b, row);
        }
        const Matrix c = s.c.block(b * d_, 0, d_, columns) * powers.asDiagonal();
        const Matrix tau = multipliers(m.face, c);
        for (Index j = 0; j < m.face.size(); ++j) {
          const Index row = m.face.rows()[static_cast<std::size_t>(j)];
          const double side = signs_[static_cast<std::size_t>(row)];
          if (side != 0.0) note(Event::release, root_of(side * tau.row(j).transpose()), b, row);
        }
      }
    }
    enter_event(s, reach, powers, x, event);
    return event;
  }

  static bool holds(const Face& face, Index row) {
    return std::find(face.rows().begin(), face.rows().end(), row) != face.rows().end();
  }

  // tau with c + N_F tau in the span of the face: -R^-1 Q'c.
  static Matrix multipliers(const Face& face, const Matrix& c) {
    if (face.size() == 0) return Matrix(0, c.cols());
    Matrix tau = -(face.q().transpose() * c);
    face.r().triangularView<Eigen::Upper>().solveInPlace(tau);
    return tau;
  }

  // Where a polynomial that is not negative at 0 becomes so, in units of the step. One that starts at zero is
  // divided by its variable.
  double root_of(const Vector& c) {
    Vector coefficients = c;
    const Index order = c.size() - 1;
    if (c(0) <= kTight) {
      if (order == 0 || c.tail(order).lpNorm<Eigen::Infinity>() < kIdentical) {
        return FirstRoot::kNone;
      }
      coefficients = c.tail(order);
    }
    return roots_.find(coefficients.data(), static_cast<int>(coefficients.size()) - 1, kNoise);
  }

  // The earliest block outside that reaches f = 1 before x. f is convex along chords, so between two
  // points it exceeds its larger end by no more than ||A_b||/n times the distance of z from the chord.
  void enter_event(const Series& s, double reach, const Vector& powers, double& x, Event& event) {
    const Index columns = s.order + 1;
    const double step = x * reach;
    double bend = 0.0, power = step;
    for (Index k = 2; k < columns; ++k) bend += s.z.col(k).norm() * (power *= step);
    bend *= x_norm_ / n_;
    const double level = 1.0 - std::max(bend, kTight);
    margin_ = std::clamp(2.0 * bend, kSmallestMargin, kLargestMargin);
    const Vector z_end = horner(s.z.leftCols(columns), step);
    const std::vector<Block> members = blocks();
    std::vector<Block> candidates;
    for (const auto& b : near_) {
      if (b.f > level) candidates.push_back(b.block);
    }
    for (const auto& b : outside_.scan(z_end, level, members, monitor_))
      candidates.push_back(b.block);
    std::sort(candidates.begin(), candidates.end(), comes_before);
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
    candidates.erase(
        std::remove_if(
            candidates.begin(), candidates.end(),
            [&](Block b) { return std::find(members.begin(), members.end(), b) != members.end(); }),
        candidates.end());
    if (candidates.empty()) return;
    std::vector<Index> listed;
    for (const Block& b : candidates) listed.push_back(b.pattern);
    Matrix c(d_ * columns, static_cast<Index>(listed.size()));
    const Matrix scaled = s.z.leftCols(columns) * powers.asDiagonal();
    problem_.products().correlate(scaled, listed, c, options_.n_threads);
    for (std::size_t j = 0; j < candidates.size(); ++j) {
      monitor_.check();
      const Matrix series =
          c.col(static_cast<Index>(j)).reshaped(d_, columns) * (candidates[j].sign / n_);
      const double root = is_relu() ? crossing(candidates[j], series, x) : crossing(series);
      if (root < x) {
        x = root;
        event = {Event::enter, root * reach, -1, -1, candidates[j]};
      }
      if (!is_relu()) continue;
      const double change = exchange(candidates[j], series, x);
      if (change < x) {
        x = change;
        event = {Event::exchange, change * reach, -1, -1, candidates[j]};
      }
    }
  }

  // Gated: where ||c||^2 exceeds 1.
  double crossing(const Matrix& c) {
    const Index columns = c.cols();
    const Matrix products = c.transpose() * c;
    Vector room = Vector::Zero(2 * columns - 1);
    for (Index a = 0; a < columns; ++a) {
      for (Index b = 0; b < columns; ++b) room(a + b) -= products(a, b);
    }
    room(0) += 1.0;
    if (std::abs(room(0)) <= 2.0 * kTight) {
      if (room.tail(2 * columns - 2).lpNorm<Eigen::Infinity>() < kIdentical)
        return FirstRoot::kNone;
      const Vector rest = room.tail(2 * columns - 2);
      return roots_.find(rest.data(), static_cast<int>(rest.size()) - 1, kNoise);
    }
    return roots_.find(room.data(), static_cast<int>(room.size()) - 1, kNoise);
  }

  // C-ReLU: where f = ||Proj c|| exceeds 1, in [0, x]; f is continuously differentiable.
  double crossing(Block block, const Matrix& c, double x) {
    constexpr int kSamples = 4;
    std::vector<Index> face;
    const auto excess = [&](double at) {
      return outside_.project(block, horner(c, at), face).norm - 1.0;
    };
    double low = 0.0, f_low = excess(0.0);
    double high = -1.0, f_high = 0.0;
    for (int i = 1; i <= kSamples; ++i) {
      const double at = x * i / kSamples;
      const double f = excess(at);
      if (f > kViolated) {
        high = at;
        f_high = f;
        break;
      }
      low = at;
      f_low = f;
    }
    if (high < 0.0) return FirstRoot::kNone;
    if (f_low > -kTight) {
      // It starts at 1 within rounding: if it falls below first, it crosses later.
      bool fell = false;
      for (double at = 0.5 * (low + high); at - low > 1e-6 * high && !fell; at = 0.5 * (low + at)) {
        const double f = excess(at);
        if (f < -kTight) {
          low = at;
          f_low = f;
          fell = true;
        }
      }
      if (!fell) return low;
    }
    // Illinois: regula falsi that halves the value of an end that stays.
    int side = 0;
    for (int i = 0; i < 100 && high - low > 1e-15 * high; ++i) {
      double at = (low * f_high - high * f_low) / (f_high - f_low);
      if (!(at > low && at < high)) at = 0.5 * (low + high);
      const double f = excess(at);
      if (f == 0.0) return at;
      if (f > 0.0) {
        high = at;
        f_high = f;
        if (side == 1) f_low *= 0.5;
        side = 1;
      } else {
        low = at;
        f_low = f;
        if (side == -1) f_high *= 0.5;
        side = -1;
      }
      if (std::abs(f) < 1e-15) return at;
    }
    return low;
  }

  // A block outside with f = 1 all along (the same neuron, seen from a neighbouring pattern) stays as
  // long as its multipliers are not negative. Where one vanishes, while f is still 1, it is time to
  // exchange: f itself would only show it quadratically late.
  double exchange(Block block, const Matrix& c, double x) {
    const auto start =
        std::find_if(near_.begin(), near_.end(), [&](const auto& b) { return b.block == block; });
    if (start == near_.end() || std::abs(start->f - 1.0) > kTight) return FirstRoot::kNone;
    Face face;
    cones_.factor(start->face, face);
    const Matrix tau = multipliers(face, c);
    double first = FirstRoot::kNone;
    for (Index j = 0; j < face.size(); ++j) {
      problem_.cone_signs(block.pattern, signs_.data());
      const double side =
          signs_[static_cast<std::size_t>(face.rows()[static_cast<std::size_t>(j)])];
      if (side == 0.0) continue;
      const double root = root_of(side * tau.row(j).transpose());
      if (root >= std::min(first, x)) continue;
      std::vector<Index> rows = start->face;
      if (std::abs(outside_.project(block, horner(c, root), rows).norm - 1.0) <= kTight)
        first = root;
    }
    return first;
  }

  // ---- from one segment to the next

  void append_segment(const Series& s, double h) {
    std::vector<std::size_t> order(members_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return comes_before(members_[a].block, members_[b].block);
    });
    PathSegment segment;
    segment.lam_begin = segments.empty() ? lam_max : segments.back().lam_end;
    const double mu = mu_ * (1.0 + h);
    segment.lam_end = mu < mu_end_ * (1.0 - 1e-14) ? lam_of(mu) : options_.lam_min;
    segment.centre = mu_;
    segment.z = s.z.leftCols(s.order + 1);
    segment.alpha.resize(size(), s.order + 1);
    for (std::size_t j = 0; j < order.size(); ++j) {
      const Member& m = members_[order[j]];
      segment.blocks.push_back(m.block);
      segment.faces.push_back(m.face.rows());
      segment.alpha.row(static_cast<Index>(j)) =
          s.alpha.row(static_cast<Index>(order[j])).leftCols(s.order + 1);
    }
    segment.gap = kNaN;  // finish_point
    segments.push_back(std::move(segment));
  }

  void move_to(const Series& s, double h) {
    z_ = horner(s.z.leftCols(s.order + 1), h);
    for (Index b = 0; b < size(); ++b) {
      members_[static_cast<std::size_t>(b)].alpha =
          std::max(0.0, horner(&s.alpha(b, 0), s.alpha.rows(), s.order, h));
    }
    mu_ *= 1.0 + h;
  }

  // Certifies the point, takes the event in, and settles members and faces ahead of it.
  bool finish_point(const Event& event) {
    scan_outside();
    certify_point();
    if (!segments.empty() && std::isnan(segments.back().gap)) segments.back().gap = gap_;
    if (mu_ >= mu_end_ * (1.0 - 1e-14)) return true;
    const std::vector<Member> before = members_;
    if (!take_in(event) || !select()) return false;
    record_changes(before);
    return true;
  }

  // Leaves, enters, then the rows that became tight or ceased to be: by the spans of the faces, since on a
  // face with more rows than dimensions several lists mean the same.
  void record_changes(const std::vector<Member>& before) {
    const auto find = [](const std::vector<Member>& list, Block block) {
      return std::find_if(list.begin(), list.end(),
                          [&](const Member& m) { return m.block == block; });
    };
    for (const Member& m : before) {
      if (find(members_, m.block) == members_.end()) record(EventKind::leave, m.block);
    }
    for (const Member& m : members_) {
      const auto old = find(before, m.block);
      if (old == before.end()) {
        record(EventKind::enter, m.block);
        continue;
      }
      for (const Index row : m.face.rows()) {
        if (!spans(old->face, row)) record(EventKind::bind, m.block, row);
      }
      for (const Index row : old->face.rows()) {
        if (!spans(m.face, row)) record(EventKind::release, m.block, row);
      }
    }
  }

  bool spans(const Face& face, Index row) const {
    if (holds(face, row)) return true;
    Vector rest = problem_.hyperplanes().normals.col(row);
    project_out(face, rest.col(0));
    return rest.norm() <= kDependentRow;
  }

  // Blocks that could rise above 1 within the next step and fall below it again start close to 1.
  void scan_outside() { near_ = outside_.scan(z_, 1.0 - margin_, blocks(), monitor_); }

  // The gap of the weights alpha_b lam p_b, with z as the dual point.
  void certify_point() {
    compute_point();
    double largest = 1.0;
    for (const auto& b : near_) largest = std::max(largest, b.f);
    for (Index b = 0; b < size(); ++b) {
      std::vector<Index> rows = members_[static_cast<std::size_t>(b)].face.rows();
      largest = std::max(
          largest,
          is_relu()
              ? outside_.project(members_[static_cast<std::size_t>(b)].block, c_.col(b), rows).norm
              : p_.col(b).norm());
    }
    const Vector alpha = alphas();
    const Vector residual = mu_ * problem_.y() - combine(p_ * alpha.asDiagonal());  // over lam
    const double penalty = alpha.dot(p_.colwise().norm().transpose());
    const double primal = residual.squaredNorm() / (2.0 * n_) + penalty;  // over lam^2
    const double zz = z_.squaredNorm(), yz = mu_ * problem_.y().dot(z_);
    const double kappa = zz > 0.0 ? std::clamp(yz / zz, 0.0, 1.0 / largest) : 0.0;
    const double dual = kappa * yz / n_ - kappa * kappa * zz / (2.0 * n_);
    gap_ = primal > 0.0 ? std::max(0.0, (primal - dual) / primal) : 0.0;
    const double unit = problem_.y_unit() / mu_;
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

  bool take_in(const Event& event) {
    switch (event.kind) {
      case Event::leave:
        remove(event.member);
        return true;
      case Event::bind: {
        Member& m = members_[static_cast<std::size_t>(event.member)];
        std::vector<Index> rows = m.face.rows();
        rows.push_back(event.row);
        cones_.factor(rows, m.face);
        return true;
      }
      case Event::release: {
        Member& m = members_[static_cast<std::size_t>(event.member)];
        std::vector<Index> rows = m.face.rows();
        rows.erase(std::find(rows.begin(), rows.end(), event.row));
        cones_.factor(rows, m.face);
        return true;
      }
      case Event::enter:
      case Event::exchange:
        for (std::size_t j = 0; j < near_.size(); ++j) {
          if (near_[j].block == event.block) return enter(j);
        }
        return false;
      default:
        return true;
    }
  }

  void remove(Index b) {
    const Member& m = members_[static_cast<std::size_t>(b)];
    compute_point();
    near_.push_back({m.block, p_.col(b).norm(), c_.col(b), p_.col(b), m.face.rows(), {}});
    members_.erase(members_.begin() + b);
  }

  // Block j of near_ becomes a member. If its column depends on theirs, alpha moves along the
  // dependence until one of theirs vanishes, which leaves.
  bool enter(std::size_t j) {
    const OutsideBlocks::Near block = near_[j];
    compute_point();
    Member member{block.block, 0.0, {}};
    if (is_relu()) {
      std::vector<Index> rows = block.face;
      const Projection& projection = outside_.project(block.block, block.c, rows);
      std::vector<Index> kept;  // rows with multipliers that are not zero
      for (std::size_t i = 0; i < rows.size(); ++i) {
        if (std::abs(projection.multipliers[i]) > kTight) kept.push_back(rows[i]);
      }
      cones_.factor(kept, member.face);
    }
    if (size() > 0) {
      Vector column = problem_.X() * block.q;
      problem_.apply_mask(block.block, column);
      Matrix others(z_.size(), size());
      for (Index b = 0; b < size(); ++b) {
        others.col(b).noalias() = problem_.X() * p_.col(b);
        problem_.apply_mask(members_[static_cast<std::size_t>(b)].block, others.col(b));
      }
      const Vector share = others.colPivHouseholderQr().solve(column);
      if ((column - others * share).norm() <= kDependent * column.norm()) {
        Index leaving = -1;
        double step = kInfinity;
        for (Index b = 0; b < size(); ++b) {
          if (share(b) <= kDependent) continue;
          const double limit = members_[static_cast<std::size_t>(b)].alpha / share(b);
          if (limit < step) {
            step = limit;
            leaving = b;
          }
        }
        if (leaving < 0) return false;
        for (Index b = 0; b < size(); ++b) {
          members_[static_cast<std::size_t>(b)].alpha -= step * share(b);
        }
        member.alpha = step;
        remove(leaving);
      }
    }
    near_.erase(std::find_if(near_.begin(), near_.end(),
                             [&](const auto& b) { return b.block == block.block; }));
    members_.push_back(std::move(member));
    return true;
  }

  // Members and faces for which the tangent points into what is allowed: one change at a time, the
  // first in the order of blocks (Murty 1974), until there is none.
  bool select() {
    for (int round = 0; round < kMaxRounds; ++round) {
      monitor_.check();
      if (!factor() || correct() > kAccepted) return false;
      const Vector zero = Vector::Zero(size());
      Vector z1, alpha1;
      const Vector alpha = alphas();
      const double scale = size() > 0 ? alpha.cwiseAbs().maxCoeff() : 0.0;
      refine_ = false;
      for (Index b = 0; b < size(); ++b) {
        refine_ = refine_ || (alpha(b) > 0.0 && alpha(b) < 1e-3 * scale);
      }
      solve(mu_ * problem_.y(), zero, z1, alpha1, refine_);
      if (!z1.allFinite() || !alpha1.allFinite()) return false;
      Matrix c1(d_, size()), p1(d_, size());
      correlate(z1, c1, p1);

      bool failed = false;
      if (change_members(alpha, scale, z1, alpha1, failed)) {
        if (failed) return false;
        continue;
      }
      if (is_relu() && turn_faces(c1, round >= kMaxRounds / 3)) continue;
      return true;
    }
    return false;
  }

  // The first block that should leave or enter does.
  bool change_members(const Vector& alpha, double scale, const Vector& z1, const Vector& alpha1,
                      bool& failed) {
    Index leaving = -1;
    for (Index b = 0; b < size(); ++b) {
      if (alpha(b) > kTight * scale || !(alpha1(b) < 0.0)) continue;
      const Block block = members_[static_cast<std::size_t>(b)].block;
      if (leaving < 0 || comes_before(block, members_[static_cast<std::size_t>(leaving)].block)) {
        leaving = b;
      }
    }
    std::vector<Index> listed;
    std::vector<std::size_t> weak;
    for (std::size_t j = 0; j < near_.size(); ++j) {
      if (near_[j].f < 1.0 - kTight) continue;
      weak.push_back(j);
      listed.push_back(near_[j].block.pattern);
    }
    std::size_t entering = near_.size();
    if (!weak.empty()) {
      Matrix c(d_, static_cast<Index>(listed.size()));
      problem_.products().correlate(z1, listed, c, options_.n_threads);
      for (std::size_t i = 0; i < weak.size(); ++i) {
        const auto& b = near_[weak[i]];
        const Vector rate = c.col(static_cast<Index>(i)) * (b.block.sign / n_);
        if (b.q.dot(rate) <= kRising * std::max(1.0, rate.norm())) continue;
        if (entering == near_.size() || comes_before(b.block, near_[entering].block)) {
          entering = weak[i];
        }
      }
    }
    if (leaving < 0 && entering == near_.size()) return false;
    if (leaving >= 0 &&
        (entering == near_.size() ||
         comes_before(members_[static_cast<std::size_t>(leaving)].block, near_[entering].block))) {
      remove(leaving);
    } else {
      failed = !enter(entering);
    }
    return true;
  }

  // The faces whose tight rows ask for others, or the first of them. Ahead of a point, q_b moves along the
  // projection of dc_b onto the critical cone {u : C_T u >= 0, (q_b - c_b)'u = 0}, T the tight rows.
  bool turn_faces(const Matrix& c1, bool one_at_a_time) {
    bool turned = false;
    std::vector<std::size_t> order(members_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return comes_before(members_[a].block, members_[b].block);
    });
    for (const std::size_t j : order) {
      const Index b = static_cast<Index>(j);
      std::vector<Index> rows;
      if (!directional_face(members_[j].block, members_[j].face, c_.col(b), p_.col(b), c1.col(b),
                            rows)) {
        continue;
      }
      std::vector<Index> before = members_[j].face.rows(), after = rows;
      std::sort(before.begin(), before.end());
      std::sort(after.begin(), after.end());
      if (before == after) continue;
      cones_.factor(rows, members_[j].face);
      turned = true;
      if (one_at_a_time) break;
    }
    return turned;
  }

  // False where no row is weakly active: the face stays.
  bool directional_face(Block block, const Face& face, const Vector& c, const Vector& p,
                        const Vector& dc, std::vector<Index>& result) {
    problem_.cone_signs(block.pattern, signs_.data());
    const Matrix& normals = problem_.hyperplanes().normals;
    const Vector slack = transposed_normals_ * p;
    const Matrix tau = multipliers(face, c);
    std::vector<Index> strong, tight;
    bool weak = false;
    for (Index j = 0; j < face.size(); ++j) {
      const Index row = face.rows()[static_cast<std::size_t>(j)];
      const double side = signs_[static_cast<std::size_t>(row)];
      if (side == 0.0 || side * tau(j, 0) > kTight) {
        strong.push_back(row);
      } else {
        tight.push_back(row);
        weak = true;
      }
    }
    for (Index row = 0; row < slack.size(); ++row) {
      const double side = signs_[static_cast<std::size_t>(row)];
      if (side == 0.0 || side * slack(row) > kTight || holds(face, row)) continue;
      tight.push_back(row);
      weak = weak || !spans(face, row);
    }
    if (!weak) return false;
    std::vector<Index> rows = strong;
    rows.insert(rows.end(), tight.begin(), tight.end());
    Matrix local(d_, static_cast<Index>(rows.size()));
    std::vector<std::int8_t> local_signs(rows.size(), 0);
    std::vector<Index> guess;
    for (std::size_t j = 0; j < rows.size(); ++j) {
      local.col(static_cast<Index>(j)) = normals.col(rows[j]);
      local.col(static_cast<Index>(j)) -= p * p.dot(local.col(static_cast<Index>(j)));
      if (j < strong.size()) {
        guess.push_back(static_cast<Index>(j));
      } else {
        local_signs[j] = signs_[static_cast<std::size_t>(rows[j])];
      }
    }
    ConeProjector critical(local);
    const Vector moved = dc + p * (dc.norm() - p.dot(dc));
    critical.project(moved, local_signs.data(), guess);
    result.clear();
    for (const Index j : guess) result.push_back(rows[static_cast<std::size_t>(j)]);
    return true;
  }

  // ---- beginning from a solution

  bool restart() {
    for (const double step : kRestartSteps) {
      monitor_.check();
      const double mu = std::min(mu_ * (1.0 + step), mu_end_);
      const double lam = mu < mu_end_ ? lam_of(mu) : options_.lam_min;
      SolveOptions options;
      options.tol = 1e-10;
      options.n_threads = options_.n_threads;
      const Solution solution = convexrelu::solve(caller_, lam, options, monitor_);
      if (solution.gap > 1e-8) continue;
      const double begin = mu_;
      const std::vector<Member> before = members_;
      const Vector z_before = z_;
      mu_ = mu;
      if (adopt(solution)) {
        // The series holds on this side of the point too.
        scan_outside();
        if (select()) {
          record(EventKind::restart, {-1, 0});
          record_changes(before);
          Series s = start_series();
          extend(s, std::min(kFirstOrder, options_.max_order));
          append_segment(s, 0.0);
          certify_point();
          segments.back().gap = gap_;
          return true;
        }
      }
      mu_ = begin;
      members_ = before;
      z_ = z_before;
    }
    return false;
  }

  // Members, alpha and z of a solution at mu_, with independent columns.
  bool adopt(const Solution& solution) {
    z_.resize(problem_.n_samples());
    for (Index k = 0; k < z_.size(); ++k) {
      z_(k) = solution.dual(problem_.rows()[static_cast<std::size_t>(k)]) / problem_.y_unit() *
              problem_.row_factors()(k) * mu_;
    }
    members_.clear();
    for (std::size_t j = 0; j < solution.active_set.size(); ++j) {
      const double norm =
          solution.weights.col(static_cast<Index>(j)).norm() / problem_.weight_unit();
      if (norm > 0.0) members_.push_back({solution.active_set[j], norm * mu_, {}});
    }
    compute_point();
    if (is_relu()) {
      for (Index b = 0; b < size(); ++b) {
        Member& m = members_[static_cast<std::size_t>(b)];
        std::vector<Index> rows, kept;
        const Projection& projection = outside_.project(m.block, c_.col(b), rows);
        for (std::size_t i = 0; i < rows.size(); ++i) {
          if (std::abs(projection.multipliers[i]) > 1e-9) kept.push_back(rows[i]);
        }
        cones_.factor(kept, m.face);
      }
      compute_point();
    }
    make_independent();
    return factor() && correct() <= kAccepted;
  }

  // Moves alpha along dependences of the columns until they are independent (a vertex of the optimal set).
  void make_independent() {
    while (size() > 0) {
      Matrix columns(z_.size(), size());
      for (Index b = 0; b < size(); ++b) {
        columns.col(b).noalias() = problem_.X() * p_.col(b);
        problem_.apply_mask(members_[static_cast<std::size_t>(b)].block, columns.col(b));
        columns.col(b).normalize();
      }
      Eigen::ColPivHouseholderQR<Matrix> qr(columns);
      qr.setThreshold(1e-9);
      const Index rank = qr.rank();
      if (rank == size()) return;
      Vector null = Vector::Zero(size());
      null.head(rank) = -qr.matrixR()
                             .topLeftCorner(rank, rank)
                             .triangularView<Eigen::Upper>()
                             .solve(qr.matrixR().col(rank).head(rank));
      null(rank) = 1.0;
      null = (qr.colsPermutation() * null).eval();
      for (Index b = 0; b < size(); ++b) {  // back to the columns as they are
        Vector column = problem_.X() * p_.col(b);
        problem_.apply_mask(members_[static_cast<std::size_t>(b)].block, column);
        null(b) /= std::max(column.norm(), 1e-300);
      }
      Index leaving = -1;
      double step = kInfinity;
      if (!(null.array() > 0.0).any()) null = -null;
      for (Index b = 0; b < size(); ++b) {
        if (!(null(b) > 0.0)) continue;
        const double limit = members_[static_cast<std::size_t>(b)].alpha / null(b);
        if (limit < step) {
          step = limit;
          leaving = b;
        }
      }
      for (Index b = 0; b < size(); ++b) {
        members_[static_cast<std::size_t>(b)].alpha =
            std::max(0.0, members_[static_cast<std::size_t>(b)].alpha - step * null(b));
      }
      members_.erase(members_.begin() + leaving);
      compute_point();
    }
  }

  const Problem& caller_;
  const ScaledProblem& problem_;
  const PathOptions& options_;
  Monitor& monitor_;
  const double n_;
  const Index d_;
  const double y_norm_;
  const double mu_end_;
  KktSystem kkt_;
  ConeProjector cones_;
  Matrix transposed_normals_;
  std::vector<std::int8_t> signs_;
  OutsideBlocks outside_;
  const double x_norm_;
  FirstRoot roots_;

  double mu_ = 0.0;
  Vector z_;
  std::vector<Member> members_;
  Matrix c_, p_, directions_;              // of the members at z
  std::vector<OutsideBlocks::Near> near_;  // blocks outside with f close to 1, at z
  double margin_ = kSmallestMargin;        // how close
  bool refine_ = false;  // an alpha is so small that solving needs a step of refinement
  double objective_ = kNaN, gap_ = kNaN;
};

}  // namespace

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

Path::Path(Problem problem, double lam_max, double tol, Status status,
           std::vector<PathSegment> segments, std::vector<PathEvent> events, long n_factorisations)
    : problem_(std::move(problem)),
      lam_max_(lam_max),
      tol_(tol),
      status_(status),
      segments_(std::move(segments)),
      events_(std::move(events)),
      n_factorisations_(n_factorisations) {
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

const PathSegment* Path::segment_of(double lam) const {
  if (!(lam >= lam_min())) {
    throw_invalid("lam is " + std::to_string(lam) + ", but the path ends at " +
                  std::to_string(lam_min()));
  }
  if (lam >= lam_max_) {
    if (lam > lam_max_ && lam < problem_.lambda_max()) {
      throw_invalid("lam is " + std::to_string(lam) + ", but the path begins at " +
                    std::to_string(lam_max_));
    }
    if (lam >= problem_.lambda_max()) return nullptr;
  }
  const auto found = std::lower_bound(segments_.begin(), segments_.end(), lam,
                                      [](const PathSegment& s, double l) { return s.lam_end > l; });
  return found == segments_.end() ? nullptr : &*found;
}

Vector Path::objectives(ConstVectorRef lams) const {
  const ScaledProblem& scaled = problem_.scaled();
  const double n = static_cast<double>(scaled.n_samples());
  const double unit = scaled.y_unit() * scaled.y_unit();
  Vector result(lams.size());
  for (Index i = 0; i < lams.size(); ++i) {
    const PathSegment* s = segment_of(lams(i));
    if (s == nullptr) {
      result(i) = scaled.y().squaredNorm() / (2.0 * n) * unit;
      continue;
    }
    const double lam = scaled.scaled_lam(lams(i));
    const double h = 1.0 / (lam * s->centre) - 1.0;
    const Vector z = horner(s->z, h);
    const double penalty = s->alpha.rows() > 0 ? horner(s->alpha, h).cwiseMax(0.0).sum() : 0.0;
    result(i) = lam * lam * (z.squaredNorm() / (2.0 * n) + penalty) * unit;
  }
  return result;
}

Eigen::Matrix<Index, Eigen::Dynamic, 1> Path::n_active(ConstVectorRef lams) const {
  Eigen::Matrix<Index, Eigen::Dynamic, 1> result(lams.size());
  for (Index i = 0; i < lams.size(); ++i) {
    const PathSegment* s = segment_of(lams(i));
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
    PathPoint point = at(lams(i));
    const Solution solution =
        make_bounded_solution(problem_, lams(i), Status::stalled, std::move(point.active_set),
                              std::move(point.weights), std::move(point.dual), 0, 0.0);
    predictions.row(i) = to_network(solution).predict(X, n_threads, monitor).transpose();
  }
  return predictions;
}

PathPoint Path::at(double lam) const {
  const ScaledProblem& scaled = problem_.scaled();
  const PathSegment* s = segment_of(lam);
  PathPoint point;
  point.weights.resize(problem_.n_features(), 0);
  Vector r = scaled.y();
  if (s != nullptr) {
    const double scaled_lam = scaled.scaled_lam(lam);
    const double h = 1.0 / (scaled_lam * s->centre) - 1.0;
    const Vector z = horner(s->z, h);
    r = scaled_lam * z;
    if (s->alpha.rows() > 0) {
      const Vector alpha = horner(s->alpha, h);
      std::vector<Index> patterns;
      for (const Block& b : s->blocks) patterns.push_back(b.pattern);
      Matrix c(problem_.n_features(), alpha.size());
      scaled.products().correlate(z, patterns, c);
      ConeProjector cones(scaled.hyperplanes().normals);
      Index used = 0;
      for (Index b = 0; b < alpha.size(); ++b) {
        if (!(alpha(b) > 0.0)) continue;
        const Block block = s->blocks[static_cast<std::size_t>(b)];
        Vector p = c.col(b) * (block.sign / static_cast<double>(scaled.n_samples()));
        Face face;
        cones.factor(s->faces[static_cast<std::size_t>(b)], face);
        project_out(face, p.col(0));
        c.col(used++) = p * (alpha(b) * scaled_lam * scaled.weight_unit());
        point.active_set.push_back(block);
      }
      point.weights = c.leftCols(used);
    }
  }
  point.dual = Vector::Zero(problem_.n_samples());
  for (Index k = 0; k < scaled.n_samples(); ++k) {
    point.dual(scaled.rows()[static_cast<std::size_t>(k)]) =
        r(k) / scaled.row_factors()(k) * scaled.y_unit();
  }
  return point;
}

Solution Path::solution(double lam, int n_threads, Monitor& monitor) const {
  PathPoint point = at(lam);
  Solution solution =
      make_solution(problem_, lam, Status::stalled, std::move(point.active_set),
                    std::move(point.weights), std::move(point.dual), 0, n_threads, monitor);
  if (solution.gap <= tol_) solution.status = Status::optimal;
  return solution;
}

Path trace_path(const Problem& problem, const PathOptions& options, Monitor& monitor) {
  const ScaledProblem& scaled = problem.scaled();
  if (!scaled.in_range() || scaled.scaled_lam(options.lam_min) == 0.0) {
    return {problem, options.lam_min, options.tol, Status::numerical_failure, {}, {}, 0};
  }
  Tracer tracer(problem, options, monitor);
  Status status = tracer.run();
  for (const PathSegment& s : tracer.segments) {
    if (!(s.gap <= options.tol) && status == Status::optimal) status = Status::stalled;
  }
  if (!tracer.segments.empty() && std::isnan(tracer.segments.back().gap)) {
    tracer.segments.pop_back();
  }
  return {problem,
          tracer.lam_max,
          options.tol,
          status,
          std::move(tracer.segments),
          std::move(tracer.events),
          tracer.n_factorisations};
}

}  // namespace convexrelu
