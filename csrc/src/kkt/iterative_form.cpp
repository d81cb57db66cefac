#include "kkt/iterative_form.hpp"

namespace convexrelu {
inline namespace kkt {

double IterativeForm::cost(double n_steps) const {
  const double features = static_cast<double>(members_.d());
  const double k = static_cast<double>(members_.n_blocks());
  const double step = 4.0 * static_cast<double>(members_.n()) * features * k +
                      (4.0 * features + 8.0 * k) * features * k;
  return n_steps * step;
}

bool IterativeForm::prepare(int n_threads, Monitor& monitor) {
  if (!preconditioner_) {
    preconditioner_ = std::make_unique<KroneckerPreconditioner>(members_.problem(), monitor);
  }
  n_threads_ = n_threads;
  members_.widen_radial();
  const double n_samples = static_cast<double>(members_.n());
  const Index k = members_.n_blocks();
  alpha_.resize(k);
  radial_.resize(k);
  directions_.resize(members_.d(), k);
  for (Index b = 0; b < k; ++b) {
    const auto& slot = members_.slot(b);
    alpha_(b) = slot.alpha;
    radial_(b) = slot.delta / (n_samples + slot.alpha * slot.delta);
    directions_.col(b) = slot.direction;
  }
  curvature_ = members_.row_scale().cwiseAbs2();
  preconditioner_->setup(members_.patterns(), alpha_, radial_, directions_, members_.row_scale(),
                         n_threads, monitor);
  if (members_.problem().has_intercept()) border(monitor);
  return true;
}

void IterativeForm::solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha,
                          double accuracy, Monitor& monitor) const {
  const auto done = [&] { return cg_.rho <= accuracy * accuracy * cg_.first_rho; };
  solve_until(g1, g2, dr, dalpha, done, monitor);
}

void IterativeForm::descend(ConstVectorRef g1, ConstVectorRef no_g2, double share, VectorRef dr,
                            VectorRef dalpha, Monitor& monitor) const {
  constexpr double kFineResidual = 1e-5;
  const double square = g1.squaredNorm();
  const auto done = [&] {
    const double worth = square - static_cast<double>(members_.n()) * cg_.energy;
    return model_error() <= (1.0 - share) * worth ||
           cg_.rho <= kFineResidual * kFineResidual * cg_.first_rho;
  };
  solve_until(g1, no_g2, dr, dalpha, done, monitor);
}

void IterativeForm::border(Monitor& monitor) {
  constexpr double kRounding = 1e-12;
  const Index k = members_.n_blocks();
  column_ = members_.problem().free_column();
  if (members_.is_scaled()) column_.array() *= members_.row_scale().array();
  free_dr_.resize(column_.size());
  free_dalpha_.resize(k);
  const auto done = [&] { return cg_.rho <= kRounding * kRounding * cg_.first_rho; };
  solve_blocks(column_, Vector::Zero(k), free_dr_, free_dalpha_, done, monitor);
  schur_ = column_.dot(free_dr_) + members_.slot(k).delta;
}

void IterativeForm::apply_m_form(const Matrix& x, Matrix& out, Monitor& monitor) const {
  const MaskProduct& products = members_.problem().products();
  products.forward(members_.patterns(), x, cg_.image, n_threads_, &monitor);
  if (members_.is_scaled()) cg_.image.array() *= curvature_.array();
  products.correlate(cg_.image, members_.patterns(), out, n_threads_, &monitor);
  out /= static_cast<double>(members_.n());
  for (Index b = 0; b < members_.n_blocks(); ++b) {
    const auto e = directions_.col(b);
    const double along = (radial_(b) - 1.0 / alpha_(b)) * e.dot(x.col(b));
    out.col(b) += x.col(b) / alpha_(b) + along * e;
  }
}

double IterativeForm::model_error() const {
  double sum = 0.0;
  for (Index b = 0; b < members_.n_blocks(); ++b) {
    const double along = directions_.col(b).dot(cg_.residual.col(b));
    const double square = along * along;
    sum += alpha_(b) * (cg_.residual.col(b).squaredNorm() - square) + square / radial_(b);
  }
  return static_cast<double>(members_.n()) * sum;
}

}  // namespace kkt
}  // namespace convexrelu
