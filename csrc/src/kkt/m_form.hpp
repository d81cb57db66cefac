// The m-form of a KKT system: Cholesky of
//
//   P = Z'S^2 Z/n + blkdiag(1/alpha_b (I - e e') + delta_b/(n + alpha_b delta_b) e e'),   Z = [A_b Q_b, U]  (n, m)
//
// in face coordinates. Z, and without S also Z'Z, is kept from one factorisation to the next.
#pragma once

#include <algorithm>
#include <vector>

#include "convexrelu/numeric/cholesky.hpp"
#include "kkt/active_members.hpp"
#include "numeric/tiled_product.hpp"

namespace convexrelu {
inline namespace kkt {

class MForm {
 public:
  using Slot = ActiveMembers::Slot;

  explicit MForm(ActiveMembers& members) : members_(members) {}

  // With the new part of Z'Z at twice its price: where the two are close, the n-form keeps more digits of
  // paths that come to singular systems.
  double cost() const {
    const double m = static_cast<double>(members_.m());
    double fresh = 0.0;
    for (const Slot& slot : members_.slots()) {
      if (slot.offset < 0) fresh += static_cast<double>(slot.width);
    }
    if (members_.is_scaled()) fresh = 0.5 * m;  // all of it, by halves
    return m * m * m / 3.0 + 2.0 * static_cast<double>(n()) * m * fresh;
  }
  // Of the matrices that it makes.
  double entries() const {
    const double n_samples = static_cast<double>(n()), m = static_cast<double>(members_.m());
    return m * (2.0 * n_samples + 3.0 * m);
  }

  // Z and what comes from it is not kept.
  void drop() {
    for (Slot& slot : members_.slots()) slot.offset = -1;
    z_.resize(0, 0);
    gram_.resize(0, 0);
    has_gram_ = false;
  }

  bool factor(int n_threads, Monitor& monitor) {
    update_columns(n_threads, monitor);
    const Index m = members_.m();
    matrix_.resize(m, m);
    if (members_.is_scaled()) {
      scaled_z_ = z_;
      members_.scale(scaled_z_);
      matrix_.setZero();
      add_outer_product(scaled_z_.transpose(), 1.0 / static_cast<double>(n()), matrix_, n_threads,
                        monitor);
    } else {
      matrix_.triangularView<Eigen::Lower>() = gram_;
    }
    const double n_samples = static_cast<double>(n());
    for (const Slot& slot : members_.slots()) {
      auto block = matrix_.block(slot.offset, slot.offset, slot.width, slot.width);
      double radial = slot.delta / (n_samples + slot.alpha * slot.delta);
      if (!slot.radial) {
        block.diagonal().array() += 1.0 / slot.alpha;
        radial -= 1.0 / slot.alpha;
      }
      block.selfadjointView<Eigen::Lower>().rankUpdate(slot.local, radial);
    }
    norm_ = symmetric_one_norm(matrix_);
    return factor_cholesky(matrix_, {n_threads, &monitor}) < 0;
  }

  void solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha) const {
    const double n_samples = static_cast<double>(n());
    Vector& x = x_;
    x.noalias() = z().transpose() * g1;
    x /= n_samples;
    for (Index b = 0; b < members_.k(); ++b) {
      const Slot& slot = members_.slot(b);
      x.segment(slot.offset, slot.width) -=
          slot.local * (g2(b) / (n_samples + slot.alpha * slot.delta));
    }
    solve_cholesky(matrix_, VectorRef(x));
    dr = g1;
    dr.noalias() -= z() * x;
    for (Index b = 0; b < members_.k(); ++b) {
      const Slot& slot = members_.slot(b);
      const double radial = slot.local.dot(x.segment(slot.offset, slot.width));
      dalpha(b) = radial - slot.alpha * (slot.delta * radial + g2(b)) /
                               (n_samples + slot.alpha * slot.delta);
    }
  }

  // With P = L L': dr = I - n V'V, V = L^-1 Z'S/n; dr (n, n) zero, its lower half.
  void invert(Matrix& dr, Matrix& dalpha, int n_threads, Monitor& monitor) const {
    const double n_samples = static_cast<double>(n());
    Matrix v = z().transpose() / n_samples;
    solve_lower(matrix_, v, n_threads, monitor);
    dr.diagonal().setOnes();
    add_outer_product(v.transpose(), -n_samples, dr, n_threads, monitor);
    solve_lower_transposed(matrix_, v, n_threads, monitor);
    for (Index b = 0; b < members_.k(); ++b) {
      const Slot& slot = members_.slot(b);
      const double share = n_samples / (n_samples + slot.alpha * slot.delta);
      dalpha.row(b) = share * slot.local.transpose() * v.middleRows(slot.offset, slot.width);
    }
  }

  double reciprocal_condition() const {
    return matrix_.size() == 0 ? 1.0 : convexrelu::reciprocal_condition(matrix_, norm_);
  }

 private:
  // Z for the present members and, without S, the lower triangle of Z'Z/n. Columns of unchanged ones are
  // copied; they come first and in the order that they had, so that what is below the diagonal
  // stays there.
  void update_columns(int n_threads, Monitor& monitor) {
    const Index m = members_.m();
    const bool wants_gram = !members_.is_scaled();
    if (wants_gram && !has_gram_) {
      for (Slot& slot : members_.slots()) slot.offset = -1;
    }
    std::vector<Slot*> order;
    for (Slot& slot : members_.slots()) order.push_back(&slot);
    const auto first_fresh = std::stable_partition(
        order.begin(), order.end(), [](const Slot* slot) { return slot->offset >= 0; });
    if (first_fresh == order.end() && z_.rows() == n() && z_.cols() == m) {
      has_gram_ = wants_gram;
      return;
    }
    std::sort(order.begin(), first_fresh,
              [](const Slot* a, const Slot* b) { return a->offset < b->offset; });
    ActiveMembers::require_entries(entries(), {&z_, &spare_z_, &gram_, &spare_gram_, &matrix_});
    spare_z_.resize(n(), m);
    if (wants_gram) spare_gram_.resize(m, m);
    std::vector<Index> offsets;
    Index m_kept = 0, next = 0;
    for (const Slot* slot : order) {
      offsets.push_back(next);
      auto columns = spare_z_.middleCols(next, slot->width);
      if (slot->offset < 0) {
        members_.fill_columns(*slot, columns);
        monitor.check();
      } else {
        columns = z_.middleCols(slot->offset, slot->width);
        if (wants_gram) copy_gram(order, offsets);
        m_kept += slot->width;
      }
      next += slot->width;
    }
    if (wants_gram) {
      const double scale = 1.0 / static_cast<double>(n());
      const Index n_fresh = m - m_kept;
      const auto fresh = spare_z_.rightCols(n_fresh);
      transposed_product(fresh, spare_z_.leftCols(m_kept), scale,
                         spare_gram_.bottomLeftCorner(n_fresh, m_kept), n_threads, monitor);
      auto corner = spare_gram_.bottomRightCorner(n_fresh, n_fresh);
      corner.setZero();
      add_outer_product(fresh.transpose(), scale, corner, n_threads, monitor);
      gram_.swap(spare_gram_);
    }
    z_.swap(spare_z_);
    has_gram_ = wants_gram;
    for (std::size_t j = 0; j < order.size(); ++j) order[j]->offset = offsets[j];
  }

  // The rows of the last of the members that have a new offset, up to the diagonal.
  void copy_gram(const std::vector<Slot*>& members, const std::vector<Index>& offsets) {
    const std::size_t last = offsets.size() - 1;
    const Slot& row = *members[last];
    for (std::size_t j = 0; j <= last; ++j) {
      const Slot& column = *members[j];
      spare_gram_.block(offsets[last], offsets[j], row.width, column.width) =
          gram_.block(row.offset, column.offset, row.width, column.width);
    }
  }

  Index n() const { return members_.n(); }
  const Matrix& z() const { return members_.is_scaled() ? scaled_z_ : z_; }

  ActiveMembers& members_;
  Matrix z_, gram_;  // Z (n, m) and Z'Z/n (m, m), lower half
  bool has_gram_ = false;
  Matrix spare_z_, spare_gram_;  // room for the next ones
  Matrix scaled_z_;              // S Z
  Matrix matrix_;                // the factor of P
  double norm_ = 0.0;
  mutable Vector x_;  // of solve()
};

}  // namespace kkt
}  // namespace convexrelu
