#include "convexrelu/numeric/simplex.hpp"

#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <utility>

#include "convexrelu/base/error.hpp"
#include "numeric/pivots.hpp"
#include "numeric/watched_dense.hpp"

namespace convexrelu {
inline namespace numeric {

namespace {

// Reduced costs down to -this, relative to the largest cost, are zero.
constexpr double kReducedCost = 1e-11;
// A coordinate that loses all but this of its value in one step is zero.
constexpr double kCancelled = 1e-12;
constexpr long kMaxUpdates = 40;
// Columns may stay in their order when those before leave more than this of each.
constexpr double kIndependent = 1e-5;
// A feasible basis may have coordinates down to -this times the tolerance.
constexpr double kInfeasible = 10.0;
// A pivot smaller than this, relative to its column, is followed by a fresh T.
constexpr double kSmallPivot = 1e-5;

// Shorter columns are zero: the inverse of their length is no number.
constexpr double kLeastLength = std::numeric_limits<double>::min();

struct Reduction {
  Matrix A;                  // (r, k)
  std::vector<Index> order;  // of the columns: the first r are independent
  double least_kept = 1.0, most_left = 0.0;
};

// r rows with the dependencies of columns (m, k) of unit length.
Reduction reduce_rows(Matrix units, double tol, Monitor* monitor) {
  const Index m = units.rows(), k = units.cols(), n_pivots = std::min(m, k);
  std::vector<Index> order(static_cast<std::size_t>(k));
  std::iota(order.begin(), order.end(), Index{0});
  if (n_pivots == 0) return {Matrix(0, k), std::move(order), 1.0, 0.0};
  Matrix R = upper_factor(std::move(units), monitor);
  const double least = R.diagonal().cwiseAbs().minCoeff();
  if (least > kIndependent) return {std::move(R), std::move(order), least, 0.0};

  PivotedQr qr = factor_pivoted_qr(R, tol, n_pivots, monitor);
  const double least_kept = qr.rank > 0 ? std::abs(R(qr.rank - 1, qr.rank - 1)) : 1.0;
  Matrix A(qr.rank, k);
  A(Eigen::all, qr.order) = R.topRows(qr.rank);
  return {std::move(A), std::move(qr.order), least_kept, qr.left};
}

}  // namespace

Simplex::Simplex(ConstMatrixRef Q, ConstVectorRef start, double tol, Monitor* monitor) : tol_(tol) {
  const Index k = Q.cols();
  scale_.resize(k);
  Matrix units = Q;
  keep_going(monitor);
  for (Index j = 0; j < k; ++j) {
    const double norm = Q.col(j).stableNorm();
    const bool is_zero = !(norm >= kLeastLength);
    scale_(j) = is_zero ? 1.0 : 1.0 / norm;
    if (is_zero) {
      units.col(j).setZero();
    } else {
      units.col(j) /= norm;
    }
  }
  Vector x = start.cwiseQuotient(scale_);
  const double largest = k > 0 ? x.maxCoeff() : 0.0;
  if (largest > 0.0) {
    x /= largest;
    scale_ *= largest;
  }

  keep_going(monitor);
  Reduction reduction = reduce_rows(std::move(units), tol, monitor);
  keep_going(monitor);
  least_kept_ = reduction.least_kept;
  most_left_ = reduction.most_left;
  const Index r = reduction.A.rows();
  A_ = std::move(reduction.A);
  b_ = A_ * x;
  keep_going(monitor);
  x_basic_.resize(r);
  x_other_.resize(k - r);
  set_order(std::move(reduction.order), monitor);
  for (Index i = 0; i < r; ++i) x_basic_(i) = x(basic(i));
  for (Index j = 0; j < k - r; ++j) x_other_(j) = x(other(j));
}

void Simplex::set_order(std::vector<Index> order, Monitor* monitor) {
  order_ = std::move(order);
  position_.resize(order_.size());
  for (std::size_t p = 0; p < order_.size(); ++p) {
    position_[order_[p]] = static_cast<Index>(p);
  }
  refresh(x_other_.size(), monitor);
}

// The first columns of T from the basis, and at a vertex x from b. (On the way to the first one x keeps
// its zeros.)
void Simplex::refresh(Index n_columns, Monitor* monitor) {
  const Index r = rank();
  n_updates_ = 0;
  n_known_ = n_columns;
  if (r == 0) {
    T_.resize(0, size());
    return;
  }
  Matrix basis(r, r);
  for (Index i = 0; i < r; ++i) basis.col(i) = A_.col(basic(i));
  T_.resize(r, size() - r);
  for (Index j = 0; j < n_columns; ++j) T_.col(j) = A_.col(other(j));
  const LuFactors lu(std::move(basis), monitor);
  lu.solve_in_place(T_.leftCols(n_columns), monitor);
  if (!anchor_.empty() && at_vertex()) {
    x_basic_ = b_;
    lu.solve_in_place(x_basic_, monitor);
  }
}

// reduce() leaves no rounding errors.
Vector Simplex::point() const { return point_above(anchor_.empty() ? 0.0 : tol_); }

Vector Simplex::raw_point() const { return point_above(0.0); }

Vector Simplex::point_above(double zero) const {
  Vector x(size());
  for (Index i = 0; i < rank(); ++i) x(basic(i)) = x_basic_(i) > zero ? x_basic_(i) : 0.0;
  for (Index j = 0; j < x_other_.size(); ++j) x(other(j)) = x_other_(j);
  return x.cwiseProduct(scale_);
}

// Exchanges a basic variable for another; values stay with the variables. Of T only the first columns
// are needed from here on, and kept.
void Simplex::pivot(Index row, Index column, Index n_columns, Monitor* monitor) {
  const double pivot = T_(row, column);
  const double largest = T_.col(column).lpNorm<Eigen::Infinity>();
  std::swap(x_basic_(row), x_other_(column));
  Index& leaving = order_[row];
  Index& entering = order_[rank() + column];
  std::swap(position_[leaving], position_[entering]);
  std::swap(leaving, entering);
  if (++n_updates_ >= kMaxUpdates || std::abs(pivot) < kSmallPivot * largest) {
    refresh(n_columns, monitor);
    return;
  }
  n_known_ = n_columns;
  const Vector factors = T_.col(column);
  auto known = T_.leftCols(n_columns);
  const Eigen::RowVectorXd scaled_row = known.row(row) / pivot;
  known.noalias() -= factors * scaled_row;
  known.row(row) = scaled_row;
  if (column >= n_columns) return;
  T_.col(column) = factors / -pivot;
  T_(row, column) = 1.0 / pivot;
}

Index Simplex::reduce(const Vector& cost, Monitor* monitor) {
  Index column = x_other_.size() - 1;
  while (column >= 0 && !(x_other_(column) > 0.0)) --column;
  if (column < 0) return -1;
  const Vector rates = T_.col(column);  // of x_B as x_j falls

  Index blocking = -1;  // row; of several the one with the largest pivot
  const auto block = [&](Index i) {
    if (blocking < 0 || std::abs(rates(i)) > std::abs(rates(blocking))) blocking = i;
  };
  for (Index i = 0; i < rank(); ++i) {
    if (x_basic_(i) == 0.0 && std::abs(rates(i)) > tol_) block(i);
  }
  if (blocking >= 0) {
    const Index variable = basic(blocking);
    pivot(blocking, column, column, monitor);
    return variable;
  }

  double direction = 1.0;
  if (cost.size() > 0) {
    const auto scaled = [&](Index variable) { return cost(variable) * scale_(variable); };
    double slope = -scaled(other(column));
    for (Index i = 0; i < rank(); ++i) slope += rates(i) * scaled(basic(i));
    if (slope > 0.0) direction = -1.0;
  }
  // The way back is bounded by x_j itself; a positive cost rises without end the other way, up to
  // rounding, so there are two rounds at most.
  double step = direction > 0.0 ? x_other_(column) : kInfinity;
  Index first = -1;  // the row that ends the step; -1 where x_j does
  for (;;) {
    for (Index i = 0; i < rank(); ++i) {
      if (!(direction * rates(i) < -tol_)) continue;
      const double room = x_basic_(i) / (-direction * rates(i));
      if (room < step) {
        step = room;
        first = i;
      }
    }
    if (direction > 0.0 || step < kInfinity) break;
    direction = 1.0;
    step = x_other_(column);
  }

  for (Index i = 0; i < rank(); ++i) {
    if (x_basic_(i) == 0.0) continue;
    const double loss = -direction * step * rates(i);
    if (i == first ||
        (direction * rates(i) < -tol_ && x_basic_(i) - loss <= kCancelled * x_basic_(i))) {
      x_basic_(i) = 0.0;
      block(i);
    } else {
      x_basic_(i) = std::max(x_basic_(i) - loss, 0.0);
    }
  }
  const double left = x_other_(column) - direction * step;
  if (blocking < 0 || (direction > 0.0 && left <= kCancelled * x_other_(column))) {
    x_other_(column) = 0.0;
    return other(column);
  }
  x_other_(column) = left;
  const Index variable = basic(blocking);
  pivot(blocking, column, column, monitor);
  return variable;
}

// Every reduce() makes a coordinate zero that stays so, or exchanges a column of which T is not known
// any more: at most k - r in all.
void Simplex::move_to_vertex(Monitor* monitor) {
  do {
    keep_going(monitor);
  } while (reduce(Vector(), monitor) >= 0);
  if (!anchor_.empty()) return;
  anchor_ = basis();
  refresh(x_other_.size(), monitor);
}

double Simplex::tableau_entry(Index row, Index variable) const {
  const Index p = position(variable);
  if (p >= rank()) return T_(row, p - rank());
  return p == row ? 1.0 : 0.0;
}

// Whether one row of the tableau, over its entry in the column, is lexicographically smaller than
// another. Rows differ in the columns of the anchor, which are independent.
bool Simplex::precedes(Index row, Index other_row, Index column) const {
  for (const Index variable : anchor_) {
    const double a = tableau_entry(row, variable) / T_(row, column);
    const double b = tableau_entry(other_row, variable) / T_(other_row, column);
    if (std::abs(a - b) > tol_ * (1.0 + std::abs(a) + std::abs(b))) return a < b;
  }
  return T_(row, column) > T_(other_row, column);
}

// The row that blocks first when the column's variable grows; -1 if none does.
Index Simplex::leaving_row(Index column) const {
  const auto rates = T_.col(column);
  double step = kInfinity;
  for (Index i = 0; i < rank(); ++i) {
    if (rates(i) > tol_) step = std::min(step, std::max(x_basic_(i), 0.0) / rates(i));
  }
  Index best = -1;
  for (Index i = 0; i < rank(); ++i) {
    if (rates(i) <= tol_ || x_basic_(i) - step * rates(i) > tol_) continue;
    if (best < 0 || precedes(i, best, column)) best = i;
  }
  return best;
}

// The column with the most negative reduced cost, or the first negative one by variable; -1 if
// none.
Index Simplex::entering_column(const Vector& scaled_cost, bool first) const {
  Vector basic_cost(rank());
  for (Index i = 0; i < rank(); ++i) basic_cost(i) = scaled_cost(basic(i));
  const Vector reduction = T_.transpose() * basic_cost;
  const double tolerance = kReducedCost * scaled_cost.lpNorm<Eigen::Infinity>();
  Index best = -1;
  double least = -tolerance;
  for (Index j = 0; j < x_other_.size(); ++j) {
    if (is_closed(other(j))) continue;
    const double reduced = scaled_cost(other(j)) - reduction(j);
    if (first ? reduced < -tolerance && (best < 0 || other(j) < other(best)) : reduced < least) {
      best = j;
      least = reduced;
    }
  }
  return best;
}

bool Simplex::minimize(ConstVectorRef cost, Monitor* monitor) {
  move_to_vertex(monitor);
  if (x_other_.size() == 0) return true;
  const Vector scaled_cost = cost.cwiseProduct(scale_);
  // Rounding can undo what the lexicographic rule promises: after so many steps that cost.x has not fallen
  // by more than rounding Bland's rule is tried, and then the vertex is taken as it is. So it ends: what is
  // least only falls, by no less than that.
  const Index patience = 10 * size() + 100;
  const auto value = [&] {
    double sum = 0.0, size = 0.0;
    for (Index i = 0; i < rank(); ++i) {
      const double part = scaled_cost(basic(i)) * x_basic_(i);
      sum += part;
      size += std::abs(part);
    }
    return std::pair(sum, kEpsilon * size);
  };
  double least = kInfinity;
  for (Index n_in_place = 0; n_in_place < 10 * patience;) {
    keep_going(monitor);
    const Index column = entering_column(scaled_cost, n_in_place > patience);
    if (column < 0) return true;
    const Index row = leaving_row(column);
    if (row < 0) return false;
    const double step = std::max(x_basic_(row), 0.0) / T_(row, column);
    x_basic_ -= step * T_.col(column);
    x_basic_(row) = 0.0;
    x_other_(column) = step;
    pivot(row, column, x_other_.size(), monitor);
    const auto [now, rounding] = value();
    const bool falls = step > tol_ && now < least - rounding;
    n_in_place = falls ? 0 : n_in_place + 1;
    if (falls) least = now;
  }
  return true;
}

double Simplex::noise() const {
  double largest = 0.0;
  for (const double x : x_basic_) {
    if (x <= tol_) largest = std::max(largest, std::abs(x));
  }
  return largest;
}

void Simplex::close(Index variable) {
  if (closed_.empty()) closed_.assign(static_cast<std::size_t>(size()), 0);
  closed_[variable] = 1;
  const Index row = position(variable);
  if (row >= rank()) return;
  // It leaves the basis for a column that may move. Where none can, the row is zero and x_j stays.
  Index best = -1;
  double largest = tol_;
  for (Index j = 0; j < x_other_.size(); ++j) {
    if (is_closed(other(j)) || !(std::abs(T_(row, j)) > largest)) continue;
    best = j;
    largest = std::abs(T_(row, j));
  }
  if (best < 0) return;
  x_basic_(row) = 0.0;
  pivot(row, best, x_other_.size(), nullptr);
  anchor_ = basis();
}

bool Simplex::for_each_vertex(const std::function<bool(const Simplex&)>& visit,
                              Monitor& monitor) const {
  Simplex walk(*this);
  walk.move_to_vertex(&monitor);
  const Index r = rank();
  const auto sorted_basis = [&] {
    std::vector<Index> basis = walk.basis();
    std::sort(basis.begin(), basis.end());
    return basis;
  };
  std::set<std::vector<Index>> seen{sorted_basis()};
  std::deque<std::vector<Index>> open{*seen.begin()};
  std::set<std::vector<Index>> supports;  // a vertex is known by its support
  while (!open.empty()) {                 // ends: a basis is opened once
    monitor.check();
    std::vector<Index> order = std::move(open.front());
    open.pop_front();
    std::vector<bool> in_basis(static_cast<std::size_t>(size()), false);
    for (const Index variable : order) in_basis[variable] = true;
    for (Index j = 0; j < size(); ++j) {
      if (!in_basis[j]) order.push_back(j);
    }
    walk.set_order(std::move(order), &monitor);
    if (r > 0 && walk.x_basic_.minCoeff() < -kInfeasible * tol_) {
      throw AccuracyError("columns have near ties that float64 cannot tell from what is real");
    }

    std::vector<Index> support;
    for (Index i = 0; i < r; ++i) {
      if (walk.x_basic_(i) > tol_) support.push_back(walk.basic(i));
    }
    if (supports.insert(std::move(support)).second && !visit(walk)) return false;
    for (Index j = 0; j < size() - r; ++j) {
      const Index row = walk.leaving_row(j);
      if (row < 0) throw_invalid("the polyhedron is unbounded: it has more than its vertices");
      std::vector<Index> neighbour = walk.basis();
      neighbour[row] = walk.other(j);
      std::sort(neighbour.begin(), neighbour.end());
      if (seen.insert(neighbour).second) open.push_back(std::move(neighbour));
    }
  }
  return true;
}

Matrix Simplex::vertices(Index max_vertices, Monitor& monitor) const {
  std::vector<Vector> found;
  const bool is_complete = for_each_vertex(
      [&](const Simplex& at) {
        if (static_cast<Index>(found.size()) == max_vertices) return false;
        found.push_back(at.point());
        return true;
      },
      monitor);
  if (!is_complete) {
    throw LimitExceeded("max_vertices = " + std::to_string(max_vertices) +
                        " is fewer than there are");
  }
  Matrix all(static_cast<Index>(found.size()), size());
  for (std::size_t v = 0; v < found.size(); ++v) all.row(static_cast<Index>(v)) = found[v];
  return all;
}

Matrix Simplex::null_basis() const {
  const Index r = rank(), free = size() - r;
  if (n_known_ < free) {
    Simplex fresh(*this);
    fresh.refresh(free, nullptr);
    return fresh.null_basis();
  }
  Matrix basis = Matrix::Zero(size(), free);
  for (Index j = 0; j < free; ++j) {
    basis(other(j), j) = scale_(other(j));
    for (Index i = 0; i < r; ++i) basis(basic(i), j) = -T_(i, j) * scale_(basic(i));
    basis.col(j).normalize();
  }
  if (free == 0) return basis;
  return Eigen::HouseholderQR<Matrix>(basis).householderQ() * Matrix::Identity(size(), free);
}

}  // namespace numeric
}  // namespace convexrelu
