#include <cmath>
#include <random>
#include <set>
#include <stdexcept>
#include <string>

#include "check.hpp"
#include "convexrelu/arrangement/patterns.hpp"

using namespace convexrelu;

namespace {

// Entries -range ... range: ties, duplicates and zero rows are common.
Matrix random_integers(Index rows, Index cols, int range, std::mt19937& generator) {
  std::uniform_int_distribution<int> entry(-range, range);
  Matrix result(rows, cols);
  for (Index j = 0; j < cols; ++j) {
    for (Index k = 0; k < rows; ++k) result(k, j) = entry(generator);
  }
  return result;
}

template <typename Call>
bool throws_invalid(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

std::string text(const Patterns& patterns, Index i) {
  std::string bits;
  for (Index k = 0; k < patterns.n_samples(); ++k) bits += patterns.masks().test(k, i) ? '1' : '0';
  return bits;
}

bool equal(const Patterns& a, const Patterns& b) {
  return a.size() == b.size() && a.masks().words() == b.masks().words() && a.gates() == b.gates();
}

// Integers are exact in double arithmetic, so the plain product says what the bits are.
void bits_of_integers_are_the_signs_of_their_products() {
  std::mt19937 generator(1);
  for (int trial = 0; trial < 200; ++trial) {
    const Index n = 1 + trial % 90;
    const Matrix X = random_integers(n, 1 + trial % 7, 2, generator);
    const Matrix gates = random_integers(X.cols(), 1 + trial % 150, 2, generator);
    const Patterns patterns = patterns_from_gates(X, gates);
    const Matrix products = X * gates;
    CHECK(patterns.size() == gates.cols());
    CHECK(patterns.gates() == gates);
    for (Index i = 0; i < patterns.size(); ++i) {
      for (Index k = 0; k < n; ++k) {
        CHECK(patterns.masks().test(k, i) == (products(k, i) >= 0.0));
      }
    }
  }
}

// x . g is exactly zero, or a unit of the last place away from it, where rounding loses it.
void bits_at_a_tie_are_exact() {
  Matrix X(3, 3);
  X << 0.1, 0.2, 0.3,    //
      1e16, 1.0, -1e16,  //
      3.0, -1.0 / 3.0, 0.0;
  Matrix gates(3, 4);
  gates.col(0) << 0.3, 0.3, -0.3;  // sign of 0.1 + 0.2 - 0.3, positive in the doubles
  gates.col(1) << 0.2, -0.1, 0.0;  // zero
  gates.col(2) << 1.0, -1.0, 1.0;  // row 1: -1, lost in 1e16 - 1 - 1e16
  gates.col(3) << 1.0, 9.0, 0.0;   // row 2: 3 - 9 fl(1/3) > 0
  const BitMatrix masks = patterns_from_gates(X, gates).masks();
  CHECK(masks.test(0, 0));
  CHECK(masks.test(0, 1));
  CHECK(!masks.test(1, 2));
  CHECK(masks.test(2, 3));
  CHECK(!patterns_from_gates(X, -gates).masks().test(0, 0));
  CHECK(!patterns_from_gates(X, -gates).masks().test(2, 3));
}

void bits_do_not_depend_on_scale() {
  std::mt19937 generator(2);
  std::normal_distribution<double> normal;
  const Matrix X = Matrix::NullaryExpr(130, 6, [&] { return normal(generator); });
  const Matrix gates = Matrix::NullaryExpr(6, 300, [&] { return normal(generator); });
  const BitMatrix expected = patterns_from_gates(X, gates).masks();
  for (const double scale : {1e150, 1e-150, 1e300, 1e-290}) {
    CHECK(patterns_from_gates(scale * X, gates).masks().words() == expected.words());
    CHECK(patterns_from_gates(X, scale * gates).masks().words() == expected.words());
    CHECK(patterns_from_gates(scale * X, scale * gates).masks().words() == expected.words());
  }
}

void bits_do_not_depend_on_threads() {
  std::mt19937 generator(3);
  const Matrix X = random_integers(700, 5, 3, generator);
  const Matrix gates = random_integers(5, 1000, 3, generator);
  CHECK(equal(patterns_from_gates(X, gates, 1), patterns_from_gates(X, gates, 3)));
  CHECK(
      equal(distinct_patterns_from_gates(X, gates, 1), distinct_patterns_from_gates(X, gates, 3)));
}

void the_first_of_each_nonzero_pattern_is_kept() {
  std::mt19937 generator(4);
  for (int trial = 0; trial < 100; ++trial) {
    const Matrix X = random_integers(1 + trial % 70, 1 + trial % 4, 2, generator);
    const Matrix gates = random_integers(X.cols(), 200, 3, generator);
    const Patterns all = patterns_from_gates(X, gates);
    const Patterns kept = distinct_patterns_from_gates(X, gates);
    std::set<std::string> seen = {std::string(static_cast<std::size_t>(X.rows()), '0')};
    Index next = 0;
    for (Index i = 0; i < all.size(); ++i) {
      if (!seen.insert(text(all, i)).second) continue;
      CHECK(next < kept.size() && text(kept, next) == text(all, i));
      CHECK(next < kept.size() && kept.gates().col(next) == gates.col(i));
      ++next;
    }
    CHECK(next == kept.size());
  }
}

void wrong_arguments_are_refused() {
  const Matrix X = Matrix::Ones(3, 2);
  Matrix bad = X;
  bad(1, 1) = kNaN;
  CHECK(throws_invalid([&] { patterns_from_gates(X, Matrix::Ones(3, 1)); }));
  CHECK(throws_invalid([&] { patterns_from_gates(bad, Matrix::Ones(2, 1)); }));
  CHECK(throws_invalid([&] { patterns_from_gates(X, kInfinity * Matrix::Ones(2, 1)); }));
  CHECK(throws_invalid([&] { Patterns(BitMatrix(3, 2), Matrix::Ones(2, 1)); }));
  CHECK(throws_invalid([] { max_pattern_count(3, 4); }));
  CHECK(throws_invalid([] { max_pattern_count(3, -1); }));
}

void gates_on_demand_are_computed_once() {
  int calls = 0;
  const Patterns patterns(
      BitMatrix(4, 2), 3,
      [&](Monitor&) {
        ++calls;
        return Matrix(Matrix::Ones(3, 2));
      },
      true);
  const Patterns copy = patterns;
  CHECK(calls == 0 && patterns.n_features() == 3 && patterns.is_complete());
  CHECK(copy.gates() == Matrix::Ones(3, 2));
  CHECK(&patterns.gates() == &copy.gates() && calls == 1);
}

// By induction on deletion and restriction: c(n, r) = c(n - 1, r) + c(n - 1, r - 1).
void count_formula_satisfies_its_recurrence() {
  CHECK(max_pattern_count(7, 0) == 1.0);
  CHECK(max_pattern_count(0, 0) == 1.0);
  for (Index n = 1; n <= 40; ++n) {
    CHECK(max_pattern_count(n, 1) == 2.0);
    CHECK(max_pattern_count(n, n) == std::ldexp(1.0, static_cast<int>(n)));
    for (Index r = 2; r < n; ++r) {
      CHECK(max_pattern_count(n, r) ==
            max_pattern_count(n - 1, r) + max_pattern_count(n - 1, r - 1));
    }
  }
  CHECK(max_pattern_count(50, 4) == 39300.0);  // n = 50, d = 4 in general position
  CHECK(max_pattern_count(100000, 50000) == kInfinity);
}

}  // namespace

int main() {
  RUN(bits_of_integers_are_the_signs_of_their_products);
  RUN(bits_at_a_tie_are_exact);
  RUN(bits_do_not_depend_on_scale);
  RUN(bits_do_not_depend_on_threads);
  RUN(the_first_of_each_nonzero_pattern_is_kept);
  RUN(wrong_arguments_are_refused);
  RUN(gates_on_demand_are_computed_once);
  RUN(count_formula_satisfies_its_recurrence);
  return failed_checks;
}
