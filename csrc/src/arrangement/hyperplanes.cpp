#include "convexrelu/arrangement/hyperplanes.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "base/preconditions.hpp"
#include "base/watched_sort.hpp"
#include "numeric/pivots.hpp"

namespace convexrelu {
inline namespace arrangement {

namespace {

constexpr double kRelative = 1e-12;
constexpr double kAbsolute = 1e-14;
constexpr Index kRows = 1024;  // between two looks at the monitor

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

using Group = std::vector<Index>;  // columns of the unit vectors

// The parts of a group that the values of its members, in that order, keep apart: intervals no longer
// than the tolerance. An interval ends at the widest gap of those that end beyond its middle, so that
// values that are equal to rounding stay together. (Two intervals in a row are longer than half the
// tolerance, so no value is looked at more than four times.)
void split(const Group& group, const Vector& values, std::vector<Group>& parts, Monitor* monitor) {
  const Index size = values.size();
  Group order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), Index{0});
  if (values.minCoeff() < values.maxCoeff()) {
    const auto less = [&values](Index a, Index b) {
      return values(a) < values(b) || (values(a) == values(b) && a < b);
    };
    watched_sort(order.begin(), order.end(), less, monitor);
  }
  const auto value = [&](Index place) { return values(order[place]); };
  for (Index begin = 0, end; begin < size; begin = end) {
    const double tolerance = kRelative * std::abs(value(begin)) + kAbsolute;
    double widest = -1.0;
    end = begin + 1;
    for (Index i = begin; i < size && value(i) - value(begin) <= tolerance; ++i) {
      const double next = i + 1 < size ? value(i + 1) : kInfinity;
      if (next - value(begin) <= 0.5 * tolerance || !(next - value(i) > widest)) continue;
      widest = next - value(i);
      end = i + 1;
    }
    Group& part = parts.emplace_back();
    for (Index i = begin; i < end; ++i) {
      part.push_back(group[order[i]]);
    }
  }
}

// Signs for the vectors of a group by which near ones, or one and another's opposite, agree: that of their
// first coordinate above a threshold. The threshold lies in the widest gap between t and 2t of their
// magnitudes, far from all of them: t/(m + 1) is more than the tolerance. Every vector has one, for the
// largest coordinate of a unit vector is above 2t.
Vector sides_of(const Matrix& units, const Group& group, Monitor* monitor) {
  const Index m = static_cast<Index>(group.size()), d = units.rows();
  const double t = 0.25 / std::sqrt(static_cast<double>(d));
  Vector sides(m);
  Group rest(group.size());
  std::iota(rest.begin(), rest.end(), Index{0});
  for (Index j = 0; j < d && !rest.empty(); ++j) {
    const auto coordinate = [&](Index i) { return units(j, group[i]); };
    std::vector<double> magnitudes{t, 2.0 * t};
    for (const Index i : rest) {
      const double magnitude = std::abs(coordinate(i));
      if (magnitude > t && magnitude < 2.0 * t) magnitudes.push_back(magnitude);
    }
    watched_sort(magnitudes.begin(), magnitudes.end(), std::less<>(), monitor);
    double widest = 0.0, threshold = t;
    for (std::size_t i = 0; i + 1 < magnitudes.size(); ++i) {
      const double gap = magnitudes[i + 1] - magnitudes[i];
      if (gap > widest) {
        widest = gap;
        threshold = magnitudes[i] + 0.5 * gap;
      }
    }
    Group left;
    for (const Index i : rest) {
      if (std::abs(coordinate(i)) > threshold) {
        sides(i) = coordinate(i) > 0.0 ? 1.0 : -1.0;
      } else {
        left.push_back(i);
      }
    }
    rest = std::move(left);
  }
  return sides;
}

// Of every unit vector (columns): the first one of its hyperplane, and whether it points the same way.
struct Clusters {
  std::vector<Index> first;
  std::vector<std::int8_t> side;
};

// Vectors closer than the tolerance have keys closer than the window: what the keys tell apart, mostly
// all, need not be looked at again.
Clusters cluster(const Matrix& units, Monitor* monitor) {
  const Index m = units.cols();
  const Vector g = generic_direction(units.rows());
  const Vector key = (units.transpose() * g).cwiseAbs();
  const double window = 2.0 * kRelative * g.lpNorm<1>();

  Group order(static_cast<std::size_t>(m));
  std::iota(order.begin(), order.end(), Index{0});
  const auto less = [&key](Index a, Index b) {
    return key[a] < key[b] || (key[a] == key[b] && a < b);
  };
  watched_sort(order.begin(), order.end(), less, monitor);

  Clusters clusters{Group(order.size()), std::vector<std::int8_t>(order.size(), 1)};
  std::iota(clusters.first.begin(), clusters.first.end(), Index{0});
  for (auto begin = order.begin(), end = begin; begin != order.end(); begin = end) {
    for (++end; end != order.end() && key[*end] - key[end[-1]] <= window; ++end) {
    }
    if (end - begin == 1) continue;
    keep_going(monitor);
    Group near(begin, end);
    const Vector sides = sides_of(units, near, monitor);
    for (std::size_t i = 0; i < near.size(); ++i) {
      clusters.side[near[i]] = sides(static_cast<Index>(i)) > 0 ? 1 : -1;
    }
    std::vector<Group> parts{std::move(near)}, finer;
    for (Index j = 0; j < units.rows() && !parts.empty(); ++j) {
      for (const Group& part : parts) {
        Vector values(static_cast<Index>(part.size()));
        for (std::size_t i = 0; i < part.size(); ++i) {
          const Index column = part[i];
          values(static_cast<Index>(i)) = clusters.side[column] * units(j, column);
        }
        split(part, values, finer, monitor);
      }
      parts.clear();
      for (Group& part : finer) {
        if (part.size() > 1) parts.push_back(std::move(part));
      }
      finer.clear();
    }
    for (const Group& part : parts) {
      const Index first = *std::min_element(part.begin(), part.end());
      for (const Index i : part) clusters.first[i] = first;
    }
  }
  return clusters;
}

// Independent columns, ascending: a maximal set of them, or so many.
std::vector<Index> independent_columns(Matrix A, double tolerance, Index most, Monitor* monitor) {
  for (Index j = 0; j < A.cols(); ++j) normalise(A.col(j));
  std::vector<Index> columns = pivots(std::move(A), tolerance, most, monitor);
  std::sort(columns.begin(), columns.end());
  return columns;
}

}  // namespace

Hyperplanes find_hyperplanes(ConstMatrixRef X, Monitor* monitor) {
  std::vector<Index> rows(static_cast<std::size_t>(X.rows()));
  std::iota(rows.begin(), rows.end(), Index{0});
  return find_hyperplanes(X, rows, monitor);
}

Hyperplanes find_hyperplanes(ConstMatrixRef X, const std::vector<Index>& rows, Monitor* monitor) {
  require_finite(X, "X");  // NaN has no place in an order
  const Index n = X.rows(), d = X.cols();
  Hyperplanes planes;
  planes.plane.assign(static_cast<std::size_t>(n), -1);
  planes.orientation.assign(static_cast<std::size_t>(n), 0);

  std::vector<Index> sample;  // of every column of units
  sample.reserve(rows.size());
  for (const Index k : rows) {
    if (k % kRows == 0) keep_going(monitor);
    if (d > 0 && (X.row(k).array() != 0.0).any()) sample.push_back(k);
  }
  std::sort(sample.begin(), sample.end());
  const Index m = static_cast<Index>(sample.size());
  Matrix units(d, m);
  for (Index i = 0; i < m; ++i) {
    if (i % kRows == 0) keep_going(monitor);
    units.col(i) = X.row(sample[i]).transpose();
    normalise(units.col(i));
  }

  const Clusters clusters = cluster(units, monitor);
  std::vector<Index> plane_of(static_cast<std::size_t>(m), -1);  // of the first of every cluster
  std::vector<Index> first;                                      // column of units of every plane
  for (Index i = 0; i < m; ++i) {
    const std::size_t leader = static_cast<std::size_t>(clusters.first[i]);
    if (plane_of[leader] < 0) {
      plane_of[leader] = static_cast<Index>(first.size());
      first.push_back(i);
    }
    const std::size_t k = static_cast<std::size_t>(sample[i]);
    planes.plane[k] = plane_of[leader];
    planes.orientation[k] = static_cast<std::int8_t>(clusters.side[i] * clusters.side[leader]);
  }

  const std::size_t h = first.size();
  planes.normals.resize(d, static_cast<Index>(h));
  for (std::size_t l = 0; l < h; ++l) {
    planes.normals.col(static_cast<Index>(l)) = units.col(first[l]);
  }
  planes.offsets.assign(h + 1, 0);
  for (const Index k : sample) {
    ++planes.offsets[static_cast<std::size_t>(planes.plane[k]) + 1];
  }
  std::partial_sum(planes.offsets.begin(), planes.offsets.end(), planes.offsets.begin());
  planes.samples.resize(sample.size());
  std::vector<Index> next(planes.offsets.begin(), planes.offsets.end() - 1);
  for (const Index k : sample) {
    const std::size_t l = static_cast<std::size_t>(planes.plane[k]);
    planes.samples[next[l]++] = k;
  }
  return planes;
}

std::vector<Index> pivot_columns(ConstMatrixRef X, const Hyperplanes& planes, double tolerance,
                                 Index most, Monitor* monitor) {
  const Index h = planes.size(), d = X.cols();
  Matrix raw(h, d);
  for (Index l = 0; l < h; ++l) {
    if (l % kRows == 0) keep_going(monitor);
    raw.row(l) = X.row(planes.samples[planes.offsets[l]]);
  }
  for (Index j = 0; j < d; ++j) normalise(raw.col(j));
  for (Index l = 0; l < h; ++l) {
    if (l % kRows == 0) keep_going(monitor);
    Vector row = raw.row(l);
    normalise(row);
    raw.row(l) = row;
  }
  // Rounding and wild scales hide rank, they do not make it: the larger of two answers is right.
  std::vector<Index> columns_first = independent_columns(std::move(raw), tolerance, most, monitor);
  if (static_cast<Index>(columns_first.size()) == std::min({h, d, most})) return columns_first;
  std::vector<Index> rows_first =
      independent_columns(planes.normals.transpose(), tolerance, most, monitor);
  return columns_first.size() >= rows_first.size() ? columns_first : rows_first;
}

}  // namespace arrangement
}  // namespace convexrelu
