// Newton's step of a smoothed network: (J'J/n + blkdiag(B_j)) move = -gradient, with J (n, m d) the derivative of the
// fit and B_j (d, d) the curvature of the penalty and of the convex kinks of neuron j, and damping.
//
//   min(n, m d) small   Cholesky, in float32 but for the amplitudes (docs/theory/global/global_solver.md)
//   else                conjugate gradients
#pragma once

#include <vector>

#include "global/smoothed_network.hpp"

namespace convexrelu {
inline namespace global {

// What keeps a step short.
struct Caution {
  double damping;  // in units of the curvature of the penalty across a neuron, lam/||w||
  double reach;    // in half-widths: how far kinks are seen (SmoothedNetwork::for_kinks)
};

class NewtonStep {
 public:
  explicit NewtonStep(const TrainingProblem& problem) : problem_(problem) {}

  void release() { X32_ = shapes_ = amplitudes_ = product_ = MatrixF(); }

  // move (d, m); false where that is no direction of descent.
  // n min(n, m d)^2 flops or, iterating, some 4 n d m for each of at most 60 iterations.
  bool solve(const SmoothedNetwork& network, const SmoothedNetwork::Point& here,
             const Matrix& gradient, const Caution& caution, Matrix& move);

 private:
  using MatrixF = Eigen::MatrixXf;
  using VectorF = Eigen::VectorXf;

  // The coordinates (t, a) of every neuron in which its own block is diagonal, see simplify().
  struct Coordinates {
    Matrix basis;  // (d, d m)
    Vector delta;  // (m) of the amplitudes
    Vector x;      // (d m) of minus the gradient, then of the move
  };

  bool factored(const SmoothedNetwork& network, const SmoothedNetwork::Point& here,
                const Matrix& gradient, const Caution& caution, Matrix& move);
  Matrix iterative(const SmoothedNetwork& network, const SmoothedNetwork::Point& here,
                   const Matrix& gradient, const Caution& caution) const;
  Matrix own_block(const SmoothedNetwork& network, const SmoothedNetwork::Point& here, Index j,
                   const Caution& caution) const;
  bool coordinates(const SmoothedNetwork& network, const SmoothedNetwork::Point& here,
                   const Matrix& gradient, const Caution& caution, Coordinates& c) const;
  void derivative(const SmoothedNetwork& network, const SmoothedNetwork::Point& here,
                  const Coordinates& c, Index first, Index count, MatrixF& shapes,
                  MatrixF& amplitudes) const;
  bool solve_primal(const SmoothedNetwork& network, const SmoothedNetwork::Point& here,
                    const std::vector<Index>& kept, Coordinates& c);
  bool solve_dual(const std::vector<Index>& kept, Coordinates& c);
  template <typename Derived>
  void add_square(const Derived& Y, MatrixF& S);

  // Flops of a step with so many columns, in the primal or the dual form.
  double primal(double k) const { return k * k * (problem_.n + k / 3.0); }
  double dual(double k) const { return problem_.n * problem_.n * (k + problem_.n / 3.0); }
  Index rows_at_once(Index n_columns) const;

  const TrainingProblem& problem_;
  MatrixF X32_, shapes_, amplitudes_, product_;  // kept for their room
};

}  // namespace global
}  // namespace convexrelu
