#include "sensitivity/sensitivity_piece.hpp"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

namespace convexrelu {
inline namespace sensitivity {

std::string name_of(Block block) {
  return "block (" + std::to_string(block.pattern) + ", " + (block.sign > 0 ? "+1" : "-1") + ")";
}

Vector Sensitivity::Piece::project(const Member& member, ConstVectorRef x) {
  if (member.face.size() == 0) return x;
  return x - member.face.q() * (member.face.q().transpose() * x);
}

Vector Sensitivity::Piece::turn(const Member& member, ConstVectorRef dr) const {
  return project(member, optimum.correlation(member.block, dr));
}

Sensitivity::Piece::Position Sensitivity::Piece::position(const Member& member, ConstVectorRef x) {
  const double length = x.stableNorm(), inner = member.direction.dot(x);
  if (std::abs(inner) > Optimum::kTied * length) return inner > 0.0 ? Position::on : Position::off;
  const bool stays = project(member, x).stableNorm() <= Optimum::kTied * length;
  return stays ? Position::off : Position::kink;
}

Matrix Sensitivity::Piece::without_factors(const Matrix& weighted) const {
  return optimum.problem.row_factors().cwiseInverse().asDiagonal() * weighted;
}

Sensitivity::Optimum::Optimum(Solution given, Monitor& monitor)
    : solution(std::move(given)),
      problem(solution.problem.scaled()),
      critical_cones(problem.hyperplanes().normals),
      lam(problem.scaled_lam(solution.lam)),
      n(static_cast<double>(problem.n_samples())),
      r(problem.to_scaled(solution.dual)) {
  collect_neurons(monitor);
}

Vector Sensitivity::Optimum::correlation(Block block, ConstVectorRef v) const {
  Vector masked = v;
  problem.apply_mask(block, masked);
  return problem.X().transpose() * masked / n;
}

Vector Sensitivity::Optimum::activation(Block block, ConstVectorRef w) const {
  Vector outputs = problem.X() * w;
  problem.apply_mask(block, outputs);
  return outputs;
}

void Sensitivity::Optimum::collect_neurons(Monitor& monitor) {
  BlockProjector projector(problem);
  std::vector<std::int8_t> sides(static_cast<std::size_t>(problem.hyperplanes().size()));
  std::vector<Index> neuron_of_block;
  const std::vector<BlockNorm> tied = blocks_above(problem, r, lam * (1.0 - kTied), 1, monitor);
  for (const BlockNorm& candidate : tied) {
    const Block block = candidate.block;
    const Vector c = correlation(block, r);
    Vector q(c.size());
    Face face;
    const double norm = projector.project(block, c, face, q);
    const Vector direction = q / norm;
    const Vector image = activation(block, direction);
    CriticalCone cone;
    if (problem.formulation() == Formulation::relu) {
      problem.cone_signs(block.pattern, sides.data());
      cone = critical_cones.find(sides.data(), c, q, face);
    }
    const auto place = std::find_if(neurons.begin(), neurons.end(), [&](const Neuron& neuron) {
      return same_neuron(neuron, block, direction, image);
    });
    neuron_of_block.push_back(place - neurons.begin());
    if (place == neurons.end()) neurons.push_back({{}, {}, direction, image, 0.0});
    Neuron& neuron = neurons[neuron_of_block.back()];
    neuron.blocks.push_back(block);
    neuron.cones.push_back(std::move(cone));
    monitor.check();
  }
  // Active blocks are among the tied ones: the solution is stationary.
  const Index k = static_cast<Index>(solution.active_set.size());
  shares.resize(k);
  for (Index j = 0; j < k; ++j) {
    const auto place = std::find_if(tied.begin(), tied.end(), [&](const BlockNorm& candidate) {
      return candidate.block == solution.active_set[j];
    });
    if (place == tied.end()) {
      throw AccuracyError(
          "solution has an active block with ||q_b|| < lam, to the accuracy there is");
    }
    neuron_of.push_back(neuron_of_block[place - tied.begin()]);
    shares(j) = solution.weights.col(j).stableNorm() / problem.weight_unit() / lam;
    neurons[neuron_of.back()].alpha += shares(j);
  }
  double total = 0.0;
  for (const Neuron& neuron : neurons) total += neuron.alpha;
  for (Index j = 0; j < k; ++j) shares(j) /= neurons[neuron_of[j]].alpha;
  for (Neuron& neuron : neurons) {
    if (neuron.alpha <= kTied * total) neuron.alpha = 0.0;
  }
}

// relu: the same direction and activation; the patterns differ in rows on the kink only. Gated: the
// same bits wherever x_k is not zero, because there q_b turns with every one of them.
bool Sensitivity::Optimum::same_neuron(const Neuron& neuron, Block block, ConstVectorRef direction,
                                       ConstVectorRef activation) const {
  if (neuron.blocks.front().sign != block.sign) return false;
  if ((neuron.direction - direction).norm() > kSame) return false;
  if (problem.formulation() == Formulation::relu) {
    return (neuron.activation - activation).norm() <= kSame * neuron.activation.norm();
  }
  Vector here = Vector::Ones(problem.n_samples()), there = here;
  problem.apply_mask(block, here);
  problem.apply_mask(neuron.blocks.front(), there);
  for (Index k = 0; k < here.size(); ++k) {
    if (here(k) != there(k) && !problem.X().row(k).isZero(0.0)) return false;
  }
  return true;
}

void Sensitivity::Piece::add(Index neuron, Block block, double alpha,
                             const std::vector<Index>& held) {
  const Vector& direction = optimum.neurons[neuron].direction;
  Member member{neuron, block, alpha, direction, held, {}, {}};
  if (!held.empty()) {
    ConeProjector(optimum.problem.hyperplanes().normals).factor(held, member.face);
    const Vector c = optimum.correlation(block, optimum.r);
    member.multipliers = member.face.r().triangularView<Eigen::Upper>().solve(
        member.face.q().transpose() * (optimum.lam * direction - c));
  }
  members.push_back(std::move(member));
}

// False where the activations are dependent.
bool Sensitivity::Piece::factor(Monitor& monitor) {
  constexpr double kLargestMatrix = 1e8;  // entries
  const Index n_samples = optimum.problem.n_samples();
  activations.resize(n_samples, size());
  Index m = 0;
  std::vector<KktSystem::Member> parts;
  for (Index b = 0; b < size(); ++b) {
    const Member& member = members[b];
    activations.col(b) = optimum.neurons[member.neuron].activation.normalized();
    m += optimum.problem.n_features() - member.face.size();
    parts.push_back({member.block, member.alpha, 0.0, member.direction.data(), &member.face});
  }
  if (size() > n_samples) return false;
  if (size() > 0) {
    qr.setThreshold(Optimum::kSame);
    qr.compute(activations);
    if (qr.rank() < size()) return false;
  }
  // Direct wherever it fits: one factorisation serves many solves. The m-form adds 1/alpha_b to
  // ||A_b e_b||^2/n, and where that is the smaller one by far its digits are lost.
  const double n = static_cast<double>(n_samples);
  const auto is_drowned = [&](const Member& member) {
    const double square = optimum.neurons[member.neuron].activation.squaredNorm();
    return member.alpha > 0.0 && member.alpha * square < kDrowned * n;
  };
  const bool drowned = std::any_of(members.begin(), members.end(), is_drowned);
  const bool n_fits = n * n <= kLargestMatrix;
  const bool m_is_cheaper = m <= n_samples && !(drowned && n_fits);
  const double smaller = m_is_cheaper ? static_cast<double>(m) : n;
  const KktSystem::Form form = smaller * n > kLargestMatrix ? KktSystem::Form::automatic
                               : m_is_cheaper               ? KktSystem::Form::m_form
                                                            : KktSystem::Form::n_form;
  kkt = std::make_unique<KktSystem>(optimum.problem, form);
  return kkt->factor(parts, 1, monitor);
}

bool Sensitivity::Piece::spans(ConstVectorRef activation) const {
  if (size() == 0) return false;
  const Vector rest = activation - activations * qr.solve(Vector(activation));
  return rest.norm() <= Optimum::kSame * activation.norm();
}

// All optima are alpha + sum_j t_j (e_j - share_j), t >= 0, over the neurons j outside: the members
// turn most if no t_j makes more of it, that is if M_j - sum_b share_jb M_b, M_b = A_b Pi_b A_b', has
// no positive eigenvalue on the motions that leave all ||q_b||.
bool Sensitivity::Piece::turns_most() const {
  const Index n = optimum.problem.n_samples(), d = optimum.problem.n_features();
  const auto root = [&](const Member& member) {  // M = root root'
    Matrix result(n, d);
    for (Index j = 0; j < d; ++j) {
      result.col(j) = optimum.activation(member.block, project(member, Vector::Unit(d, j)));
    }
    return result;
  };
  const auto restrict_to_motions = [&](Matrix columns) -> Matrix {
    if (size() == 0) return columns;
    columns = (qr.householderQ().transpose() * columns).eval();
    return columns.bottomRows(n - size());
  };
  std::vector<bool> inside(optimum.neurons.size(), false);
  for (const Member& member : members) {
    inside[member.neuron] = true;
    if (member.alpha == 0.0) return false;  // not all t >= 0 are optima
  }
  Piece outside(optimum);
  for (std::size_t j = 0; j < inside.size(); ++j) {
    const Neuron& neuron = optimum.neurons[j];
    if (inside[j]) continue;
    if (!spans(neuron.activation)) return false;
    outside.add(static_cast<Index>(j), neuron.blocks.front(), 0.0, neuron.cones.front().held);
  }
  for (const Member& other : outside.members) {
    const Vector share = qr.solve(optimum.neurons[other.neuron].activation);
    Matrix form = restrict_to_motions(root(other));
    double scale = root(other).squaredNorm();
    form = (form * form.transpose()).eval();
    for (Index b = 0; b < size(); ++b) {
      const double part = share(b) / optimum.neurons[members[b].neuron].activation.norm();
      if (std::abs(part) <= Optimum::kSame) continue;
      const Matrix columns = root(members[b]);
      const Matrix restricted = restrict_to_motions(columns);
      form.noalias() -= part * restricted * restricted.transpose();
      scale += std::abs(part) * columns.squaredNorm();
    }
    if (form.rows() == 0) continue;
    const Eigen::SelfAdjointEigenSolver<Matrix> solver(form, Eigen::EigenvaluesOnly);
    if (!(solver.eigenvalues().maxCoeff() <= Optimum::kSame * scale)) return false;
  }
  return true;
}

Sensitivity::Piece::Change Sensitivity::Piece::solve(const Vector& g1, const Vector& g2,
                                                     Monitor& monitor) const {
  Change change{Vector(g1.size()), Vector(g2.size())};
  monitor.check();
  const std::lock_guard<std::mutex> hold(kkt_lock);
  kkt->solve(g1, g2, change.dr, change.dalpha, kRounding, monitor);
  Change error{Vector(g1.size()), Vector(g2.size())};
  kkt->correction(g1, g2, change.dr, change.dalpha, error.dr, error.dalpha, monitor);
  const auto ratio = [](double part, double whole) { return part == 0.0 ? 0.0 : part / whole; };
  double largest = 0.0;
  for (const Member& member : members) {
    largest = std::max(largest, optimum.neurons[member.neuron].activation.norm());
  }
  const double attained =
      std::max(ratio(error.dr.norm(), change.dr.norm() + g1.norm()),
               ratio(largest * error.dalpha.norm(), largest * change.dalpha.norm() + g1.norm()));
  if (!(attained <= kSolved)) {
    char text[160];
    std::snprintf(text, sizeof text,
                  "solution must allow its linear system to be solved to %.0e for derivatives, but "
                  "%.1e is the best that was attained",
                  kSolved, attained);
    throw AccuracyError(text);
  }
  return change;
}

Sensitivity::Piece::Inverse Sensitivity::Piece::invert(Monitor& monitor) const {
  const Index n_samples = optimum.problem.n_samples();
  const Vector zero = Vector::Zero(size());
  Inverse inverse;
  const auto residual = [&] {
    const std::lock_guard<std::mutex> hold(kkt_lock);
    return kkt->invert(inverse.R, inverse.G, monitor);
  };
  if (residual() <= Optimum::kAccurate) return inverse;
  // One by one, with refinement.
  for (Index i = 0; i < n_samples; ++i) {
    const Change change = solve(Vector::Unit(n_samples, i), zero, monitor);
    inverse.R.col(i) = change.dr;
    inverse.G.col(i) = change.dalpha;
  }
  return inverse;
}

DegreesOfFreedom Sensitivity::Piece::degrees_of_freedom(Monitor& monitor) const {
  const ScaledProblem& problem = optimum.problem;
  const Index n_samples = problem.n_samples();
  const auto [R, G] = invert(monitor);
  const Change along = solve(Vector::Zero(n_samples), Vector::Constant(size(), optimum.n), monitor);
  // tr(R M_b R) = (D_b'(XX' o R^2) D_b - ||R A_b C_F^+||^2)/n, D_b as a vector of 0 and 1.
  require_memory(2.0 * sizeof(double) * std::pow(static_cast<double>(n_samples), 2));
  Matrix square(n_samples, n_samples), weighted = Matrix::Zero(n_samples, n_samples);
  transposed_product(R, R, 1.0, square, 1, monitor);
  add_outer_product(problem.X(), 1.0, weighted, 1, monitor);
  weighted.triangularView<Eigen::Lower>() = weighted.cwiseProduct(square);
  double slope = 0.0;
  for (Index b = 0; b < size(); ++b) {
    monitor.check();
    const Member& member = members[b];
    Vector mask = Vector::Ones(n_samples);
    problem.apply_mask({member.block.pattern, +1}, mask);
    double trace = mask.dot(weighted.selfadjointView<Eigen::Lower>() * mask);
    if (member.face.size() > 0) {
      Matrix columns = problem.X() * member.face.q();
      problem.apply_mask(member.block, columns);
      trace -= (R * columns).squaredNorm();
    }
    const Vector turned = optimum.activation(member.block, turn(member, along.dr));
    slope += along.dalpha(b) / optimum.lam * trace / optimum.n +
             2.0 / optimum.lam * G.row(b).dot(R * turned);
  }
  return {static_cast<double>(n_samples) - R.trace(), slope};
}

Sensitivity::Piece::TightRow Sensitivity::Piece::tight_row(Index hyperplane) const {
  const Hyperplanes& planes = optimum.problem.hyperplanes();
  const Index k = planes.samples[planes.offsets[hyperplane]];
  const double length = optimum.problem.X().row(k).norm() / optimum.problem.row_factors()(k);
  return {k, planes.orientation[k] * length};
}

Sensitivity::Piece::Turn Sensitivity::Piece::turn_of_data(const Member& member, const Matrix& d_X,
                                                          const Matrix& d_rows) const {
  Vector masked = optimum.r;
  optimum.problem.apply_mask(member.block, masked);
  Vector v = d_X.transpose() * masked / optimum.n;
  const Index f = member.face.size();
  if (f == 0) return {v, v};
  Vector slack(f);
  for (Index j = 0; j < f; ++j) {
    const TightRow row = tight_row(member.face.rows()[j]);
    const auto d_row = d_rows.row(row.sample) / row.length;
    v += member.multipliers(j) * d_row.transpose();
    slack(j) = -optimum.lam * d_row.dot(member.direction);
  }
  member.face.r().transpose().triangularView<Eigen::Lower>().solveInPlace(slack);
  return {v, project(member, v) + member.face.q() * slack};
}

Sensitivity::Piece::Motion Sensitivity::Piece::push(double d_lam, const Vector& d_y,
                                                    const Matrix& d_X, Monitor& monitor) const {
  Vector g1 = Vector::Zero(optimum.problem.n_samples());
  Vector g2 = Vector::Constant(size(), optimum.n * d_lam);
  if (d_y.size() > 0) g1 = d_y;
  Matrix eps = Matrix::Zero(optimum.problem.n_features(), size());
  if (d_X.size() > 0) {
    const Matrix d_rows = without_factors(d_X);
    for (Index b = 0; b < size(); ++b) {
      const Member& member = members[b];
      const Turn turned = turn_of_data(member, d_X, d_rows);
      eps.col(b) = turned.eps;
      Vector moved = optimum.problem.X() * turned.eps + optimum.lam * (d_X * member.direction);
      optimum.problem.apply_mask(member.block, moved);
      g1 -= member.alpha * moved;
      g2(b) -= optimum.n * member.direction.dot(turned.v);
    }
  }
  const Change change = solve(g1, g2, monitor);
  Matrix dw = weights_of(change.dr, change.dalpha);
  for (Index b = 0; b < size(); ++b) dw.col(b) += members[b].alpha * eps.col(b);
  return {change.dr, dw};
}

Matrix Sensitivity::Piece::weights_of(const Vector& dr, const Vector& dalpha) const {
  Matrix dw(optimum.problem.n_features(), size());
  for (Index b = 0; b < size(); ++b) {
    const Member& member = members[b];
    dw.col(b) = dalpha(b) * member.direction + member.alpha * turn(member, dr);
  }
  return dw;
}

Sensitivity::Piece::Change Sensitivity::Piece::pull(const Matrix& grad, Monitor& monitor) const {
  Vector g1 = Vector::Zero(optimum.problem.n_samples());
  Vector g2(size());
  for (Index b = 0; b < size(); ++b) {
    const Member& member = members[b];
    g1 += member.alpha / optimum.n * optimum.activation(member.block, project(member, grad.col(b)));
    g2(b) = member.direction.dot(grad.col(b));
  }
  return solve(g1, g2, monitor);
}

// With u = alpha (G - A'a) and p = Pi u - n b e, a member adds u.eps - n b e.v - a.dA w =
// p.v - (C^+'u).(dC q) - a.dA w.
Gradient Sensitivity::Piece::gradient(const Matrix& grad, const Change& adjoint) const {
  const ScaledProblem& problem = optimum.problem;
  Matrix weighted = Matrix::Zero(problem.n_samples(), problem.n_features());
  Matrix unweighted = weighted;
  for (Index b = 0; b < size(); ++b) {
    const Member& member = members[b];
    Vector r = optimum.r, a = adjoint.dr;
    problem.apply_mask(member.block, r);
    problem.apply_mask(member.block, a);
    const Vector u = member.alpha * (grad.col(b) - problem.X().transpose() * a);
    const Vector p = project(member, u) - optimum.n * adjoint.dalpha(b) * member.direction;
    weighted += r / optimum.n * p.transpose();
    weighted -= a * (member.alpha * optimum.lam * member.direction).transpose();
    const Index f = member.face.size();
    if (f == 0) continue;
    const Vector t =
        member.face.r().triangularView<Eigen::Upper>().solve(member.face.q().transpose() * u);
    for (Index j = 0; j < f; ++j) {
      const TightRow row = tight_row(member.face.rows()[j]);
      unweighted.row(row.sample) +=
          (member.multipliers(j) * p - optimum.lam * t(j) * member.direction).transpose() /
          row.length;
    }
  }
  return {optimum.n * adjoint.dalpha.sum(), adjoint.dr, weighted + without_factors(unweighted)};
}

}  // namespace sensitivity
}  // namespace convexrelu
