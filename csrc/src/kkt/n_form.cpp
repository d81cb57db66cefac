#include "kkt/n_form.hpp"

#include <algorithm>
#include <cmath>

namespace convexrelu {
inline namespace kkt {

double NForm::cost() const {
  const double n_samples = static_cast<double>(n()), k = static_cast<double>(members_.k());
  return n_samples * n_samples * (n_samples / 3.0 + 2.0 * k);
}

double NForm::entries() const {
  const double n_samples = static_cast<double>(n());
  const ColumnsOfH columns = columns_of_h();
  return n_samples *
         ((columns.n_whole > 0 ? 2.0 : 1.0) * n_samples + static_cast<double>(columns.m_rest));
}

bool NForm::factor(int n_threads, Monitor& monitor) {
  const double n_samples = static_cast<double>(n());
  const Matrix& X = members_.problem().X();
  has_factor_ = false;
  const auto [n_whole, m_rest] = columns_of_h();
  ActiveMembers::require_entries(entries(), {&matrix_, &sample_gram_, &columns_});
  matrix_.setZero(n(), n());
  if (n_whole > 0) {
    if (sample_gram_.size() == 0) {
      Matrix gram = Matrix::Zero(n(), n());
      add_outer_product(X, 1.0 / n_samples, gram, n_threads, monitor);
      sample_gram_.swap(gram);  // whole, or not at all
    }
    masks_.resize(n(), n_whole);
    Index j = 0;
    for (const auto& slot : members_.slots()) {
      if (slot.alpha == 0.0 || !slot.whole_space) continue;
      masks_.col(j).setConstant(std::sqrt(slot.alpha));
      members_.problem().apply_mask({slot.block.pattern, +1}, masks_.col(j));
      ++j;
    }
    members_.scale(masks_);
    add_outer_product(masks_, 1.0, matrix_, n_threads, monitor);
    matrix_.triangularView<Eigen::Lower>() = matrix_.cwiseProduct(sample_gram_);
  }
  if (m_rest > 0) {
    columns_.resize(n(), m_rest);
    Index j = 0;
    for (const auto& slot : members_.slots()) {
      if (slot.alpha == 0.0 || slot.whole_space) continue;
      members_.fill_columns(slot, columns_.middleCols(j, slot.width));
      columns_.middleCols(j, slot.width) *= std::sqrt(slot.alpha);
      j += slot.width;
      monitor.check();
    }
    members_.scale(columns_);
    add_outer_product(columns_, 1.0 / n_samples, matrix_, n_threads, monitor);
  }
  matrix_.diagonal().array() += 1.0;
  norm_ = symmetric_one_norm(matrix_);
  return factor_cholesky(matrix_, {n_threads, &monitor}) < 0;
}

bool NForm::border(const Matrix& B, int n_threads, Monitor& monitor) {
  B_ = &B;
  half_ = B;
  solve_lower(matrix_, half_, n_threads, monitor);
  inner_.setZero(members_.k(), members_.k());
  add_outer_product(half_.transpose(), 1.0, inner_, n_threads, monitor);
  has_factor_ = true;
  return factor_schur(n_threads, monitor);
}

bool NForm::factor_schur(int n_threads, Monitor& monitor) {
  if (!has_factor_) return false;
  schur_ = inner_;
  for (Index b = 0; b < members_.k(); ++b) schur_(b, b) += members_.slot(b).delta;
  schur_norm_ = symmetric_one_norm(schur_);
  return factor_cholesky(schur_, {n_threads, &monitor}) < 0;
}

void NForm::solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha) const {
  dr = g1;
  solve_cholesky(matrix_, dr);
  if (members_.k() == 0) return;
  dalpha.noalias() = B_->transpose() * dr;
  dalpha -= g2;
  solve_cholesky(schur_, dalpha);
  x_.noalias() = half_ * dalpha;
  matrix_.triangularView<Eigen::Lower>().transpose().solveInPlace(x_);
  dr -= x_;
}

void NForm::invert(Matrix& dr, Matrix& dalpha, int n_threads, Monitor& monitor) const {
  Matrix w = Matrix::Identity(n(), n());
  solve_lower(matrix_, w, n_threads, monitor);
  add_outer_product(w.transpose(), 1.0, dr, n_threads, monitor);
  transposed_product(half_, w, 1.0, dalpha, n_threads, monitor);
  solve_lower(schur_, dalpha, n_threads, monitor);
  add_outer_product(dalpha.transpose(), -1.0, dr, n_threads, monitor);
  solve_lower_transposed(schur_, dalpha, n_threads, monitor);
}

double NForm::reciprocal_condition() const {
  double result = matrix_.size() == 0 ? 1.0 : convexrelu::reciprocal_condition(matrix_, norm_);
  if (members_.k() > 0) {
    result = std::min(result, convexrelu::reciprocal_condition(schur_, schur_norm_));
  }
  return result;
}

NForm::ColumnsOfH NForm::columns_of_h() const {
  ColumnsOfH columns;
  for (const auto& slot : members_.slots()) {
    if (slot.alpha == 0.0) continue;
    if (slot.whole_space) {
      ++columns.n_whole;
    } else {
      columns.m_rest += slot.width;
    }
  }
  return columns;
}

}  // namespace kkt
}  // namespace convexrelu
