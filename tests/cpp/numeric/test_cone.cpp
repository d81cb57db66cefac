#include <Eigen/QR>
#include <cmath>
#include <cstdlib>
#include <random>

#include "allocations.hpp"
#include "check.hpp"
#include "convexrelu/numeric/cone.hpp"

using namespace convexrelu;

namespace {

using Signs = std::vector<std::int8_t>;
using Random = std::mt19937_64;

Index between(Index low, Index high, Random& rng) {
  return low + static_cast<Index>(rng() % static_cast<std::uint64_t>(high - low + 1));
}

double integer(Index bound, Random& rng) {
  return static_cast<double>(between(-bound, bound, rng));
}

double gaussian(Random& rng) { return std::normal_distribution<double>()(rng); }

enum class Kind {
  gaussian,
  integers,
  binary,
  sparse_binary,
  cube,
  low_rank,
  scaled,
  near_parallel
};
constexpr Kind kKinds[] = {Kind::gaussian, Kind::integers, Kind::binary, Kind::sparse_binary,
                           Kind::cube,     Kind::low_rank, Kind::scaled, Kind::near_parallel};

// Unit normals (d, h), some of them repeated or reversed: harder than what find_hyperplanes returns.
Matrix random_normals(Kind kind, Index d, Index h, Random& rng) {
  Matrix factor(d, 1 + d / 3);
  for (double& entry : factor.reshaped()) entry = integer(2, rng);
  factor.col(0).setOnes();
  Matrix normals(d, h);
  for (Index l = 0; l < h; ++l) {
    auto n = normals.col(l);
    do {
      for (Index j = 0; j < d; ++j) {
        switch (kind) {
          case Kind::gaussian:
            n[j] = gaussian(rng);
            break;
          case Kind::integers:
            n[j] = integer(2, rng);
            break;
          case Kind::binary:
            n[j] = static_cast<double>(rng() % 2);
            break;
          case Kind::sparse_binary:
            n[j] = rng() % 8 == 0 ? 1.0 : 0.0;
            break;
          case Kind::cube:
            n[j] = rng() % 2 ? 1.0 : -1.0;
            break;
          case Kind::low_rank:
            break;
          case Kind::scaled:
            n[j] = gaussian(rng) * std::pow(10.0, -static_cast<double>(j % 7));
            break;
          case Kind::near_parallel:
            n[j] = 1.0 + static_cast<double>(j) + 1e-6 * gaussian(rng);
            break;
        }
      }
      if (kind == Kind::low_rank)
        n = factor * Vector::NullaryExpr(factor.cols(), [&] { return integer(2, rng); });
    } while (n.isZero(0.0));
    if (l > 0 && rng() % 10 == 0)
      n = (rng() % 2 ? 1.0 : -1.0) * normals.col(between(0, l - 1, rng));
    n.normalize();
  }
  return normals;
}

// Sides of a gate (0 counts as +), or any sides at all.
Signs random_signs(const Matrix& normals, Random& rng) {
  const Vector gate = Vector::NullaryExpr(normals.rows(), [&] { return integer(3, rng); });
  const bool any = rng() % 6 == 0;
  Signs sigma;
  for (Index l = 0; l < normals.cols(); ++l) {
    const double side = normals.col(l).dot(gate);
    sigma.push_back(static_cast<std::int8_t>(any ? between(-1, 1, rng) : (side > -1e-14 ? 1 : -1)));
  }
  return sigma;
}

// Gaussian, integer, or a sum of normals as correlations are.
Vector random_point(const Matrix& normals, const Signs& sigma, Random& rng) {
  Vector c = Vector::Zero(normals.rows());
  switch (rng() % 3) {
    case 0:
      for (double& entry : c) entry = gaussian(rng);
      break;
    case 1:
      for (double& entry : c) entry = integer(2, rng);
      break;
    default:
      for (Index l = 0; l < normals.cols(); ++l) {
        if (sigma[l] > 0) c += integer(1, rng) * normals.col(l);
      }
  }
  return c;
}

// By the definitions, in long double.
double kkt_error(const Matrix& normals, const Vector& c, const Signs& sigma, const Projection& p,
                 const std::vector<Index>& rows) {
  using Long = Eigen::Matrix<long double, Eigen::Dynamic, 1>;
  const auto N = normals.cast<long double>();
  const Long q = p.q.cast<long double>();
  Long residual = q - c.cast<long double>();
  long double wrong_side = 0, wrong_sign = 0, total = c.norm();
  for (std::size_t j = 0; j < rows.size(); ++j) {
    const long double tau = p.multipliers[j];
    residual -= tau * N.col(rows[j]);
    total += std::abs(tau);
    wrong_sign = std::max(wrong_sign, -sigma[rows[j]] * tau);
    wrong_side = std::max(wrong_side, std::abs(N.col(rows[j]).dot(q)));
  }
  for (Index l = 0; l < normals.cols(); ++l) {
    const long double slack = N.col(l).dot(q);
    wrong_side = std::max(wrong_side, sigma[l] == 0 ? std::abs(slack) : -sigma[l] * slack);
  }
  if (total == 0) return 0;
  return static_cast<double>(std::max(
      std::max(residual.norm(), wrong_sign) / total,
      wrong_side / std::max<long double>(q.norm(), 1e-8L * static_cast<long double>(c.norm()))));
}

void check_projection(const Matrix& normals, const Vector& c, const Signs& sigma,
                      const Projection& p, const Face& face) {
  CHECK(p.converged && !p.stopped_early);
  CHECK(p.kkt_error <= ConeProjector::kTolerance);
  CHECK(kkt_error(normals, c, sigma, p, face.rows()) <= ConeProjector::kTolerance);
  CHECK(std::abs(p.norm - p.q.norm()) <= 1e-14 * p.norm);
  CHECK(p.multipliers.size() == face.rows().size());
  for (std::size_t j = 0; j < face.rows().size(); ++j) {
    const std::int8_t side = sigma[face.rows()[j]];
    CHECK(side == 0 || side * p.multipliers[j] > 0.0);
  }
}

void check_factorisation(const Matrix& normals, const Face& face) {
  const Index d = normals.rows(), k = face.size();
  const Matrix N = normals(Eigen::all, face.rows());
  CHECK((face.q() * Matrix(face.r().triangularView<Eigen::Upper>()) - N).norm() <=
        1e-13 * (1.0 + N.norm()));
  CHECK((face.q().transpose() * face.q() - Matrix::Identity(k, k)).norm() <= 1e-12);
  const Matrix basis = face.null_basis(d);
  CHECK(basis.cols() == d - k);
  CHECK((basis.transpose() * basis - Matrix::Identity(d - k, d - k)).norm() <= 1e-12);
  CHECK((N.transpose() * basis).norm() <= 1e-12);
}

// Cold, then warm after small and large moves of c, from the face of before and from any rows.
void projections_satisfy_kkt() {
  Random rng(1);
  for (const Kind kind : kKinds) {
    double worst = 0.0;
    long n_steps = 0;
    for (int trial = 0; trial < 400; ++trial) {
      const Index d = between(1, trial % 4 ? 8 : 40, rng),
                  h = between(1, trial % 4 ? 40 : 300, rng);
      const Matrix normals = random_normals(kind, d, h, rng);
      const Signs sigma = random_signs(normals, rng);
      Vector c = random_point(normals, sigma, rng);
      ConeProjector projector(normals);
      Face face;
      for (int repeat = 0; repeat < 4; ++repeat) {
        const Projection& p = projector.project(c, sigma.data(), face);
        check_projection(normals, c, sigma, p, face);
        check_factorisation(normals, face);
        worst = std::max(worst, p.kkt_error);
        n_steps = std::max(n_steps, p.n_steps);
        const Vector q = p.q;

        std::vector<Index> rows;
        for (Index l = 0; l < h; ++l) {
          if (rng() % static_cast<std::uint64_t>(h) < 4) rows.push_back(l);
        }
        const Projection& other = projector.project(c, sigma.data(), rows);
        CHECK(other.converged);
        // Unique; how well conditioned it is depends on the angles between the normals.
        CHECK((other.q - q).norm() <= (kind == Kind::near_parallel ? 1e-6 : 1e-9) * c.norm());

        for (double& entry : c) entry += (repeat == 0 ? 1e-3 : 1.0) * gaussian(rng);
      }
    }
    std::printf("  kind %d: KKT error at most %.1e, at most %ld steps\n", static_cast<int>(kind),
                worst, n_steps);
  }
}

// The nearest feasible point among the projections onto the null spaces of all sets of normals.
Vector brute_force(const Matrix& normals, const Vector& c, const Signs& sigma) {
  const Index h = normals.cols();
  Vector best = Vector::Zero(c.size());
  for (unsigned set = 0; set < (1U << h); ++set) {
    std::vector<Index> rows;
    for (Index l = 0; l < h; ++l) {
      if (set >> l & 1U) rows.push_back(l);
    }
    Vector q = c;
    if (!rows.empty()) {
      Eigen::ColPivHouseholderQR<Matrix> qr(normals(Eigen::all, rows));
      qr.setThreshold(1e-9);
      const Matrix Q = Matrix(qr.householderQ()).leftCols(qr.rank());
      q -= Q * (Q.transpose() * c);
    }
    bool feasible = true;
    for (Index l = 0; l < h && feasible; ++l) {
      const double slack = normals.col(l).dot(q);
      feasible = (sigma[l] == 0 ? -std::abs(slack) : sigma[l] * slack) >= -1e-11;
    }
    if (feasible && (q - c).norm() < (best - c).norm()) best = q;
  }
  return best;
}

void brute_force_agrees() {
  Random rng(2);
  for (int trial = 0; trial < 600; ++trial) {
    const Index d = between(1, 4, rng), h = between(0, 8, rng);
    const Matrix normals = random_normals(kKinds[rng() % 6], d, h, rng);
    const Signs sigma = random_signs(normals, rng);
    const Vector c = random_point(normals, sigma, rng);
    ConeProjector projector(normals);
    Face face;
    const Projection& p = projector.project(c, sigma.data(), face);
    CHECK((p.q - brute_force(normals, c, sigma)).norm() <= 1e-9 * (1.0 + c.norm()));
  }
}

// All 2^d (+-1)-vectors: every vertex of such a cone is degenerate.
void cubes() {
  Random rng(3);
  for (Index d = 2; d <= 7; ++d) {
    Matrix normals(d, Index{1} << d);
    for (Index l = 0; l < normals.cols(); ++l) {
      for (Index j = 0; j < d; ++j) normals(j, l) = (l >> j & 1) ? 1.0 : -1.0;
    }
    normals.colwise().normalize();
    ConeProjector projector(normals);
    for (int trial = 0; trial < 200; ++trial) {
      const Signs sigma = random_signs(normals, rng);
      const Vector c = random_point(normals, sigma, rng);
      Face face;
      check_projection(normals, c, sigma, projector.project(c, sigma.data(), face), face);
    }
  }
}

void simple_cones() {
  const Matrix axes = Matrix::Identity(3, 3);
  ConeProjector projector(axes);
  Face face;
  const Signs orthant = {1, 1, 1};
  // The orthant, a line, a point; the apex; a point of the cone; zero.
  CHECK(projector.project(Vector{{1.0, -2.0, 3.0}}, orthant.data(), face).q == (Vector{{1, 0, 3}}));
  CHECK(face.rows() == std::vector<Index>{1});
  CHECK(projector.project(Vector{{1.0, -2.0, 3.0}}, Signs{0, 0, -1}.data(), face).q.isZero(0.0));
  CHECK(projector.project(Vector{{1.0, -2.0, 3.0}}, Signs{0, 0, 1}.data(), face).q ==
        (Vector{{0, 0, 3}}));
  CHECK(projector.project(Vector{{-1.0, -2.0, -3.0}}, orthant.data(), face).q.isZero(0.0));
  CHECK(projector.project(Vector{{1.0, 2.0, 0.0}}, orthant.data(), face).q == (Vector{{1, 2, 0}}));
  CHECK(face.size() == 0);
  const Projection& zero = projector.project(Vector::Zero(3), orthant.data(), face);
  CHECK(zero.converged && zero.norm == 0.0 && zero.q.isZero(0.0));
  // No hyperplanes: the whole space.
  const Matrix none(3, 0);
  ConeProjector free(none);
  Face empty;
  CHECK(free.project(Vector{{1.0, -2.0, 3.0}}, nullptr, empty).q == (Vector{{1, -2, 3}}));
}

void scale_is_exact() {
  Random rng(4);
  for (int trial = 0; trial < 200; ++trial) {
    const Matrix normals = random_normals(kKinds[rng() % 6], 5, 20, rng);
    const Signs sigma = random_signs(normals, rng);
    const Vector c = random_point(normals, sigma, rng);
    ConeProjector projector(normals);
    Face face;
    const Vector q = projector.project(c, sigma.data(), face).q;
    for (const int exponent : {-900, -400, 400, 900}) {
      Face scaled_face;
      const double scale = std::ldexp(1.0, exponent);
      const Projection& p = projector.project(scale * c, sigma.data(), scaled_face);
      CHECK(p.converged);
      CHECK(p.q == scale * q);
      CHECK(scaled_face.rows() == face.rows());
    }
  }
}

void not_finite_is_reported() {
  const Matrix axes = Matrix::Identity(2, 2);
  ConeProjector projector(axes);
  for (const double bad : {kNaN, kInfinity, -kInfinity}) {
    Face face;
    const Projection& p = projector.project(Vector{{1.0, bad}}, Signs{1, 1}.data(), face);
    CHECK(!p.converged && !p.stopped_early && std::isnan(p.kkt_error) && std::isnan(p.norm));
    CHECK(projector.project(Vector{{1.0, -1.0}}, Signs{1, 1}.data(), face).converged);
  }
}

void thresholds_are_proven() {
  Random rng(5);
  long n_early = 0, n_steps_early = 0, n_steps_full = 0;
  for (int trial = 0; trial < 2000; ++trial) {
    const Index d = between(2, 20, rng);
    const Matrix normals = random_normals(kKinds[rng() % 5], d, between(1, 100, rng), rng);
    const Signs sigma = random_signs(normals, rng);
    const Vector c = random_point(normals, sigma, rng);
    ConeProjector projector(normals);
    Face exact_face, face;
    const Projection exact = projector.project(c, sigma.data(), exact_face);
    const double threshold = c.norm() * std::uniform_real_distribution<double>()(rng);
    const Projection& p = projector.project(c, sigma.data(), face, threshold);
    if (p.stopped_early) {
      CHECK(exact.norm <= p.norm && p.norm <= threshold);
      CHECK(!p.converged);
      ++n_early;
      n_steps_early += p.n_steps;
      n_steps_full += exact.n_steps;
    } else {
      CHECK(p.norm == exact.norm && exact.norm >= threshold * (1.0 - 1e-12));
    }
    // The multipliers of one point bound the norm of another.
    Vector moved = c;
    for (double& entry : moved) entry += 0.1 * gaussian(rng);
    const double bound =
        projector.norm_bound(moved, sigma.data(), exact_face.rows(), exact.multipliers);
    Face moved_face;
    CHECK(projector.project(moved, sigma.data(), moved_face).norm <= bound);
    // Its own multipliers give it, up to rounding.
    double total = c.norm();
    for (const double tau : exact.multipliers) total += std::abs(tau);
    const double own = projector.norm_bound(c, sigma.data(), exact_face.rows(), exact.multipliers);
    CHECK(exact.norm <= own && own <= exact.norm + 2e-14 * total);
  }
  CHECK(n_early > 500);
  CHECK(n_steps_early < n_steps_full);
}

// A face kept through thousands of updates stays a factorisation.
void faces_do_not_drift() {
  Random rng(6);
  for (const Kind kind : {Kind::gaussian, Kind::binary, Kind::cube}) {
    const Matrix normals = random_normals(kind, 12, 200, rng);
    const Signs sigma = random_signs(normals, rng);
    ConeProjector projector(normals);
    Face face;
    Vector c = random_point(normals, sigma, rng);
    for (int step = 0; step < 5000; ++step) {
      for (double& entry : c) entry = 0.9 * entry + gaussian(rng);
      const Projection& p = projector.project(c, sigma.data(), face);
      check_projection(normals, c, sigma, p, face);
    }
    check_factorisation(normals, face);
  }
}

void warm_projections_do_not_allocate() {
  Random rng(7);
  const Matrix normals = random_normals(Kind::gaussian, 30, 400, rng);
  const Signs sigma = random_signs(normals, rng);
  ConeProjector projector(normals);
  Face face;
  std::vector<Vector> points;
  for (int trial = 0; trial < 200; ++trial) {
    points.push_back(Vector::NullaryExpr(30, [&] { return gaussian(rng); }));
  }
  const auto project_all = [&] {
    for (const Vector& c : points) projector.project(c, sigma.data(), face);
  };
#ifdef CONVEXRELU_COUNTS_ALLOCATIONS
  CHECK(allocations(project_all).count > 0);
#endif
  project_all();
  CHECK(allocations(project_all).count == 0);
}

}  // namespace

int main() {
  RUN(projections_satisfy_kkt);
  RUN(brute_force_agrees);
  RUN(cubes);
  RUN(simple_cones);
  RUN(scale_is_exact);
  RUN(not_finite_is_reported);
  RUN(thresholds_are_proven);
  RUN(faces_do_not_drift);
  RUN(warm_projections_do_not_allocate);
  return failed_checks == 0 ? 0 : 1;
}
