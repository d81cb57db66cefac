#include "convexrelu/hyperplanes.hpp"

#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "preconditions.hpp"

namespace convexrelu {

namespace {

constexpr double kRelative = 1e-12;
constexpr double kAbsolute = 1e-14;

// x / ||x||, zero for a zero row. The largest entry comes out as +-1 before the norm is taken.
void normalise(Eigen::Ref<Vector> x) {
  const double largest = x.lpNorm<Eigen::Infinity>();
  if (!(largest > 0.0)) return;
  for (double& entry : x) entry /= largest;
  x /= x.norm();
}

// A fixed vector of no special direction, entries in [1, 2): proportional rows have equal |x.g|,
// and others seldom do. (Multiples of the golden ratio modulo 1 are spread evenly.)
Vector generic_direction(Index d) {
  Vector g(d);
  for (Index j = 0; j < d; ++j) {
    const double multiple = 0.6180339887498949 * static_cast<double>(j + 1);
    g[j] = (j % 2 ? -1.0 : 1.0) * (1.0 + multiple - std::floor(multiple));
  }
  return g;
}

bool is_proportional(ConstVectorRef v, ConstVectorRef w) {
  const double sign = v.dot(w) < 0.0 ? -1.0 : 1.0;
  for (Index j = 0; j < v.size(); ++j) {
    const double scale = std::max(std::abs(v[j]), std::abs(w[j]));
    if (std::abs(v[j] - sign * w[j]) > kRelative * scale + kAbsolute) return false;
  }
  return true;
}

// For every unit vector (columns) the first one of its hyperplane in the order of the keys.
// Vectors closer than the tolerance have keys closer than the window, so that only neighbours in
// the order of the keys are compared.
std::vector<Index> cluster(const Matrix& units) {
  const Index m = units.cols();
  const Vector g = generic_direction(units.rows());
  const Vector key = (units.transpose() * g).cwiseAbs();
  const double window = 2.0 * kRelative * g.lpNorm<1>();

  std::vector<Index> order(static_cast<std::size_t>(m));
  std::iota(order.begin(), order.end(), Index{0});
  std::sort(order.begin(), order.end(),
            [&key](Index a, Index b) { return key[a] < key[b] || (key[a] == key[b] && a < b); });

  std::vector<Index> leader(static_cast<std::size_t>(m));
  std::vector<Index> leaders;
  for (const Index i : order) {
    Index found = i;
    for (auto other = leaders.rbegin(); other != leaders.rend(); ++other) {
      if (key[i] - key[*other] > window) break;
      if (is_proportional(units.col(i), units.col(*other))) {
        found = *other;
        break;
      }
    }
    if (found == i) leaders.push_back(i);
    leader[static_cast<std::size_t>(i)] = found;
  }
  return leader;
}

// A maximal set of independent columns, ascending.
std::vector<Index> independent_columns(Matrix A, double tolerance) {
  std::vector<Index> columns;
  if (A.size() == 0) return columns;
  for (Index j = 0; j < A.cols(); ++j) normalise(A.col(j));
  Eigen::ColPivHouseholderQR<Matrix> qr(A.rows(), A.cols());
  qr.setThreshold(tolerance);
  qr.compute(A);
  if (qr.maxPivot() == 0.0) return columns;
  for (Index j = 0; j < qr.rank(); ++j) columns.push_back(qr.colsPermutation().indices()[j]);
  std::sort(columns.begin(), columns.end());
  return columns;
}

}  // namespace

Hyperplanes find_hyperplanes(ConstMatrixRef X) {
  std::vector<Index> rows(static_cast<std::size_t>(X.rows()));
  std::iota(rows.begin(), rows.end(), Index{0});
  return find_hyperplanes(X, rows);
}

Hyperplanes find_hyperplanes(ConstMatrixRef X, const std::vector<Index>& rows) {
  require_finite(X, "X");  // NaN has no place in an order
  const Index n = X.rows(), d = X.cols();
  Hyperplanes planes;
  planes.plane.assign(static_cast<std::size_t>(n), -1);
  planes.orientation.assign(static_cast<std::size_t>(n), 0);

  std::vector<Index> sample;  // of every column of units
  sample.reserve(rows.size());
  for (const Index k : rows) {
    if (d > 0 && (X.row(k).array() != 0.0).any()) sample.push_back(k);
  }
  std::sort(sample.begin(), sample.end());
  const Index m = static_cast<Index>(sample.size());
  Matrix units(d, m);
  for (Index i = 0; i < m; ++i) {
    units.col(i) = X.row(sample[static_cast<std::size_t>(i)]).transpose();
    normalise(units.col(i));
  }

  const std::vector<Index> leader = cluster(units);
  std::vector<Index> plane_of(static_cast<std::size_t>(m), -1);  // of every leader
  std::vector<Index> first;                                      // column of units of every plane
  for (Index i = 0; i < m; ++i) {
    const std::size_t lead = static_cast<std::size_t>(leader[static_cast<std::size_t>(i)]);
    if (plane_of[lead] < 0) {
      plane_of[lead] = static_cast<Index>(first.size());
      first.push_back(i);
    }
    const std::size_t k = static_cast<std::size_t>(sample[static_cast<std::size_t>(i)]);
    planes.plane[k] = plane_of[lead];
    const Index representative = first[static_cast<std::size_t>(plane_of[lead])];
    planes.orientation[k] = units.col(i).dot(units.col(representative)) < 0.0 ? -1 : 1;
  }

  const std::size_t h = first.size();
  planes.normals.resize(d, static_cast<Index>(h));
  for (std::size_t l = 0; l < h; ++l) {
    planes.normals.col(static_cast<Index>(l)) = units.col(first[l]);
  }
  planes.offsets.assign(h + 1, 0);
  for (const Index k : sample) {
    ++planes.offsets[static_cast<std::size_t>(planes.plane[static_cast<std::size_t>(k)]) + 1];
  }
  std::partial_sum(planes.offsets.begin(), planes.offsets.end(), planes.offsets.begin());
  planes.samples.resize(sample.size());
  std::vector<Index> next(planes.offsets.begin(), planes.offsets.end() - 1);
  for (const Index k : sample) {
    const std::size_t l = static_cast<std::size_t>(planes.plane[static_cast<std::size_t>(k)]);
    planes.samples[static_cast<std::size_t>(next[l]++)] = k;
  }
  return planes;
}

std::vector<Index> pivot_columns(ConstMatrixRef X, const Hyperplanes& planes, double tolerance) {
  const Index h = planes.size(), d = X.cols();
  Matrix raw(h, d);
  for (Index l = 0; l < h; ++l) {
    raw.row(l) = X.row(
        planes.samples[static_cast<std::size_t>(planes.offsets[static_cast<std::size_t>(l)])]);
  }
  for (Index j = 0; j < d; ++j) normalise(raw.col(j));
  for (Index l = 0; l < h; ++l) {
    Vector row = raw.row(l);
    normalise(row);
    raw.row(l) = row;
  }
  // Rounding and wild scales hide rank, they do not make it: the larger of two answers is right.
  std::vector<Index> columns_first = independent_columns(std::move(raw), tolerance);
  std::vector<Index> rows_first = independent_columns(planes.normals.transpose(), tolerance);
  return columns_first.size() >= rows_first.size() ? columns_first : rows_first;
}

}  // namespace convexrelu
