#include "kkt/mixed_form.hpp"

namespace convexrelu {
inline namespace kkt {

double MixedForm::cost(double n_steps) const {
  return 0.5 * factor_cost() + border_cost() + n_steps * step_cost();
}

bool MixedForm::prepare(const Matrix& B, int n_threads, Monitor& monitor) {
  B_ = &B;
  n_threads_ = n_threads;
  alpha_.resize(members_.n_blocks());
  for (Index b = 0; b < alpha_.size(); ++b) alpha_(b) = members_.slot(b).alpha;
  take_delta();
  if (!preconditioner_) {
    preconditioner_ = std::make_unique<MixedPreconditioner>(members_.problem());
  }
  is_fresh_ = !preconditioner_->has_factor();
  if (is_fresh_ && !factor(monitor)) return false;
  return preconditioner_->border(B, delta_, n_threads, monitor);
}

bool MixedForm::refactor() {
  take_delta();
  return has_factor() && preconditioner_->set_delta(delta_);
}

void MixedForm::solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha,
                      double accuracy, Monitor& monitor) const {
  const auto done = [&] { return cg_.rho <= accuracy * accuracy * cg_.first_rho; };
  solve_until(g1, g2, dr, dalpha, done, monitor);
  // rho does not see what is left of the residual in the range of B; dalpha takes it up.
  dr += cg_.z;
  dalpha += cg_.z_a;
}

void MixedForm::descend(ConstVectorRef g1, ConstVectorRef no_g2, double share, VectorRef dr,
                        VectorRef dalpha, Monitor& monitor) const {
  constexpr double kFineResidual = 1e-5;
  const auto done = [&] {
    return cg_.rho <= (1.0 - share) * cg_.energy ||
           cg_.rho <= kFineResidual * kFineResidual * cg_.first_rho;
  };
  solve_until(g1, no_g2, dr, dalpha, done, monitor);
}

double MixedForm::factor_cost() const {
  const double features = static_cast<double>(members_.d());
  return samples() * samples() * (samples() / 6.0 + features / 2.0);
}

double MixedForm::step_cost() const {
  return 4.0 * samples() * static_cast<double>(members_.d()) *
             static_cast<double>(members_.n_blocks()) +
         2.0 * samples() * samples();
}

void MixedForm::take_delta() {
  delta_.resize(members_.k());
  for (Index b = 0; b < members_.k(); ++b) delta_(b) = members_.slot(b).delta;
}

bool MixedForm::factor(Monitor& monitor) const {
  return preconditioner_->factor(members_.patterns(), alpha_, members_.row_scale(), n_threads_,
                                 monitor);
}

}  // namespace kkt
}  // namespace convexrelu
