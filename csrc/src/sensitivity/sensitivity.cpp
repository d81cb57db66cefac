#include "convexrelu/sensitivity/sensitivity.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>

#include "convexrelu/base/error.hpp"
#include "convexrelu/base/memory.hpp"
#include "convexrelu/solver/solver.hpp"
#include "program/global_bound.hpp"
#include "sensitivity/one_sided_selection.hpp"
#include "sensitivity/sensitivity_piece.hpp"

namespace convexrelu {
inline namespace sensitivity {

namespace {

Matrix nan_matrix(Index rows, Index cols) { return Matrix::Constant(rows, cols, kNaN); }

std::string format(const char* pattern, double value) {
  char text[160];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

// Solves further what is not accurate enough.
Solution accurate(Solution solution, double limit, Monitor& monitor) {
  require_squared(solution.problem, "differentiate takes solutions of the squared loss");
  require_parts_of(solution.problem, solution, "solution");
  if (solution.status == Status::pruned) {
    throw_invalid("solution must be an optimum, but it was pruned below the minimum");
  }
  const auto stationarity = [&](const Solution& s) {
    return certify(s.problem, s.lam, s.active_set, s.weights, s.dual, 1, monitor).stationarity;
  };
  double attained = stationarity(solution);
  if (attained > limit) {
    SolveOptions options;
    options.warm_start = &solution;
    Solution further = solve(solution.problem, solution.lam, options, monitor);
    keep_global_bound(further, solution);
    solution = std::move(further);
    attained = stationarity(solution);
  }
  if (!(attained <= limit) || solution.status == Status::numerical_failure) {
    throw AccuracyError(
        format("solution must be stationary to 1e-09 for derivatives, but %.1e is the best "
               "that was attained",
               attained));
  }
  return solution;
}

}  // namespace

Sensitivity::Sensitivity(const Solution& solution, Monitor& monitor)
    : at_(std::make_shared<const Optimum>(accurate(solution, Optimum::kAccurate, monitor),
                                          monitor)) {
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
        {active_set_[j], member_of[at_->neuron_of[j]], at_->shares(static_cast<Index>(j))});
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
      const Index k = planes.samples[planes.offsets[neuron.cones[j].loose.front()]];
      reasons_.push_back("a zero multiplier: " + name_of(neuron.blocks[j]) +
                         " on the kink of sample " + std::to_string(at_->problem.rows()[k]));
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
  if ((below.dr + above.dr).norm() <= Optimum::kSame * above.dr.norm()) {
    piece_ = std::move(above.piece);
    scope_ = Scope::fit_in_lam;
    // Where nothing but the choice among optima stands in the way.
    one_turns_most_ = reasons_.size() == 1 && !unique && piece_->turns_most();
  }
}

Sensitivity Sensitivity::one_sided(Side side, Monitor& monitor) const {
  if (differentiable()) {
    Sensitivity result = *this;
    result.side_ = side;
    return result;
  }
  Selection selection(*at_, side == Side::above ? 1.0 : -1.0);
  selection.run(monitor);
  Sensitivity result;
  result.at_ = at_;
  result.side_ = side;
  result.reasons_ = std::move(selection.reasons);
  result.active_set_ = active_set_;
  result.weights_ = weights_;
  if (!selection.piece) return result;
  result.scope_ = result.reasons_.empty() ? Scope::everything
                  : selection.unique      ? Scope::weights_in_lam
                                          : Scope::fit_in_lam;
  if (selection.unique) {
    std::vector<Row>& rows = selection.piece->rows;
    std::sort(rows.begin(), rows.end(),
              [](const Row& a, const Row& b) { return comes_before(a.block, b.block); });
    result.active_set_.clear();
    result.weights_.resize(at_->problem.n_features(), static_cast<Index>(rows.size()));
    for (const Row& row : rows) {
      const Piece::Member& member = selection.piece->members[row.member];
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
    const bool repeated = at_->neurons[member.neuron].blocks.size() > 1;
    for (Index k = 0; k < problem.n_samples(); ++k) {
      if ((gated && !repeated) || !problem.X().row(k).isZero(0.0)) continue;
      return "in X: row " + std::to_string(problem.rows()[k]) + " is zero";
    }
  }
  const Hyperplanes& planes = problem.hyperplanes();
  for (const Piece::Member& member : piece_->members) {
    const auto shared = [&](Index l) {
      return planes.offsets[static_cast<std::size_t>(l) + 1] - planes.offsets[l] > 1;
    };
    const auto place = std::find_if(member.held.begin(), member.held.end(), shared);
    if (place != member.held.end()) {
      const Index k = planes.samples[planes.offsets[*place]];
      return "in X: " + name_of(member.block) + " has its kink on sample " +
             std::to_string(problem.rows()[k]) + ", whose row is parallel to another";
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
    X.row(i) = d_X.row(problem.rows()[i]) / problem.X_unit() * problem.row_factors()(i);
  }
  return of_active_set(piece_->push(d_lam / problem.lam_unit(), y, X, monitor).dw);
}

// Of the members' weights, what the blocks of the active set have, in the caller's units.
Matrix Sensitivity::of_active_set(const Matrix& dw) const {
  Matrix result(dw.rows(), static_cast<Index>(active_set_.size()));
  for (Index j = 0; j < result.cols(); ++j) {
    const Row& row = piece_->rows[j];
    result.col(j) = row.share * at_->problem.weight_unit() * dw.col(row.member);
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
    const Row& row = piece_->rows[j];
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
    const Index row = problem.rows()[k];
    const double factor = problem.row_factors()(k);
    result.y(row) = scaled.y(k) * factor * (unit / problem.y_unit());
    result.X.row(row) = scaled.X.row(k) * factor * (unit / problem.X_unit());
  }
  return result;
}

Matrix Sensitivity::d_lam(Monitor& monitor) const { return jvp(1.0, Vector(), Matrix(), monitor); }

// Of the fit over the caller's samples, for d_y, dr and dalpha of the scaled problem: y - r on those that
// count, by the weights on the others.
Vector Sensitivity::d_fitted(const Vector& d_y, const Vector& dr, const Vector& dalpha,
                             Along along) const {
  const ScaledProblem& problem = at_->problem;
  const Index n = at_->solution.problem.n_samples();
  Vector result = problem.from_scaled(d_y - dr);
  if (problem.n_samples() == n) return result;
  const bool has_weights = scope_ >= Scope::weights_in_lam;
  const Matrix dw = has_weights ? of_active_set(piece_->weights_of(dr, dalpha)) : Matrix();
  for (Index k = 0, next = 0; k < n; ++k) {
    if (next < problem.n_samples() && problem.rows()[next] == k) {
      ++next;
    } else {
      result(k) = has_weights ? d_output(k, dw, along) : kNaN;
    }
  }
  return result;
}

// Of what the network predicts at a sample of weight zero, for the weights' dw.
double Sensitivity::d_output(Index sample, const Matrix& dw, Along along) const {
  const Problem& problem = at_->solution.problem;
  const Vector x = problem.X().row(sample).transpose();
  double sum = 0.0;
  for (std::size_t j = 0; j < active_set_.size(); ++j) {
    const Piece::Member& member = piece_->members[piece_->rows[j].member];
    const double rate = x.dot(dw.col(static_cast<Index>(j)));
    double change = 0.0;
    if (problem.formulation() == Formulation::gated) {
      if (problem.patterns().masks().test(sample, active_set_[j].pattern)) change = rate;
    } else {
      switch (piece_->position(member, x)) {
        case Piece::Position::on:
          change = rate;
          break;
        case Piece::Position::kink:
          if (along == Along::y || !side_) return kNaN;
          change = *side_ == Side::above ? std::max(rate, 0.0) : std::min(rate, 0.0);
          break;
        default:
          break;
      }
    }
    sum += active_set_[j].sign * change;
  }
  return sum;
}

Vector Sensitivity::d_fitted_d_lam(Monitor& monitor) const {
  if (scope_ < Scope::fit_in_lam) {
    return Vector::Constant(at_->solution.problem.n_samples(), kNaN);
  }
  const Vector zero = Vector::Zero(at_->problem.n_samples());
  const Vector slopes = Vector::Constant(piece_->size(), at_->n / at_->problem.lam_unit());
  const Piece::Change change = piece_->solve(zero, slopes, monitor);
  return d_fitted(zero, change.dr, change.dalpha, Along::lam);
}

Matrix Sensitivity::d_fitted_d_y(Monitor& monitor) const {
  const ScaledProblem& problem = at_->problem;
  const Index n = at_->solution.problem.n_samples();
  require_memory(sizeof(double) * std::pow(static_cast<double>(n), 2));
  if (!fit_differentiable()) return nan_matrix(n, n);
  const Piece::Inverse inverse = piece_->invert(monitor);
  Matrix result = Matrix::Zero(n, n);
  for (Index k = 0; k < problem.n_samples(); ++k) {
    const double factor = problem.row_factors()(k);
    result.col(problem.rows()[k]) =
        d_fitted(factor * Vector::Unit(problem.n_samples(), k), factor * inverse.R.col(k),
                 factor * inverse.G.col(k), Along::y) /
        problem.y_unit();
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
        const auto row = piece_->tight_row(member.face.rows()[j]);
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
  require_memory(sizeof(double) * static_cast<double>(m) * static_cast<double>(n));
  PredictionSensitivity result{Vector::Constant(m, kNaN), nan_matrix(m, n)};
  if (scope_ < Scope::weights_in_lam) return result;
  const bool gated = problem.formulation() == Formulation::gated;
  using Position = Piece::Position;
  std::optional<Patterns> bits;
  if (gated) {
    const Matrix& gates = at_->solution.problem.patterns().gates(monitor);
    Matrix own(gates.rows(), piece_->size());
    for (Index b = 0; b < own.cols(); ++b) {
      own.col(b) = gates.col(piece_->members[b].block.pattern);
    }
    bits = patterns_from_gates(X_new, own, 1, &monitor);
  }
  for (Index k = 0; k < m; ++k) {
    const Vector x = X_new.row(k).transpose();
    Matrix grad = Matrix::Zero(x.size(), piece_->size());
    bool exists = true;
    for (Index b = 0; b < piece_->size(); ++b) {
      const Piece::Member& member = piece_->members[b];
      const Position position = !gated                     ? piece_->position(member, x)
                                : bits->masks().test(k, b) ? Position::on
                                                           : Position::off;
      if (position == Position::on) grad.col(b) = member.block.sign * x;
      exists = exists && position != Position::kink;
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

}  // namespace sensitivity
}  // namespace convexrelu
