#include "path/event_finder.hpp"

#include <algorithm>
#include <cmath>

namespace convexrelu {
inline namespace path {

EventFinder::EventFinder(const ScaledProblem& problem, const ActiveSystem& at, int n_threads,
                         Monitor& monitor)
    : problem_(problem),
      at_(at),
      n_threads_(n_threads),
      monitor_(monitor),
      n_(static_cast<double>(problem.n_samples())),
      d_(problem.n_features()),
      x_norm_(problem.X().norm()),
      cones_(problem.hyperplanes().normals),
      transposed_normals_(problem.hyperplanes().normals.transpose()),
      outside_(problem, n_threads) {}

Event EventFinder::first(const Series& s, double reach) {
  const Vector powers = powers_of(reach, s.order);
  Earliest earliest;
  leaves(s, reach, powers, 0.0, earliest);
  for (Index b = 0; is_relu() && b < at_.size(); ++b) {
    binds(s, b, reach, powers, 0.0, earliest);
    releases(s, b, reach, powers, earliest);
  }
  enter_event(s, reach, powers, earliest.x, earliest.event);
  return earliest.event;
}

Event EventFinder::first_of_weights(const Series& s, double reach) {
  const Vector powers = powers_of(reach, s.order);
  Earliest earliest;
  leaves(s, reach, powers, at_.tight(), earliest);
  for (Index b = 0; is_relu() && b < at_.size(); ++b) {
    binds(s, b, reach, powers, at_.tight(), earliest);
  }
  return earliest.event;
}

const std::vector<std::int8_t>& EventFinder::sides_of(Index pattern) {
  std::vector<std::int8_t>& sides = sides_[pattern];
  if (sides.empty()) {
    sides.resize(static_cast<std::size_t>(problem_.hyperplanes().size()));
    problem_.cone_signs(pattern, sides.data());
  }
  return sides;
}

Vector EventFinder::powers_of(double reach, Index order) {
  Vector powers(order + 1);
  powers(0) = 1.0;
  for (Index k = 1; k <= order; ++k) powers(k) = powers(k - 1) * reach;
  return powers;
}

void EventFinder::leaves(const Series& s, double reach, const Vector& powers, double room,
                         Earliest& earliest) {
  const Matrix alpha = s.alpha.leftCols(s.order + 1) * powers.asDiagonal();
  const double scale = at_.size() > 0 ? alpha.cwiseAbs().maxCoeff() : 1.0;
  for (Index b = 0; b < at_.size(); ++b) {
    earliest.note(Event::leave, root_of(alpha.row(b).transpose() / scale, room), reach, b, -1);
  }
}

void EventFinder::binds(const Series& s, Index b, double reach, const Vector& powers, double room,
                        Earliest& earliest) {
  const Index columns = s.order + 1;
  const Member& m = at_.member(b);
  const std::vector<std::int8_t>& sides = sides_of(m.block.pattern);
  const Matrix p = s.p.block(b * d_, 0, d_, columns) * powers.asDiagonal();
  const Matrix slack = transposed_normals_ * p;
  for (Index row = 0; row < slack.rows(); ++row) {
    const double side = sides[row];
    if (side == 0.0 || holds(m.face, row)) continue;
    double lower = side * slack(row, 0);
    for (Index k = 1; k < columns; ++k) lower -= std::abs(slack(row, k));
    if (lower > 0.0) continue;
    earliest.note(Event::bind, root_of(side * slack.row(row).transpose(), room), reach, b, row);
  }
}

void EventFinder::releases(const Series& s, Index b, double reach, const Vector& powers,
                           Earliest& earliest) {
  const Member& m = at_.member(b);
  const std::vector<std::int8_t>& sides = sides_of(m.block.pattern);
  const Matrix c = s.c.block(b * d_, 0, d_, s.order + 1) * powers.asDiagonal();
  const Matrix tau = multipliers(m.face, c);
  for (Index j = 0; j < m.face.size(); ++j) {
    const Index row = m.face.rows()[j];
    const double side = sides[row];
    if (side == 0.0) continue;
    earliest.note(Event::release, root_of(side * tau.row(j).transpose()), reach, b, row);
  }
}

double EventFinder::root_of(const Vector& c, double room) {
  Vector coefficients = c;
  const Index order = c.size() - 1;
  if (c(0) <= at_.tight()) {
    if (order == 0 || c.tail(order).lpNorm<Eigen::Infinity>() < at_.visible(kIdentical)) {
      return FirstRoot::kNone;
    }
    if (room > 0.0) {
      coefficients(0) += room;
    } else {
      coefficients = c.tail(order);
    }
  }
  return roots_.find(coefficients.data(), static_cast<int>(coefficients.size()) - 1,
                     at_.visible(kNoise));
}

void EventFinder::enter_event(const Series& s, double reach, const Vector& powers, double& x,
                              Event& event) {
  const Index columns = s.order + 1;
  const double step = x * reach;
  double bend = 0.0, power = step;
  for (Index k = 2; k < columns; ++k) bend += s.z.col(k).norm() * (power *= step);
  bend *= x_norm_ / n_;
  const double level = 1.0 - std::max(bend, at_.tight());
  margin_ = std::clamp(2.0 * bend, kSmallestMargin, kLargestMargin);
  const Vector z_end = horner(s.z.leftCols(columns), step);
  const std::vector<Block> members = at_.blocks();
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
  problem_.products().correlate(scaled, listed, c, n_threads_, &monitor_);
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

double EventFinder::crossing(const Matrix& c) {
  const Index columns = c.cols();
  const Matrix products = c.transpose() * c;
  Vector room = Vector::Zero(2 * columns - 1);
  for (Index a = 0; a < columns; ++a) {
    for (Index b = 0; b < columns; ++b) room(a + b) -= products(a, b);
  }
  room(0) += 1.0;
  if (std::abs(room(0)) <= 2.0 * at_.tight()) {
    if (room.tail(2 * columns - 2).lpNorm<Eigen::Infinity>() < at_.visible(kIdentical))
      return FirstRoot::kNone;
    const Vector rest = room.tail(2 * columns - 2);
    return roots_.find(rest.data(), static_cast<int>(rest.size()) - 1, at_.visible(kNoise));
  }
  return roots_.find(room.data(), static_cast<int>(room.size()) - 1, at_.visible(kNoise));
}

double EventFinder::crossing(Block block, const Matrix& c, double x) {
  constexpr int kSamples = 4;
  std::vector<Index> face;
  const auto excess = [&](double at) {
    return outside_.project(block, horner(c, at), face).norm - 1.0;
  };
  double low = 0.0, f_low = excess(0.0);
  double high = -1.0, f_high = 0.0;
  // Data tied to within rounding leave it as far from 1 for long.
  const bool tied = std::abs(f_low) <= at_.tight() && std::abs(f_low) > at_.visible(kViolated);
  const double violated = tied ? 3.0 * std::abs(f_low) : at_.visible(kViolated);
  for (int i = 1; i <= kSamples; ++i) {
    const double at = x * i / kSamples;
    const double f = excess(at);
    if (f > violated) {
      high = at;
      f_high = f;
      break;
    }
    low = at;
    f_low = f;
  }
  if (high < 0.0) return FirstRoot::kNone;
  if (f_low > -at_.tight()) {
    // It starts at 1 within rounding: if it falls below first, it crosses later.
    bool fell = false;
    for (double at = 0.5 * (low + high); at - low > 1e-6 * high && !fell; at = 0.5 * (low + at)) {
      const double f = excess(at);
      if (f < -at_.tight()) {
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

double EventFinder::exchange(Block block, const Matrix& c, double x) {
  const auto start =
      std::find_if(near_.begin(), near_.end(), [&](const auto& b) { return b.block == block; });
  if (start == near_.end() || std::abs(start->f - 1.0) > at_.tight()) return FirstRoot::kNone;
  Face face;
  cones_.factor(start->face, face);
  const Matrix tau = multipliers(face, c);
  const std::vector<std::int8_t>& sides = sides_of(block.pattern);
  double first = FirstRoot::kNone;
  for (Index j = 0; j < face.size(); ++j) {
    const double side = sides[face.rows()[j]];
    if (side == 0.0) continue;
    const double root = root_of(side * tau.row(j).transpose());
    if (root >= std::min(first, x)) continue;
    std::vector<Index> rows = start->face;
    if (std::abs(outside_.project(block, horner(c, root), rows).norm - 1.0) <= at_.tight())
      first = root;
  }
  return first;
}

}  // namespace path
}  // namespace convexrelu
