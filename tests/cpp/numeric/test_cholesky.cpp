#include <Eigen/Cholesky>
#include <Eigen/LU>
#include <cmath>
#include <random>

#include "check.hpp"
#include "convexrelu/numeric/cholesky.hpp"

using namespace convexrelu;

namespace {

Matrix random_matrix(Index rows, Index cols, std::uint64_t seed) {
  std::mt19937_64 rng(seed);
  std::normal_distribution<double> normal;
  Matrix A(rows, cols);
  for (double& entry : A.reshaped()) entry = normal(rng);
  return A;
}

Matrix positive_definite(Index n, std::uint64_t seed) {
  const Matrix G = random_matrix(n, n, seed);
  return G * G.transpose() / static_cast<double>(n) + 0.1 * Matrix::Identity(n, n);
}

void factors_and_solves() {
  for (const Index n : {0, 1, 2, 3, 17, 64, 127, 128, 129, 257, 400, 700}) {
    const Matrix A = positive_definite(n, 1);
    Matrix L = A;
    // The upper triangle is neither read nor written.
    L.triangularView<Eigen::StrictlyUpper>().setConstant(kNaN);
    CHECK(factor_cholesky(L) == -1);
    CHECK(n < 2 || std::isnan(L(0, n - 1)));
    const Matrix lower = L.triangularView<Eigen::Lower>();
    CHECK((lower * lower.transpose() - A).norm() <= 1e-14 * A.norm());
    const Matrix X = random_matrix(n, 3, 2);
    Matrix B = A * X;
    Vector b = B.col(1);
    solve_cholesky(L, B);
    solve_cholesky(L, b);
    CHECK((B - X).norm() <= 1e-12 * X.norm());
    CHECK((b - X.col(1)).norm() <= 1e-12 * X.norm());
  }
}

void factors_in_float32() {
  for (const Index n : {0, 1, 5, 128, 300, 700}) {
    const Matrix A = positive_definite(n, 1);
    Eigen::MatrixXf L = A.cast<float>(), many = L;
    CHECK(factor_cholesky(L) == -1);
    CHECK(factor_cholesky(many, {3, nullptr}) == -1);
    CHECK(L == many);
    const Matrix lower = Matrix(L.cast<double>()).triangularView<Eigen::Lower>();
    CHECK((lower * lower.transpose() - A).norm() <= 1e-5 * A.norm());
  }
  Eigen::MatrixXf negative = -Eigen::MatrixXf::Identity(5, 5);
  CHECK(factor_cholesky(negative) == 0);
}

void bits_do_not_depend_on_threads() {
  const Matrix A = positive_definite(900, 3);
  Matrix one = A;
  CHECK(factor_cholesky(one) == -1);
  for (const int n_threads : {2, 3, 8}) {
    Matrix many = A;
    CHECK(factor_cholesky(many, {n_threads, nullptr}) == -1);
    CHECK(many == one);
  }
}

void indefinite_is_found() {
  for (const Index n : {1, 5, 130, 300}) {
    for (const Index bad : {Index{0}, n / 2, n - 1}) {
      Matrix A = positive_definite(n, 4);
      A(bad, bad) = -1.0;
      const Matrix copy = A;
      const Index column = factor_cholesky(A);
      CHECK(column >= 0 && column <= bad);
      const auto definite = [&copy](Index size) {
        return copy.topLeftCorner(size, size).llt().info() == Eigen::Success;
      };
      CHECK(definite(column) && !definite(column + 1));
      A = positive_definite(n, 4);
      A(bad, bad) = kNaN;
      CHECK(factor_cholesky(A) == bad);
    }
  }
}

// The diagonal alone does not tell.
void indefinite_of_positive_diagonal_is_found() {
  for (const Index n : {2, 7, 40, 128, 129, 300}) {
    Matrix A = Matrix::Identity(n, n);
    A(n - 1, n - 2) = A(n - 2, n - 1) = 2.0;
    CHECK(factor_cholesky(A) == n - 1);
    Matrix ones = Matrix::Ones(n, n);
    CHECK(factor_cholesky(ones) == 1);
    Matrix late = positive_definite(n, 9);
    late.row(n - 1) = 3.0 * late.row(n - 2);
    late.col(n - 1) = 3.0 * late.col(n - 2);
    late(n - 1, n - 1) = 8.9 * late(n - 2, n - 2);
    CHECK(factor_cholesky(late) == n - 1);
  }
}

void condition_is_estimated() {
  double worst = 1.0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Index n = 1 + static_cast<Index>(seed) * 3;
    Matrix A = positive_definite(n, seed);
    Vector scale = random_matrix(n, 1, seed + 100).array().exp();
    if (seed % 3 == 1) scale = scale.array().pow(5);
    A = scale.asDiagonal() * A * scale.asDiagonal();
    const double norm = symmetric_one_norm(A);
    CHECK(std::abs(norm - A.cwiseAbs().colwise().sum().maxCoeff()) <= 1e-13 * norm);
    const double exact = 1.0 / (norm * A.inverse().cwiseAbs().colwise().sum().maxCoeff());
    CHECK(factor_cholesky(A) == -1);
    const double estimate = reciprocal_condition(A, norm);
    CHECK(estimate >= exact * (1.0 - 1e-6));
    CHECK(estimate <= 3.0 * exact);
    worst = std::max(worst, estimate / exact);
  }
  std::printf("  reciprocal condition at most %.3f times the true one\n", worst);
}

void can_be_stopped() {
  Matrix A = positive_definite(600, 5);
  Monitor late(1e-9);
  bool stopped = false;
  try {
    factor_cholesky(A, {1, &late});
  } catch (const Stopped& stop) {
    stopped = stop.reason == StopReason::time_limit;
  }
  CHECK(stopped);
}

}  // namespace

int main() {
  RUN(factors_and_solves);
  RUN(factors_in_float32);
  RUN(bits_do_not_depend_on_threads);
  RUN(indefinite_is_found);
  RUN(indefinite_of_positive_diagonal_is_found);
  RUN(condition_is_estimated);
  RUN(can_be_stopped);
  return failed_checks == 0 ? 0 : 1;
}
