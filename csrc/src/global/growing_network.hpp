// A network under construction: neurons that come, move and go.
//
//   X (n, d), y (n)      data, in units of the order of 1
//   W (d, m), s (m)      w_j = |a_j| W_j and the sign of a_j: the network is sum_j s_j (x.w_j)_+
//   objective            1/(2n) || sum_j s_j (X w_j)_+ - y ||^2 + lam sum_j ||w_j||
//
// Three moves, none of which lets the objective rise (docs/theory/global/global_solver.md):
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

#include "base/watched_for.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "convexrelu/numeric/cholesky.hpp"
#include "numeric/nonnegative_quadratic.hpp"

namespace convexrelu {
inline namespace global {

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
        row_norms_(X.rowwise().norm()),
        W_(X.cols(), 0),
        residual_(y),
        objective_(y.squaredNorm() / (2.0 * n_)) {}

  Index size() const { return W_.cols(); }
  const Matrix& weights() const { return W_; }
  const std::vector<int>& signs() const { return s_; }
  const Vector& residual() const { return residual_; }
  double objective() const { return objective_; }
  long n_steps() const { return n_steps_; }  // factorisations so far

  void set(Matrix weights, std::vector<int> signs) {
    adopt(evaluated(std::move(weights), std::move(signs)));
  }

  // Neurons with small weights; the amplitudes are to be fitted next.
  void add(const Matrix& directions, const std::vector<int>& signs) {
    const double scale = size() > 0 ? kNewborn * W_.colwise().norm().mean() : kNewborn;
    Matrix W(W_.rows(), size() + directions.cols());
    W.leftCols(size()) = W_;
    W.rightCols(directions.cols()) = scale * directions;
    std::vector<int> all = s_;
    all.insert(all.end(), signs.begin(), signs.end());
    fit(W, all);
  }

  void fit_amplitudes() { fit(W_, s_); }

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
  // The smoothed objective falls; the true one may rise by the order of eps. Stopped, it leaves the
  // network as it was.
  void descend(double eps, int n_steps, double tol) {
    if (size() == 0) return;
    const Matrix before = W_;
    try {
      walk(eps, n_steps, tol);
    } catch (...) {
      W_ = before;
      throw;
    }
  }

 private:
  static constexpr double kNewborn = 1e-3;          // norm of a new neuron over the mean
  static constexpr double kSmallestNorm = 1e-3;     // over the largest, in the width of kinks
  static constexpr double kSmallestWidth = 1e-280;  // of the kinks of zero rows
  static constexpr double kDead = 1e-6;             // norm of a neuron over the largest
  // In units of the penalty's curvature across a neuron, lam/||w||.
  static constexpr double kFirstDamping = 0.1, kSmallestDamping = 1e-6, kLargestDamping = 1e3;
  static constexpr double kSufficientDecrease = 1e-4, kBacktrack = 0.4, kSmallestStep = 1e-4;
  static constexpr double kLargestFactorisation = 6e9;  // flops, beyond which steps are iterative
  static constexpr int kMaxIterations = 60;             // of conjugate gradients
  static constexpr double kIterativeAccuracy = 1e-2;
  static constexpr Index kStripe = 192;       // columns of a product in one task
  static constexpr float kNegligible = 0.1F;  // of Gauss-Newton's curvature over that of the kinks
  static constexpr float kRounding = 1e-5F;   // of the square of an amplitude, in float32
  static constexpr Index kProduct = 100'000'000;  // flops between two looks at the monitor

  struct Point {
    Matrix W;
    std::vector<int> signs;
    Vector residual;
    double objective;
  };

  struct Smoothed {
    double value = 0.0;
    Matrix slope;  // (n, m) of the smoothed ReLU, in [0, 1]
    Vector error;  // (n) fitted - y
    Vector norm;   // (m)
  };

  static std::size_t at(Index j) { return static_cast<std::size_t>(j); }
  double sign(Index j) const { return s_[at(j)]; }
  static Vector norms(const Matrix& W) { return W.colwise().norm().transpose(); }

  Point evaluated(Matrix W, std::vector<int> signs) const {
    Vector residual = y_;
    for_rows(W.cols(), [&](Index first, Index count) {
      const Matrix Z = X_.middleRows(first, count) * W;
      for (Index j = 0; j < W.cols(); ++j) {
        residual.segment(first, count) -=
            static_cast<double>(signs[at(j)]) * Z.col(j).cwiseMax(0.0);
      }
    });
    const double objective = residual.squaredNorm() / (2.0 * n_) + lam_ * W.colwise().norm().sum();
    return {std::move(W), std::move(signs), std::move(residual), objective};
  }

  void adopt(Point point) {
    W_ = std::move(point.W);
    s_ = std::move(point.signs);
    residual_ = std::move(point.residual);
    objective_ = point.objective;
  }

  // Calls use(first, count) on stripes of rows for products of X with so many columns.
  template <typename Use>
  void for_rows(Index n_columns, const Use& use) const {
    const Index n = X_.rows(), work = std::max<Index>(2 * X_.cols() * n_columns, 1);
    const Index stripe = std::clamp<Index>(kProduct / work, 64, std::max<Index>(n, 64));
    for (Index first = 0; first < n; first += stripe) {
      monitor_.check();
      use(first, std::min(stripe, n - first));
    }
  }

  void walk(double eps, int n_steps, double tol) {
    const Vector norm = norms(W_);
    widths_ = eps * norm.cwiseMax(kSmallestNorm * norm.maxCoeff());
    Smoothed here = smoothed(W_);
    double damping = damping_;
    for (int step = 0; step < n_steps; ++step) {
      monitor_.check();
      const Matrix gradient = smoothed_gradient(here);
      Matrix move;
      if (!newton_step(here, gradient, damping, move)) {
        if (damping > kLargestDamping) break;
        damping *= 30.0;
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
        if (damping > kLargestDamping) break;
        damping *= 30.0;
        continue;
      }
      const double gain = here.value - next.value;
      W_ += t * move;
      here = std::move(next);
      if (t > 0.9) {
        damping = std::max(0.2 * damping, kSmallestDamping);
      } else if (t <= 0.3) {
        damping *= 4.0;
      }
      if (gain < tol * here.value) break;
    }
    damping_ = std::min(damping, kLargestDamping);
    drop_dead();
  }

  // Takes over the neurons with the best amplitudes, unless that is worse.
  void fit(const Matrix& W, const std::vector<int>& signs) {
    const Index m = W.cols();
    if (m == 0) return;
    const Vector norm = norms(W);
    const Matrix U = W * norm.cwiseInverse().asDiagonal();
    Matrix G = Matrix::Zero(m, m);
    Vector b = Vector::Constant(m, -lam_);
    for_rows(m, [&](Index first, Index count) {
      Matrix A = (X_.middleRows(first, count) * U).cwiseMax(0.0);
      for (Index j = 0; j < m; ++j) A.col(j) *= signs[at(j)];
      G.selfadjointView<Eigen::Lower>().rankUpdate(A.transpose(), 1.0 / n_);
      b.noalias() += A.transpose() * y_.segment(first, count) / n_;
    });
    G.triangularView<Eigen::StrictlyUpper>() = G.transpose();
    G.diagonal().array() += 1e-12 * G.trace() / static_cast<double>(m);
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
    Point point = evaluated(std::move(weights), std::move(kept));
    if (point.objective <= objective_ * (1.0 + 1e-12)) adopt(std::move(point));
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

  // Half-widths of the kinks of neuron j at some rows.
  Eigen::ArrayXd half_widths(Index j, Index first, Index count) const {
    return (widths_(j) * row_norms_.segment(first, count).array()).max(kSmallestWidth);
  }

  Smoothed smoothed(const Matrix& W) const {
    Smoothed at_W;
    at_W.slope.resize(X_.rows(), W.cols());
    at_W.error = -y_;
    for_rows(W.cols(), [&](Index first, Index count) {
      const Matrix Z = X_.middleRows(first, count) * W;
      for (Index j = 0; j < W.cols(); ++j) {
        const auto z = Z.col(j).array();
        const Eigen::ArrayXd E = half_widths(j, first, count);
        auto slope = at_W.slope.col(j).segment(first, count).array();
        slope = ((z + E) / (2.0 * E)).max(0.0).min(1.0);
        at_W.error.segment(first, count).array() +=
            sign(j) * (slope.square() * E + (z - E).max(0.0));
      }
    });
    at_W.norm = norms(W);
    at_W.value = at_W.error.squaredNorm() / (2.0 * n_) + lam_ * at_W.norm.sum();
    return at_W;
  }

  Matrix smoothed_gradient(const Smoothed& here) const {
    Matrix gradient = W_ * (lam_ * here.norm.cwiseInverse()).asDiagonal();
    for_rows(size(), [&](Index first, Index count) {
      Matrix weighted = here.slope.middleRows(first, count);
      for (Index j = 0; j < size(); ++j) {
        weighted.col(j).array() *= sign(j) / n_ * here.error.segment(first, count).array();
      }
      gradient.noalias() += X_.middleRows(first, count).transpose() * weighted;
    });
    return gradient;
  }

  // Curvature of the convex kinks of neuron j, per sample: (row, weight).
  template <typename Use>
  void for_kinks(const Smoothed& here, Index j, Index first, Index count, const Use& use) const {
    for (Index k = first; k < first + count; ++k) {
      const double p = here.slope(k, j);
      const double pull = sign(j) * here.error(k);
      if (p > 0.0 && p < 1.0 && pull > 0.0)
        use(k, pull / (2.0 * n_ * std::max(widths_(j) * row_norms_(k), kSmallestWidth)));
    }
  }

  // Of the penalty, the kinks and the damping: the block of neuron j.
  Matrix own_block(const Smoothed& here, Index j, double damping) const {
    const Index d = W_.rows();
    const Vector u = W_.col(j) / here.norm(j);
    const double curvature = lam_ / here.norm(j);
    Matrix B = -curvature * u * u.transpose();
    B.diagonal().array() += (1.0 + damping) * curvature;
    std::vector<Index> rows;
    std::vector<double> roots;
    for_kinks(here, j, 0, X_.rows(), [&](Index k, double weight) {
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
    const double d = static_cast<double>(W_.rows()), md = static_cast<double>(W_.size());
    if (std::min(primal(md), dual(md)) + 2.0 * md * d * d > kLargestFactorisation) {
      move = iterative_step(here, gradient, damping);
    } else if (!factored_step(here, gradient, damping, move)) {
      return false;
    }
    return move.allFinite() && gradient.cwiseProduct(move).sum() < 0.0;
  }

  // Flops of a step with so many columns, in the primal or the dual form.
  double primal(double k) const { return k * k * (n_ + k / 3.0); }
  double dual(double k) const { return n_ * n_ * (k + n_ / 3.0); }

  // Coordinates (t, a) of neuron j in which its own block B is diagonal, w_j = S t + v a with S'BS = I,
  // S'Bv = 0, v'Bv = delta: basis [S v] (d, d), v = u + S(..) close to the neuron's direction u.
  bool simplify(const Matrix& B, const Vector& u, double floor, Eigen::Ref<Matrix> basis,
                double& delta) const {
    const Index d = u.size();
    Index largest = 0;  // this coordinate is left to v
    const double share = u.cwiseAbs().maxCoeff(&largest);
    Eigen::PermutationMatrix<Eigen::Dynamic> last(d);
    last.setIdentity();
    last.applyTranspositionOnTheRight(largest, d - 1);
    const Matrix R = last.transpose() * B * last;
    const Vector Ru = last.transpose() * (B * u);
    Matrix S = Matrix::Identity(d - 1, d - 1);
    basis.setZero();
    basis.col(d - 1) = u;
    delta = u.dot(B * u);
    if (d > 1) {
      const Eigen::LDLT<Matrix> factor(R.topLeftCorner(d - 1, d - 1));
      if (!(factor.vectorD().minCoeff() > 0.0)) return false;
      factor.matrixU().solveInPlace(S);
      S = factor.transpositionsP().transpose() * S;
      S *= factor.vectorD().cwiseSqrt().cwiseInverse().asDiagonal();
      const Vector across = S.transpose() * Ru.head(d - 1);
      delta -= across.squaredNorm();
      basis.topLeftCorner(d - 1, d - 1) = S;
      basis.leftCols(d - 1) = (last * basis.leftCols(d - 1)).eval();
      basis.col(d - 1) -= basis.leftCols(d - 1) * across;
    }
    delta = std::max(delta, floor * share * share);
    return true;
  }

  // Solves (J'J/n + blkdiag(B)) move = -gradient by Cholesky, in the coordinates of simplify(). In these
  // J'J/n + I is well conditioned but for the amplitudes, so that float32 does. The columns of J S
  // that I outweighs, because they cross kinks, are left out of J.
  bool factored_step(const Smoothed& here, const Matrix& gradient, double damping, Matrix& move) {
    const Index d = W_.rows(), m = size(), n = X_.rows();
    if (X32_.size() == 0) X32_ = X_.cast<float>();
    Matrix basis(d, d * m);
    Vector delta(m), x(d * m);  // x: the coordinates of the move
    shapes_.resize(n, (d - 1) * m);
    amplitudes_.resize(n, m);
    std::vector<Index> kept;
    Eigen::MatrixXf columns(n, d);
    for (Index j = 0; j < m; ++j) {
      monitor_.check();
      auto own = basis.middleCols(j * d, d);
      const Matrix B = own_block(here, j, damping);
      const double floor = damping * lam_ / here.norm(j);
      if (!simplify(B, W_.col(j) / here.norm(j), floor, own, delta(j))) return false;
      x.segment(j * d, d).noalias() = -own.transpose() * gradient.col(j);
      columns.noalias() = X32_ * own.template cast<float>();
      columns.array().colwise() *=
          (sign(j) / std::sqrt(n_) * here.slope.col(j)).template cast<float>().array();
      amplitudes_.col(j) = columns.col(d - 1);
      for (Index i = 0; i + 1 < d; ++i) {
        if (!(columns.col(i).squaredNorm() > kNegligible)) continue;
        shapes_.col(static_cast<Index>(kept.size())) = columns.col(i);
        kept.push_back(j * d + i);
      }
    }
    const double k = static_cast<double>(kept.size()) + static_cast<double>(m);
    const bool solved =
        primal(k) < dual(k) ? solve_primal(kept, delta, x) : solve_dual(kept, delta, x);
    if (!solved) return false;
    move.resize(d, m);
    for (Index j = 0; j < m; ++j) {
      move.col(j).noalias() = basis.middleCols(j * d, d) * x.segment(j * d, d);
    }
    return true;
  }

  // x <- H^-1 x on the shapes kept and the amplitudes, H = diag(I, delta) + [shapes amplitudes]'[..].
  bool solve_primal(const std::vector<Index>& kept, const Vector& delta, Vector& x) {
    const Index d = W_.rows(), m = size(), k = static_cast<Index>(kept.size());
    Eigen::MatrixXf Jt(k + m, X_.rows());
    Jt.topRows(k) = shapes_.leftCols(k).transpose();
    Jt.bottomRows(m) = amplitudes_.transpose();
    product_.setZero(k + m, k + m);
    add_square(Jt, product_);
    Eigen::VectorXf c(k + m);
    for (Index i = 0; i < k; ++i) {
      product_(i, i) += 1.0F;
      c(i) = static_cast<float>(x(kept[at(i)]));
    }
    for (Index j = 0; j < m; ++j) {
      float& entry = product_(k + j, k + j);
      entry = entry * (1.0F + kRounding) + static_cast<float>(delta(j));
      c(k + j) = static_cast<float>(x(j * d + d - 1));
    }
    if (factor_cholesky(product_, {n_threads_, &monitor_}) >= 0) return false;
    product_.triangularView<Eigen::Lower>().solveInPlace(c);
    product_.transpose().triangularView<Eigen::Upper>().solveInPlace(c);
    for (Index i = 0; i < k; ++i) x(kept[at(i)]) = c(i);
    for (Index j = 0; j < m; ++j) x(j * d + d - 1) = c(k + j);
    return true;
  }

  // The same by way of T = I + shapes shapes' (n, n): of the amplitudes a there remains
  // diag(delta) + A'T^-1 A, A = amplitudes.
  bool solve_dual(const std::vector<Index>& kept, const Vector& delta, Vector& x) {
    const Index d = W_.rows(), m = size(), k = static_cast<Index>(kept.size());
    const auto shapes = shapes_.leftCols(k);
    product_.setZero(X_.rows(), X_.rows());
    product_.diagonal().setOnes();
    add_square(shapes, product_);
    if (factor_cholesky(product_, {n_threads_, &monitor_}) >= 0) return false;
    const auto L = product_.triangularView<Eigen::Lower>();
    Eigen::VectorXf t(k);
    for (Index i = 0; i < k; ++i) t(i) = static_cast<float>(x(kept[at(i)]));
    Eigen::VectorXf p = shapes * t;
    L.solveInPlace(p);
    L.solveInPlace(amplitudes_);
    Vector a = -(amplitudes_.transpose() * p).cast<double>();
    for (Index j = 0; j < m; ++j) a(j) += x(j * d + d - 1);
    Eigen::MatrixXf square = Eigen::MatrixXf::Zero(m, m);
    square.selfadjointView<Eigen::Lower>().rankUpdate(amplitudes_.transpose());
    Matrix G = square.cast<double>();
    G.diagonal() = (1.0 + kRounding) * G.diagonal() + delta;
    if (factor_cholesky(G, {n_threads_, &monitor_}) >= 0) return false;
    solve_cholesky(G, a);
    p.noalias() += amplitudes_ * a.cast<float>();
    product_.transpose().triangularView<Eigen::Upper>().solveInPlace(p);
    t = shapes.transpose() * p;
    for (Index i = 0; i < k; ++i) x(kept[at(i)]) -= t(i);
    for (Index j = 0; j < m; ++j) x(j * d + d - 1) = a(j);
    return true;
  }

  // S (lower) += Y Y', in tasks of fixed size.
  template <typename Derived>
  void add_square(const Derived& Y, Eigen::MatrixXf& S) {
    const Index n = Y.rows();
    watched_for((n + kStripe - 1) / kStripe, n_threads_, monitor_, [&](Index stripe, const auto&) {
      const Index first = stripe * kStripe, width = std::min(kStripe, n - first);
      S.block(first, first, width, width)
          .template selfadjointView<Eigen::Lower>()
          .rankUpdate(Y.middleRows(first, width));
      const Index below = n - first - width;
      S.block(first + width, first, below, width).noalias() +=
          Y.bottomRows(below) * Y.middleRows(first, width).transpose();
    });
  }

  // Conjugate gradients on (blkdiag(B) + J'J/n) move = -gradient, preconditioned by the diagonal.
  // O(n d m) an iteration, in stripes of rows.
  Matrix iterative_step(const Smoothed& here, const Matrix& gradient, double damping) {
    const Index m = size();
    const auto kinks = [&](Index first, Index count) {
      Matrix weights = Matrix::Zero(count, m);
      for (Index j = 0; j < m; ++j) {
        for_kinks(here, j, first, count,
                  [&](Index k, double weight) { weights(k - first, j) = weight; });
      }
      return weights;
    };
    const Matrix U = W_ * here.norm.cwiseInverse().asDiagonal();
    const Vector curvature = lam_ * here.norm.cwiseInverse();
    const auto apply = [&](const Matrix& V) {
      Matrix result(W_.rows(), m);
      for (Index j = 0; j < m; ++j) {
        result.col(j) = (1.0 + damping) * curvature(j) * V.col(j) -
                        curvature(j) * U.col(j).dot(V.col(j)) * U.col(j);
      }
      for_rows(m, [&](Index first, Index count) {
        Matrix inner = X_.middleRows(first, count) * V;
        const auto slope = here.slope.middleRows(first, count);
        Vector outer = Vector::Zero(count);
        for (Index j = 0; j < m; ++j) outer += sign(j) * slope.col(j).cwiseProduct(inner.col(j));
        outer /= n_;
        inner.array() *= kinks(first, count).array();
        for (Index j = 0; j < m; ++j) inner.col(j) += sign(j) * slope.col(j).cwiseProduct(outer);
        result.noalias() += X_.middleRows(first, count).transpose() * inner;
      });
      return result;
    };
    Matrix diagonal = ((1.0 + damping) * curvature.transpose()).replicate(W_.rows(), 1);
    for_rows(m, [&](Index first, Index count) {
      const Matrix curvatures =
          here.slope.middleRows(first, count).cwiseAbs2() / n_ + kinks(first, count);
      diagonal.noalias() += X_.middleRows(first, count).cwiseAbs2().transpose() * curvatures;
    });

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
  double objective_;
  Vector
      widths_;  // (m) during descend(): a kink of neuron j at x_k has the half-width ||x_k|| widths_j
  long n_steps_ = 0;
  double damping_ = kFirstDamping;  // that the last step left

  // Of a factored step: X, J S, J v and their square, float32.
  Eigen::MatrixXf X32_, shapes_, amplitudes_, product_;
};

}  // namespace global
}  // namespace convexrelu
