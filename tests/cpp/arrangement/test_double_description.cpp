#include <Eigen/LU>
#include <cmath>
#include <random>
#include <vector>

#include "check.hpp"
#include "convexrelu/arrangement/double_description.hpp"
#include "convexrelu/base/types.hpp"

using namespace convexrelu;

namespace {

using Random = std::mt19937_64;
using Word = ConeSplitter::Word;

constexpr double kTol = 1e-9;

// A cone by its half spaces, columns of normals (r, m), and by its rays with their incidence.
struct Cone {
  Matrix normals;
  std::vector<Vector> rays;
  std::vector<Word> incidence;
  int n_words;

  int rank() const { return static_cast<int>(normals.rows()); }

  bool is_incident(std::size_t ray, Index half_space) const {
    const std::size_t s = static_cast<std::size_t>(half_space);
    return incidence[ray * static_cast<std::size_t>(n_words) + s / 64] >> (s % 64) & 1;
  }
};

Cone orthant(int rank, int n_words) {
  Cone cone{Matrix::Identity(rank, rank), {}, {}, n_words};
  for (int j = 0; j < rank; ++j) {
    cone.rays.push_back(Vector::Unit(rank, j));
    for (int w = 0; w < n_words; ++w) {
      cone.incidence.push_back(w == 0 ? ((Word{1} << rank) - 1) & ~(Word{1} << j) : 0);
    }
  }
  return cone;
}

// The extreme rays by definition: feasible directions on r - 1 independent hyperplanes. All subsets.
std::vector<Vector> brute_force_rays(const Matrix& normals) {
  const Index r = normals.rows(), m = normals.cols();
  std::vector<Vector> rays;
  for (unsigned subset = 0; subset < 1U << m; ++subset) {
    Matrix rows(r - 1, r);
    Index k = 0;
    for (Index i = 0; i < m; ++i) {
      if ((subset >> i & 1) == 0) continue;
      if (k < r - 1) rows.row(k) = normals.col(i).transpose();
      ++k;
    }
    if (k != r - 1) continue;
    const Eigen::FullPivLU<Matrix> lu(rows);
    if (lu.rank() < r - 1) continue;
    for (const double sign : {1.0, -1.0}) {
      const Vector ray = sign * Vector(lu.kernel().col(0)).normalized();
      if ((normals.transpose() * ray).minCoeff() < -kTol) continue;
      bool is_new = true;
      for (const Vector& other : rays) is_new = is_new && (other - ray).norm() > kTol;
      if (is_new) rays.push_back(ray);
    }
  }
  return rays;
}

bool have_same_rays(const Cone& cone) {
  const std::vector<Vector> expected = brute_force_rays(cone.normals);
  if (expected.size() != cone.rays.size()) return false;
  for (const Vector& ray : cone.rays) {
    bool found = false;
    for (const Vector& other : expected) found = found || (other - ray.normalized()).norm() < kTol;
    if (!found) return false;
  }
  return true;
}

bool incidence_is_geometry(const Cone& cone) {
  for (std::size_t j = 0; j < cone.rays.size(); ++j) {
    for (Index i = 0; i < cone.normals.cols(); ++i) {
      const bool is_on = std::abs(cone.normals.col(i).dot(cone.rays[j])) < kTol;
      if (is_on != cone.is_incident(j, i)) return false;
    }
  }
  return true;
}

// Both children, made as the walk makes them; slots are those of the half spaces.
std::vector<Cone> split(const Cone& cone, const Vector& normal) {
  std::vector<double> values;
  for (const Vector& ray : cone.rays) values.push_back(normal.dot(ray));
  ConeSplitter splitter(cone.rank());
  splitter.split(values.data(), cone.incidence.data(), cone.n_words,
                 static_cast<int>(cone.rays.size()), 1e-12);

  std::vector<Vector> rays;
  splitter.for_each_ray(
      [&](int j) { rays.push_back(cone.rays[j]); },
      [&](const ConeSplitter::Edge& edge) {
        CHECK(edge.positive_weight > 0.0 && edge.negative_weight > 0.0);
        CHECK(std::abs(edge.positive_weight + edge.negative_weight - 1.0) < 1e-15);
        rays.push_back(edge.positive_weight * cone.rays[edge.positive] +
                       edge.negative_weight * cone.rays[edge.negative]);
      });
  CHECK(static_cast<int>(rays.size()) == splitter.size());
  const std::size_t n_words = static_cast<std::size_t>(cone.n_words);
  std::vector<Word> incidence(rays.size() * n_words);
  splitter.transfer_incidence(cone.incidence.data(), cone.n_words,
                              static_cast<int>(cone.normals.cols()), incidence.data(),
                              cone.n_words);

  std::vector<Cone> children;
  const std::size_t n_positive = static_cast<std::size_t>(splitter.n_positive());
  const std::size_t n_negative = static_cast<std::size_t>(splitter.n_negative());
  for (const bool positive : {true, false}) {
    const std::size_t begin = positive ? 0 : n_positive;
    const std::size_t end = rays.size() - (positive ? n_negative : 0);
    const auto at = [](auto& vector, std::size_t i) {
      return vector.begin() + static_cast<std::ptrdiff_t>(i);
    };
    Cone child{Matrix(cone.rank(), cone.normals.cols() + 1),
               {at(rays, begin), at(rays, end)},
               {at(incidence, begin * n_words), at(incidence, end * n_words)},
               cone.n_words};
    child.normals << cone.normals, (positive ? normal : Vector(-normal));
    children.push_back(child);
  }
  return children;
}

// Small integers meet in degenerate rays and make many half spaces redundant.
void children_have_the_rays_of_their_definition() {
  Random rng(1);
  int n_splits = 0, n_degenerate = 0;
  for (int trial = 0; trial < 400; ++trial) {
    const int rank = 2 + trial % 4;
    Cone cone = orthant(rank, 1 + trial % 2);
    for (int step = 0; step < 6; ++step) {
      Vector normal(rank);
      for (double& entry : normal) entry = static_cast<double>(rng() % 5) - 2.0;
      Vector values(static_cast<Index>(cone.rays.size()));
      for (std::size_t j = 0; j < cone.rays.size(); ++j) {
        values[static_cast<Index>(j)] = normal.dot(cone.rays[j]);
      }
      if (values.maxCoeff() <= kTol || values.minCoeff() >= -kTol) continue;
      const std::vector<Cone> children = split(cone, normal);
      for (const Cone& child : children) {
        CHECK(have_same_rays(child));
        CHECK(incidence_is_geometry(child));
      }
      cone = children[rng() % 2];
      ++n_splits;
      for (std::size_t j = 0; j < cone.rays.size(); ++j) {
        int n_on = 0;
        for (Index i = 0; i < cone.normals.cols(); ++i) n_on += cone.is_incident(j, i);
        if (n_on >= rank) {
          ++n_degenerate;
          break;
        }
      }
    }
  }
  CHECK(n_splits > 1000 && n_degenerate > 300);
}

// More than eight rays on the negative side: several steps of the vector instructions.
void cube_is_cut_at_a_corner() {
  constexpr int kRank = 6;  // the cone over a cube in R^5 has 32 rays, each on 5 of 10 facets
  Cone cone{Matrix(kRank, 10), {}, {}, 1};
  for (int i = 0; i < 5; ++i) {
    for (const int side : {0, 1}) {
      Vector normal = Vector::Unit(kRank, 5);
      normal[i] = side == 0 ? 1.0 : -1.0;
      cone.normals.col(2 * i + side) = normal;
    }
  }
  for (unsigned corner = 0; corner < 32; ++corner) {
    Vector ray = Vector::Ones(kRank);
    Word incidence = 0;
    for (unsigned i = 0; i < 5; ++i) {
      const bool high = corner >> i & 1;
      ray[i] = high ? 1.0 : -1.0;
      incidence |= Word{1} << (2 * i + high);
    }
    cone.rays.push_back(ray);
    cone.incidence.push_back(incidence);
  }
  CHECK(incidence_is_geometry(cone));
  Vector normal = Vector::Ones(kRank);
  normal[5] = -4.0;  // one corner beyond
  const std::vector<Cone> children = split(cone, normal);
  CHECK(children[0].rays.size() == 6);  // the corner and its five edges
  CHECK(children[1].rays.size() == 31 + 5);
  normal[5] = 0.5;  // between the corners whose coordinates add up to -1 and to 1
  const std::vector<Cone> halves = split(cone, normal);
  CHECK(halves[0].rays.size() == 16 + 30);  // C(5, 2) * 3 edges between the middle layers
  CHECK(halves[1].rays.size() == 16 + 30);
  for (const Cone& half : halves) CHECK(incidence_is_geometry(half));
}

}  // namespace

int main() {
  RUN(children_have_the_rays_of_their_definition);
  RUN(cube_is_cut_at_a_corner);
  return failed_checks;
}
