// The derivative on one side of lam, where there may be none in lam itself.
#pragma once

#include <memory>
#include <string>
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

  void run(Monitor& monitor);

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

  const Neuron& neuron(Index j) const { return optimum_.neurons[j]; }
  Index n_neurons() const { return static_cast<Index>(optimum_.neurons.size()); }
  bool is_chosen(Index j) const;
  static bool is_settled(const Neuron& neuron);

  // dc and dq of a block of a neuron.
  Vector correlation(Index j, std::size_t block) const;
  DirectionalDerivative turn(Index j, std::size_t block) const;
  // The derivative of ||q|| - lam.
  double rate(Index j) const { return neuron(j).activation.dot(change_.dr) / optimum_.n - d_lam_; }
  double smallest_dalpha() const { return kRate * change_.dalpha.lpNorm<Eigen::Infinity>(); }

  // From the weights of the solution to a vertex of the optimal set: independent activations. One less each time.
  void choose_vertex(Monitor& monitor);

  bool build(Monitor& monitor);

  // Of each neuron the block that turns most, and the rows that hold it.
  bool choose_blocks();

  // The first neuron, in their order, that must enter or leave (Murty 1974).
  bool enter_or_leave();

  // How much more a neuron turns than the chosen ones that its activation is a combination of, with
  // these coefficients; relative to both.
  double advantage(Index j, Vector& coefficients) const;

  // A neuron that turns more than those that it depends on takes the place of one of them, as in the
  // simplex method.
  bool exchange();

  // The faces just off lam, and what is still tied there.
  void settle();

  const Optimum& optimum_;
  const double d_lam_;
  std::vector<Choice> choices_;
  Piece::Change change_;
};

}  // namespace sensitivity
}  // namespace convexrelu
