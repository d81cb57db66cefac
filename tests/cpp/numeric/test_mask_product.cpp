#include <cmath>
#include <random>

#include "allocations.hpp"
#include "check.hpp"
#include "convexrelu/numeric/mask_product.hpp"

using namespace convexrelu;

namespace {

struct Case {
  Matrix X;
  BitMatrix masks;
  Matrix D;  // the masks as numbers
};

Case random_case(Index n, Index d, Index P, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal;
  Case c{Matrix(n, d), BitMatrix(n, P), Matrix::Zero(n, P)};
  for (Index j = 0; j < d; ++j) {
    for (Index k = 0; k < n; ++k) c.X(k, j) = normal(generator);
  }
  for (Index i = 0; i < P; ++i) {
    for (Index k = 0; k < n; ++k) {
      if (generator() % 2 == 0) continue;
      c.masks.set(k, i);
      c.D(k, i) = 1.0;
    }
  }
  return c;
}

Matrix correlate_plainly(const Case& c, const Matrix& R) {
  const Index d = c.X.cols();
  Matrix C(R.cols() * d, c.D.cols());
  for (Index a = 0; a < R.cols(); ++a) {
    C.middleRows(a * d, d) = c.X.transpose() * (R.col(a).asDiagonal() * c.D);
  }
  return C;
}

void for_sizes(void (*check)(const Case&)) {
  unsigned seed = 0;
  for (const Index n : {1, 7, 8, 63, 64, 65, 130, 700}) {
    for (const Index d : {1, 3, 4, 5, 8, 11, 17, 33}) {
      for (const Index P : {1, 2, 37, 300}) check(random_case(n, d, P, ++seed));
    }
  }
}

double tolerance(const Case& c) { return 1e-13 * static_cast<double>(c.X.rows() + 10); }

void check_correlate(const Case& c) {
  const MaskProduct product(c.X, c.masks);
  const Matrix R = Matrix::Random(c.X.rows(), 3);
  const Matrix expected = correlate_plainly(c, R);
  Matrix C(expected.rows(), expected.cols());
  product.correlate(R, C);
  CHECK((C - expected).cwiseAbs().maxCoeff() <= tolerance(c));

  Matrix two_threads(C.rows(), C.cols());
  product.correlate(R, two_threads, 2);
  CHECK(C == two_threads);

  Matrix one(c.X.cols(), C.cols());
  product.correlate(R.col(1), one);
  CHECK((one - expected.middleRows(c.X.cols(), c.X.cols())).cwiseAbs().maxCoeff() <= tolerance(c));

  std::vector<Index> listed;
  for (Index i = c.D.cols() - 1; i >= 0; i -= 3) listed.push_back(i);
  Matrix few(C.rows(), static_cast<Index>(listed.size()));
  product.correlate(R, listed, few);
  for (Index j = 0; j < few.cols(); ++j) {
    CHECK((few.col(j) - C.col(listed[j])).cwiseAbs().maxCoeff() <= tolerance(c));
  }
}

void check_norms(const Case& c) {
  const MaskProduct product(c.X, c.masks);
  for (const double scale : {1.0, 1e150, 1e-150}) {
    const Vector r = scale * Vector::Random(c.X.rows());
    const Vector expected = correlate_plainly(c, r / scale).colwise().norm().transpose() * scale;
    Vector norms(expected.size());
    const double bound = product.correlation_norms(r, norms);
    CHECK((norms - expected).cwiseAbs().maxCoeff() <= bound);
    Vector part(expected.size() / 2);
    CHECK(product.correlation_norms(r, part, 1, expected.size() - part.size()) == bound);
    CHECK(part == norms.tail(part.size()));
    CHECK(bound <= 1e-4 * scale * (c.X.cwiseAbs().transpose() * (r / scale).cwiseAbs()).norm());
  }
}

void check_forward(const Case& c) {
  const MaskProduct product(c.X, c.masks);
  for (const Index k : {Index{0}, Index{1}, Index{9}, Index{70}}) {
    std::vector<Index> listed;
    for (Index j = 0; j < k; ++j) listed.push_back((7 * j) % c.D.cols());
    const Matrix U = Matrix::Random(c.X.cols(), k);
    Vector expected = Vector::Zero(c.X.rows());
    for (Index j = 0; j < k; ++j) {
      expected += c.D.col(listed[j]).cwiseProduct(c.X * U.col(j));
    }
    Vector f = Vector::Constant(c.X.rows(), kNaN);
    product.forward(listed, U, f);
    CHECK((f - expected).cwiseAbs().maxCoeff() <= 1e-13 * static_cast<double>(k * c.X.cols() + 10));
    Vector two_threads(c.X.rows());
    product.forward(listed, U, two_threads, 2);
    CHECK(f == two_threads);
  }
}

void warm_products_do_not_allocate() {
  const Case c = random_case(500, 37, 300, 1);
  const MaskProduct product(c.X, c.masks);
  const Index P = product.n_patterns();
  std::vector<Index> list;
  for (Index i = 0; i < P; i += 2) list.push_back(i);
  const Vector r = c.X.col(0);
  const Matrix U = Matrix::Ones(37, static_cast<Index>(list.size()));
  Matrix all(37, P), some(37, U.cols());
  Vector norms(P), f(500);
  const auto multiply = [&] {
    product.correlate(r, all);
    product.correlate(r, list, some);
    product.correlation_norms(r, norms);
    product.forward(list, U, f);
  };
  multiply();
  CHECK(allocations(multiply).count == 0);
}

void correlations_are_those_of_dense_algebra() { for_sizes(check_correlate); }
void norms_keep_their_bound_at_every_scale() { for_sizes(check_norms); }
void forward_is_the_sum_of_masked_products() { for_sizes(check_forward); }

}  // namespace

int main() {
  RUN(correlations_are_those_of_dense_algebra);
  RUN(norms_keep_their_bound_at_every_scale);
  RUN(forward_is_the_sum_of_masked_products);
  RUN(warm_products_do_not_allocate);
  return failed_checks;
}
