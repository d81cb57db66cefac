// What derivatives are made of: the neurons at an optimum, and one linear piece of the derivative, an
// active set with its faces and J factored. Notation: sensitivity.hpp.
#pragma once

#include <Eigen/QR>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "convexrelu/base/error.hpp"
#include "convexrelu/base/memory.hpp"
#include "convexrelu/kkt/kkt_system.hpp"
#include "convexrelu/sensitivity/sensitivity.hpp"
#include "numeric/critical_cone.hpp"
#include "numeric/tiled_product.hpp"

namespace convexrelu {
inline namespace sensitivity {

// As messages say it.
std::string name_of(Block block);

// The blocks of the equicorrelation set that are one neuron.
struct Neuron {
  std::vector<Block> blocks;
  std::vector<CriticalCone> cones;  // of each
  Vector direction;                 // e = q/||q||
  Vector activation;                // A_b e (n)
  double alpha = 0.0;               // ||w|| / lam, all blocks together
};

// A weight vector that is differentiated: its part of the member's.
struct Row {
  Block block;
  Index member;
  double share;
};

// What is known at the solution, in the units of the scaled problem.
struct Sensitivity::Optimum {
  // Stationarity that makes ties of 1e-9 visible.
  static constexpr double kAccurate = 1e-9;
  // What is closer than this, relative to its scale, is equal.
  static constexpr double kTied = 1e-9;
  // Directions and activations of one neuron, and dependent activations, agree to this.
  static constexpr double kSame = 1e-8;

  // given: stationary to kAccurate.
  Optimum(Solution given, Monitor& monitor);

  void collect_neurons(Monitor& monitor);
  bool same_neuron(const Neuron& neuron, Block block, ConstVectorRef direction,
                   ConstVectorRef activation) const;
  Vector correlation(Block block, ConstVectorRef r) const;
  Vector activation(Block block, ConstVectorRef w) const;

  Solution solution;
  const ScaledProblem& problem;
  CriticalCones critical_cones;
  double lam, n;
  Vector r;
  std::vector<Neuron> neurons;
  std::vector<Index> neuron_of;  // (k) of the active blocks of the solution
  Vector shares;                 // (k)
};

// One linear piece of the derivative: an active set with its faces, and J factored.
struct Sensitivity::Piece {
  struct Member {
    Index neuron;
    Block block;
    double alpha;
    Vector direction;         // e
    std::vector<Index> held;  // the hyperplanes it stays on
    Face face;                // independent ones among them, C_F as unit normals
    Vector multipliers;       // of the face
  };

  // Systems are solved to rounding: with refinement.
  static constexpr double kRounding = 1e-14;
  // Derivatives that are less accurate than this, by an estimate, are not given.
  static constexpr double kSolved = 1e-8;
  // Of two terms of a sum, the smaller keeps half of its digits.
  static constexpr double kDrowned = 1e-8;

  explicit Piece(const Optimum& from) : optimum(from) {}

  Index size() const { return static_cast<Index>(members.size()); }
  void add(Index neuron, Block block, double alpha, const std::vector<Index>& held);
  bool factor(Monitor& monitor);
  // Whether an activation depends on those of the members.
  bool spans(ConstVectorRef activation) const;
  // Whether sum_b alpha_b ||dq_b||^2 is largest here among all optima, whatever the motion dr that
  // leaves all ||q_b|| as they are. False where an activation does not depend on the members'.
  bool turns_most() const;

  // Pi_b x.
  static Vector project(const Member& member, ConstVectorRef x);
  // dq_b of dr alone.
  Vector turn(const Member& member, ConstVectorRef dr) const;

  // Of a row beside the hyperplane of a ReLU neuron. Rows on it that stay there count as off.
  enum class Position { on, off, kink };
  static Position position(const Member& member, ConstVectorRef x);

  DegreesOfFreedom degrees_of_freedom(Monitor& monitor) const;  // slope in the scaled lam

  // Solves J (dr; dalpha) = (g1; g2). Throws AccuracyError, naming the accuracy that was attained,
  // where that is above kSolved. Errors are relative to the solution, or to what of g1 passes to it.
  struct Change {
    Vector dr, dalpha;
  };
  Change solve(const Vector& g1, const Vector& g2, Monitor& monitor) const;
  // The first n columns of J^-1: R (n, n), symmetric, and G (k, n).
  struct Inverse {
    Matrix R, G;
  };
  Inverse invert(Monitor& monitor) const;

  // Of the weights of the members (d, size) and of r, in scaled units.
  struct Motion {
    Vector dr;
    Matrix dw;
  };
  // dw (d, size) where X stays.
  Matrix weights_of(const Vector& dr, const Vector& dalpha) const;
  Motion push(double d_lam, const Vector& d_y, const Matrix& d_X, Monitor& monitor) const;
  // The solution of the transposed system for a gradient with respect to the members' weights.
  Change pull(const Matrix& grad, Monitor& monitor) const;
  Gradient gradient(const Matrix& grad, const Change& adjoint) const;

  // What moving data do to a member: v and eps of the header, for rows of X with and without the
  // factors of the sample weights.
  struct Turn {
    Vector v, eps;
  };
  Turn turn_of_data(const Member& member, const Matrix& d_X, const Matrix& d_rows) const;
  // The sample of a hyperplane, and its row in multiples of the unit normal.
  struct TightRow {
    Index sample;
    double length;
  };
  TightRow tight_row(Index hyperplane) const;
  Matrix without_factors(const Matrix& weighted) const;

  const Optimum& optimum;
  std::vector<Member> members;
  std::vector<Row> rows;
  Matrix activations;  // unit columns
  Eigen::ColPivHouseholderQR<Matrix> qr;
  std::unique_ptr<KktSystem> kkt;
  mutable std::mutex kkt_lock;  // solving writes to the workspace of kkt; copies share a piece
};

}  // namespace sensitivity
}  // namespace convexrelu
