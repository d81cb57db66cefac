#include "convexrelu/sensitivity.hpp"

#include <Eigen/Eigenvalues>
#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>

#include "convexrelu/error.hpp"
#include "convexrelu/kkt_system.hpp"
#include "convexrelu/solver.hpp"
#include "critical_cone.hpp"
#include "tiled_product.hpp"

namespace convexrelu {

namespace {

// Stationarity that makes ties of 1e-9 visible.
constexpr double kAccurate = 1e-9;
// What is closer than this, relative to its scale, is equal.
constexpr double kTied = 1e-9;
// Directions and activations of one neuron, and dependent activations, agree to this.
constexpr double kSame = 1e-8;
// Systems are solved to rounding: with refinement.
constexpr double kRounding = 1e-14;
// Changes of faces and of active blocks on the way to the derivative on one side.
constexpr int kMaxRounds = 200;

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

std::string format(const char* pattern, double value) {
  char text[160];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

std::string name_of(Block block) {
  return "block (" + std::to_string(block.pattern) + ", " + (block.sign > 0 ? "+1" : "-1") + ")";
}

// The blocks of the equicorrelation set that are one neuron.
struct Neuron {
  std::vector<Block> blocks;
  std::vector<CriticalCone> cones;  // of each
  Vector direction;                 // e = q/||q||
  Vector activation;                // A_b e (n)
  double alpha = 0.0;               // ||w|| / lam, all blocks together
};

// A weight vector that is differentiated: its part of the member's.
struct Row {
  Block block;
  Index member;
  double share;
};

Matrix nan_matrix(Index rows, Index cols) { return Matrix::Constant(rows, cols, kNaN); }

}  // namespace

// What is known at the solution, in the units of the scaled problem.
struct Sensitivity::Optimum {
  Optimum(Solution given, Monitor& monitor);

  void collect_neurons(Monitor& monitor);
  bool same_neuron(const Neuron& neuron, Block block, ConstVectorRef direction,
                   ConstVectorRef activation) const;
  Vector correlation(Block block, ConstVectorRef r) const;
  Vector activation(Block block, ConstVectorRef w) const;

  Solution solution;
  const ScaledProblem& problem;
  CriticalCones critical_cones;
  double lam, n;
  Vector r;
  std::vector<Neuron> neurons;
  std::vector<Index> neuron_of;  // (k) of the active blocks of the solution
  Vector shares;                 // (k)
};

// One linear piece of the derivative: an active set with its faces, and J factored.
struct Sensitivity::Piece {
  struct Member {
    Index neuron;
    Block block;
    double alpha;
    Vector direction;         // e
    std::vector<Index> held;  // the hyperplanes it stays on
    Face face;                // independent ones among them, C_F as unit normals
    Vector multipliers;       // of the face
  };

  explicit Piece(const Optimum& from) : optimum(from) {}

  Index size() const { return static_cast<Index>(members.size()); }
  void add(Index neuron, Block block, double alpha, const std::vector<Index>& held);
  bool factor(Monitor& monitor);
  // Whether an activation depends on those of the members.
  bool spans(ConstVectorRef activation) const;
  // Whether sum_b alpha_b ||dq_b||^2 is largest here among all optima, whatever the motion dr that
  // leaves all ||q_b|| as they are. False where an activation does not depend on the members'.
  bool turns_most() const;

  // Pi_b x.
  static Vector project(const Member& member, ConstVectorRef x) {
    if (member.face.size() == 0) return x;
    return x - member.face.q() * (member.face.q().transpose() * x);
  }
  // dq_b of dr alone.
  Vector turn(const Member& member, ConstVectorRef dr) const {
    return project(member, optimum.correlation(member.block, dr));
  }

  DegreesOfFreedom degrees_of_freedom(Monitor& monitor) const;  // slope in the scaled lam

  // Solves J (dr; dalpha) = (g1; g2).
  struct Change {
    Vector dr, dalpha;
  };
  Change solve(const Vector& g1, const Vector& g2, Monitor& monitor) const;

  // Of the weights of the members (d, size) and of r, in scaled units.
  struct Motion {
    Vector dr;
    Matrix dw;
  };
  Motion push(double d_lam, const Vector& d_y, const Matrix& d_X, Monitor& monitor) const;
  // The solution of the transposed system for a gradient with respect to the members' weights.
  Change pull(const Matrix& grad, Monitor& monitor) const;
  Gradient gradient(const Matrix& grad, const Change& adjoint) const;

  // What moving data do to a member: v and eps of the header, for rows of X with and without the
  // factors of the sample weights.
  struct Turn {
    Vector v, eps;
  };
  Turn turn_of_data(const Member& member, const Matrix& d_X, const Matrix& d_rows) const;
  // The sample of a hyperplane, and its row in multiples of the unit normal.
  struct TightRow {
    Index sample;
    double length;
  };
  TightRow tight_row(Index hyperplane) const;
  Matrix without_factors(const Matrix& weighted) const {
    return optimum.problem.row_factors().cwiseInverse().asDiagonal() * weighted;
  }

  const Optimum& optimum;
  std::vector<Member> members;
  std::vector<Row> rows;
  Matrix activations;  // unit columns
  Eigen::ColPivHouseholderQR<Matrix> qr;
  std::unique_ptr<KktSystem> kkt;
};

namespace {

// Solves further what is not accurate enough.
Solution accurate(Solution solution, Monitor& monitor) {
  if (solution.status == Status::pruned) {
    throw_invalid("solution must be an optimum, but it was pruned below the minimum");
  }
  const auto stationarity = [&](const Solution& s) {
    return certify(s.problem, s.lam, s.active_set, s.weights, s.dual, 1, monitor).stationarity;
  };
  double attained = stationarity(solution);
  if (attained > kAccurate) {
    SolveOptions options;
    options.warm_start = &solution;
    const double bound = solution.global_lower_bound;
    solution = solve(solution.problem, solution.lam, options, monitor);
    solution.global_lower_bound = bound;
    attained = stationarity(solution);
  }
  if (!(attained <= kAccurate) || solution.status == Status::numerical_failure) {
    throw_invalid(
        format("solution must be stationary to 1e-09 for derivatives, but %.1e is the best "
               "that was attained",
               attained));
  }
  return solution;
}

}  // namespace

Sensitivity::Optimum::Optimum(Solution given, Monitor& monitor)
    : solution(accurate(std::move(given), monitor)),
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
  std::vector<std::int8_t> sides(at(problem.hyperplanes().size()));
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
    Neuron& neuron = neurons[at(neuron_of_block.back())];
    neuron.blocks.push_back(block);
    neuron.cones.push_back(std::move(cone));
    monitor.check();
  }
  // Active blocks are among the tied ones: the solution is stationary.
  const Index k = static_cast<Index>(solution.active_set.size());
  shares.resize(k);
  for (Index j = 0; j < k; ++j) {
    const auto place = std::find_if(tied.begin(), tied.end(), [&](const BlockNorm& candidate) {
      return candidate.block == solution.active_set[at(j)];
    });
    if (place == tied.end()) throw_invalid("solution has an active block with ||q_b|| < lam");
    neuron_of.push_back(neuron_of_block[at(place - tied.begin())]);
    shares(j) = solution.weights.col(j).stableNorm() / problem.weight_unit() / lam;
    neurons[at(neuron_of.back())].alpha += shares(j);
  }
  double total = 0.0;
  for (const Neuron& neuron : neurons) total += neuron.alpha;
  for (Index j = 0; j < k; ++j) shares(j) /= neurons[at(neuron_of[at(j)])].alpha;
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
  const Vector& direction = optimum.neurons[at(neuron)].direction;
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
    const Member& member = members[at(b)];
    activations.col(b) = optimum.neurons[at(member.neuron)].activation.normalized();
    m += optimum.problem.n_features() - member.face.size();
    parts.push_back({member.block, member.alpha, 0.0, member.direction.data(), &member.face});
  }
  if (size() > n_samples) return false;
  if (size() > 0) {
    qr.setThreshold(kSame);
    qr.compute(activations);
    if (qr.rank() < size()) return false;
  }
  // Direct wherever it fits: one factorisation serves many solves.
  const double smaller = static_cast<double>(std::min(n_samples, m));
  const KktSystem::Form form = smaller * static_cast<double>(n_samples) > kLargestMatrix
                                   ? KktSystem::Form::automatic
                               : m <= n_samples ? KktSystem::Form::m_form
                                                : KktSystem::Form::n_form;
  kkt = std::make_unique<KktSystem>(optimum.problem, form);
  return kkt->factor(parts, 1, monitor);
}

bool Sensitivity::Piece::spans(ConstVectorRef activation) const {
  if (size() == 0) return false;
  const Vector rest = activation - activations * qr.solve(Vector(activation));
  return rest.norm() <= kSame * activation.norm();
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
    inside[at(member.neuron)] = true;
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
    const Vector share = qr.solve(optimum.neurons[at(other.neuron)].activation);
    Matrix form = restrict_to_motions(root(other));
    double scale = root(other).squaredNorm();
    form = (form * form.transpose()).eval();
    for (Index b = 0; b < size(); ++b) {
      const double part = share(b) / optimum.neurons[at(members[at(b)].neuron)].activation.norm();
      if (std::abs(part) <= kSame) continue;
      const Matrix columns = root(members[at(b)]);
      const Matrix restricted = restrict_to_motions(columns);
      form.noalias() -= part * restricted * restricted.transpose();
      scale += std::abs(part) * columns.squaredNorm();
    }
    if (form.rows() == 0) continue;
    const Eigen::SelfAdjointEigenSolver<Matrix> solver(form, Eigen::EigenvaluesOnly);
    if (!(solver.eigenvalues().maxCoeff() <= kSame * scale)) return false;
  }
  return true;
}

Sensitivity::Piece::Change Sensitivity::Piece::solve(const Vector& g1, const Vector& g2,
                                                     Monitor& monitor) const {
  Change change{Vector(g1.size()), Vector(g2.size())};
  monitor.check();
  kkt->solve(g1, g2, change.dr, change.dalpha, kRounding, monitor);
  return change;
}

DegreesOfFreedom Sensitivity::Piece::degrees_of_freedom(Monitor& monitor) const {
  const ScaledProblem& problem = optimum.problem;
  const Index n_samples = problem.n_samples();
  const Vector zero = Vector::Zero(size());
  Matrix R, G;
  if (!(kkt->invert(R, G, monitor) <= kAccurate)) {
    for (Index i = 0; i < n_samples; ++i) {
      const Change change = solve(Vector::Unit(n_samples, i), zero, monitor);
      R.col(i) = change.dr;
      G.col(i) = change.dalpha;
    }
  }
  const Change along = solve(Vector::Zero(n_samples), Vector::Constant(size(), optimum.n), monitor);
  // tr(R M_b R) = (D_b'(XX' o R^2) D_b - ||R A_b C_F^+||^2)/n, D_b as a vector of 0 and 1.
  Matrix square(n_samples, n_samples), weighted = Matrix::Zero(n_samples, n_samples);
  transposed_product(R, R, 1.0, square, 1, monitor);
  add_outer_product(problem.X(), 1.0, weighted, 1, monitor);
  weighted.triangularView<Eigen::Lower>() = weighted.cwiseProduct(square);
  double slope = 0.0;
  for (Index b = 0; b < size(); ++b) {
    monitor.check();
    const Member& member = members[at(b)];
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
  const Index k = planes.samples[at(planes.offsets[at(hyperplane)])];
  const double length = optimum.problem.X().row(k).norm() / optimum.problem.row_factors()(k);
  return {k, planes.orientation[at(k)] * length};
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
    const TightRow row = tight_row(member.face.rows()[at(j)]);
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
      const Member& member = members[at(b)];
      const Turn turned = turn_of_data(member, d_X, d_rows);
      eps.col(b) = turned.eps;
      Vector moved = optimum.problem.X() * turned.eps + optimum.lam * (d_X * member.direction);
      optimum.problem.apply_mask(member.block, moved);
      g1 -= member.alpha * moved;
      g2(b) -= optimum.n * member.direction.dot(turned.v);
    }
  }
  const Change change = solve(g1, g2, monitor);
  Matrix dw(optimum.problem.n_features(), size());
  for (Index b = 0; b < size(); ++b) {
    const Member& member = members[at(b)];
    dw.col(b) =
        change.dalpha(b) * member.direction + member.alpha * (turn(member, change.dr) + eps.col(b));
  }
  return {change.dr, dw};
}

Sensitivity::Piece::Change Sensitivity::Piece::pull(const Matrix& grad, Monitor& monitor) const {
  Vector g1 = Vector::Zero(optimum.problem.n_samples());
  Vector g2(size());
  for (Index b = 0; b < size(); ++b) {
    const Member& member = members[at(b)];
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
    const Member& member = members[at(b)];
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
      const TightRow row = tight_row(member.face.rows()[at(j)]);
      unweighted.row(row.sample) +=
          (member.multipliers(j) * p - optimum.lam * t(j) * member.direction).transpose() /
          row.length;
    }
  }
  return {optimum.n * adjoint.dalpha.sum(), adjoint.dr, weighted + without_factors(unweighted)};
}

// The piece on one side of lam: which neurons are active there, on which of their blocks, and which
// loose rows hold them, all by the signs of the derivatives in that direction.
//
// Among blocks and neurons whose activations depend on one another the first order does not decide.
// The derivative is min over dr of max over the optimal alpha of
// 1/2 ||dr||^2 + n/2 sum_b alpha_b ||dq_b||^2 (Bonnans & Shapiro 2000, section 4): those that turn
// most carry the weights.
class Sensitivity::Selection {
 public:
  Selection(const Optimum& optimum, double d_lam) : optimum_(optimum), d_lam_(d_lam) {}

  void run(Monitor& monitor);

  std::shared_ptr<Piece> piece;      // none where nothing was found
  Vector dr;                         // in the direction d_lam
  bool unique = true;                // the weights on that side
  std::vector<std::string> reasons;  // why they are not smooth there

 private:
  // Derivatives below this, relative to their scale, are zero.
  static constexpr double kRate = 1e-8;

  struct Choice {
    Index neuron;
    std::size_t block;
    std::vector<Index> held;
    double alpha;
  };

  const Neuron& neuron(Index j) const { return optimum_.neurons[at(j)]; }
  Index n_neurons() const { return static_cast<Index>(optimum_.neurons.size()); }
  bool is_chosen(Index j) const {
    return std::any_of(choices_.begin(), choices_.end(),
                       [j](const Choice& choice) { return choice.neuron == j; });
  }
  static bool is_settled(const Neuron& neuron) {
    return std::all_of(neuron.cones.begin(), neuron.cones.end(),
                       [](const CriticalCone& cone) { return cone.is_subspace(); });
  }

  // dc and dq of a block of a neuron.
  Vector correlation(Index j, std::size_t block) const {
    return optimum_.correlation(neuron(j).blocks[block], change_.dr);
  }
  DirectionalDerivative turn(Index j, std::size_t block) const {
    if (optimum_.problem.formulation() == Formulation::gated) return {correlation(j, block), {}};
    return optimum_.critical_cones.derivative(neuron(j).cones[block], correlation(j, block));
  }
  // The derivative of ||q|| - lam.
  double rate(Index j) const { return neuron(j).activation.dot(change_.dr) / optimum_.n - d_lam_; }
  double smallest_dalpha() const { return kRate * change_.dalpha.lpNorm<Eigen::Infinity>(); }

  void choose_vertex();
  bool build(Monitor& monitor);
  bool choose_blocks();
  bool enter_or_leave();
  double advantage(Index j, Vector& coefficients) const;
  bool exchange();
  void settle();

  const Optimum& optimum_;
  const double d_lam_;
  std::vector<Choice> choices_;
  Piece::Change change_;
};

void Sensitivity::Selection::run(Monitor& monitor) {
  choose_vertex();
  for (int round = 0; round < kMaxRounds; ++round) {
    if (!build(monitor)) break;
    change_ = piece->solve(Vector::Zero(optimum_.problem.n_samples()),
                           Vector::Constant(piece->size(), optimum_.n * d_lam_), monitor);
    if (choose_blocks() || enter_or_leave() || exchange()) continue;
    dr = change_.dr;
    settle();
    if (!build(monitor)) break;
    return;
  }
  piece = nullptr;
  unique = false;
  reasons.push_back("the active set on this side was not found");
}

// From the weights of the solution to a vertex of the optimal set: independent activations.
void Sensitivity::Selection::choose_vertex() {
  for (Index j = 0; j < n_neurons(); ++j) {
    if (neuron(j).alpha > 0.0) choices_.push_back({j, 0, neuron(j).cones[0].held, neuron(j).alpha});
  }
  while (!choices_.empty()) {
    const Index k = static_cast<Index>(choices_.size());
    Matrix columns(optimum_.problem.n_samples(), k);
    Vector lengths(k);
    for (Index b = 0; b < k; ++b) {
      columns.col(b) = neuron(choices_[at(b)].neuron).activation;
      lengths(b) = columns.col(b).norm();
      columns.col(b) /= lengths(b);
    }
    Eigen::ColPivHouseholderQR<Matrix> qr;
    qr.setThreshold(kSame);
    qr.compute(columns);
    const Index rank = qr.rank();
    if (rank == k) return;
    // The first dependent column by the independent ones: a direction in which the fit stays.
    Vector step = Vector::Zero(k);
    const Vector coefficients = qr.matrixQR()
                                    .topLeftCorner(rank, rank)
                                    .triangularView<Eigen::Upper>()
                                    .solve(qr.matrixQR().col(rank).head(rank));
    const auto& order = qr.colsPermutation().indices();
    for (Index i = 0; i < rank; ++i) step(order(i)) = coefficients(i) / lengths(order(i));
    step(order(rank)) = -1.0 / lengths(order(rank));
    double length = kInfinity;
    Index leaving = -1;
    for (Index b = 0; b < k; ++b) {
      if (step(b) < 0.0 && choices_[at(b)].alpha / -step(b) < length) {
        length = choices_[at(b)].alpha / -step(b);
        leaving = b;
      }
    }
    for (Index b = 0; b < k; ++b) choices_[at(b)].alpha += length * step(b);
    choices_.erase(choices_.begin() + leaving);
  }
}

bool Sensitivity::Selection::build(Monitor& monitor) {
  piece = std::make_shared<Piece>(optimum_);
  for (const Choice& choice : choices_) {
    const Neuron& here = neuron(choice.neuron);
    const Index member = piece->size();
    piece->add(choice.neuron, here.blocks[choice.block], choice.alpha, choice.held);
    if (choice.alpha == 0.0 || choice.alpha != here.alpha || !is_settled(here)) {
      piece->rows.push_back({here.blocks[choice.block], member, 1.0});
      continue;
    }
    for (std::size_t j = 0; j < optimum_.neuron_of.size(); ++j) {
      if (optimum_.neuron_of[j] != choice.neuron) continue;
      piece->rows.push_back(
          {optimum_.solution.active_set[j], member, optimum_.shares(static_cast<Index>(j))});
    }
  }
  return piece->factor(monitor);
}

// Of each neuron the block that turns most, and the rows that hold it.
bool Sensitivity::Selection::choose_blocks() {
  bool changed = false;
  for (std::size_t b = 0; b < choices_.size(); ++b) {
    Choice& choice = choices_[b];
    const Neuron& here = neuron(choice.neuron);
    if (is_settled(here)) continue;
    std::size_t best = choice.block;
    DirectionalDerivative most = turn(choice.neuron, best);
    for (std::size_t block = 0; block < here.blocks.size(); ++block) {
      DirectionalDerivative other = turn(choice.neuron, block);
      if (other.dq.norm() > (1.0 + kRate) * most.dq.norm()) {
        most = std::move(other);
        best = block;
      }
    }
    const Vector present = piece->turn(piece->members[b], change_.dr);
    const double scale = correlation(choice.neuron, best).norm();
    if (best == choice.block && (present - most.dq).norm() <= kRate * scale) continue;
    choice.block = best;
    choice.held = here.cones[best].held;
    choice.held.insert(choice.held.end(), most.bound.begin(), most.bound.end());
    std::sort(choice.held.begin(), choice.held.end());
    changed = true;
  }
  return changed;
}

// The first neuron, in their order, that must enter or leave (Murty 1974).
bool Sensitivity::Selection::enter_or_leave() {
  for (Index j = 0; j < n_neurons(); ++j) {
    const auto place = std::find_if(choices_.begin(), choices_.end(),
                                    [j](const Choice& choice) { return choice.neuron == j; });
    if (place == choices_.end()) {
      if (rate(j) <= kRate || piece->spans(neuron(j).activation)) continue;
      choices_.push_back({j, 0, neuron(j).cones[0].held, 0.0});
      return true;
    }
    if (place->alpha > 0.0 || change_.dalpha(place - choices_.begin()) >= -smallest_dalpha()) {
      continue;
    }
    choices_.erase(place);
    return true;
  }
  return false;
}

// How much more a neuron turns than the chosen ones that its activation is a combination of, with
// these coefficients; relative to both.
double Sensitivity::Selection::advantage(Index j, Vector& coefficients) const {
  double gain = 0.0;
  for (std::size_t block = 0; block < neuron(j).blocks.size(); ++block) {
    gain = std::max(gain, turn(j, block).dq.squaredNorm());
  }
  double size = gain;
  coefficients = piece->qr.solve(neuron(j).activation);
  for (Index b = 0; b < piece->size(); ++b) {
    const Piece::Member& member = piece->members[at(b)];
    coefficients(b) /= neuron(member.neuron).activation.norm();
    const double turned = coefficients(b) * piece->turn(member, change_.dr).squaredNorm();
    gain -= turned;
    size += std::abs(turned);
  }
  return size > 0.0 ? gain / size : 0.0;
}

// A neuron that turns more than those that it depends on takes the place of one of them, as in the
// simplex method.
bool Sensitivity::Selection::exchange() {
  for (Index j = 0; j < n_neurons(); ++j) {
    if (is_chosen(j) || !piece->spans(neuron(j).activation)) continue;
    Vector coefficients;
    if (advantage(j, coefficients) <= kRate) continue;
    double length = kInfinity;
    Index leaving = -1;
    for (Index b = 0; b < piece->size(); ++b) {
      if (coefficients(b) <= kTied || choices_[at(b)].alpha / coefficients(b) >= length) continue;
      length = choices_[at(b)].alpha / coefficients(b);
      leaving = b;
    }
    if (leaving < 0) continue;
    for (Index b = 0; b < piece->size(); ++b) choices_[at(b)].alpha -= length * coefficients(b);
    choices_.erase(choices_.begin() + leaving);
    choices_.push_back({j, 0, neuron(j).cones[0].held, length});
    return true;
  }
  return false;
}

// The faces just off lam, and what is still tied there.
void Sensitivity::Selection::settle() {
  for (std::size_t b = 0; b < choices_.size(); ++b) {
    Choice& choice = choices_[b];
    const Neuron& here = neuron(choice.neuron);
    if (choice.alpha == 0.0 && change_.dalpha(static_cast<Index>(b)) <= smallest_dalpha()) {
      reasons.push_back("a tie on this side: " + name_of(here.blocks[choice.block]));
    }
    if (is_settled(here)) continue;
    const double most = turn(choice.neuron, choice.block).dq.norm();
    for (std::size_t block = 0; block < here.blocks.size(); ++block) {
      if (turn(choice.neuron, block).dq.norm() < (1.0 - kRate) * most) continue;
      const CriticalCone next =
          optimum_.critical_cones.after(here.cones[block], correlation(choice.neuron, block));
      if (!next.is_subspace()) {
        reasons.push_back("a zero multiplier on this side: " + name_of(here.blocks[block]));
      }
      if (block == choice.block) choice.held = next.held;
    }
  }
  for (Index j = 0; j < n_neurons(); ++j) {
    if (is_chosen(j)) continue;
    if (piece->spans(neuron(j).activation)) {
      Vector coefficients;
      if (advantage(j, coefficients) >= -kRate) unique = false;
    } else if (rate(j) >= -kRate) {
      reasons.push_back("a tie on this side: " + name_of(neuron(j).blocks.front()));
    }
  }
  if (!unique) reasons.push_back("the optimum is not unique on this side");
}

Sensitivity::Sensitivity(const Solution& solution, Monitor& monitor)
    : at_(std::make_shared<const Optimum>(solution, monitor)) {
  active_set_ = at_->solution.active_set;
  auto piece = std::make_shared<Piece>(*at_);
  std::vector<Index> member_of(at_->neurons.size(), -1);
  for (std::size_t j = 0; j < at_->neurons.size(); ++j) {
    const Neuron& neuron = at_->neurons[j];
    if (neuron.alpha == 0.0) continue;
    member_of[j] = piece->size();
    piece->add(static_cast<Index>(j), neuron.blocks.front(), neuron.alpha,
               neuron.cones.front().held);
  }
  for (std::size_t j = 0; j < active_set_.size(); ++j) {
    piece->rows.push_back(
        {active_set_[j], member_of[at(at_->neuron_of[j])], at_->shares(static_cast<Index>(j))});
  }
  bool unique = piece->factor(monitor);
  for (const Neuron& neuron : at_->neurons) {
    if (neuron.alpha == 0.0) {
      if (unique && piece->spans(neuron.activation)) {
        unique = false;
      } else if (unique) {
        reasons_.push_back("a tie: " + name_of(neuron.blocks.front()) +
                           " has zero weights and ||q|| = lam");
      }
      continue;
    }
    for (std::size_t j = 0; j < neuron.blocks.size(); ++j) {
      if (neuron.cones[j].is_subspace()) continue;
      const Hyperplanes& planes = at_->problem.hyperplanes();
      const Index k = planes.samples[at(planes.offsets[at(neuron.cones[j].loose.front())])];
      reasons_.push_back("a zero multiplier: " + name_of(neuron.blocks[j]) +
                         " on the kink of sample " + std::to_string(at_->problem.rows()[at(k)]));
    }
  }
  if (!unique) {
    reasons_.push_back(
        "the optimum is not unique: the activations of neurons with ||q|| = lam are dependent");
  }
  weights_ = at_->solution.weights;
  if (reasons_.empty()) {
    piece_ = std::move(piece);
    scope_ = Scope::everything;
    return;
  }
  // The fit may move smoothly all the same.
  Selection below(*at_, -1.0), above(*at_, 1.0);
  below.run(monitor);
  above.run(monitor);
  if (!below.piece || !above.piece) return;
  if ((below.dr + above.dr).norm() <= kSame * above.dr.norm()) {
    piece_ = std::move(above.piece);
    scope_ = Scope::fit_in_lam;
    // Where nothing but the choice among optima stands in the way.
    one_turns_most_ = reasons_.size() == 1 && !unique && piece_->turns_most();
  }
}

Sensitivity Sensitivity::one_sided(Side side, Monitor& monitor) const {
  if (differentiable()) return *this;
  Selection selection(*at_, side == Side::above ? 1.0 : -1.0);
  selection.run(monitor);
  Sensitivity result;
  result.at_ = at_;
  result.reasons_ = std::move(selection.reasons);
  result.active_set_ = active_set_;
  result.weights_ = weights_;
  if (!selection.piece) return result;
  result.scope_ = result.reasons_.empty() ? Scope::everything
                  : selection.unique      ? Scope::weights_in_lam
                                          : Scope::fit_in_lam;
  if (selection.unique) {
    std::vector<Row>& rows = selection.piece->rows;
    std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
      return a.block.pattern != b.block.pattern ? a.block.pattern < b.block.pattern
                                                : a.block.sign > b.block.sign;
    });
    result.active_set_.clear();
    result.weights_.resize(at_->problem.n_features(), static_cast<Index>(rows.size()));
    for (const Row& row : rows) {
      const Piece::Member& member = selection.piece->members[at(row.member)];
      result.weights_.col(static_cast<Index>(result.active_set_.size())) =
          row.share * member.alpha * at_->lam * at_->problem.weight_unit() * member.direction;
      result.active_set_.push_back(row.block);
    }
  }
  result.piece_ = std::move(selection.piece);
  return result;
}

const Solution& Sensitivity::solution() const { return at_->solution; }

// Each tight row must be that of one sample and independent of the others, or which of them binds
// depends on how they move.
std::string Sensitivity::why_not_in_X() const {
  if (scope_ != Scope::everything) return "";
  const ScaledProblem& problem = at_->problem;
  const bool gated = problem.formulation() == Formulation::gated;
  for (const Piece::Member& member : piece_->members) {
    const bool repeated = at_->neurons[at(member.neuron)].blocks.size() > 1;
    for (Index k = 0; k < problem.n_samples(); ++k) {
      if ((gated && !repeated) || !problem.X().row(k).isZero(0.0)) continue;
      return "in X: row " + std::to_string(problem.rows()[at(k)]) + " is zero";
    }
  }
  const Hyperplanes& planes = problem.hyperplanes();
  for (const Piece::Member& member : piece_->members) {
    const auto shared = [&](Index l) {
      return planes.offsets[at(l) + 1] - planes.offsets[at(l)] > 1;
    };
    const auto place = std::find_if(member.held.begin(), member.held.end(), shared);
    if (place != member.held.end()) {
      const Index k = planes.samples[at(planes.offsets[at(*place)])];
      return "in X: " + name_of(member.block) + " has its kink on sample " +
             std::to_string(problem.rows()[at(k)]) + ", whose row is parallel to another";
    }
    if (member.face.size() < static_cast<Index>(member.held.size())) {
      return "in X: the rows on the kink of " + name_of(member.block) + " are dependent";
    }
  }
  return "";
}

bool Sensitivity::differentiable_in_X() const { return differentiable() && why_not_in_X().empty(); }

std::string Sensitivity::why() const {
  std::string text;
  for (const std::string& reason : reasons_) text += (text.empty() ? "" : "; ") + reason;
  return text.empty() ? why_not_in_X() : text;
}

Matrix Sensitivity::jvp(double d_lam, const Vector& d_y, const Matrix& d_X,
                        Monitor& monitor) const {
  const ScaledProblem& problem = at_->problem;
  const Index k = static_cast<Index>(active_set_.size());
  const bool in_lam_alone = d_y.size() == 0 && d_X.size() == 0;
  if (scope_ < (in_lam_alone ? Scope::weights_in_lam : Scope::everything) ||
      (d_X.size() > 0 && !differentiable_in_X())) {
    return nan_matrix(problem.n_features(), k);
  }
  const Vector y = d_y.size() > 0 ? problem.to_scaled(d_y) : d_y;
  Matrix X(d_X.size() > 0 ? problem.n_samples() : 0, d_X.cols());
  for (Index i = 0; i < X.rows(); ++i) {
    X.row(i) = d_X.row(problem.rows()[at(i)]) / problem.X_unit() * problem.row_factors()(i);
  }
  const Matrix dw = piece_->push(d_lam / problem.lam_unit(), y, X, monitor).dw;
  Matrix result(problem.n_features(), k);
  for (Index j = 0; j < k; ++j) {
    const Row& row = piece_->rows[at(j)];
    result.col(j) = row.share * problem.weight_unit() * dw.col(row.member);
  }
  return result;
}

Gradient Sensitivity::vjp(const Matrix& grad_weights, Monitor& monitor) const {
  const Index n = at_->solution.problem.n_samples(), d = at_->problem.n_features();
  if (scope_ != Scope::everything) {
    return {kNaN, Vector::Constant(n, kNaN), nan_matrix(n, d)};
  }
  Matrix grad = Matrix::Zero(d, piece_->size());
  for (Index j = 0; j < grad_weights.cols(); ++j) {
    const Row& row = piece_->rows[at(j)];
    grad.col(row.member) += row.share * grad_weights.col(j);
  }
  Gradient gradient =
      unscaled(piece_->gradient(grad, piece_->pull(grad, monitor)), at_->problem.weight_unit());
  if (!differentiable_in_X()) gradient.X.setConstant(kNaN);
  return gradient;
}

// Of a number in units of `unit`, to the caller's units and samples.
Gradient Sensitivity::unscaled(const Gradient& scaled, double unit) const {
  const ScaledProblem& problem = at_->problem;
  const Index n = at_->solution.problem.n_samples();
  Gradient result{scaled.lam * (unit / problem.X_unit() / problem.y_unit()), Vector::Zero(n),
                  Matrix::Zero(n, problem.n_features())};
  for (Index k = 0; k < problem.n_samples(); ++k) {
    const Index row = problem.rows()[at(k)];
    const double factor = problem.row_factors()(k);
    result.y(row) = scaled.y(k) * factor * (unit / problem.y_unit());
    result.X.row(row) = scaled.X.row(k) * factor * (unit / problem.X_unit());
  }
  return result;
}

Matrix Sensitivity::d_lam(Monitor& monitor) const { return jvp(1.0, Vector(), Matrix(), monitor); }

// Of the fit over the caller's samples: y - r on those that count, by the weights on the others.
Vector Sensitivity::d_fitted(const Vector& d_y, double d_lam, Monitor& monitor) const {
  const ScaledProblem& problem = at_->problem;
  const Index n = at_->solution.problem.n_samples();
  if (d_y.size() == 0 ? scope_ < Scope::fit_in_lam : !fit_differentiable()) {
    return Vector::Constant(n, kNaN);
  }
  Vector scaled_y = Vector::Zero(problem.n_samples());
  if (d_y.size() > 0) scaled_y = problem.to_scaled(d_y);
  const Piece::Motion motion =
      piece_->push(d_lam / problem.lam_unit(), scaled_y, Matrix(), monitor);
  Vector result = problem.from_scaled(scaled_y - motion.dr);
  if (problem.n_samples() == n) return result;
  std::vector<Block> blocks;
  for (const Piece::Member& member : piece_->members) blocks.push_back(member.block);
  const Vector by_weights =
      fitted_values(at_->solution.problem, blocks, problem.weight_unit() * motion.dw);
  for (Index k = 0, next = 0; k < n; ++k) {
    if (next < problem.n_samples() && problem.rows()[at(next)] == k) {
      ++next;
    } else {
      result(k) = scope_ == Scope::fit_in_lam ? kNaN : by_weights(k);
    }
  }
  return result;
}

Vector Sensitivity::d_fitted_d_lam(Monitor& monitor) const {
  return d_fitted(Vector(), 1.0, monitor);
}

Matrix Sensitivity::d_fitted_d_y(Monitor& monitor) const {
  const Index n = at_->solution.problem.n_samples();
  if (!fit_differentiable()) return nan_matrix(n, n);
  Matrix result = Matrix::Zero(n, n);
  for (const Index k : at_->problem.rows()) {
    result.col(k) =
        d_fitted(Vector::Unit(n, k) * at_->problem.y_unit(), 0.0, monitor) / at_->problem.y_unit();
  }
  return result;
}

DegreesOfFreedom Sensitivity::degrees_of_freedom(Monitor& monitor) const {
  if (!fit_differentiable()) return {kNaN, kNaN};
  DegreesOfFreedom result = piece_->degrees_of_freedom(monitor);
  result.d_lam /= at_->problem.lam_unit();
  return result;
}

Gradient Sensitivity::d_objective() const {
  const ScaledProblem& problem = at_->problem;
  Gradient scaled{0.0, at_->r / at_->n, Matrix::Zero(problem.n_samples(), problem.n_features())};
  for (const Neuron& neuron : at_->neurons) scaled.lam += neuron.alpha * at_->lam;
  if (scope_ == Scope::everything) {
    for (const Piece::Member& member : piece_->members) {
      const Vector w = member.alpha * at_->lam * member.direction;
      Vector masked = at_->r;
      problem.apply_mask(member.block, masked);
      scaled.X -= masked / at_->n * w.transpose();
      for (Index j = 0; j < member.face.size(); ++j) {
        const auto row = piece_->tight_row(member.face.rows()[at(j)]);
        const double factor = problem.row_factors()(row.sample);
        scaled.X.row(row.sample) -= member.multipliers(j) / (row.length * factor) * w.transpose();
      }
    }
  }
  if (!differentiable_in_X()) scaled.X.setConstant(kNaN);
  return unscaled(scaled, problem.y_unit() * problem.y_unit());
}

PredictionSensitivity Sensitivity::predictions(ConstMatrixRef X_new, Monitor& monitor) const {
  const ScaledProblem& problem = at_->problem;
  const Index n = at_->solution.problem.n_samples(), m = X_new.rows();
  PredictionSensitivity result{Vector::Constant(m, kNaN), nan_matrix(m, n)};
  if (scope_ < Scope::weights_in_lam) return result;
  const bool gated = problem.formulation() == Formulation::gated;
  std::optional<Patterns> bits;
  if (gated) {
    const Matrix& gates = at_->solution.problem.patterns().gates(monitor);
    Matrix own(gates.rows(), piece_->size());
    for (Index b = 0; b < own.cols(); ++b) {
      own.col(b) = gates.col(piece_->members[at(b)].block.pattern);
    }
    bits = patterns_from_gates(X_new, own);
  }
  for (Index k = 0; k < m; ++k) {
    const Vector x = X_new.row(k).transpose();
    const double length = x.stableNorm();
    Matrix grad = Matrix::Zero(x.size(), piece_->size());
    bool exists = true;
    for (Index b = 0; b < piece_->size(); ++b) {
      const Piece::Member& member = piece_->members[at(b)];
      const double inner = member.direction.dot(x) / (length > 0.0 ? length : 1.0);
      if (gated ? bits->masks().test(k, b) : inner > kTied) {
        grad.col(b) = member.block.sign * x;
      } else if (!gated && inner > -kTied) {
        exists = exists && Piece::project(member, x).stableNorm() <= kTied * length;
      }
    }
    if (!exists) continue;
    Piece::Change adjoint = piece_->pull(grad, monitor);
    const Gradient gradient = unscaled({at_->n * adjoint.dalpha.sum(), adjoint.dr,
                                        Matrix::Zero(problem.n_samples(), problem.n_features())},
                                       problem.weight_unit());
    result.d_lam(k) = gradient.lam;
    if (scope_ == Scope::everything) result.d_y.row(k) = gradient.y.transpose();
  }
  return result;
}

}  // namespace convexrelu
