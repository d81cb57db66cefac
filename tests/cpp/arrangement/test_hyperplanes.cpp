#include <cmath>
#include <random>

#include "check.hpp"
#include "convexrelu/arrangement/hyperplanes.hpp"

using namespace convexrelu;

namespace {

Matrix integers(Index n, Index d, int bound, std::mt19937_64& rng) {
  Matrix X(n, d);
  for (double& entry : X.reshaped()) {
    entry = static_cast<double>(rng() % static_cast<unsigned>(2 * bound + 1)) - bound;
  }
  return X;
}

// Exact on integers: proportional iff all 2 x 2 minors vanish.
int proportion(const Matrix& X, Index a, Index b) {
  for (Index i = 0; i < X.cols(); ++i) {
    for (Index j = 0; j < i; ++j) {
      if (X(a, i) * X(b, j) != X(a, j) * X(b, i)) return 0;
    }
  }
  return X.row(a).dot(X.row(b)) > 0 ? 1 : -1;
}

void check_structure(const Hyperplanes& planes, Index n) {
  CHECK(planes.plane.size() == static_cast<std::size_t>(n));
  CHECK(planes.offsets.size() == static_cast<std::size_t>(planes.size() + 1));
  Index last_first = -1;
  for (Index l = 0; l < planes.size(); ++l) {
    CHECK(std::abs(planes.normals.col(l).norm() - 1.0) <= 4 * kEpsilon);
    CHECK(planes.offsets[l] < planes.offsets[l + 1]);
    Index previous = -1;
    for (Index p = planes.offsets[l]; p < planes.offsets[l + 1]; ++p) {
      const Index k = planes.samples[p];
      CHECK(planes.plane[k] == l);
      CHECK(k > previous);
      previous = k;
    }
    const Index first = planes.samples[planes.offsets[l]];
    CHECK(planes.orientation[first] == 1);
    CHECK(first > last_first);
    last_first = first;
  }
}

void integers_are_merged_exactly() {
  std::mt19937_64 rng(7);
  for (int trial = 0; trial < 400; ++trial) {
    const Index n = 1 + static_cast<Index>(rng() % 40), d = 1 + static_cast<Index>(rng() % 5);
    Matrix X = integers(n, d, 1 + static_cast<int>(rng() % 3), rng);
    for (Index k = 0; k < n; ++k) X.row(k) *= static_cast<double>(1 + rng() % 7);
    const Hyperplanes planes = find_hyperplanes(X);
    check_structure(planes, n);
    for (Index a = 0; a < n; ++a) {
      const bool zero = X.row(a).isZero(0.0);
      CHECK((planes.plane[a] < 0) == zero);
      CHECK((planes.orientation[a] == 0) == zero);
      for (Index b = 0; b < a && !zero; ++b) {
        if (planes.plane[b] < 0) continue;
        const int expected = proportion(X, a, b);
        CHECK((planes.plane[a] == planes.plane[b]) == (expected != 0));
        if (expected != 0) {
          CHECK(planes.orientation[a] * planes.orientation[b] == expected);
        }
      }
    }
  }
}

void scale_does_not_matter() {
  std::mt19937_64 rng(8);
  const double scales[] = {1e150, 1e-150, 3e300, 1e-300, 4.94065645841246544e-324, 7.0};
  for (int trial = 0; trial < 100; ++trial) {
    const Matrix X = integers(30, 3, 2, rng);
    const Hyperplanes plain = find_hyperplanes(X);
    Matrix scaled = X;
    for (Index k = 0; k < X.rows(); ++k) scaled.row(k) *= scales[rng() % 6];
    const Hyperplanes planes = find_hyperplanes(scaled);
    CHECK(planes.plane == plain.plane);
    CHECK(planes.orientation == plain.orientation);
    CHECK(planes.normals == plain.normals);
    CHECK(pivot_columns(scaled, planes) == pivot_columns(X, plain));
  }
}

void rounding_is_merged_and_more_is_not() {
  std::mt19937_64 rng(9);
  std::normal_distribution<double> normal;
  for (int trial = 0; trial < 200; ++trial) {
    const Index d = 2 + static_cast<Index>(rng() % 8);
    Matrix X(4, d);
    for (Index j = 0; j < d; ++j) X(0, j) = normal(rng);
    X.row(1) = -0.1 * X.row(0);  // rounded
    X.row(2) = X.row(0);
    X(2, 0) += 1e-10 * X.row(0).norm() * (1.0 + std::abs(normal(rng)));
    X.row(3) = std::exp(normal(rng)) * X.row(2);
    const Hyperplanes planes = find_hyperplanes(X);
    // x_0 moved along the first axis alone turns, unless it lies on that axis.
    CHECK(planes.plane == (std::vector<Index>{0, 0, 1, 1}));
    CHECK(planes.orientation == (std::vector<std::int8_t>{1, -1, 1, 1}));
  }
}

void rows_can_be_left_out() {
  Matrix X(5, 2);
  X << 1, 2, 3, 4, -1, -2, 0, 0, 6, 8;
  const Hyperplanes planes = find_hyperplanes(X, {4, 2, 3});
  CHECK(planes.plane == (std::vector<Index>{-1, -1, 0, -1, 1}));
  CHECK(planes.orientation == (std::vector<std::int8_t>{0, 0, 1, 0, 1}));
  CHECK(planes.samples == (std::vector<Index>{2, 4}));
  CHECK(find_hyperplanes(Matrix::Zero(3, 2)).size() == 0);
  CHECK(find_hyperplanes(Matrix::Zero(0, 2)).size() == 0);
  CHECK(pivot_columns(Matrix::Zero(3, 2), find_hyperplanes(Matrix::Zero(3, 2))).empty());
}

// Rank of an integer matrix by fraction-free elimination (Bareiss 1968).
Index exact_rank(const Matrix& X) {
  std::vector<std::vector<long long>> a(static_cast<std::size_t>(X.rows()));
  for (Index i = 0; i < X.rows(); ++i) {
    for (Index j = 0; j < X.cols(); ++j) a[i].push_back(static_cast<long long>(X(i, j)));
  }
  Index rank = 0;
  long long previous = 1;
  for (Index j = 0; j < X.cols() && rank < X.rows(); ++j) {
    Index p = rank;
    while (p < X.rows() && a[p][j] == 0) ++p;
    if (p == X.rows()) continue;
    std::swap(a[p], a[rank]);
    for (Index i = rank + 1; i < X.rows(); ++i) {
      for (Index l = j + 1; l < X.cols(); ++l) {
        a[i][l] = (a[rank][j] * a[i][l] - a[i][j] * a[rank][l]) / previous;
      }
      a[i][j] = 0;
    }
    previous = a[rank][j];
    ++rank;
  }
  return rank;
}

void pivots_span_the_columns() {
  std::mt19937_64 rng(10);
  for (int trial = 0; trial < 500; ++trial) {
    const Index n = 1 + static_cast<Index>(rng() % 12), d = 1 + static_cast<Index>(rng() % 7);
    const Index r = static_cast<Index>(rng() % static_cast<unsigned>(d + 1));
    const Matrix X = integers(n, r, 2, rng) * integers(r, d, 2, rng);
    const Index rank = exact_rank(X);
    // Columns in units that differ by 1e12: the pivots stay a basis.
    Matrix scaled = X;
    if (trial % 2) scaled.col(static_cast<Index>(rng() % static_cast<unsigned>(d))) *= 1e12;
    const std::vector<Index> pivots = pivot_columns(scaled, find_hyperplanes(scaled));
    CHECK(static_cast<Index>(pivots.size()) == rank);
    CHECK(std::is_sorted(pivots.begin(), pivots.end()));
    CHECK(exact_rank(X(Eigen::all, pivots)) == rank);
  }
}

// Near-quadratic behaviour would take minutes here.
void many_rows() {
  std::mt19937_64 rng(11);
  const Matrix X = integers(200000, 2, 1000000, rng);
  Matrix twice(2 * X.rows(), 2);
  twice << X, -3.0 * X;
  const Hyperplanes planes = find_hyperplanes(twice);
  for (Index k = 0; k < X.rows(); k += 997) {
    CHECK(planes.plane[k] == planes.plane[k + X.rows()]);
    CHECK(planes.orientation[k] == -planes.orientation[k + X.rows()]);
  }
}

// Of one plane only where entries are near, and always where they agree to rounding.
void a_crowd_of_near_rows() {
  std::mt19937_64 rng(12);
  std::normal_distribution<double> normal;
  const Index n = 100000;
  for (const double width : {1e-15, 1e-14, 1e-13, 1e-12}) {
    Matrix X(2 * n, 5);
    X.col(0).setOnes();
    for (Index k = 0; k < n; ++k) {
      for (Index j = 1; j < 5; ++j) X(k, j) = width * normal(rng);
      X.row(n + k) = (k % 2 ? -3.0 : 7.0) * X.row(k);
    }
    const Hyperplanes planes = find_hyperplanes(X);
    check_structure(planes, 2 * n);
    for (Index k = 0; k < n; ++k) {
      const auto first = planes.samples[planes.offsets[planes.plane[k]]];
      const Vector here = X.row(k) / X(k, 0), there = X.row(first) / X(first, 0);
      CHECK((here - there).tail(4).lpNorm<Eigen::Infinity>() <= 1.1e-14);
      // Unless so many are within rounding of it that one of the cuts goes between.
      if (width >= 1e-13) CHECK(planes.plane[k] == planes.plane[n + k]);
      CHECK(planes.orientation[k] * planes.orientation[first] == (X(first, 0) > 0 ? 1 : -1));
    }
  }
}

// Rows on which the largest entries tie, of either sign: their sides do not depend on rounding.
void sides_do_not_turn_with_rounding() {
  std::mt19937_64 rng(13);
  for (int trial = 0; trial < 200; ++trial) {
    const Index d = 2 + trial % 6;
    Matrix X = integers(30, d, 1, rng);
    Matrix both(60, d);
    both << X, -0.1 * X;  // rounded
    for (double& entry : both.bottomRows(30).reshaped()) {
      entry *= 1.0 + 2.0 * kEpsilon * static_cast<double>(static_cast<int>(rng() % 3) - 1);
    }
    const Hyperplanes planes = find_hyperplanes(both);
    for (Index k = 0; k < 30; ++k) {
      CHECK(planes.plane[k] == planes.plane[k + 30]);
      CHECK(planes.orientation[k] == -planes.orientation[k + 30]);
    }
  }
}

}  // namespace

int main() {
  RUN(integers_are_merged_exactly);
  RUN(scale_does_not_matter);
  RUN(rounding_is_merged_and_more_is_not);
  RUN(rows_can_be_left_out);
  RUN(pivots_span_the_columns);
  RUN(many_rows);
  RUN(a_crowd_of_near_rows);
  RUN(sides_do_not_turn_with_rounding);
  return failed_checks == 0 ? 0 : 1;
}
