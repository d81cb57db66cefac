// A network under construction: neurons that come, move and go. Notation: training_problem.hpp.
//
// Three moves, none of which lets the objective rise (docs/theory/global/global_solver.md):
//   fit_amplitudes  the directions stay; a non-negative lasso, exact, from which dead neurons drop
//   descend         Newton's method on the smoothed network (newton_step.hpp)
//   merge           neurons of one sign and nearly one direction add up
#pragma once

#include <utility>
#include <vector>

#include "global/newton_step.hpp"
#include "global/training_problem.hpp"

namespace convexrelu {
inline namespace global {

class GrowingNetwork {
 public:
  // X and y must outlive the network.
  GrowingNetwork(const Matrix& X, const Vector& y, double lam, int n_threads, Monitor& monitor)
      : problem_(X, y, lam, n_threads, monitor), newton_(problem_), W_(X.cols(), 0), residual_(y) {
    objective_ = problem_.loss(residual_);
  }

  Index size() const { return W_.cols(); }
  const Matrix& weights() const { return W_; }
  const std::vector<int>& signs() const { return s_; }
  const Vector& residual() const { return residual_; }
  double objective() const { return objective_; }
  long n_steps() const { return n_steps_; }  // of Newton's method so far

  void set(Matrix weights, std::vector<int> signs) {
    adopt(evaluated(std::move(weights), std::move(signs)));
  }

  // Neurons with small weights; the amplitudes are to be fitted next.
  void add(const Matrix& directions, const std::vector<int>& signs);

  void fit_amplitudes() { fit(W_, s_); }

  void merge(double cosine);

  // At most n_steps Newton steps at kinks of half-width eps ||x_k|| ||w_j||; ends when one gains less
  // than tol of the value. The smoothed objective falls; the true one may rise by the order of eps.
  // Stopped, it leaves the network as it was.
  void descend(double eps, int n_steps, double tol);

  // Gives up the memory of its steps.
  void release() { newton_.release(); }

 private:
  struct Point {
    Matrix W;
    std::vector<int> signs;
    Vector residual;
    double objective;
  };

  Point evaluated(Matrix W, std::vector<int> signs) const;
  void adopt(Point point);
  void fit(const Matrix& W, const std::vector<int>& signs);
  void keep_living(Matrix W);

  TrainingProblem problem_;
  NewtonStep newton_;
  Matrix W_;
  std::vector<int> s_;
  Vector residual_;
  double objective_;
  long n_steps_ = 0;
  Caution caution_{0.1, 1.0};  // that the last step left
};

}  // namespace global
}  // namespace convexrelu
