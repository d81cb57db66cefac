#include <random>

#include "check.hpp"
#include "convexrelu/cone.hpp"

using namespace convexrelu;

namespace {

using Signs = std::vector<std::int8_t>;

// max of all KKT errors, by definition.
double kkt_error(const Matrix& normals, const Vector& c, const Signs& sigma, const Projection& p,
                 const std::vector<Index>& rows) {
  double error = 0.0;
  Vector residual = p.q - c;
  for (std::size_t j = 0; j < rows.size(); ++j) {
    residual -= p.multipliers[j] * normals.col(rows[j]);
    const std::int8_t side = sigma[static_cast<std::size_t>(rows[j])];
    error = std::max(error, -side * p.multipliers[j]);
    error = std::max(error, std::abs(normals.col(rows[j]).dot(p.q)));
  }
  error = std::max(error, residual.norm());
  for (Index l = 0; l < normals.cols(); ++l) {
    const double s = normals.col(l).dot(p.q);
    const std::int8_t side = sigma[static_cast<std::size_t>(l)];
    error = std::max(error, side == 0 ? std::abs(s) : -side * s);
  }
  return error / std::max(1e-300, c.norm());
}

void random_and_degenerate_cones() {
  std::mt19937_64 rng(1);
  std::normal_distribution<double> normal;
  double worst = 0.0;
  long not_converged = 0, steps = 0, cases = 0;
  for (int trial = 0; trial < 4000; ++trial) {
    const Index d = 1 + static_cast<Index>(rng() % 9), h = 1 + static_cast<Index>(rng() % 60);
    const int kind = static_cast<int>(rng() % 4);
    Matrix normals(d, h);
    for (Index l = 0; l < h; ++l) {
      do {
        for (Index j = 0; j < d; ++j) {
          normals(j, l) = kind == 0   ? normal(rng)
                          : kind == 1 ? static_cast<double>(static_cast<int>(rng() % 5) - 2)
                          : kind == 2 ? static_cast<double>(rng() % 2)
                                      : (rng() % 2 ? 1.0 : -1.0);
        }
      } while (normals.col(l).norm() == 0.0);
      normals.col(l).normalize();
    }
    Vector gate(d), c(d);
    for (Index j = 0; j < d; ++j)
      gate[j] = kind == 1 || rng() % 2 ? static_cast<double>(static_cast<int>(rng() % 5) - 2)
                                       : normal(rng);
    for (Index j = 0; j < d; ++j)
      c[j] = rng() % 3 ? normal(rng) : static_cast<double>(static_cast<int>(rng() % 5) - 2);
    Signs sigma(static_cast<std::size_t>(h));
    for (Index l = 0; l < h; ++l) {
      const double s = normals.col(l).dot(gate);
      sigma[static_cast<std::size_t>(l)] = static_cast<std::int8_t>(
          trial % 5 == 0 ? static_cast<int>(rng() % 3) - 1 : (s >= 0 ? 1 : -1));
    }
    ConeProjector projector(normals);
    Face face;
    for (int repeat = 0; repeat < 3; ++repeat) {
      const Projection& p = projector.project(c, sigma.data(), face);
      const double error = kkt_error(normals, c, sigma, p, face.rows());
      CHECK(p.converged);
      CHECK(error <= 1e-12);
      worst = std::max(worst, error);
      not_converged += !p.converged;
      steps += p.n_steps;
      ++cases;
      for (Index j = 0; j < d; ++j) c[j] += 0.1 * normal(rng);
    }
  }
  std::printf("  worst KKT error %.1e, %ld of %ld not converged, %.2f steps\n", worst,
              not_converged, cases, static_cast<double>(steps) / static_cast<double>(cases));
}

}  // namespace

int main() {
  RUN(random_and_degenerate_cones);
  return failed_checks == 0 ? 0 : 1;
}
