#include <Eigen/QR>
#include <cmath>
#include <random>
#include <set>
#include <vector>

#include "check.hpp"
#include "convexrelu/base/error.hpp"
#include "convexrelu/numeric/simplex.hpp"
#include "optimal_set/sparsest_vertex.hpp"

using namespace convexrelu;

namespace {

using Rng = std::mt19937_64;

// A polytope: columns with a positive sum, small integers or reals, repetitions and rank loss.
struct Program {
  Matrix Q;
  Vector start;
};

double normal(Rng& rng) { return std::normal_distribution<double>()(rng); }
Index pick(Rng& rng, Index n) { return static_cast<Index>(rng() % static_cast<std::uint64_t>(n)); }

Program random_program(Rng& rng, bool integers) {
  const Index m = 1 + pick(rng, 4), k = 1 + pick(rng, 7);
  Program program{Matrix(m + 1, k), Vector(k)};
  for (Index j = 0; j < k; ++j) {
    for (Index i = 0; i < m; ++i) {
      program.Q(i, j) = integers ? static_cast<double>(pick(rng, 3)) - 1.0 : normal(rng);
    }
    program.Q(m, j) = integers ? 1.0 : std::abs(normal(rng)) + 0.1;  // bounded
    program.start(j) = integers ? static_cast<double>(pick(rng, 3)) : std::abs(normal(rng));
    if (pick(rng, 4) == 0) program.Q.col(j) = program.Q.col(pick(rng, j + 1));
  }
  if (m > 1 && pick(rng, 3) == 0) program.Q.row(0) = 2.0 * program.Q.row(1);
  return program;
}

// Every vertex is the only point of the polytope with its support, and the columns of that are
// independent.
std::vector<Vector> slow_vertices(const Program& program) {
  const Vector b = program.Q * program.start;
  const Index k = program.Q.cols();
  std::vector<Vector> found;
  for (unsigned subset = 0; subset < (1U << k); ++subset) {
    std::vector<Index> columns;
    for (Index j = 0; j < k; ++j) {
      if ((subset >> j) & 1U) columns.push_back(j);
    }
    const Matrix Q = program.Q(Eigen::all, columns);
    Vector x = Vector::Zero(k);
    if (!columns.empty()) {
      Eigen::ColPivHouseholderQR<Matrix> qr(Q);
      qr.setThreshold(1e-9);
      if (qr.rank() < Q.cols()) continue;
      const Vector values = qr.solve(b);
      if (values.minCoeff() < 1e-9) continue;
      for (std::size_t j = 0; j < columns.size(); ++j)
        x(columns[j]) = values(static_cast<Index>(j));
    }
    if ((program.Q * x - b).norm() <= 1e-9 * (1.0 + b.norm())) found.push_back(x);
  }
  return found;
}

bool holds(const std::vector<Vector>& list, const Vector& x) {
  for (const Vector& y : list) {
    if ((x - y).norm() <= 1e-8 * (1.0 + y.norm())) return true;
  }
  return false;
}

bool is_feasible(const Program& program, const Vector& x) {
  const Vector b = program.Q * program.start;
  return (program.Q * x - b).norm() <= 1e-9 * (1.0 + b.norm()) && (x.array() >= 0.0).all();
}

void minima_are_those_of_all_vertices() {
  Rng rng(1);
  for (int trial = 0; trial < 2000; ++trial) {
    const Program program = random_program(rng, trial % 2 == 0);
    const std::vector<Vector> vertices = slow_vertices(program);
    Simplex simplex(program.Q, program.start);
    CHECK((simplex.point() - program.start).norm() <= 1e-9 * program.start.norm());
    for (int repeat = 0; repeat < 4; ++repeat) {
      Vector cost(program.Q.cols());
      for (double& c : cost)
        c = repeat % 2 == 0 ? normal(rng) : static_cast<double>(pick(rng, 3)) - 1.0;
      CHECK(simplex.minimize(cost));
      double least = kInfinity;
      for (const Vector& x : vertices) least = std::min(least, cost.dot(x));
      const Vector x = simplex.point();
      CHECK(std::abs(cost.dot(x) - least) <= 1e-8 * (1.0 + program.start.sum()));
      CHECK(is_feasible(program, x) && holds(vertices, x));
    }
  }
}

void vertices_are_all() {
  Rng rng(2);
  Monitor monitor;
  for (int trial = 0; trial < 2000; ++trial) {
    const Program program = random_program(rng, trial % 2 == 0);
    const std::vector<Vector> expected = slow_vertices(program);
    const Matrix vertices = Simplex(program.Q, program.start).vertices(1000, monitor);
    CHECK(vertices.rows() == static_cast<Index>(expected.size()));
    for (Index v = 0; v < vertices.rows(); ++v) CHECK(holds(expected, vertices.row(v)));
    bool refused = false;
    try {
      Simplex(program.Q, program.start).vertices(vertices.rows() - 1, monitor);
    } catch (const LimitExceeded&) {
      refused = true;
    }
    CHECK(refused);
  }
}

void reduction_keeps_the_product_and_the_cost() {
  Rng rng(3);
  for (int trial = 0; trial < 2000; ++trial) {
    const Program program = random_program(rng, trial % 2 == 0);
    Vector cost(program.Q.cols());
    for (double& c : cost) c = std::abs(normal(rng)) + 1e-3;
    Simplex simplex(program.Q, program.start);
    double before = cost.dot(program.start);
    for (Index zero; (zero = simplex.reduce(cost)) >= 0;) {
      const Vector x = simplex.point();
      CHECK(is_feasible(program, x) && x(zero) == 0.0);
      CHECK(cost.dot(x) <= before + 1e-12 * (1.0 + before));
      before = cost.dot(x);
    }
    CHECK(holds(slow_vertices(program), simplex.point()));
  }
}

void null_basis_is_one() {
  Rng rng(4);
  for (int trial = 0; trial < 500; ++trial) {
    const Program program = random_program(rng, trial % 2 == 0);
    const Simplex simplex(program.Q, program.start);
    const Matrix N = simplex.null_basis();
    CHECK(N.cols() == program.Q.cols() - simplex.rank());
    CHECK((N.transpose() * N - Matrix::Identity(N.cols(), N.cols())).norm() <= 1e-13);
    CHECK((program.Q * N).norm() <= 1e-9 * program.Q.norm());
  }
}

// The fewest positive coordinates of any vertex, with no list of them; and a face that is closed.
void the_sparsest_vertex_is_that_of_the_list() {
  Rng rng(6);
  Monitor monitor;
  for (int trial = 0; trial < 2000; ++trial) {
    const Program program = random_program(rng, trial % 2 == 0);
    const std::vector<Vector> vertices = slow_vertices(program);
    const Index k = program.Q.cols();
    Index fewest = k;
    Vector high = Vector::Zero(k);
    std::vector<char> necessary(static_cast<std::size_t>(k), 1);
    for (const Vector& x : vertices) {
      fewest = std::min<Index>(fewest, (x.array() > 0.0).count());
      high = high.cwiseMax(x);
      for (Index j = 0; j < k; ++j) {
        if (x(j) <= 0.0) necessary[j] = 0;
      }
    }
    Simplex simplex(program.Q, program.start);
    simplex.move_to_vertex();
    const auto count = [](const Simplex& at) { return (at.point().array() > 0.0).count(); };
    SparsestVertex search(
        simplex, high, trial % 3 == 0 ? std::vector<char>(necessary.size(), 0) : necessary, count);
    CHECK(search.bound() == 0 && search.least() == count(simplex));
    search.search(monitor);
    CHECK(search.least() == fewest && search.bound() == fewest);
    CHECK(holds(vertices, search.best().point()) && count(search.best()) == fewest);

    const Index j = pick(rng, k);
    CHECK(simplex.minimize(Vector::Unit(k, j)));
    if (simplex.point()(j) > 0.0) continue;
    simplex.close(j);
    for (int repeat = 0; repeat < 3; ++repeat) {
      Vector cost(k);
      for (double& c : cost) c = normal(rng);
      double least = kInfinity;
      for (const Vector& x : vertices) {
        if (x(j) == 0.0) least = std::min(least, cost.dot(x));
      }
      CHECK(simplex.minimize(cost) && simplex.point()(j) == 0.0);
      CHECK(std::abs(cost.dot(simplex.point()) - least) <= 1e-8 * (1.0 + program.start.sum()));
    }
  }
}

// The assignment polytope: n! vertices, all of them degenerate, on which pivoting rules cycle.
void degenerate_vertices() {
  for (const Index n : {2, 3, 4}) {
    Program program{Matrix::Zero(2 * n, n * n),
                    Vector::Constant(n * n, 1.0 / static_cast<double>(n))};
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) {
        program.Q(i, n * i + j) = 1.0;
        program.Q(n + j, n * i + j) = 1.0;
      }
    }
    Simplex simplex(program.Q, program.start);
    CHECK(simplex.rank() == 2 * n - 1);
    Monitor monitor;
    Index factorial = 1;
    for (Index i = 2; i <= n; ++i) factorial *= i;
    CHECK(simplex.vertices(1000, monitor).rows() == factorial);
    Rng rng(5);
    for (int repeat = 0; repeat < 50; ++repeat) {
      Vector cost(n * n);
      for (double& c : cost) c = static_cast<double>(pick(rng, 4));
      CHECK(simplex.minimize(cost));
      const Vector x = simplex.point();
      CHECK((x.array() * (1.0 - x.array())).abs().maxCoeff() <= 1e-12);
    }
  }
}

void unbounded_is_found() {
  Matrix Q(1, 2);
  Q << 1.0, -1.0;
  Simplex simplex(Q, Vector::Ones(2));
  CHECK(!simplex.minimize(-Vector::Ones(2)));
  CHECK(simplex.minimize(Vector::Ones(2)));
  CHECK(simplex.point().norm() == 0.0);
  Monitor monitor;
  bool refused = false;
  try {
    simplex.vertices(10, monitor);
  } catch (const std::invalid_argument&) {
    refused = true;
  }
  CHECK(refused);
}

void trivial_programs() {
  Monitor monitor;
  for (const Index m : {0, 3}) {
    Simplex none(Matrix(m, 0), Vector());
    CHECK(none.minimize(Vector()) && none.point().size() == 0 && none.rank() == 0);
    CHECK(none.vertices(1, monitor).rows() == 1 && none.null_basis().cols() == 0);
  }
  Simplex zero(Matrix::Zero(2, 3), Vector::Ones(3));
  CHECK(zero.minimize(Vector::Ones(3)) && zero.point().norm() == 0.0);
  CHECK(!zero.minimize(-Vector::Ones(3)));
}

}  // namespace

int main() {
  RUN(minima_are_those_of_all_vertices);
  RUN(vertices_are_all);
  RUN(reduction_keeps_the_product_and_the_cost);
  RUN(null_basis_is_one);
  RUN(the_sparsest_vertex_is_that_of_the_list);
  RUN(degenerate_vertices);
  RUN(unbounded_is_found);
  RUN(trivial_programs);
  return failed_checks;
}
