#include "global/newton_step.hpp"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

#include "base/watched_for.hpp"
#include "convexrelu/numeric/cholesky.hpp"

namespace convexrelu {
inline namespace global {

namespace {

using Point = SmoothedNetwork::Point;

constexpr double kLargestFactorisation = 6e9;  // flops, beyond which steps are iterative
constexpr int kMaxIterations = 60;             // of conjugate gradients
constexpr double kIterativeAccuracy = 1e-2;
constexpr Index kStripe = 192;          // columns of a product in one task
constexpr float kNegligible = 0.1F;     // of Gauss-Newton's curvature over that of the kinks
constexpr float kRounding = 1e-5F;      // of the square of an amplitude, in float32
constexpr Index kEntries = 16'000'000;  // of J at once

// Coordinates (t, a) in which B (d, d) is diagonal, w = S t + v a with S'BS = I, S'Bv = 0,
// v'Bv = delta: basis [S v], v = u + S(..) close to the neuron's direction u.
bool simplify(const Matrix& B, const Vector& u, double floor, Eigen::Ref<Matrix> basis,
              double& delta) {
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

}  // namespace

bool NewtonStep::solve(const SmoothedNetwork& network, const Point& here, const Matrix& gradient,
                       const Caution& caution, Matrix& move) {
  const double d = static_cast<double>(here.W.rows()), md = static_cast<double>(here.W.size());
  if (std::min(primal(md), dual(md)) + 2.0 * md * d * d > kLargestFactorisation) {
    move = iterative(network, here, gradient, caution);
  } else if (!factored(network, here, gradient, caution, move)) {
    return false;
  }
  return move.allFinite() && gradient.cwiseProduct(move).sum() < 0.0;
}

// Of the penalty, the kinks and the damping.
Matrix NewtonStep::own_block(const SmoothedNetwork& network, const Point& here, Index j,
                             const Caution& caution) const {
  const Index d = here.W.rows();
  const Vector u = here.W.col(j) / here.norm(j);
  const double curvature = problem_.lam / here.norm(j);
  Matrix B = -curvature * u * u.transpose();
  B.diagonal().array() += (1.0 + caution.damping) * curvature;
  std::vector<Index> rows;
  std::vector<double> roots;
  network.for_kinks(here, j, 0, problem_.X.rows(), caution.reach, [&](Index k, double weight) {
    rows.push_back(k);
    roots.push_back(std::sqrt(weight));
  });
  if (rows.empty()) return B;
  Matrix kinks(d, static_cast<Index>(rows.size()));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    kinks.col(static_cast<Index>(i)) = roots[i] * problem_.X.row(rows[i]).transpose();
  }
  B.selfadjointView<Eigen::Lower>().rankUpdate(kinks);
  B.triangularView<Eigen::StrictlyUpper>() = B.transpose();
  return B;
}

bool NewtonStep::coordinates(const SmoothedNetwork& network, const Point& here,
                             const Matrix& gradient, const Caution& caution, Coordinates& c) const {
  const Index d = here.W.rows(), m = here.W.cols();
  c.basis.resize(d, d * m);
  c.delta.resize(m);
  c.x.resize(d * m);
  std::vector<char> simple(static_cast<std::size_t>(m), 0);
  watched_for(m, problem_.n_threads, problem_.monitor, [&](Index j, const auto&) {
    auto own = c.basis.middleCols(j * d, d);
    const Matrix B = own_block(network, here, j, caution);
    const double floor = caution.damping * problem_.lam / here.norm(j);
    simple[j] = simplify(B, here.W.col(j) / here.norm(j), floor, own, c.delta(j)) ? 1 : 0;
    c.x.segment(j * d, d).noalias() = -own.transpose() * gradient.col(j);
  });
  return std::all_of(simple.begin(), simple.end(), [](char is) { return is != 0; });
}

// J in these coordinates, at some rows: of neuron j the columns (d - 1) j and on of shapes, and column j of amplitudes.
void NewtonStep::derivative(const SmoothedNetwork& network, const Point& here, const Coordinates& c,
                            Index first, Index count, MatrixF& shapes, MatrixF& amplitudes) const {
  const Index d = here.W.rows(), m = here.W.cols();
  shapes.resize(count, (d - 1) * m);
  amplitudes.resize(count, m);
  watched_for(m, problem_.n_threads, problem_.monitor, [&](Index j, const auto&) {
    const Eigen::ArrayXf scale =
        (network.sign(j) / std::sqrt(problem_.n) * here.slope.col(j).segment(first, count))
            .array()
            .cast<float>();
    MatrixF columns = X32_.middleRows(first, count) * c.basis.middleCols(j * d, d).cast<float>();
    columns.array().colwise() *= scale;
    shapes.middleCols(j * (d - 1), d - 1) = columns.leftCols(d - 1);
    amplitudes.col(j) = columns.col(d - 1);
  });
}

Index NewtonStep::rows_at_once(Index n_columns) const {
  return std::clamp<Index>(kEntries / std::max<Index>(n_columns, 1), 256, problem_.X.rows() + 256);
}

// By Cholesky, in the coordinates of simplify(). In these J'J/n + I is well conditioned but for the
// amplitudes, so that float32 does. The columns of J S that I outweighs, because they cross kinks, are
// left out of J.
bool NewtonStep::factored(const SmoothedNetwork& network, const Point& here, const Matrix& gradient,
                          const Caution& caution, Matrix& move) {
  const Index d = here.W.rows(), m = here.W.cols(), n = problem_.X.rows();
  if (X32_.size() == 0) X32_ = problem_.X.cast<float>();
  Coordinates c;
  if (!coordinates(network, here, gradient, caution, c)) return false;
  VectorF squares = VectorF::Zero((d - 1) * m);
  const Index block = rows_at_once(d * m);
  for (Index first = 0; first < n; first += block) {
    derivative(network, here, c, first, std::min(block, n - first), shapes_, amplitudes_);
    squares += shapes_.colwise().squaredNorm().transpose();
  }
  std::vector<Index> kept;
  for (Index i = 0; i < squares.size(); ++i) {
    if (squares(i) > kNegligible) kept.push_back(i);
  }
  const double k = static_cast<double>(kept.size()) + static_cast<double>(m);
  const bool whole = block >= n;
  const bool solved =
      whole && dual(k) <= primal(k) ? solve_dual(kept, c) : solve_primal(network, here, kept, c);
  if (!solved) return false;
  move.resize(d, m);
  for (Index j = 0; j < m; ++j) {
    move.col(j).noalias() = c.basis.middleCols(j * d, d) * c.x.segment(j * d, d);
  }
  return true;
}

// x <- H^-1 x on the shapes kept and the amplitudes, H = diag(I, delta) + [shapes amplitudes]'[..], summed over
// blocks of rows.
bool NewtonStep::solve_primal(const SmoothedNetwork& network, const Point& here,
                              const std::vector<Index>& kept, Coordinates& c) {
  const Index d = here.W.rows(), m = here.W.cols(), n = problem_.X.rows();
  const Index k = static_cast<Index>(kept.size()), block = rows_at_once(d * m);
  product_.setZero(k + m, k + m);
  for (Index first = 0; first < n; first += block) {
    if (block < n) {
      derivative(network, here, c, first, std::min(block, n - first), shapes_, amplitudes_);
    }
    MatrixF Jt(k + m, shapes_.rows());
    for (Index i = 0; i < k; ++i) Jt.row(i) = shapes_.col(kept[i]).transpose();
    Jt.bottomRows(m) = amplitudes_.transpose();
    add_square(Jt, product_);
  }
  VectorF x(k + m);
  const auto place = [&](Index i) { return kept[i] / (d - 1) * d + kept[i] % (d - 1); };
  for (Index i = 0; i < k; ++i) {
    product_(i, i) += 1.0F;
    x(i) = static_cast<float>(c.x(place(i)));
  }
  for (Index j = 0; j < m; ++j) {
    float& entry = product_(k + j, k + j);
    entry = entry * (1.0F + kRounding) + static_cast<float>(c.delta(j));
    x(k + j) = static_cast<float>(c.x(j * d + d - 1));
  }
  if (factor_cholesky(product_, {problem_.n_threads, &problem_.monitor}) >= 0) return false;
  product_.triangularView<Eigen::Lower>().solveInPlace(x);
  product_.transpose().triangularView<Eigen::Upper>().solveInPlace(x);
  for (Index i = 0; i < k; ++i) c.x(place(i)) = x(i);
  for (Index j = 0; j < m; ++j) c.x(j * d + d - 1) = x(k + j);
  return true;
}

// The same by way of T = I + shapes shapes' (n, n): of the amplitudes a there remains
// diag(delta) + A'T^-1 A, A = amplitudes.
bool NewtonStep::solve_dual(const std::vector<Index>& kept, Coordinates& c) {
  const Index m = amplitudes_.cols(), d = c.x.size() / m, k = static_cast<Index>(kept.size());
  const auto place = [&](Index i) { return kept[i] / (d - 1) * d + kept[i] % (d - 1); };
  for (Index i = 0; i < k; ++i) {
    if (kept[i] != i) shapes_.col(i) = shapes_.col(kept[i]);
  }
  const auto shapes = shapes_.leftCols(k);
  product_.setZero(problem_.X.rows(), problem_.X.rows());
  product_.diagonal().setOnes();
  add_square(shapes, product_);
  if (factor_cholesky(product_, {problem_.n_threads, &problem_.monitor}) >= 0) return false;
  const auto L = product_.triangularView<Eigen::Lower>();
  VectorF t(k);
  for (Index i = 0; i < k; ++i) t(i) = static_cast<float>(c.x(place(i)));
  VectorF p = shapes * t;
  L.solveInPlace(p);
  watched_for((m + kStripe - 1) / kStripe, problem_.n_threads, problem_.monitor,
              [&](Index stripe, const auto&) {
                auto columns = amplitudes_.middleCols(stripe * kStripe,
                                                      std::min(kStripe, m - stripe * kStripe));
                L.solveInPlace(columns);
              });
  Vector a = -(amplitudes_.transpose() * p).cast<double>();
  for (Index j = 0; j < m; ++j) a(j) += c.x(j * d + d - 1);
  MatrixF square = MatrixF::Zero(m, m);
  add_square(amplitudes_.transpose(), square);
  Matrix G = square.cast<double>();
  G.diagonal() = (1.0 + kRounding) * G.diagonal() + c.delta;
  if (factor_cholesky(G, {problem_.n_threads, &problem_.monitor}) >= 0) return false;
  solve_cholesky(G, a);
  p.noalias() += amplitudes_ * a.cast<float>();
  product_.transpose().triangularView<Eigen::Upper>().solveInPlace(p);
  t = shapes.transpose() * p;
  for (Index i = 0; i < k; ++i) c.x(place(i)) -= t(i);
  for (Index j = 0; j < m; ++j) c.x(j * d + d - 1) = a(j);
  return true;
}

// S (lower) += Y Y', in tasks of fixed size.
template <typename Derived>
void NewtonStep::add_square(const Derived& Y, MatrixF& S) {
  const Index n = Y.rows();
  watched_for((n + kStripe - 1) / kStripe, problem_.n_threads, problem_.monitor,
              [&](Index stripe, const auto&) {
                const Index first = stripe * kStripe, width = std::min(kStripe, n - first);
                S.block(first, first, width, width)
                    .template selfadjointView<Eigen::Lower>()
                    .rankUpdate(Y.middleRows(first, width));
                const Index below = n - first - width;
                S.block(first + width, first, below, width).noalias() +=
                    Y.bottomRows(below) * Y.middleRows(first, width).transpose();
              });
}

// Conjugate gradients, preconditioned by the diagonal. O(n d m) an iteration, in stripes of rows.
Matrix NewtonStep::iterative(const SmoothedNetwork& network, const Point& here,
                             const Matrix& gradient, const Caution& caution) const {
  const Index m = here.W.cols();
  Eigen::MatrixXf kinks = MatrixF::Zero(problem_.X.rows(), m);
  for (Index j = 0; j < m; ++j) {
    problem_.monitor.check();
    network.for_kinks(here, j, 0, problem_.X.rows(), caution.reach,
                      [&](Index k, double weight) { kinks(k, j) = static_cast<float>(weight); });
  }
  const Matrix U = here.W * here.norm.cwiseInverse().asDiagonal();
  const Vector curvature = problem_.lam * here.norm.cwiseInverse();
  const auto apply = [&](const Matrix& V) {
    Matrix result(here.W.rows(), m);
    for (Index j = 0; j < m; ++j) {
      result.col(j) = (1.0 + caution.damping) * curvature(j) * V.col(j) -
                      curvature(j) * U.col(j).dot(V.col(j)) * U.col(j);
    }
    problem_.for_rows(m, [&](Index first, Index count) {
      Matrix inner = problem_.X.middleRows(first, count) * V;
      const auto slope = here.slope.middleRows(first, count);
      Vector outer = Vector::Zero(count);
      for (Index j = 0; j < m; ++j) {
        outer += network.sign(j) * slope.col(j).cwiseProduct(inner.col(j));
      }
      outer /= problem_.n;
      inner.array() *= kinks.middleRows(first, count).array().cast<double>();
      for (Index j = 0; j < m; ++j) {
        inner.col(j) += network.sign(j) * slope.col(j).cwiseProduct(outer);
      }
      result.noalias() += problem_.X.middleRows(first, count).transpose() * inner;
    });
    return result;
  };
  Matrix diagonal = ((1.0 + caution.damping) * curvature.transpose()).replicate(here.W.rows(), 1);
  problem_.for_rows(m, [&](Index first, Index count) {
    const Matrix curvatures = here.slope.middleRows(first, count).cwiseAbs2() / problem_.n +
                              kinks.middleRows(first, count).cast<double>();
    diagonal.noalias() += problem_.X.middleRows(first, count).cwiseAbs2().transpose() * curvatures;
  });

  Matrix move = Matrix::Zero(here.W.rows(), m);
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

}  // namespace global
}  // namespace convexrelu
