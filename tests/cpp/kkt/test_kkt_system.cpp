// The KKT system against the dense matrix J that its header defines.

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "allocations.hpp"
#include "check.hpp"
#include "convexrelu/base/memory.hpp"
#include "convexrelu/kkt/kkt_system.hpp"

using namespace convexrelu;

namespace {

using Rng = std::mt19937_64;
using Form = KktSystem::Form;

constexpr double kAccurate = 1e-12;  // asks for refinement

double uniform(Rng& rng, double low, double high) {
  return std::uniform_real_distribution<double>(low, high)(rng);
}

Index integer(Rng& rng, Index low, Index high) {
  return std::uniform_int_distribution<Index>(low, high)(rng);
}

// Gaussian, -2..2 or 0/1.
Matrix random_data(Rng& rng, Index n, Index d) {
  const Index kind = integer(rng, 0, 2);
  Matrix X(n, d);
  for (double& entry : X.reshaped()) {
    entry = kind == 0   ? std::normal_distribution<double>()(rng)
            : kind == 1 ? static_cast<double>(integer(rng, -2, 2))
                        : static_cast<double>(integer(rng, 0, 1));
  }
  return X;
}

// A problem and members of an active set on it, whose faces are those of projections.
class Example {
 public:
  Example(Rng& rng, Formulation formulation, Index max_n = 14, Index max_d = 5)
      : Example(rng, formulation, integer(rng, 1, max_n), integer(rng, 1, max_d), 12) {}

  Example(Rng& rng, Formulation formulation, Index n, Index d, Index n_gates)
      : Example(rng, formulation, random_data(rng, n, d), random_data(rng, d, n_gates)) {}

  Example(Rng&, Formulation formulation, const Matrix& X, const Matrix& gates,
          const Model& model = {})
      : problem_(X, Vector::Ones(X.rows()), patterns_from_gates(X, gates), formulation, Vector(),
                 nullptr, model) {}

  const ScaledProblem& problem() const { return problem_.scaled(); }

  // Another member, or none where the projection was zero. alpha and delta as given.
  void add(Rng& rng, double alpha, double delta) {
    Block block{integer(rng, 0, problem_.n_patterns() - 1), +1};
    if (problem_.formulation() == Formulation::relu && rng() % 2) block.sign = -1;
    Vector c(problem_.n_features()), q(c.size());
    for (double& entry : c) entry = std::normal_distribution<double>()(rng);
    Face face;
    const double norm = BlockProjector(problem()).project(block, c, face, q);
    if (norm < 1e-6) return;
    blocks_.push_back(block);
    faces_.push_back(std::move(face));
    directions_.push_back(q / norm);
    alphas_.push_back(alpha);
    deltas_.push_back(delta);
  }

  void add_some(Rng& rng, Index count, double delta) {
    for (Index j = 0; j < count; ++j) {
      add(rng, rng() % 4 ? std::pow(10.0, uniform(rng, -3, 3)) : 0.0, delta);
    }
  }

  void remove(std::size_t j) {
    const auto erase = [j](auto& list) {
      list.erase(list.begin() + static_cast<std::ptrdiff_t>(j));
    };
    erase(blocks_), erase(faces_), erase(directions_), erase(alphas_), erase(deltas_);
  }

  // One row of the face of member j fewer; its direction stays, as it lies in the larger space too.
  void release_row(std::size_t j) {
    std::vector<Index> rows = faces_[j].rows();
    rows.pop_back();
    ConeProjector(problem().hyperplanes().normals).factor(rows, faces_[j]);
  }

  void swap(std::size_t a, std::size_t b) {
    std::swap(blocks_[a], blocks_[b]);
    std::swap(faces_[a], faces_[b]);
    std::swap(directions_[a], directions_[b]);
    std::swap(alphas_[a], alphas_[b]);
    std::swap(deltas_[a], deltas_[b]);
  }

  void repeat(std::size_t j) {
    blocks_.push_back(blocks_[j]);
    faces_.push_back(faces_[j]);
    directions_.push_back(directions_[j]);
    alphas_.push_back(alphas_[j]);
    deltas_.push_back(deltas_[j]);
  }

  std::size_t size() const { return blocks_.size(); }
  double& alpha(std::size_t j) { return alphas_[j]; }
  double& delta(std::size_t j) { return deltas_[j]; }
  const Face& face(std::size_t j) const { return faces_[j]; }

  std::vector<KktSystem::Member> members() const {
    std::vector<KktSystem::Member> result;
    for (std::size_t j = 0; j < size(); ++j) {
      result.push_back({blocks_[j], alphas_[j], deltas_[j], directions_[j].data(), &faces_[j]});
    }
    return result;
  }

  // A_b from the bits.
  Matrix columns(std::size_t j) const {
    Matrix A = problem().X();
    for (Index k = 0; k < A.rows(); ++k) {
      const bool on = problem_.patterns().masks().test(k, blocks_[j].pattern);
      A.row(k) *= on ? blocks_[j].sign : 0.0;
    }
    return A;
  }

  Matrix activations() const {
    Matrix B(problem().n_samples(), static_cast<Index>(size()));
    for (std::size_t j = 0; j < size(); ++j) {
      B.col(static_cast<Index>(j)) = columns(j) * directions_[j];
    }
    return B;
  }

  Matrix dense() const {
    const Index n = problem().n_samples(), k = static_cast<Index>(size());
    Matrix J = Matrix::Zero(n + k, n + k);
    J.topLeftCorner(n, n).setIdentity();
    for (std::size_t j = 0; j < size(); ++j) {
      const Matrix basis = faces_[j].null_basis(problem().n_features());
      const Matrix AQ = columns(j) * basis;
      J.topLeftCorner(n, n) += alphas_[j] / static_cast<double>(n) * AQ * AQ.transpose();
      J(n + static_cast<Index>(j), n + static_cast<Index>(j)) = -deltas_[j];
    }
    J.topRightCorner(n, k) = activations();
    J.bottomLeftCorner(k, n) = activations().transpose();
    return J;
  }

 private:
  Problem problem_;
  std::vector<Block> blocks_;
  std::vector<Face> faces_;
  std::vector<Vector> directions_;
  std::vector<double> alphas_, deltas_;
};

// J with rows scaled by S and, in a problem with an intercept, the free column.
Matrix dense_with(const Example& example, const Vector& S, double free_delta) {
  const Index n = S.size(), free = example.problem().has_intercept() ? 1 : 0;
  const Matrix plain = example.dense();
  const Index k = plain.rows() - n;
  Matrix J = Matrix::Zero(n + k + free, n + k + free);
  J.topLeftCorner(n + k, n + k) = plain;
  if (free > 0) {
    J.col(n + k).head(n) = example.problem().free_column();
    J.row(n + k).head(n) = example.problem().free_column().transpose();
    J(n + k, n + k) = -free_delta;
  }
  Vector scale = Vector::Ones(J.rows());
  scale.head(n) = S;
  J.topLeftCorner(n, n) -= Matrix::Identity(n, n);
  J = scale.asDiagonal() * J * scale.asDiagonal();
  J.topLeftCorner(n, n) += Matrix::Identity(n, n);
  return J;
}

Vector random_vector(Rng& rng, Index size) {
  Vector v(size);
  for (double& entry : v) entry = std::normal_distribution<double>()(rng);
  return v;
}

Vector solve(const KktSystem& system, const Vector& g, Index n, double accuracy = kAccurate) {
  Monitor monitor;
  Vector dr(n), dalpha(g.size() - n);
  system.solve(g.head(n), g.tail(g.size() - n), dr, dalpha, accuracy, monitor);
  Vector x(g.size());
  x << dr, dalpha;
  return x;
}

bool factor(KktSystem& system, const Example& example, int n_threads = 1) {
  Monitor monitor;
  return system.factor(example.members(), n_threads, monitor);
}

// Whether factor() stops where the time is over when it begins.
bool factoring_is_stopped(KktSystem& system, const Example& example) {
  Monitor over(0.0);
  try {
    system.factor(example.members(), 1, over);
    return false;
  } catch (const Stopped&) {
    return true;
  }
}

// || J x - g || / (||J|| ||x|| + ||g||): a backward error, small whatever the condition of J.
double backward_error(const Matrix& J, const Vector& x, const Vector& g) {
  return (J * x - g).norm() / (J.norm() * x.norm() + g.norm());
}

double condition(const Matrix& J) {
  const Vector s = Eigen::JacobiSVD<Matrix>(J).singularValues();
  return s(s.size() - 1) > 0.0 ? s(0) / s(s.size() - 1) : kInfinity;
}

// Whether the first n columns of the inverse are accurate; the residual at a random right-hand side is
// about as large as that of all columns, so that it tells where they are not.
bool check_inverse(const KktSystem& system, const Matrix& J, Index n, double accuracy) {
  Monitor monitor;
  Matrix dr, dalpha;
  const double residual = system.invert(dr, dalpha, monitor);
  CHECK(dr.rows() == n && dr.cols() == n && dalpha.rows() == J.rows() - n && dalpha.cols() == n);
  Matrix columns(J.rows(), n);
  columns << dr, dalpha;
  const double attained = (J * columns - Matrix::Identity(J.rows(), n)).norm();
  const double rounding = 1e-13 * J.norm() * columns.norm();
  CHECK(residual <= std::sqrt(static_cast<double>(n)) * attained + rounding);
  CHECK(attained <= 100.0 * std::sqrt(static_cast<double>(n)) * residual + rounding);
  const Matrix expected = J.fullPivLu().inverse().leftCols(n);
  return (columns - expected).norm() <= accuracy * expected.norm();
}

// Both forms, and the one it chooses, solve J x = g; delta = 0 where B has full column rank, and
// delta > 0 for any members. A member with alpha = 0 adds nothing to H.
void forms_agree_with_the_dense_matrix() {
  Rng rng(1);
  int n_regular = 0, n_proximal = 0, n_radial = 0, n_faces = 0, n_inverses = 0, n_accurate = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    const Formulation formulation = trial % 3 ? Formulation::relu : Formulation::gated;
    Example example(rng, formulation);
    const double delta = trial % 2 ? std::pow(10.0, uniform(rng, -3, 3)) : 0.0;
    example.add_some(rng, integer(rng, 0, 6), delta);
    const Matrix J = example.dense();
    const double kappa = condition(J);
    if (delta == 0.0 && kappa > 1e9) continue;  // dependent activations
    (delta == 0.0 ? n_regular : n_proximal) += 1;
    for (std::size_t j = 0; j < example.size(); ++j) {
      n_radial += example.alpha(j) == 0.0;
      n_faces += example.face(j).size() > 0;
    }
    const Index n = example.problem().n_samples();
    const Vector g = random_vector(rng, J.rows());
    const Vector expected = J.fullPivLu().solve(g);
    for (const Form form : {Form::n_form, Form::m_form, Form::automatic}) {
      KktSystem system(example.problem(), form);
      CHECK(factor(system, example));
      CHECK(form == Form::automatic || system.form() == form);
      const Vector x = solve(system, g, n);
      CHECK(backward_error(J, x, g) <= 1e-13);
      CHECK((x - expected).norm() <= 1e-13 * kappa * expected.norm());
      CHECK(system.reciprocal_condition() > 0.0 && system.reciprocal_condition() <= 1.0 + 1e-12);
      n_accurate += check_inverse(system, J, n, 1e-12 * kappa);
      ++n_inverses;
    }
  }
  CHECK(n_accurate > 0.999 * n_inverses);
  CHECK(n_regular > 500 && n_proximal > 1000 && n_radial > 500 && n_faces > 500);
}

void conjugate_gradients_agree_with_the_dense_matrix() {
  Rng rng(2);
  int n_solved = 0;
  for (int trial = 0; trial < 300; ++trial) {
    Example example(rng, Formulation::gated);
    const Index count = integer(rng, 1, 5);
    const double delta = trial % 2 ? std::pow(10.0, uniform(rng, -1, 3)) : 0.0;
    for (Index j = 0; j < count; ++j) example.add(rng, std::pow(10.0, uniform(rng, -2, 2)), delta);
    const Matrix J = example.dense();
    if (condition(J) > 1e6) continue;
    ++n_solved;
    const Vector g = random_vector(rng, J.rows());
    for (const Form form : {Form::iterative, Form::mixed}) {
      KktSystem system(example.problem(), form);
      CHECK(factor(system, example));
      CHECK(system.form() == form);
      const Vector x = solve(system, g, example.problem().n_samples(), 1e-12);
      CHECK((x - J.fullPivLu().solve(g)).norm() <= 1e-8 * condition(J) * g.norm());
      CHECK(backward_error(J, x, g) <= 1e-9);
      CHECK(check_inverse(system, J, example.problem().n_samples(), 1e-10 * condition(J)));
    }
  }
  CHECK(n_solved > 100);
}

// All forms with rows scaled, some by nothing, and with a free column; and the products without either.
void rows_may_be_scaled_and_a_column_free() {
  Rng rng(17);
  int n_solved = 0, n_flat = 0;
  for (int trial = 0; trial < 1000; ++trial) {
    const Formulation formulation = trial % 3 ? Formulation::gated : Formulation::relu;
    const Index n = integer(rng, 1, 14), d = integer(rng, 1, 5);
    Model model;
    model.fit_intercept = trial % 4 > 0;
    Example example(rng, formulation, random_data(rng, n, d), random_data(rng, d, 12), model);
    const double delta = trial % 2 ? std::pow(10.0, uniform(rng, -1, 3)) : 0.0;
    const double free_delta = delta * uniform(rng, 0.1, 10.0);
    const Index count = integer(rng, 0, 5);
    for (Index j = 0; j < count; ++j) example.add(rng, std::pow(10.0, uniform(rng, -2, 2)), delta);
    Vector S(n);
    for (double& entry : S) entry = rng() % 5 ? std::pow(10.0, uniform(rng, -3, 1)) : 0.0;
    if (trial % 5 == 0) S.setOnes();
    const Matrix J = dense_with(example, S, free_delta);
    const double kappa = condition(J);
    if (kappa > 1e6) continue;
    ++n_solved;
    n_flat += S.minCoeff() == 0.0;
    const Vector g = random_vector(rng, J.rows());
    const Vector expected = J.fullPivLu().solve(g);
    Monitor monitor;
    for (const Form form : {Form::n_form, Form::m_form, Form::iterative, Form::mixed}) {
      const bool is_direct = form == Form::n_form || form == Form::m_form;
      if (!is_direct && (formulation == Formulation::relu || example.size() == 0)) continue;
      KktSystem system(example.problem(), form);
      CHECK(system.factor(example.members(), 1, monitor, S, 1.0 + free_delta) || delta == 0.0);
      if (!is_direct || delta > 0.0) CHECK(system.refactor(delta, monitor, free_delta));
      if (delta == 0.0) CHECK(system.factor(example.members(), 1, monitor, S, 0.0));
      CHECK(system.row_scale() == S);
      const Vector x = solve(system, g, n);
      CHECK((x - expected).norm() <=
            (is_direct ? 1e-12 : 1e-8) * kappa * (g.norm() + expected.norm()));
      CHECK(check_inverse(system, J, n, (is_direct ? 1e-11 : 1e-8) * kappa));
      // (N v + B a, B'v) are those of the system whose rows are not scaled.
      const Index k = J.rows() - n;
      const Matrix plain = dense_with(example, Vector::Ones(n), 0.0);
      const Vector v = random_vector(rng, n), a = random_vector(rng, k);
      Vector out1(n), out2(k);
      system.image(v, a, out1, out2, monitor);
      const Vector top = plain.topLeftCorner(n, n) * v - v + plain.topRightCorner(n, k) * a;
      CHECK((out1 - top).norm() <= 1e-12 * (1.0 + plain.norm()) * (v.norm() + a.norm()));
      const Vector below = plain.bottomLeftCorner(k, n) * v;
      CHECK((out2 - below).norm() <= 1e-12 * (1.0 + plain.norm()) * v.norm());
      if (delta == 0.0) continue;
      Vector dr(n), dalpha(k), no_g2 = Vector::Zero(k);
      system.descend(g.head(n), 1.0, dr, dalpha, monitor);
      Vector right(J.rows());
      right << g.head(n), no_g2;
      const Vector best = J.fullPivLu().solve(right);
      CHECK((dr - best.head(n)).norm() <= (is_direct ? 1e-10 : 1e-3) * kappa * g.norm());
      CHECK((dalpha - best.tail(k)).norm() <= (is_direct ? 1e-10 : 1e-3) * kappa * g.norm());
    }
  }
  CHECK(n_solved > 400 && n_flat > 200);
}

// The mixed form keeps a factor while members and weights change, and solves the present system with it;
// the bits do not depend on the number of threads.
void old_factors_solve_the_present_system() {
  Rng rng(12);
  for (int trial = 0; trial < 20; ++trial) {
    Example example(rng, Formulation::gated, 150, 6, 40);
    for (int j = 0; j < 6; ++j) example.add(rng, std::pow(10.0, uniform(rng, -2, 1)), 0.7);
    KktSystem one(example.problem(), Form::mixed), many(example.problem(), Form::mixed);
    for (int step = 0; step < 8; ++step) {
      if (step % 3 == 2) example.remove(rng() % example.size());
      if (step % 3 != 2) example.add(rng, step == 4 ? 0.0 : uniform(rng, 0.1, 3.0), 0.7);
      for (std::size_t j = 0; j < example.size(); ++j) example.alpha(j) *= uniform(rng, 0.5, 2.0);
      const Matrix J = example.dense();
      const Vector g = random_vector(rng, J.rows());
      CHECK(factor(one, example, 1) && factor(many, example, 3));
      const Vector x = solve(one, g, 150, 1e-12);
      CHECK(backward_error(J, x, g) <= 1e-9);
      CHECK(x == solve(many, g, 150, 1e-12));
    }
  }
}

// Where some singular values of X stand out the preconditioner keeps parts of P from one
// factorisation to the next; the answers are those of the dense matrix as members come and go.
void singular_values_that_stand_out() {
  Rng rng(10);
  for (int trial = 0; trial < 20; ++trial) {
    Matrix X = random_vector(rng, 50 * 24).reshaped(50, 24);
    X.leftCols(5) *= 20.0;
    const Matrix gates = random_vector(rng, 24 * 12).reshaped(24, 12);
    Example example(rng, Formulation::gated, X, gates);
    KktSystem system(example.problem(), Form::iterative);
    for (int step = 0; step < 6; ++step) {
      if (step % 3 == 2) example.remove(rng() % example.size());
      if (step % 3 != 2) example.add(rng, std::pow(10.0, uniform(rng, -2, 1)), 0.7);
      if (step == 4) example.swap(0, example.size() - 1);
      const Matrix J = example.dense();
      const Vector g = random_vector(rng, J.rows());
      CHECK(factor(system, example));
      CHECK(backward_error(J, solve(system, g, 50), g) <= 1e-9);
    }
  }
}

// descend() gains the share that was asked for of what the best direction gains in the model
// dr'(H + B Delta^-1 B')dr/2 - g'dr; all of it where the matrix is factored.
void directions_bring_their_share_of_the_decrease() {
  Rng rng(8);
  int n_cut_short = 0;
  for (int trial = 0; trial < 300; ++trial) {
    Example example(rng, Formulation::gated, 30, 4, 12);
    const double delta = std::pow(10.0, uniform(rng, 0, 3));
    const Index count = integer(rng, 1, 8);
    for (Index j = 0; j < count; ++j) example.add(rng, std::pow(10.0, uniform(rng, -2, 1)), delta);
    const Matrix B = example.activations();
    const Index n = B.rows();
    const Matrix model = example.dense().topLeftCorner(n, n) + B * B.transpose() / delta;
    const Vector g = random_vector(rng, n);
    const double best = 0.5 * g.dot(model.ldlt().solve(g));
    for (const Form form : {Form::n_form, Form::m_form, Form::iterative, Form::mixed}) {
      const bool is_direct = form == Form::n_form || form == Form::m_form;
      KktSystem system(example.problem(), form);
      CHECK(factor(system, example));
      Monitor monitor;
      Vector dr(n), dalpha(B.cols());
      for (const double share : {0.3, 0.9}) {
        system.descend(g, share, dr, dalpha, monitor);
        const double gain = g.dot(dr) - 0.5 * dr.dot(model * dr);
        CHECK(gain >= (is_direct ? 1.0 : share) * best - 1e-8 * g.squaredNorm());
        n_cut_short += gain < (1.0 - 1e-6) * best;
      }
    }
  }
  CHECK(n_cut_short > 100);
}

// Solving allocates nothing. Factoring a system of the same members again
// allocates some vectors, but no matrix.
void warm_systems_keep_their_memory() {
  Rng rng(9);
  for (const Formulation formulation : {Formulation::gated, Formulation::relu}) {
    Example example(rng, formulation, 120, 8, 40);
    for (int j = 0; j < 16; ++j) example.add(rng, 1.0, 0.5);
    const std::vector<KktSystem::Member> members = example.members();
    const Index n = example.problem().n_samples(), k = static_cast<Index>(members.size());
    const Vector g1 = random_vector(rng, n), g2 = random_vector(rng, k);
    Vector dr(n), dalpha(k);
    Monitor monitor;
    for (const Form form : {Form::n_form, Form::m_form}) {
      KktSystem system(example.problem(), form);
      const auto step = [&] {
        CHECK(system.factor(members, 1, monitor));
        system.descend(g1, 1.0, dr, dalpha, monitor);
      };
      step();
      step();
      const Index size = form == Form::n_form ? n : system.size();
      const long most = std::max<long>(8 * size * size / 4, 8000);  // bytes
      CHECK(allocations(step).bytes < most);
    }
    if (formulation == Formulation::relu) continue;
    for (const Form form : {Form::n_form, Form::m_form, Form::iterative, Form::mixed}) {
      KktSystem system(example.problem(), form);
      CHECK(system.factor(members, 1, monitor));
      const auto solve_to = [&](double accuracy) {
        return allocations([&] { system.solve(g1, g2, dr, dalpha, accuracy, monitor); }).count;
      };
      solve_to(1e-12);
      CHECK(solve_to(0.5) == 0);
      CHECK(solve_to(1e-12) == 0);
    }
  }
}

// What is kept from one factorisation to the next is never stale.
void updates_equal_a_fresh_start() {
  Rng rng(3);
  int n_released = 0;
  for (int trial = 0; trial < 150; ++trial) {
    const Formulation formulation = trial % 3 ? Formulation::relu : Formulation::gated;
    Example example(rng, formulation);
    KktSystem n_form(example.problem(), Form::n_form), m_form(example.problem(), Form::m_form);
    KktSystem automatic(example.problem());
    example.add_some(rng, 3, 1.0);
    for (int step = 0; step < 15; ++step) {
      const std::size_t size = example.size();
      const std::size_t j = size > 0 ? rng() % size : 0;
      switch (rng() % 7) {
        case 0:
        case 1:
          example.add_some(rng, 1, std::pow(10.0, uniform(rng, -2, 2)));
          break;
        case 2:
          if (size > 0) example.remove(j);
          break;
        case 3:
          if (size > 0 && example.face(j).size() > 0) {
            example.release_row(j);
            ++n_released;
          }
          break;
        case 4:
          if (size > 0) example.swap(j, rng() % size);
          break;
        case 5:
          if (size > 0) example.repeat(j);
          break;
        default:
          if (size > 0) {
            example.alpha(j) = example.alpha(j) == 0.0 || rng() % 2 ? uniform(rng, 0.1, 10) : 0.0;
            example.delta(j) = uniform(rng, 0.1, 10);
          }
      }
      const Matrix J = example.dense();
      const Vector g = random_vector(rng, J.rows());
      for (KktSystem* system : {&n_form, &m_form, &automatic}) {
        CHECK(factor(*system, example));
        CHECK(backward_error(J, solve(*system, g, example.problem().n_samples()), g) <= 1e-13);
      }
    }
  }
  CHECK(n_released > 50);
}

// With another delta, whether or not the activations were independent: as if factored anew.
void refactoring_changes_delta() {
  Rng rng(13);
  int n_singular = 0;
  for (int trial = 0; trial < 200; ++trial) {
    const bool gated = trial % 2;
    Example example(rng, gated ? Formulation::gated : Formulation::relu);
    for (Index j = 0; j < 4; ++j) example.add(rng, std::pow(10.0, uniform(rng, -2, 2)), 0.0);
    if (trial % 4 < 2 && example.size() > 0) example.repeat(rng() % example.size());
    const double delta = std::pow(10.0, uniform(rng, -2, 2));
    Example changed = example;
    for (std::size_t j = 0; j < changed.size(); ++j) changed.delta(j) = delta;
    const Matrix J = changed.dense();
    const Vector g = random_vector(rng, J.rows());
    const Index n = example.problem().n_samples();
    for (const Form form : {Form::n_form, Form::m_form, Form::iterative, Form::mixed}) {
      const bool is_direct = form == Form::n_form || form == Form::m_form;
      if (!is_direct && !gated) continue;
      KktSystem system(example.problem(), form), fresh(changed.problem(), form);
      Monitor monitor;
      n_singular += !factor(system, example);
      CHECK(system.refactor(delta, monitor) && factor(fresh, changed));
      const Vector x = solve(system, g, n);
      CHECK(backward_error(J, x, g) <= (is_direct ? 1e-13 : 1e-9));
      CHECK(x == solve(fresh, g, n));
      CHECK(system.reciprocal_condition() == fresh.reciprocal_condition());
    }
  }
  CHECK(n_singular > 50);
}

// Too large for either direct form, the one of smaller matrices is taken; told before they are made.
void the_smaller_of_two_large_forms() {
  struct Case {
    Index n, d, k;
    Form expected;
  };
  Rng rng(14);
  for (const Case& c : {Case{10100, 100, 101, Form::n_form}, Case{50000, 42, 50, Form::m_form}}) {
    Example example(rng, Formulation::gated, random_vector(rng, c.n * c.d).reshaped(c.n, c.d),
                    random_vector(rng, c.d * 8).reshaped(c.d, 8));
    for (Index j = 0; j < c.k; ++j) example.add(rng, 1.0, 1.0);
    KktSystem system(example.problem(), Form::direct);
    CHECK(factoring_is_stopped(system, example) && system.size() == c.k * c.d);
    CHECK(system.form() == c.expected);
  }
}

// Dependent activations with delta = 0 are found: by factor(), or by a reciprocal condition that is
// rounding. More members than samples, repeated members, and sums of others.
void singular_systems_are_found() {
  Rng rng(4);
  int n_singular = 0;
  for (int trial = 0; trial < 600; ++trial) {
    Example example(rng, trial % 2 ? Formulation::relu : Formulation::gated);
    for (Index j = 0; j < 4; ++j) example.add(rng, uniform(rng, 0.1, 10), 0.0);
    if (example.size() == 0) continue;
    example.repeat(rng() % example.size());
    ++n_singular;
    for (const Form form : {Form::n_form, Form::m_form}) {
      KktSystem system(example.problem(), form);
      CHECK(!factor(system, example) || system.reciprocal_condition() < 1e-13);
    }
    for (std::size_t j = 0; j < example.size(); ++j) example.delta(j) = 1.0;
    for (const Form form : {Form::n_form, Form::m_form}) {
      KktSystem system(example.problem(), form);
      CHECK(factor(system, example));
      CHECK(system.reciprocal_condition() > 1e-13);
    }
  }
  CHECK(n_singular > 400);
}

// With weights of alpha over sixteen orders of magnitude refinement recovers digits.
void refinement_recovers_digits() {
  Rng rng(5);
  int n_better = 0;
  for (int trial = 0; trial < 200; ++trial) {
    Example example(rng, Formulation::relu, 12, 4, 12);
    for (Index j = 0; j < 3; ++j) example.add(rng, std::pow(10.0, uniform(rng, -8, 8)), 0.0);
    const Matrix J = example.dense();
    if (condition(example.activations()) > 1e3 && example.size() > 0) continue;
    const Vector g = random_vector(rng, J.rows());
    for (const Form form : {Form::n_form, Form::m_form}) {
      KktSystem system(example.problem(), form);
      if (!factor(system, example)) continue;
      const double rough = (J * solve(system, g, 12, 1e-3) - g).norm();
      const Vector x = solve(system, g, 12, kAccurate);
      const double refined = (J * x - g).norm();
      const double rounding = J.norm() * std::max(1e-13, kEpsilon * x.norm());  // of J x - g
      CHECK(refined <= std::max(rough, rounding));
      n_better += refined < 0.1 * rough;
    }
  }
  CHECK(n_better > 20);
}

void bits_do_not_depend_on_threads() {
  Rng rng(6);
  for (const Form form : {Form::n_form, Form::m_form, Form::iterative}) {
    const bool gated = form == Form::iterative;
    Example example(rng, gated ? Formulation::gated : Formulation::relu, 300, 12, 60);
    for (Index j = 0; j < 40; ++j) example.add(rng, uniform(rng, 0.1, 10), 1.0);
    const Vector g = random_vector(rng, 300 + static_cast<Index>(example.size()));
    KktSystem serial(example.problem(), form), threaded(example.problem(), form);
    CHECK(factor(serial, example, 1) && factor(threaded, example, 4));
    CHECK(solve(serial, g, 300) == solve(threaded, g, 300));
  }
}

// Without members J is the identity.
void no_members() {
  Rng rng(7);
  const Example example(rng, Formulation::relu);
  const Vector g = random_vector(rng, example.problem().n_samples());
  for (const Form form : {Form::n_form, Form::m_form, Form::automatic}) {
    KktSystem system(example.problem(), form);
    CHECK(factor(system, example));
    CHECK(solve(system, g, g.size()) == g);
    CHECK(system.size() == 0);
  }
}

void stops_when_the_time_is_over() {
  Rng rng(8);
  Example example(rng, Formulation::gated, 200, 8, 40);
  for (Index j = 0; j < 20; ++j) example.add(rng, 1.0, 1.0);
  for (const Form form : {Form::n_form, Form::m_form, Form::mixed}) {
    KktSystem system(example.problem(), form);
    CHECK(factoring_is_stopped(system, example));
    CHECK(factor(system, example));  // and can be used again
    const Matrix J = example.dense();
    const Vector g = random_vector(rng, J.rows());
    const double rounding = form == Form::mixed ? 1e-9 : 1e-13;
    CHECK(backward_error(J, solve(system, g, 200), g) <= rounding);
  }
}

// n^2 entries are 5 TB; Z has 1.6 MB.
void matrices_that_memory_does_not_hold_are_refused() {
  if (!(available_memory() < 1e12)) return;
  Rng rng(0);
  Example example(rng, Formulation::gated, Matrix::Ones(800'000, 1), Matrix::Ones(1, 1));
  example.add(rng, 1.0, 0.1);
  const auto is_refused = [](const auto& work) {
    try {
      work();
    } catch (const OutOfMemory&) {
      return true;
    }
    return false;
  };
  Monitor monitor;
  for (const Form form : {Form::n_form, Form::mixed}) {
    KktSystem system(example.problem(), form);
    CHECK(is_refused([&] { system.factor(example.members(), 1, monitor); }));
  }
  KktSystem system(example.problem(), Form::m_form);
  CHECK(system.factor(example.members(), 1, monitor));
  Matrix dr, dalpha;
  CHECK(is_refused([&] { system.invert(dr, dalpha, monitor); }));
}

}  // namespace

int main() {
  RUN(matrices_that_memory_does_not_hold_are_refused);
  RUN(forms_agree_with_the_dense_matrix);
  RUN(conjugate_gradients_agree_with_the_dense_matrix);
  RUN(singular_values_that_stand_out);
  RUN(rows_may_be_scaled_and_a_column_free);
  RUN(old_factors_solve_the_present_system);
  RUN(directions_bring_their_share_of_the_decrease);
  RUN(updates_equal_a_fresh_start);
  RUN(warm_systems_keep_their_memory);
  RUN(refactoring_changes_delta);
  RUN(the_smaller_of_two_large_forms);
  RUN(singular_systems_are_found);
  RUN(refinement_recovers_digits);
  RUN(bits_do_not_depend_on_threads);
  RUN(no_members);
  RUN(stops_when_the_time_is_over);
  return failed_checks == 0 ? 0 : 1;
}
