// The derivative on one side of lam, where there may be none in lam itself.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "numeric/pivots.hpp"
#include "sensitivity/sensitivity_piece.hpp"

namespace convexrelu {
inline namespace sensitivity {

// The piece on one side of lam: which neurons are active there, on which of their blocks, and which
// loose rows hold them, all by the signs of the derivatives in that direction.
//
// Among blocks and neurons whose activations depend on one another the first order does not decide.
// The derivative is min over dr of max over the optimal alpha of
// 1/2 ||dr||^2 + n/2 sum_b alpha_b ||dq_b||^2 (Bonnans & Shapiro 2000, section 4): those that turn
// most carry the weights.
class Sensitivity::Selection {
 public:
  Selection(const Optimum& optimum, double d_lam) : optimum_(optimum), d_lam_(d_lam) {}

  void run(Monitor& monitor) {
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

  std::shared_ptr<Piece> piece;      // none where nothing was found
  Vector dr;                         // in the direction d_lam
  bool unique = true;                // the weights on that side
  std::vector<std::string> reasons;  // why they are not smooth there

 private:
  // Derivatives below this, relative to their scale, are zero.
  static constexpr double kRate = 1e-8;
  // Changes of faces and of active blocks on the way.
  static constexpr int kMaxRounds = 200;

  struct Choice {
    Index neuron;
    std::size_t block;
    std::vector<Index> held;
    double alpha;
  };

  const Neuron& neuron(Index j) const { return optimum_.neurons[at(j)]; }
  Index n_neurons() const { return static_cast<Index>(optimum_.neurons.size()); }
  bool is_chosen(Index j) const {
    return std::any_of(choices_.begin(), choices_.end(),
                       [j](const Choice& choice) { return choice.neuron == j; });
  }
  static bool is_settled(const Neuron& neuron) {
    return std::all_of(neuron.cones.begin(), neuron.cones.end(),
                       [](const CriticalCone& cone) { return cone.is_subspace(); });
  }

  // dc and dq of a block of a neuron.
  Vector correlation(Index j, std::size_t block) const {
    return optimum_.correlation(neuron(j).blocks[block], change_.dr);
  }
  DirectionalDerivative turn(Index j, std::size_t block) const {
    if (optimum_.problem.formulation() == Formulation::gated) return {correlation(j, block), {}};
    return optimum_.critical_cones.derivative(neuron(j).cones[block], correlation(j, block));
  }
  // The derivative of ||q|| - lam.
  double rate(Index j) const { return neuron(j).activation.dot(change_.dr) / optimum_.n - d_lam_; }
  double smallest_dalpha() const { return kRate * change_.dalpha.lpNorm<Eigen::Infinity>(); }

  // From the weights of the solution to a vertex of the optimal set: independent activations. One less each time.
  void choose_vertex(Monitor& monitor) {
    for (Index j = 0; j < n_neurons(); ++j) {
      if (neuron(j).alpha > 0.0)
        choices_.push_back({j, 0, neuron(j).cones[0].held, neuron(j).alpha});
    }
    while (!choices_.empty()) {
      const Index k = static_cast<Index>(choices_.size());
      Matrix columns(optimum_.problem.n_samples(), k);
      Vector lengths(k);
      for (Index b = 0; b < k; ++b) {
        columns.col(b) = neuron(choices_[at(b)].neuron).activation;
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
        if (step(b) < 0.0 && choices_[at(b)].alpha / -step(b) < length) {
          length = choices_[at(b)].alpha / -step(b);
          leaving = b;
        }
      }
      for (Index b = 0; b < k; ++b) choices_[at(b)].alpha += length * step(b);
      choices_.erase(choices_.begin() + leaving);
    }
  }

  bool build(Monitor& monitor) {
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

  // Of each neuron the block that turns most, and the rows that hold it.
  bool choose_blocks() {
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

  // The first neuron, in their order, that must enter or leave (Murty 1974).
  bool enter_or_leave() {
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

  // How much more a neuron turns than the chosen ones that its activation is a combination of, with
  // these coefficients; relative to both.
  double advantage(Index j, Vector& coefficients) const {
    double gain = 0.0;
    for (std::size_t block = 0; block < neuron(j).blocks.size(); ++block) {
      gain = std::max(gain, turn(j, block).dq.squaredNorm());
    }
    double size = gain;
    coefficients = piece->qr.solve(neuron(j).activation);
    for (Index b = 0; b < piece->size(); ++b) {
      const Piece::Member& member = piece->members[at(b)];
      coefficients(b) /= neuron(member.neuron).activation.norm();
      const double turned = coefficients(b) * piece->turn(member, change_.dr).squaredNorm();
      gain -= turned;
      size += std::abs(turned);
    }
    return size > 0.0 ? gain / size : 0.0;
  }

  // A neuron that turns more than those that it depends on takes the place of one of them, as in the
  // simplex method.
  bool exchange() {
    for (Index j = 0; j < n_neurons(); ++j) {
      if (is_chosen(j) || !piece->spans(neuron(j).activation)) continue;
      Vector coefficients;
      if (advantage(j, coefficients) <= kRate) continue;
      double length = kInfinity;
      Index leaving = -1;
      for (Index b = 0; b < piece->size(); ++b) {
        if (coefficients(b) <= Optimum::kTied || choices_[at(b)].alpha / coefficients(b) >= length)
          continue;
        length = choices_[at(b)].alpha / coefficients(b);
        leaving = b;
      }
      if (leaving < 0) continue;
      for (Index b = 0; b < piece->size(); ++b) choices_[at(b)].alpha -= length * coefficients(b);
      choices_.erase(choices_.begin() + leaving);
      choices_.push_back({j, 0, neuron(j).cones[0].held, length});
      return true;
    }
    return false;
  }

  // The faces just off lam, and what is still tied there.
  void settle() {
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

  const Optimum& optimum_;
  const double d_lam_;
  std::vector<Choice> choices_;
  Piece::Change change_;
};

}  // namespace sensitivity
}  // namespace convexrelu
