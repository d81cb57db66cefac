#include "sensitivity/one_sided_selection.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace convexrelu {
inline namespace sensitivity {

void Sensitivity::Selection::run(Monitor& monitor) {
  choose_vertex(monitor);
  for (int round = 0; round < kMaxRounds; ++round) {
    if (!build(monitor)) break;
    change_ = piece->solve(Vector::Zero(optimum_.problem.n_samples()),
                           Vector::Constant(piece->size(), optimum_.n * d_lam_), monitor);
    if (choose_blocks() || enter_or_leave() || exchange()) continue;
    dr = change_.dr;
    settle();
    if (!build(monitor)) break;
    return;
  }
  piece = nullptr;
  unique = false;
  reasons.push_back("the active set on this side was not found");
}

bool Sensitivity::Selection::is_chosen(Index j) const {
  return std::any_of(choices_.begin(), choices_.end(),
                     [j](const Choice& choice) { return choice.neuron == j; });
}

bool Sensitivity::Selection::is_settled(const Neuron& neuron) {
  return std::all_of(neuron.cones.begin(), neuron.cones.end(),
                     [](const CriticalCone& cone) { return cone.is_subspace(); });
}

Vector Sensitivity::Selection::correlation(Index j, std::size_t block) const {
  return optimum_.correlation(neuron(j).blocks[block], change_.dr);
}

DirectionalDerivative Sensitivity::Selection::turn(Index j, std::size_t block) const {
  if (optimum_.problem.formulation() == Formulation::gated) return {correlation(j, block), {}};
  return optimum_.critical_cones.derivative(neuron(j).cones[block], correlation(j, block));
}

void Sensitivity::Selection::choose_vertex(Monitor& monitor) {
  for (Index j = 0; j < n_neurons(); ++j) {
    if (neuron(j).alpha > 0.0) choices_.push_back({j, 0, neuron(j).cones[0].held, neuron(j).alpha});
  }
  while (!choices_.empty()) {
    const Index k = static_cast<Index>(choices_.size());
    Matrix columns(optimum_.problem.n_samples(), k);
    Vector lengths(k);
    for (Index b = 0; b < k; ++b) {
      columns.col(b) = neuron(choices_[b].neuron).activation;
      lengths(b) = columns.col(b).norm();
      columns.col(b) /= lengths(b);
    }
    const PivotedQr qr = factor_pivoted_qr(columns, Optimum::kSame, k, &monitor);
    const Index rank = qr.rank;
    if (rank == k) return;
    // The first dependent column by the independent ones: a direction in which the fit stays.
    Vector in_order = Vector::Zero(k);
    in_order.head(rank) = columns.topLeftCorner(rank, rank)
                              .triangularView<Eigen::Upper>()
                              .solve(columns.col(rank).head(rank));
    in_order(rank) = -1.0;
    Vector step(k);
    step(qr.order) = in_order;
    step = step.cwiseQuotient(lengths).eval();
    double length = kInfinity;
    Index leaving = -1;
    for (Index b = 0; b < k; ++b) {
      if (step(b) < 0.0 && choices_[b].alpha / -step(b) < length) {
        length = choices_[b].alpha / -step(b);
        leaving = b;
      }
    }
    for (Index b = 0; b < k; ++b) choices_[b].alpha += length * step(b);
    choices_.erase(choices_.begin() + leaving);
  }
}

bool Sensitivity::Selection::build(Monitor& monitor) {
  piece = std::make_shared<Piece>(optimum_);
  for (const Choice& choice : choices_) {
    const Neuron& here = neuron(choice.neuron);
    const Index member = piece->size();
    piece->add(choice.neuron, here.blocks[choice.block], choice.alpha, choice.held);
    if (choice.alpha == 0.0 || choice.alpha != here.alpha || !is_settled(here)) {
      piece->rows.push_back({here.blocks[choice.block], member, 1.0});
      continue;
    }
    for (std::size_t j = 0; j < optimum_.neuron_of.size(); ++j) {
      if (optimum_.neuron_of[j] != choice.neuron) continue;
      piece->rows.push_back(
          {optimum_.solution.active_set[j], member, optimum_.shares(static_cast<Index>(j))});
    }
  }
  return piece->factor(monitor);
}

bool Sensitivity::Selection::choose_blocks() {
  bool changed = false;
  for (std::size_t b = 0; b < choices_.size(); ++b) {
    Choice& choice = choices_[b];
    const Neuron& here = neuron(choice.neuron);
    if (is_settled(here)) continue;
    std::size_t best = choice.block;
    DirectionalDerivative most = turn(choice.neuron, best);
    for (std::size_t block = 0; block < here.blocks.size(); ++block) {
      DirectionalDerivative other = turn(choice.neuron, block);
      if (other.dq.norm() > (1.0 + kRate) * most.dq.norm()) {
        most = std::move(other);
        best = block;
      }
    }
    const Vector present = piece->turn(piece->members[b], change_.dr);
    const double scale = correlation(choice.neuron, best).norm();
    if (best == choice.block && (present - most.dq).norm() <= kRate * scale) continue;
    choice.block = best;
    choice.held = here.cones[best].held;
    choice.held.insert(choice.held.end(), most.bound.begin(), most.bound.end());
    std::sort(choice.held.begin(), choice.held.end());
    changed = true;
  }
  return changed;
}

bool Sensitivity::Selection::enter_or_leave() {
  for (Index j = 0; j < n_neurons(); ++j) {
    const auto place = std::find_if(choices_.begin(), choices_.end(),
                                    [j](const Choice& choice) { return choice.neuron == j; });
    if (place == choices_.end()) {
      if (rate(j) <= kRate || piece->spans(neuron(j).activation)) continue;
      choices_.push_back({j, 0, neuron(j).cones[0].held, 0.0});
      return true;
    }
    if (place->alpha > 0.0 || change_.dalpha(place - choices_.begin()) >= -smallest_dalpha()) {
      continue;
    }
    choices_.erase(place);
    return true;
  }
  return false;
}

double Sensitivity::Selection::advantage(Index j, Vector& coefficients) const {
  double gain = 0.0;
  for (std::size_t block = 0; block < neuron(j).blocks.size(); ++block) {
    gain = std::max(gain, turn(j, block).dq.squaredNorm());
  }
  double size = gain;
  coefficients = piece->qr.solve(neuron(j).activation);
  for (Index b = 0; b < piece->size(); ++b) {
    const Piece::Member& member = piece->members[b];
    coefficients(b) /= neuron(member.neuron).activation.norm();
    const double turned = coefficients(b) * piece->turn(member, change_.dr).squaredNorm();
    gain -= turned;
    size += std::abs(turned);
  }
  return size > 0.0 ? gain / size : 0.0;
}

bool Sensitivity::Selection::exchange() {
  for (Index j = 0; j < n_neurons(); ++j) {
    if (is_chosen(j) || !piece->spans(neuron(j).activation)) continue;
    Vector coefficients;
    if (advantage(j, coefficients) <= kRate) continue;
    double length = kInfinity;
    Index leaving = -1;
    for (Index b = 0; b < piece->size(); ++b) {
      if (coefficients(b) <= Optimum::kTied || choices_[b].alpha / coefficients(b) >= length)
        continue;
      length = choices_[b].alpha / coefficients(b);
      leaving = b;
    }
    if (leaving < 0) continue;
    for (Index b = 0; b < piece->size(); ++b) choices_[b].alpha -= length * coefficients(b);
    choices_.erase(choices_.begin() + leaving);
    choices_.push_back({j, 0, neuron(j).cones[0].held, length});
    return true;
  }
  return false;
}

void Sensitivity::Selection::settle() {
  for (std::size_t b = 0; b < choices_.size(); ++b) {
    Choice& choice = choices_[b];
    const Neuron& here = neuron(choice.neuron);
    if (choice.alpha == 0.0 && change_.dalpha(static_cast<Index>(b)) <= smallest_dalpha()) {
      reasons.push_back("a tie on this side: " + name_of(here.blocks[choice.block]));
    }
    if (is_settled(here)) continue;
    const double most = turn(choice.neuron, choice.block).dq.norm();
    for (std::size_t block = 0; block < here.blocks.size(); ++block) {
      if (turn(choice.neuron, block).dq.norm() < (1.0 - kRate) * most) continue;
      const CriticalCone next =
          optimum_.critical_cones.after(here.cones[block], correlation(choice.neuron, block));
      if (!next.is_subspace()) {
        reasons.push_back("a zero multiplier on this side: " + name_of(here.blocks[block]));
      }
      if (block == choice.block) choice.held = next.held;
    }
  }
  for (Index j = 0; j < n_neurons(); ++j) {
    if (is_chosen(j)) continue;
    if (piece->spans(neuron(j).activation)) {
      Vector coefficients;
      if (advantage(j, coefficients) >= -kRate) unique = false;
    } else if (rate(j) >= -kRate) {
      reasons.push_back("a tie on this side: " + name_of(neuron(j).blocks.front()));
    }
  }
  if (!unique) reasons.push_back("the optimum is not unique on this side");
}

}  // namespace sensitivity
}  // namespace convexrelu
