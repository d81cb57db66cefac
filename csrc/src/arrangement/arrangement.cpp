#include "arrangement/arrangement.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "convexrelu/base/error.hpp"

namespace convexrelu {
inline namespace arrangement {

namespace {

int exponent_of(double x) { return x == 0.0 ? 0 : std::ilogb(x); }

// X with its rows and columns divided by powers of two, to have largest entries in [1, 2). Cells do not
// depend on these units; whether two rows are parallel up to rounding does.
struct BalancedMatrix {
  Matrix X;
  std::vector<int> column_exponents;

  // Divides the columns first, or the rows.
  BalancedMatrix(Matrix unbalanced, bool columns_first)
      : X(std::move(unbalanced)), column_exponents(static_cast<std::size_t>(X.cols())) {
    for (const bool columns : {columns_first, !columns_first}) {
      columns ? divide_columns() : divide_rows();
    }
  }

  void divide_columns() {
    for (Index j = 0; j < X.cols(); ++j) {
      const int exponent = exponent_of(X.col(j).cwiseAbs().maxCoeff());
      for (double& x : X.col(j)) x = std::ldexp(x, -exponent);
      column_exponents[j] = exponent;
    }
  }

  void divide_rows() {
    const Vector largest = X.cwiseAbs().rowwise().maxCoeff();
    for (Index k = 0; k < X.rows(); ++k) {
      for (double& x : X.row(k)) x = std::ldexp(x, -exponent_of(largest[k]));
    }
  }

  double sum_of_exponents() const {
    return X.unaryExpr([](double x) { return double(exponent_of(x)); }).sum();
  }
};

// Each order undoes scales that the other one does not; the better one leaves the entries larger.
BalancedMatrix balance(ConstMatrixRef X) {
  BalancedMatrix a(X, true), b(X, false);
  return a.sum_of_exponents() >= b.sum_of_exponents() ? a : b;
}

}  // namespace

Matrix Arrangement::expand(const Matrix& points, Index n_features) const {
  Matrix gates = Matrix::Zero(n_features, points.cols());
  for (Index p = 0; p < gates.cols(); ++p) {
    int largest = std::numeric_limits<int>::min();
    for (std::size_t j = 0; j < columns.size(); ++j) {
      const double x = points(static_cast<Index>(j), p);
      if (x != 0.0) largest = std::max(largest, std::ilogb(x) - column_exponents[j]);
    }
    for (std::size_t j = 0; j < columns.size(); ++j) {
      gates(columns[j], p) =
          std::ldexp(points(static_cast<Index>(j), p), -column_exponents[j] - largest);
    }
    gates.col(p).normalize();
  }
  return gates;
}

Arrangement arrange(ConstMatrixRef X, Index max_rank, bool counted, Monitor* monitor) {
  if (X.rows() == 0 || X.cols() == 0) throw_invalid("X must have rows and columns");
  if (!X.allFinite()) throw_invalid("X must be finite");
  const BalancedMatrix balanced = balance(X);

  Arrangement arrangement;
  arrangement.planes = find_hyperplanes(balanced.X, monitor);
  const Hyperplanes& planes = arrangement.planes;
  const Index most = counted ? X.cols() : max_rank + 1;
  arrangement.columns = pivot_columns(balanced.X, planes, kIndependentColumns, most, monitor);
  const Index r = arrangement.rank();
  if (r == 0 || r > max_rank) return arrangement;

  // The rows themselves, not their unit normals: integers stay integers.
  Matrix rows(r, planes.size());
  for (Index j = 0; j < r; ++j) {
    const std::size_t column = static_cast<std::size_t>(arrangement.columns[j]);
    arrangement.column_exponents.push_back(balanced.column_exponents[column]);
    for (Index l = 0; l < planes.size(); ++l) {
      const std::size_t first = static_cast<std::size_t>(planes.offsets[l]);
      rows(j, l) = balanced.X(planes.samples[first], static_cast<Index>(column));
    }
  }
  arrangement.roots = find_root_cones(rows, monitor);
  Matrix& values = arrangement.roots.values;
  values.array().rowwise() /= values.array().abs().colwise().maxCoeff();
  return arrangement;
}

}  // namespace arrangement
}  // namespace convexrelu
