#include "path/piece_selection.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace convexrelu {
inline namespace path {

PieceSelection::PieceSelection(const ScaledProblem& problem, ActiveSystem& at, EventFinder& events,
                               int n_threads, Monitor& monitor)
    : problem_(problem),
      at_(at),
      events_(events),
      n_threads_(n_threads),
      monitor_(monitor),
      n_(static_cast<double>(problem.n_samples())),
      d_(problem.n_features()),
      cones_(problem.hyperplanes().normals),
      transposed_normals_(problem.hyperplanes().normals.transpose()),
      signs_(static_cast<std::size_t>(problem.hyperplanes().size())) {}

bool PieceSelection::take_in(const Event& event, const Vector& tangent) {
  by_contact_ = {-1, 0};
  switch (event.kind) {
    case Event::leave:
      remove(event.member);
      return true;
    case Event::bind: {
      Member& m = at_.member(event.member);
      std::vector<Index> rows = m.face.rows();
      rows.push_back(event.row);
      cones_.factor(rows, m.face);
      return true;
    }
    case Event::release: {
      Member& m = at_.member(event.member);
      std::vector<Index> rows = m.face.rows();
      rows.erase(std::find(rows.begin(), rows.end(), event.row));
      cones_.factor(rows, m.face);
      return true;
    }
    case Event::enter:
    case Event::exchange:
      for (std::size_t j = 0; j < events_.near().size(); ++j) {
        if (!(events_.near()[j].block == event.block)) continue;
        const bool rising = is_rising(j, tangent);
        if (!rising) by_contact_ = event.block;
        return enter(j, !rising || is_tied());
      }
      return false;
    default:
      return true;
  }
}

bool PieceSelection::select() {
  for (int round = 0; round < kMaxRounds; ++round) {
    monitor_.check();
    if (!at_.settle()) return false;
    const Vector zero = Vector::Zero(at_.size());
    Vector z1, alpha1;
    const Vector alpha = at_.alphas();
    const double scale = at_.size() > 0 ? alpha.cwiseAbs().maxCoeff() : 0.0;
    at_.solve(at_.mu() * problem_.y(), zero, z1, alpha1);
    if (!z1.allFinite() || !alpha1.allFinite()) return false;

    bool failed = false;
    if (change_members(alpha, scale, z1, alpha1, failed)) {
      if (failed) return false;
      continue;
    }
    if (is_relu() && turn_faces(z1, round >= kMaxRounds / 3)) continue;
    turn_faces_outside();
    return true;
  }
  return false;
}

bool PieceSelection::spans(const Face& face, Index row) const {
  if (holds(face, row)) return true;
  Vector rest = problem_.hyperplanes().normals.col(row);
  project_out(face, rest.col(0));
  return rest.norm() <= kDependentRow;
}

void PieceSelection::remove(Index b) {
  const Member& m = at_.member(b);
  at_.compute_point();
  events_.near().push_back(
      {m.block, at_.p().col(b).norm(), at_.c().col(b), at_.p().col(b), m.face.rows(), {}, {}});
  at_.members().erase(at_.members().begin() + b);
}

bool PieceSelection::is_tied() {
  return std::count_if(events_.near().begin(), events_.near().end(),
                       [&](const auto& b) { return b.f >= 1.0 - at_.tight(); }) > 1;
}

bool PieceSelection::is_rising(std::size_t j, const Vector& tangent) {
  const OutsideBlocks::Near& b = events_.near()[j];
  Matrix rate(d_, 1);
  problem_.products().correlate(tangent, {b.block.pattern}, rate, n_threads_, &monitor_);
  rate *= b.block.sign / n_;
  return b.q.dot(rate.col(0)) > kRising * std::max(1.0, rate.norm());
}

bool PieceSelection::enter(std::size_t j, bool may_depend) {
  const OutsideBlocks::Near block = events_.near()[j];
  at_.compute_point();
  Member member{block.block, 0.0, {}};
  if (is_relu()) {
    std::vector<Index> rows = block.face;
    const Projection& projection = events_.outside().project(block.block, block.c, rows);
    std::vector<Index> kept;  // rows with multipliers that are not zero
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (std::abs(projection.multipliers[i]) > at_.tight()) kept.push_back(rows[i]);
    }
    cones_.factor(kept, member.face);
  }
  if (may_depend && at_.size() > 0) {
    const Vector column = at_.column(block.block, block.q);
    const Matrix others = at_.columns();
    const Vector share = least_squares(others, column, &monitor_);
    if ((column - others * share).norm() <= kDependentEntering * column.norm()) {
      Index leaving = -1;
      double step = kInfinity;
      for (Index b = 0; b < at_.size(); ++b) {
        if (share(b) <= kDependentEntering) continue;
        const double limit = at_.member(b).alpha / share(b);
        if (limit < step) {
          step = limit;
          leaving = b;
        }
      }
      if (leaving < 0) return false;
      for (Index b = 0; b < at_.size(); ++b) {
        at_.member(b).alpha -= step * share(b);
      }
      member.alpha = step;
      remove(leaving);
    }
  }
  events_.near().erase(std::find_if(events_.near().begin(), events_.near().end(),
                                    [&](const auto& b) { return b.block == block.block; }));
  at_.members().push_back(std::move(member));
  return true;
}

bool PieceSelection::change_members(const Vector& alpha, double scale, const Vector& z1,
                                    const Vector& alpha1, bool& failed) {
  Index leaving = -1;
  const double still = at_.size() > 0 ? kStill * alpha1.cwiseAbs().maxCoeff() : 0.0;
  for (Index b = 0; b < at_.size(); ++b) {
    if (alpha(b) > at_.tight() * scale || !(alpha1(b) <= still)) continue;
    if (at_.member(b).block == by_contact_ && alpha1(b) >= -still) continue;
    const Block block = at_.member(b).block;
    if (leaving < 0 || comes_before(block, at_.members()[leaving].block)) {
      leaving = b;
    }
  }
  std::vector<Index> listed;
  std::vector<std::size_t> weak;
  for (std::size_t j = 0; j < events_.near().size(); ++j) {
    if (events_.near()[j].f < 1.0 - at_.tight()) continue;
    weak.push_back(j);
    listed.push_back(events_.near()[j].block.pattern);
  }
  std::size_t entering = events_.near().size();
  if (!weak.empty()) {
    Matrix c(d_, static_cast<Index>(listed.size()));
    problem_.products().correlate(z1, listed, c, n_threads_, &monitor_);
    for (std::size_t i = 0; i < weak.size(); ++i) {
      OutsideBlocks::Near& b = events_.near()[weak[i]];
      b.rate = c.col(static_cast<Index>(i)) * (b.block.sign / n_);
      if (b.q.dot(b.rate) <= kRising * std::max(1.0, b.rate.norm())) continue;
      if (entering == events_.near().size() ||
          comes_before(b.block, events_.near()[entering].block)) {
        entering = weak[i];
      }
    }
  }
  if (leaving < 0 && entering == events_.near().size()) return false;
  if (leaving >= 0 &&
      (entering == events_.near().size() ||
       comes_before(at_.members()[leaving].block, events_.near()[entering].block))) {
    remove(leaving);
  } else {
    failed = !enter(entering, is_tied());
  }
  return true;
}

bool PieceSelection::turn_faces(const Vector& z1, bool one_at_a_time) {
  Matrix c1(d_, at_.size());
  at_.correlate(z1, c1);
  bool turned = false;
  std::vector<std::size_t> order(at_.members().size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return comes_before(at_.members()[a].block, at_.members()[b].block);
  });
  for (const std::size_t j : order) {
    const Index b = static_cast<Index>(j);
    std::vector<Index> rows;
    if (!directional_face(at_.members()[j].block, at_.members()[j].face, at_.c().col(b),
                          at_.p().col(b), c1.col(b), rows)) {
      continue;
    }
    // Other rows of the same span are another representation: the tangent stays.
    Face& face = at_.members()[j].face;
    const bool same =
        static_cast<Index>(rows.size()) == face.size() &&
        std::all_of(rows.begin(), rows.end(), [&](Index row) { return spans(face, row); });
    cones_.factor(rows, face);
    if (same) continue;
    turned = true;
    if (one_at_a_time) break;
  }
  return turned;
}

void PieceSelection::turn_faces_outside() {
  for (OutsideBlocks::Near& b : events_.near()) {
    if (!is_relu() || std::abs(b.f - 1.0) > at_.tight() || b.rate.size() == 0) continue;
    Face face;
    cones_.factor(b.face, face);
    std::vector<Index> rows;
    if (directional_face(b.block, face, b.c, b.q, b.rate, rows)) b.face = rows;
  }
}

bool PieceSelection::directional_face(Block block, const Face& face, const Vector& c,
                                      const Vector& p, const Vector& dc,
                                      std::vector<Index>& result) {
  problem_.cone_signs(block.pattern, signs_.data());
  const Matrix& normals = problem_.hyperplanes().normals;
  const Vector slack = transposed_normals_ * p;
  const Matrix tau = multipliers(face, c);
  std::vector<Index> strong, tight;
  bool weak = false;
  for (Index j = 0; j < face.size(); ++j) {
    const Index row = face.rows()[j];
    const double side = signs_[row];
    if (side == 0.0 || side * tau(j, 0) > at_.tight()) {
      strong.push_back(row);
    } else {
      tight.push_back(row);
      weak = true;
    }
  }
  for (Index row = 0; row < slack.size(); ++row) {
    const double side = signs_[row];
    if (side == 0.0 || side * slack(row) > at_.tight() || holds(face, row)) continue;
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
      local_signs[j] = signs_[rows[j]];
    }
  }
  ConeProjector critical(local);
  const Vector moved = dc + p * (dc.norm() - p.dot(dc));
  critical.project(moved, local_signs.data(), guess);
  result.clear();
  for (const Index j : guess) result.push_back(rows[j]);
  return true;
}

}  // namespace path
}  // namespace convexrelu
