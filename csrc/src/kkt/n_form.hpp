// The n-form of a KKT system: Cholesky of H = I + S N S, then of the Schur complement B'S H^-1 S B + Delta.
#pragma once

#include <algorithm>
#include <cmath>

#include "convexrelu/numeric/cholesky.hpp"
#include "kkt/active_members.hpp"
#include "numeric/tiled_product.hpp"

namespace convexrelu {
inline namespace kkt {

class NForm {
 public:
  explicit NForm(const ActiveMembers& members) : members_(members) {}

  double cost() const {
    const double n_samples = static_cast<double>(n()), k = static_cast<double>(members_.k());
    return n_samples * n_samples * (n_samples / 3.0 + 2.0 * k);
  }
  // Of the matrices that it makes.
  double entries() const {
    const double n_samples = static_cast<double>(n());
    const ColumnsOfH columns = columns_of_h();
    return n_samples *
           ((columns.n_whole > 0 ? 2.0 : 1.0) * n_samples + static_cast<double>(columns.m_rest));
  }

  // H = I + S ((XX'/n) o (D diag(alpha) D')) S over members with all of R^d, + S Z diag(alpha) Z' S/n over
  // the others.
  bool factor(int n_threads, Monitor& monitor) {
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

  // After factor(), with B for S B, which is read in solve().
  bool border(const Matrix& B, int n_threads, Monitor& monitor) {
    B_ = &B;
    half_ = B;
    solve_lower(matrix_, half_, n_threads, monitor);
    inner_.setZero(members_.k(), members_.k());
    add_outer_product(half_.transpose(), 1.0, inner_, n_threads, monitor);
    has_factor_ = true;
    return factor_schur(n_threads, monitor);
  }

  // With the present Delta.
  bool factor_schur(int n_threads, Monitor& monitor) {
    if (!has_factor_) return false;
    schur_ = inner_;
    for (Index b = 0; b < members_.k(); ++b) schur_(b, b) += members_.slot(b).delta;
    schur_norm_ = symmetric_one_norm(schur_);
    return factor_cholesky(schur_, {n_threads, &monitor}) < 0;
  }

  void solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha) const {
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

  // With H = L L', B'H^-1 B + Delta = T T': dr = W'W - V'V, dalpha = T'^-1 V; dr (n, n) zero, its lower half.
  void invert(Matrix& dr, Matrix& dalpha, int n_threads, Monitor& monitor) const {
    Matrix w = Matrix::Identity(n(), n());
    solve_lower(matrix_, w, n_threads, monitor);
    add_outer_product(w.transpose(), 1.0, dr, n_threads, monitor);
    transposed_product(half_, w, 1.0, dalpha, n_threads, monitor);
    solve_lower(schur_, dalpha, n_threads, monitor);
    add_outer_product(dalpha.transpose(), -1.0, dr, n_threads, monitor);
    solve_lower_transposed(schur_, dalpha, n_threads, monitor);
  }

  double reciprocal_condition() const {
    double result = matrix_.size() == 0 ? 1.0 : convexrelu::reciprocal_condition(matrix_, norm_);
    if (members_.k() > 0) {
      result = std::min(result, convexrelu::reciprocal_condition(schur_, schur_norm_));
    }
    return result;
  }

 private:
  // Members with all of R^d, and columns of Z of the others; those with alpha = 0 add nothing to H.
  struct ColumnsOfH {
    Index n_whole = 0, m_rest = 0;
  };
  ColumnsOfH columns_of_h() const {
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

  Index n() const { return members_.n(); }

  const ActiveMembers& members_;
  Matrix sample_gram_;       // XX'/n, lower half; made when first needed
  Matrix masks_, columns_;   // the factors of H - I
  Matrix matrix_;            // the factor of H
  bool has_factor_ = false;  // matrix_ and what comes from it are those of the members
  const Matrix* B_ = nullptr;
  Matrix half_;           // L^-1 S B
  Matrix inner_, schur_;  // B'S H^-1 S B, lower half; the factor of it + Delta
  double norm_ = 0.0, schur_norm_ = 0.0;
  mutable Vector x_;  // of solve()
};

}  // namespace kkt
}  // namespace convexrelu
