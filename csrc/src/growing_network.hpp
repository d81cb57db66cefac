// A network under construction: neurons that come, move and go.
//
//   X (n, d), y (n)      data, in units of the order of 1
//   W (d, m), s (m)      w_j = |a_j| W_j and the sign of a_j: the network is sum_j s_j (x.w_j)_+
//   objective            1/(2n) || sum_j s_j (X w_j)_+ - y ||^2 + lam sum_j ||w_j||
//
// Three moves, none of which lets the objective rise (docs/theory/global_solver.md):
//   fit_amplitudes  the directions stay; a non-negative lasso, exact, from which dead neurons drop
//   descend         Newton's method on the smoothed network, (z)_+ -> (z + E)^2/(4E) on |z| <= E,
//                   E_kj = eps ||x_k|| ||w_j||. Of the curvature of the kinks only that of convex ones
//                   (s_j r_k < 0) counts; the others are walked through, into the next pattern
//   merge           neurons of one sign and nearly one direction add up
#pragma once

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "convexrelu/cholesky.hpp"
#include "convexrelu/monitor.hpp"
#include "convexrelu/types.hpp"
#include "nonnegative_quadratic.hpp"
#include "watched_for.hpp"

namespace convexrelu {

class GrowingNetwork {
 public:
  // X and y must outlive the network.
  GrowingNetwork(const Matrix& X, const Vector& y, double lam, int n_threads, Monitor& monitor)
      : X_(X),
        y_(y),
        lam_(lam),
        n_(static_cast<double>(X.rows())),
        n_threads_(n_threads),
        monitor_(monitor),
        row_norms_(X.rowwise().norm()) {
    set(Matrix(X.cols(), 0), {});
  }

  Index size() const { return W_.cols(); }
  const Matrix& weights() const { return W_; }
  const std::vector<int>& signs() const { return s_; }
  const Vector& residual() const { return residual_; }
  double objective() const { return objective_; }
  long n_steps() const { return n_steps_; }  // factorisations so far

  void set(Matrix weights, std::vector<int> signs) {
    W_ = std::move(weights);
    s_ = std::move(signs);
    Vector fitted = Vector::Zero(X_.rows());
    const Matrix Z = X_ * W_;
    for (Index j = 0; j < size(); ++j) fitted += sign(j) * Z.col(j).cwiseMax(0.0);
    residual_ = y_ - fitted;
    objective_ = residual_.squaredNorm() / (2.0 * n_) + lam_ * W_.colwise().norm().sum();
  }

  // Neurons with small weights; the amplitudes are to be fitted next.
  void add(const Matrix& directions, const std::vector<int>& signs) {
    const double scale = size() > 0 ? kNewborn * W_.colwise().norm().mean() : kNewborn;
    Matrix W(W_.rows(), size() + directions.cols());
    W.leftCols(size()) = W_;
    W.rightCols(directions.cols()) = scale * directions;
    std::vector<int> all = s_;
    all.insert(all.end(), signs.begin(), signs.end());
    fit(std::move(W), std::move(all), objective_);
  }

  void fit_amplitudes() { fit(W_, s_, objective_); }

  void merge(double cosine) {
    const Matrix U = W_.colwise().normalized();
    const Matrix cosines = U.transpose() * U;
    Matrix W(W_.rows(), size());
    std::vector<int> signs;
    std::vector<char> gone(s_.size(), 0);
    for (Index i = 0; i < size(); ++i) {
      if (gone[at(i)]) continue;
      Vector sum = W_.col(i);
      for (Index j = i + 1; j < size(); ++j) {
        if (gone[at(j)] || s_[at(i)] != s_[at(j)] || !(cosines(i, j) > cosine)) continue;
        sum += W_.col(j);
        gone[at(j)] = 1;
      }
      W.col(static_cast<Index>(signs.size())) = sum;
      signs.push_back(s_[at(i)]);
    }
    if (signs.size() == s_.size()) return;
    W.conservativeResize(Eigen::NoChange, static_cast<Index>(signs.size()));
    set(std::move(W), std::move(signs));
  }

  // At most n_steps Newton steps at the smoothing eps; ends when one gains less than tol of the value.
  // The smoothed objective falls; the true one may rise by the order of eps.
  void descend(double eps, int n_steps, double tol) {
    if (size() == 0) return;
    const Vector norm = norms(W_);
    E_ = eps * row_norms_ * norm.cwiseMax(kSmallestNorm * norm.maxCoeff()).transpose();
    E_ = E_.cwiseMax(kSmallestWidth);
    Smoothed here = smoothed(W_);
    double damping = kFirstDamping;
    for (int step = 0; step < n_steps; ++step) {
      monitor_.check();
      const Matrix gradient = smoothed_gradient(here);
      Matrix move;
      if (!newton_step(here, gradient, damping, move)) {
        if (damping > 1.0) break;
        damping = std::max(30.0 * damping, 1e-7);
        continue;
      }
      const double slope = gradient.cwiseProduct(move).sum();
      double t = 1.0;
      Smoothed next;
      for (; t > kSmallestStep; t *= kBacktrack) {
        next = smoothed(W_ + t * move);
        if (next.value <= here.value + kSufficientDecrease * t * slope) break;
      }
      if (!(t > kSmallestStep)) {
        if (damping > 1.0) break;
        damping = std::max(30.0 * damping, 1e-7);
        continue;
      }
      const double gain = here.value - next.value;
      W_ += t * move;
      here = std::move(next);
      if (t > 0.9) {
        damping = std::max(0.2 * damping, kSmallestDamping);
      } else if (t <= 0.3) {
        damping = std::max(4.0 * damping, 1e-8);
      }
      if (gain < tol * here.value) break;
    }
    drop_dead();
  }

 private:
  static constexpr double kNewborn = 1e-3;          // norm of a new neuron over the mean
  static constexpr double kSmallestNorm = 1e-3;     // over the largest, in the width of kinks
  static constexpr double kSmallestWidth = 1e-280;  // of the kinks of zero rows
  static constexpr double kDead = 1e-6;             // norm of a neuron over the largest
  static constexpr double kFirstDamping = 1e-6, kSmallestDamping = 1e-9;
  static constexpr double kSufficientDecrease = 1e-4, kBacktrack = 0.4, kSmallestStep = 1e-4;
  static constexpr double kLargestFactorisation = 6e9;  // flops, beyond which steps are iterative
  static constexpr int kMaxIterations = 60;             // of conjugate gradients
  static constexpr double kIterativeAccuracy = 1e-2;
  static constexpr Index kStripe = 192;  // columns of a product in one task

  struct Smoothed {
    double value = 0.0;
    Matrix Z;      // (n, m) X W
    Matrix slope;  // (n, m) of the smoothed ReLU, in [0, 1]
    Vector error;  // (n) fitted - y
    Vector norm;   // (m)
  };

  static std::size_t at(Index j) { return static_cast<std::size_t>(j); }
  double sign(Index j) const { return s_[at(j)]; }
  static Vector norms(const Matrix& W) { return W.colwise().norm().transpose(); }

  // Takes over the neurons with the best amplitudes, unless that is worse than `at_most`.
  void fit(Matrix W, std::vector<int> signs, double at_most) {
    const Index m = W.cols();
    if (m == 0) return;
    const Vector norm = norms(W);
    const Matrix U = W * norm.cwiseInverse().asDiagonal();
    Matrix A = (X_ * U).cwiseMax(0.0);
    for (Index j = 0; j < m; ++j) A.col(j) *= signs[at(j)];
    Matrix G = Matrix::Zero(m, m);
    G.selfadjointView<Eigen::Lower>().rankUpdate(A.transpose(), 1.0 / n_);
    G.triangularView<Eigen::StrictlyUpper>() = G.transpose();
    G.diagonal().array() += 1e-12 * G.trace() / static_cast<double>(m);
    const Vector b = (A.transpose() * y_ / n_).array() - lam_;
    Vector start = norm;
    start.tail(m - size()).setZero();
    const Vector amplitudes = NonnegativeQuadratic(G, b).solve(start);

    const double dead = 1e-9 * amplitudes.maxCoeff();
    std::vector<int> kept;
    Matrix weights(W.rows(), m);
    for (Index j = 0; j < m; ++j) {
      if (!(amplitudes(j) > dead)) continue;
      weights.col(static_cast<Index>(kept.size())) = amplitudes(j) * U.col(j);
      kept.push_back(signs[at(j)]);
    }
    weights.conservativeResize(Eigen::NoChange, static_cast<Index>(kept.size()));
    Matrix old_W = std::move(W_);
    std::vector<int> old_signs = std::move(s_);
    set(std::move(weights), std::move(kept));
    if (!(objective_ <= at_most * (1.0 + 1e-12))) set(std::move(old_W), std::move(old_signs));
  }

  void drop_dead() {
    const Vector norm = norms(W_);
    const double dead = kDead * norm.maxCoeff();
    Matrix W(W_.rows(), size());
    std::vector<int> signs;
    for (Index j = 0; j < size(); ++j) {
      if (!(norm(j) > dead)) continue;
      W.col(static_cast<Index>(signs.size())) = W_.col(j);
      signs.push_back(s_[at(j)]);
    }
    W.conservativeResize(Eigen::NoChange, static_cast<Index>(signs.size()));
    set(std::move(W), std::move(signs));
  }

  Smoothed smoothed(const Matrix& W) const {
    Smoothed at_W;
    at_W.Z.noalias() = X_ * W;
    at_W.slope.resize(X_.rows(), W.cols());
    at_W.error = -y_;
    for (Index j = 0; j < W.cols(); ++j) {
      const double* const z = at_W.Z.col(j).data();
      const double* const width = E_.col(j).data();
      double* const slope = at_W.slope.col(j).data();
      double* const error = at_W.error.data();
      const double s = sign(j);
      for (Index k = 0; k < X_.rows(); ++k) {
        const double E = width[k];
        const double raw = (z[k] + E) / (2.0 * E);
        const double p = raw < 0.0 ? 0.0 : raw;
        error[k] += s * (p < 1.0 ? p * p * E : z[k]);
        slope[k] = p < 1.0 ? p : 1.0;
      }
    }
    at_W.norm = norms(W);
    at_W.value = at_W.error.squaredNorm() / (2.0 * n_) + lam_ * at_W.norm.sum();
    return at_W;
  }

  Matrix smoothed_gradient(const Smoothed& here) const {
    Matrix weighted = here.slope;
    for (Index j = 0; j < size(); ++j) {
      weighted.col(j).array() *= sign(j) / n_ * here.error.array();
    }
    Matrix gradient = X_.transpose() * weighted;
    gradient += W_ * (lam_ * here.norm.cwiseInverse()).asDiagonal();
    return gradient;
  }

  // Curvature of the convex kinks of neuron j, per sample: (row, weight).
  template <typename Use>
  void for_kinks(const Smoothed& here, Index j, const Use& use) const {
    for (Index k = 0; k < X_.rows(); ++k) {
      const double p = here.slope(k, j);
      const double pull = sign(j) * here.error(k);
      if (p > 0.0 && p < 1.0 && pull > 0.0) use(k, pull / (2.0 * E_(k, j) * n_));
    }
  }

  // Of the penalty, the kinks and the damping: the block of neuron j.
  Matrix own_block(const Smoothed& here, Index j, double damping) const {
    const Index d = W_.rows();
    const Vector u = W_.col(j) / here.norm(j);
    const double curvature = lam_ / here.norm(j);
    Matrix B = -curvature * u * u.transpose();
    B.diagonal().array() += curvature + damping;
    std::vector<Index> rows;
    std::vector<double> roots;
    for_kinks(here, j, [&](Index k, double weight) {
      rows.push_back(k);
      roots.push_back(std::sqrt(weight));
    });
    if (!rows.empty()) {
      Matrix kinks(d, static_cast<Index>(rows.size()));
      for (std::size_t i = 0; i < rows.size(); ++i) {
        kinks.col(static_cast<Index>(i)) = roots[i] * X_.row(rows[i]).transpose();
      }
      B.selfadjointView<Eigen::Lower>().rankUpdate(kinks);
      B.triangularView<Eigen::StrictlyUpper>() = B.transpose();
    }
    return B;
  }

  bool newton_step(const Smoothed& here, const Matrix& gradient, double damping, Matrix& move) {
    ++n_steps_;
    const double md = static_cast<double>(W_.size());
    const double direct = n_ * md * md + md * md * md / 3.0;
    const double dual = n_ * n_ * md + n_ * n_ * n_ / 3.0;
    if (std::min(direct, dual) > kLargestFactorisation) {
      move = iterative_step(here, gradient, damping);
    } else if (!(direct < dual ? direct_step(here, gradient, damping, move)
                               : dual_step(here, gradient, damping, move))) {
      return false;
    }
    return move.allFinite();
  }

  // S (lower) += Y Y', in tasks of fixed size.
  void add_square(const Matrix& Y, double factor, Matrix& S) {
    const Index n = Y.rows();
    watched_for((n + kStripe - 1) / kStripe, n_threads_, monitor_, [&](Index stripe, const auto&) {
      const Index first = stripe * kStripe, width = std::min(kStripe, n - first);
      S.block(first, first, width, width)
          .template selfadjointView<Eigen::Lower>()
          .rankUpdate(Y.middleRows(first, width), factor);
      const Index below = n - first - width;
      S.block(first + width, first, below, width).noalias() +=
          factor * Y.bottomRows(below) * Y.middleRows(first, width).transpose();
    });
  }

  // Cholesky of J'J/n + blkdiag(B), for m d <= n.
  bool direct_step(const Smoothed& here, const Matrix& gradient, double damping, Matrix& move) {
    const Index d = W_.rows(), size_all = W_.size();
    Matrix Jt(size_all, X_.rows());
    for (Index j = 0; j < size(); ++j) {
      Jt.middleRows(j * d, d) = X_.transpose() * (sign(j) * here.slope.col(j)).asDiagonal();
    }
    Matrix H = Matrix::Zero(size_all, size_all);
    add_square(Jt, 1.0 / n_, H);
    for (Index j = 0; j < size(); ++j) {
      H.block(j * d, j * d, d, d) += own_block(here, j, damping);
    }
    if (factor_cholesky(H, {n_threads_, &monitor_}) >= 0) return false;
    move = -gradient;
    Eigen::Map<Vector> flat(move.data(), move.size());
    Vector solution = flat;
    solve_cholesky(H, solution);
    flat = solution;
    return true;
  }

  // By Woodbury's formula with B = L L', Y = [D_j X L_j^-T]: Cholesky of n I + Y Y' (n, n).
  bool dual_step(const Smoothed& here, const Matrix& gradient, double damping, Matrix& move) {
    const Index d = W_.rows();
    Matrix Y(X_.rows(), W_.size());
    std::vector<Eigen::LLT<Matrix>> factors(s_.size());
    for (Index j = 0; j < size(); ++j) {
      factors[at(j)].compute(own_block(here, j, damping));
      if (factors[at(j)].info() != Eigen::Success) return false;
      auto Yj = Y.middleCols(j * d, d);
      Yj = X_;
      factors[at(j)].matrixU().solveInPlace<Eigen::OnTheRight>(Yj);
      Yj.array().colwise() *= sign(j) * here.slope.col(j).array();
    }
    Matrix S = Matrix::Zero(X_.rows(), X_.rows());
    S.diagonal().setConstant(n_);
    add_square(Y, 1.0, S);
    if (factor_cholesky(S, {n_threads_, &monitor_}) >= 0) return false;
    Vector h(W_.size());
    for (Index j = 0; j < size(); ++j) {
      h.segment(j * d, d) = factors[at(j)].matrixL().solve(gradient.col(j));
    }
    Vector v = Y * h;
    solve_cholesky(S, v);
    h.noalias() -= Y.transpose() * v;
    move.resize(d, size());
    for (Index j = 0; j < size(); ++j) {
      move.col(j) = -factors[at(j)].matrixU().solve(h.segment(j * d, d));
    }
    return true;
  }

  // Conjugate gradients on (blkdiag(B) + J'J/n) move = -gradient, preconditioned by the diagonal.
  // O(n d m) an iteration.
  Matrix iterative_step(const Smoothed& here, const Matrix& gradient, double damping) {
    const Index m = size();
    Matrix kinks = Matrix::Zero(X_.rows(), m);
    for (Index j = 0; j < m; ++j) {
      for_kinks(here, j, [&](Index k, double weight) { kinks(k, j) = weight; });
    }
    const Matrix U = W_ * here.norm.cwiseInverse().asDiagonal();
    const Vector curvature = lam_ * here.norm.cwiseInverse();
    const auto apply = [&](const Matrix& V) {
      monitor_.check();
      Matrix inner = X_ * V;
      Vector outer = Vector::Zero(X_.rows());
      for (Index j = 0; j < m; ++j) {
        outer += sign(j) * here.slope.col(j).cwiseProduct(inner.col(j));
      }
      outer /= n_;
      for (Index j = 0; j < m; ++j) {
        inner.col(j) = inner.col(j).cwiseProduct(kinks.col(j)) +
                       sign(j) * here.slope.col(j).cwiseProduct(outer);
      }
      Matrix result = X_.transpose() * inner;
      for (Index j = 0; j < m; ++j) {
        result.col(j) +=
            (curvature(j) + damping) * V.col(j) - curvature(j) * U.col(j).dot(V.col(j)) * U.col(j);
      }
      return result;
    };
    const Matrix squares = X_.cwiseAbs2();
    Matrix diagonal = squares.transpose() * (here.slope.cwiseAbs2() / n_ + kinks);
    diagonal.array().rowwise() += curvature.transpose().array() + damping;

    Matrix move = Matrix::Zero(W_.rows(), m);
    Matrix residual = -gradient;
    Matrix z = residual.cwiseQuotient(diagonal);
    Matrix p = z;
    double rz = residual.cwiseProduct(z).sum();
    const double goal = kIterativeAccuracy * gradient.norm();
    for (int i = 0; i < kMaxIterations && residual.norm() > goal; ++i) {
      const Matrix Ap = apply(p);
      const double t = rz / p.cwiseProduct(Ap).sum();
      move += t * p;
      residual -= t * Ap;
      z = residual.cwiseQuotient(diagonal);
      const double next = residual.cwiseProduct(z).sum();
      p = z + next / rz * p;
      rz = next;
    }
    return move;
  }

  const Matrix& X_;
  const Vector& y_;
  const double lam_, n_;
  const int n_threads_;
  Monitor& monitor_;
  const Vector row_norms_;

  Matrix W_;
  std::vector<int> s_;
  Vector residual_;
  double objective_ = 0.0;
  Matrix E_;  // (n, m) half-widths of the kinks during descend()
  long n_steps_ = 0;
};

}  // namespace convexrelu
