#include "pricing/priced_arrangement.hpp"

#include <Eigen/QR>
#include <limits>

#include "numeric/pivots.hpp"
#include "numeric/watched_dense.hpp"

namespace convexrelu {
inline namespace pricing {

namespace {

constexpr Index kRowsAtOnce = 256;  // of a product

// The power of two in (a/2, a], a the largest magnitude; 1 where all are zero.
int exponent_of_largest(const double* entries, Index size) {
  double largest = 0.0;
  for (Index i = 0; i < size; ++i) largest = std::max(largest, std::abs(entries[i]));
  return largest > 0.0 ? std::ilogb(largest) : 0;
}

// Where the answer needs all of the work: Ctrl-C ends it, a limit shows at the next check().
void look(Monitor& monitor) {
  try {
    monitor.check();
  } catch (const Stopped&) {
  }
}

// ||x_k|| (n), column by column as X lies in memory.
Vector row_lengths(const Matrix& X) {
  Vector squares = Vector::Zero(X.rows());
  for (Index j = 0; j < X.cols(); ++j) squares += X.col(j).cwiseAbs2();
  return squares.cwiseSqrt();
}

// sum_k |w_k| |x_k.u| <= sqrt(sum |w_k| ||x_k|| . u'(sum |w_k| x_k x_k' / ||x_k||) u), over rows of one sign.
double bound_of_one_sign(const ScaledData& data, double sign, Monitor& monitor) {
  const Index d = data.X.cols();
  Matrix gram = Matrix::Zero(d, d);
  double total = 0.0;
  Matrix rows(d, std::min<Index>(data.X.rows(), kRowsAtOnce));
  for (Index k = 0, m = 0; k < data.X.rows(); ++k) {
    const double length = data.X.row(k).norm(), w = sign * data.r(k);
    if (w > 0.0 && length > 0.0) {
      rows.col(m++) = data.X.row(k).transpose() * std::sqrt(w / length);
      total += w * length;
    }
    if (m < rows.cols() && k + 1 < data.X.rows()) continue;
    monitor.check();
    gram.selfadjointView<Eigen::Lower>().rankUpdate(rows.leftCols(m));
    m = 0;
  }
  const Vector eigenvalues = symmetric_eigenvalues(std::move(gram), nullptr, &monitor);
  return std::sqrt(total * std::max(0.0, eigenvalues(d - 1)));
}

}  // namespace

ScaledData::ScaledData(ConstMatrixRef X_in, ConstVectorRef r_in, Monitor& monitor)
    : X(X_in), r(r_in) {
  constexpr Index kColumns = 64;
  look(monitor);
  const int x = exponent_of_largest(X.data(), X.size());
  const int y = exponent_of_largest(r.data(), r.size());
  // By two factors, as one may be out of range.
  const double first = std::ldexp(1.0, -x / 2), second = std::ldexp(1.0, -x - -x / 2);
  for (Index j = 0; j < X.cols(); ++j) {
    if (j % kColumns == 0) look(monitor);
    X.col(j) = (X.col(j) * first).eval() * second;
  }
  look(monitor);
  for (double& entry : r) entry = std::ldexp(entry, -y) / static_cast<double>(X.rows());
  exponent = x + y;
  total = r.cwiseAbs().dot(row_lengths(X));
}

std::array<double, 2> crude_bounds(const ScaledData& data) {
  const Vector lengths = row_lengths(data.X);
  return {data.r.cwiseMax(0.0).dot(lengths), (-data.r).cwiseMax(0.0).dot(lengths)};
}

std::array<double, 2> global_bounds(const ScaledData& data, Monitor& monitor) {
  const double linear = (data.X.transpose() * data.r).norm();
  return {0.5 * (linear + bound_of_one_sign(data, 1.0, monitor)),
          0.5 * (linear + bound_of_one_sign(data, -1.0, monitor))};
}

PricedArrangement::PricedArrangement(const ScaledData& scaled, Monitor& monitor)
    : data(scaled), cells(arrange(data.X, kMaxPricedRank, false, &monitor)) {
  const Matrix& X = data.X;
  const Index d = X.cols(), rank = cells.rank(), h = cells.planes.size();
  if (rank == 0 || rank > kMaxPricedRank) return;
  basis = Matrix::Identity(d, d);
  if (rank < d) {
    Matrix rows = X.transpose();
    for (Index k = 0; k < rows.cols(); ++k) {
      const double largest = rows.col(k).cwiseAbs().maxCoeff();
      if (largest > 0.0) rows.col(k) /= largest;
    }
    const Eigen::HouseholderQR<Matrix> qr(
        Matrix(rows(Eigen::all, pivots(rows, 0.0, rank, &monitor))));
    basis = Matrix(qr.householderQ() * Matrix::Identity(d, rank));
  }
  RootCones& roots = cells.roots;
  const Matrix rays_in_features = expand(roots.rays, d);
  rays = basis.transpose() * rays_in_features;
  roots.rays.setIdentity();

  // value_l = scale_l times the product with the first row of hyperplane l.
  const auto first = [&](Index l) {
    const Index begin = cells.planes.offsets[l];
    return X.row(cells.planes.samples[begin]);
  };
  Vector scales(h);
  for (Index l = 0; l < h; ++l) {
    Index j;
    roots.values.col(l).cwiseAbs().maxCoeff(&j);
    scales(l) = roots.values(j, l) / first(l).dot(rays_in_features.col(j));
  }
  Matrix base(rank, rank);
  for (Index i = 0; i < rank; ++i) {
    const Index l = roots.base[i];
    base.col(i) = scales(l) * (basis.transpose() * first(l).transpose());
  }
  base_norms = base.colwise().norm();

  weights.setZero(h);
  constant.setZero(rank);
  loads.setZero(rank);
  for (Index l = 0; l < h; ++l) {
    const Hyperplanes& planes = cells.planes;
    const auto values = roots.values.col(l);
    const Vector row = basis * (base * values) / scales(l);
    for (Index i = planes.offsets[l]; i < planes.offsets[l + 1]; ++i) {
      const Index k = planes.samples[i];
      const double ratio = X.row(k).norm() / first(l).norm();
      const double w = data.r(k) * ratio / scales(l);
      const double side = planes.orientation[k];
      weights(l) += w;
      // (x.u)_+ = (-x.u)_+ + x.u
      if (side < 0) constant -= w * values;
      loads += std::abs(w) * values.cwiseAbs();
      model_error += std::abs(data.r(k)) * (X.row(k).transpose() - side * ratio * row).norm();
    }
  }
}

Matrix PricedArrangement::expand(const Matrix& points, Index d) const {
  int largest = std::numeric_limits<int>::min();
  const auto exponent = [&](Index j) { return cells.column_exponents[j]; };
  for (Index p = 0; p < points.cols(); ++p) {
    for (Index j = 0; j < points.rows(); ++j) {
      if (points(j, p) == 0.0) continue;
      largest = std::max(largest, std::ilogb(points(j, p)) - exponent(j));
    }
  }
  Matrix vectors = Matrix::Zero(d, points.cols());
  for (Index p = 0; p < points.cols(); ++p) {
    for (Index j = 0; j < points.rows(); ++j) {
      vectors(cells.columns[j], p) = std::ldexp(points(j, p), -exponent(j) - largest);
    }
  }
  return vectors;
}

}  // namespace pricing
}  // namespace convexrelu
