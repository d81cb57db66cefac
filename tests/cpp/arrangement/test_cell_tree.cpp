#include <cmath>
#include <functional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "convexrelu/arrangement/cell_tree.hpp"
#include "convexrelu/base/error.hpp"

using namespace convexrelu;

namespace {

using Random = std::mt19937_64;
using Pattern = std::vector<BitMatrix::Word>;

Patterns enumerate(const Matrix& X, double max_patterns = 2e7, int n_threads = 1) {
  Monitor monitor;
  return enumerate_patterns(X, {max_patterns, 1e-12, n_threads}, monitor);
}

std::set<Pattern> set_of(const Patterns& patterns) {
  std::set<Pattern> set;
  const BitMatrix& masks = patterns.masks();
  for (Index i = 0; i < masks.n_cols(); ++i) {
    set.emplace(masks.col(i), masks.col(i) + masks.words_per_col());
  }
  return set;
}

Matrix gaussian(Index n, Index d, Random& rng) {
  std::normal_distribution<double> normal;
  return Matrix::NullaryExpr(n, d, [&] { return normal(rng); });
}

Matrix integers(Index n, Index d, int bound, Random& rng) {
  return Matrix::NullaryExpr(n, d, [&] {
    return static_cast<double>(rng() % static_cast<unsigned>(2 * bound + 1)) - bound;
  });
}

Matrix from_rows(const std::vector<Vector>& rows) {
  Matrix X(static_cast<Index>(rows.size()), rows[0].size());
  for (std::size_t k = 0; k < rows.size(); ++k) X.row(static_cast<Index>(k)) = rows[k].transpose();
  return X;
}

// All non-zero 0/1 rows.
Matrix resonance(Index d) {
  std::vector<Vector> rows;
  for (unsigned bits = 1; bits < 1U << d; ++bits) {
    Vector row(d);
    for (Index j = 0; j < d; ++j) row[j] = bits >> j & 1;
    rows.push_back(row);
  }
  return from_rows(rows);
}

// All rows (1, +-1, ..., +-1).
Matrix threshold(Index d) {
  std::vector<Vector> rows;
  for (unsigned bits = 0; bits < 1U << (d - 1); ++bits) {
    Vector row = Vector::Ones(d);
    for (Index j = 1; j < d; ++j) row[j] = bits >> (j - 1) & 1 ? 1.0 : -1.0;
    rows.push_back(row);
  }
  return from_rows(rows);
}

// e_i and e_i +- e_j.
Matrix type_b(Index d) {
  std::vector<Vector> rows;
  for (Index i = 0; i < d; ++i) {
    rows.push_back(Vector::Unit(d, i));
    for (Index j = i + 1; j < d; ++j) {
      rows.push_back(Vector::Unit(d, i) + Vector::Unit(d, j));
      rows.push_back(Vector::Unit(d, i) - Vector::Unit(d, j));
    }
  }
  return from_rows(rows);
}

// Counts: OEIS A034997 (resonance), A000609 (threshold functions), 2^d d! (type B). Each is doubled
// where the source counts cells up to sign.
void known_arrangements_have_known_counts() {
  const Index resonances[] = {2, 6, 32, 370, 11292, 1066044};
  for (Index d = 1; d <= 6; ++d) CHECK(enumerate(resonance(d)).size() == resonances[d - 1]);
  const Index thresholds[] = {2, 4, 14, 104, 1882, 94572, 15028134};
  for (Index d = 1; d <= 7; ++d) CHECK(enumerate(threshold(d)).size() == thresholds[d - 1]);
  Index reflections = 1;
  for (Index d = 1; d <= 6; ++d) {
    reflections *= 2 * d;
    CHECK(enumerate(type_b(d)).size() == reflections);
  }
}

void general_position_attains_the_formula() {
  Random rng(1);
  const Index sizes[][2] = {{1, 1}, {1, 2}, {2, 3}, {100, 2}, {300, 3}, {60, 4}, {40, 5}, {25, 6}};
  for (const auto& [n, d] : sizes) {
    const Matrix X = gaussian(n, d, rng);
    const double expected = max_pattern_count(n, std::min(n, d));
    CHECK(static_cast<double>(enumerate(X).size()) == expected);
    Matrix biased(n, d + 1);
    biased << X, Vector::Ones(n);
    if (n > d) CHECK(static_cast<double>(enumerate(biased).size()) == max_pattern_count(n, d + 1));
  }
}

// Of integers, by elimination without fractions (Bareiss 1968).
Index exact_rank(Matrix A) {
  Index rank = 0;
  double last = 1.0;
  for (Index j = 0; j < A.cols() && rank < A.rows(); ++j) {
    Index pivot = rank;
    while (pivot < A.rows() && A(pivot, j) == 0.0) ++pivot;
    if (pivot == A.rows()) continue;
    A.row(pivot).swap(A.row(rank));
    for (Index i = rank + 1; i < A.rows(); ++i) {
      for (Index k = A.cols() - 1; k >= j; --k) {
        A(i, k) = (A(rank, j) * A(i, k) - A(i, j) * A(rank, k)) / last;
      }
    }
    last = A(rank++, j);
  }
  return rank;
}

// The sum over all sets S of hyperplanes of (-1)^(|S| - rank S) (Winder 1966).
Index count_cells(const Matrix& X) {
  std::vector<Vector> planes;
  for (Index k = 0; k < X.rows(); ++k) {
    bool is_new = (X.row(k).array() != 0.0).any();
    for (const Vector& plane : planes) {
      is_new = is_new && exact_rank(from_rows({plane, X.row(k)})) == 2;
    }
    if (is_new) planes.push_back(X.row(k));
  }
  Index count = 0;
  for (unsigned set = 0; set < 1U << planes.size(); ++set) {
    std::vector<Vector> chosen;
    for (std::size_t l = 0; l < planes.size(); ++l) {
      if (set >> l & 1) chosen.push_back(planes[l]);
    }
    const Index size = static_cast<Index>(chosen.size());
    count += size > 0 && (size - exact_rank(from_rows(chosen))) % 2 ? -1 : 1;
  }
  return count;
}

// Small integers: ties, multiples, zero rows and rank loss are the rule.
void integer_matrices_have_as_many_as_a_formula_counts() {
  Random rng(10);
  for (int trial = 0; trial < 3000; ++trial) {
    const Matrix X = integers(1 + trial % 7, 1 + trial / 7 % 4, 1 + trial / 28 % 2, rng);
    const Patterns patterns = enumerate(X);
    CHECK(patterns.size() == count_cells(X));
    CHECK(static_cast<Index>(set_of(patterns).size()) == patterns.size());
    CHECK(patterns_from_gates(X, patterns.gates()).masks().words() == patterns.masks().words());
  }
}

void patterns_are_distinct_and_their_gates_attain_them() {
  Random rng(2);
  for (const Matrix& X : {gaussian(70, 3, rng), gaussian(130, 2, rng), integers(40, 4, 2, rng),
                          resonance(4), Matrix(gaussian(20, 2, rng) * integers(2, 5, 2, rng))}) {
    const Patterns patterns = enumerate(X);
    CHECK(patterns.is_complete());
    CHECK(static_cast<Index>(set_of(patterns).size()) == patterns.size());
    CHECK(patterns_from_gates(X, patterns.gates()).masks().words() == patterns.masks().words());
  }
}

void second_half_mirrors_the_first() {
  Random rng(3);
  Matrix X = integers(70, 3, 2, rng);
  X.row(5).setZero();
  const Patterns patterns = enumerate(X);
  const Index half = patterns.size() / 2;
  for (Index i = 0; i < half; ++i) {
    for (Index k = 0; k < X.rows(); ++k) {
      const bool is_zero = (X.row(k).array() == 0.0).all();
      const bool a = patterns.masks().test(k, i), b = patterns.masks().test(k, half + i);
      CHECK(is_zero ? a && b : a != b);
    }
    CHECK(patterns.gates().col(i) == -patterns.gates().col(half + i));
  }
}

void small_and_degenerate_data() {
  const Patterns zero = enumerate(Matrix::Zero(70, 3));
  CHECK(zero.size() == 1 && zero.masks().test(0, 0) && zero.masks().test(69, 0));
  CHECK(zero.gates() == Matrix::Zero(3, 1));
  CHECK(enumerate(Matrix::Ones(1, 1)).size() == 2);
  CHECK(enumerate(Matrix::Ones(5, 7)).size() == 2);
  CHECK(enumerate(Matrix::Identity(9, 9)).size() == 512);
  Matrix two(4, 2);
  two << 1, 0, -2, 0, 0, 0, 3, 3;  // a hyperplane twice, from either side, and a zero row
  CHECK(set_of(enumerate(two)) == (std::set<Pattern>{{0b1101}, {0b0101}, {0b1110}, {0b0110}}));
}

// Rows that repeat, point the other way or are longer change bits, never cells; new units of the columns change
// nothing.
void copies_of_rows_and_units_of_columns_change_no_cell() {
  Random rng(4);
  const Matrix X = integers(12, 4, 2, rng);
  const Patterns patterns = enumerate(X);
  Matrix more(24, 4);
  more << X, -3.0 * X;
  CHECK(enumerate(more).size() == patterns.size());
  for (const double scale : {1e-150, 1e-8, 1e8, 1e150}) {
    Matrix scaled = X;
    scaled.col(1) *= scale;
    CHECK(set_of(enumerate(scaled)) == set_of(patterns));
    CHECK(set_of(enumerate(scale * X)) == set_of(patterns));
    scaled = X;
    scaled.row(3) *= scale;
    CHECK(set_of(enumerate(scaled)) == set_of(patterns));
  }
  Matrix dependent(12, 6);
  dependent << X, X.col(0) - X.col(2), 2.0 * X.col(1);
  CHECK(set_of(enumerate(dependent)) == set_of(patterns));
}

// Rows that nearly meet, at every distance from rounding to far above the tolerance: a cell that a
// random gate finds with some room to spare must be there.
void near_ties_hide_no_cell() {
  Random rng(5);
  for (int trial = 0; trial < 60; ++trial) {
    const Index d = 3 + trial % 3;
    const double noise = std::pow(10.0, -16.0 + trial % 9);
    const Matrix X =
        integers(d == 5 ? 14 : 20, d, 2, rng) + noise * gaussian(d == 5 ? 14 : 20, d, rng);
    const Patterns patterns = enumerate(X);
    CHECK(patterns.gates().cols() == patterns.size());  // by splits alone
    const std::set<Pattern> all = set_of(patterns);
    const Matrix gates = gaussian(d, 2000, rng);
    const Patterns found = patterns_from_gates(X, gates);
    for (Index i = 0; i < gates.cols(); ++i) {
      const Vector margins = (X * gates.col(i)).cwiseAbs();
      if (margins.minCoeff() < 1e-6) continue;
      const BitMatrix::Word* words = found.masks().col(i);
      CHECK(all.count(Pattern(words, words + found.masks().words_per_col())) == 1);
    }
  }
}

void same_bits_for_every_number_of_threads() {
  Random rng(6);
  for (const Matrix& X : {gaussian(150, 3, rng), integers(60, 5, 1, rng), resonance(5)}) {
    const Patterns one = enumerate(X);
    for (const int n_threads : {2, 3, 7}) {
      const Patterns many = enumerate(X, 2e7, n_threads);
      CHECK(many.masks().words() == one.masks().words());
      CHECK(many.gates() == one.gates());
    }
  }
}

template <typename Exception>
std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Exception& error) {
    return error.what();
  }
  return "";
}

void limit_is_the_actual_count() {
  const Matrix X = resonance(5);  // far fewer than the bound
  for (const int n_threads : {1, 2}) {
    CHECK(enumerate(X, 11292, n_threads).size() == 11292);
    CHECK(message_of<LimitExceeded>([&] { enumerate(X, 11291, n_threads); }) ==
          "X has more than max_patterns = 11291 activation patterns");
  }
  // At once: r independent rows alone have 2^r patterns.
  CHECK(!message_of<LimitExceeded>([&] { enumerate(Matrix::Identity(60, 60)); }).empty());
}

void bad_data_are_refused() {
  CHECK(!message_of<std::invalid_argument>([] { enumerate(Matrix(0, 3)); }).empty());
  CHECK(!message_of<std::invalid_argument>([] { enumerate(Matrix(3, 0)); }).empty());
  CHECK(
      !message_of<std::invalid_argument>([] { enumerate(Matrix::Constant(2, 2, kNaN)); }).empty());
}

void callback_sees_progress_and_can_stop() {
  Random rng(7);
  const Matrix X = gaussian(300, 3, rng);
  for (const int n_threads : {1, 2}) {
    long last = 0;
    bool is_monotone = true;
    Monitor watching(kInfinity, [&](const Progress& progress) {
      is_monotone =
          is_monotone && progress.iteration >= last && progress.phase == std::string("enumerate");
      last = progress.iteration;
      return false;
    });
    const Patterns patterns = enumerate_patterns(X, {1e7, 1e-12, n_threads}, watching);
    CHECK(is_monotone && last == patterns.size());

    Monitor stopping(kInfinity, [](const Progress&) { return true; });
    bool stopped = false;
    try {
      enumerate_patterns(X, {1e7, 1e-12, n_threads}, stopping);
    } catch (const Stopped& reason) {
      stopped = reason.reason == StopReason::callback;
    }
    CHECK(stopped);
  }
}

void ray_gates_lie_inside_cells() {
  Random rng(8);
  for (const Matrix& X :
       {gaussian(50, 4, rng), integers(30, 3, 2, rng), resonance(4), Matrix(Matrix::Ones(3, 2))}) {
    const std::set<Pattern> all = set_of(enumerate(X));
    Monitor monitor;
    const Matrix gates = sample_ray_gates(X, 2000, 1, monitor);
    CHECK(gates == sample_ray_gates(X, 2000, 1, monitor));
    CHECK(gates != sample_ray_gates(X, 2000, 2, monitor));
    const std::set<Pattern> found = set_of(patterns_from_gates(X, gates));
    for (const Pattern& pattern : found) CHECK(all.count(pattern) == 1);
    CHECK(2 * found.size() >= std::min<std::size_t>(all.size(), 2000));
  }
  Monitor monitor;
  CHECK(sample_ray_gates(Matrix::Zero(3, 2), 10, 1, monitor).cols() == 0);
}

// Prototype figures for n = 50, d = 4 and 1e5 draws: 88 % of 39,300 cells against 40 % of Gaussian
// gates.
void ray_gates_find_narrow_cells() {
  Random rng(9);
  const Matrix X = gaussian(30, 4, rng);
  Monitor monitor;
  const Patterns rays = distinct_patterns_from_gates(X, sample_ray_gates(X, 20000, 1, monitor));
  const Patterns normal = distinct_patterns_from_gates(X, gaussian(4, 20000, rng));
  CHECK(static_cast<double>(rays.size()) > 0.85 * max_pattern_count(30, 4));
  CHECK(static_cast<double>(rays.size()) > 1.4 * static_cast<double>(normal.size()));
}

}  // namespace

int main() {
  RUN(known_arrangements_have_known_counts);
  RUN(general_position_attains_the_formula);
  RUN(integer_matrices_have_as_many_as_a_formula_counts);
  RUN(patterns_are_distinct_and_their_gates_attain_them);
  RUN(second_half_mirrors_the_first);
  RUN(small_and_degenerate_data);
  RUN(copies_of_rows_and_units_of_columns_change_no_cell);
  RUN(near_ties_hide_no_cell);
  RUN(same_bits_for_every_number_of_threads);
  RUN(limit_is_the_actual_count);
  RUN(bad_data_are_refused);
  RUN(callback_sees_progress_and_can_stop);
  RUN(ray_gates_lie_inside_cells);
  RUN(ray_gates_find_narrow_cells);
  return failed_checks;
}
