#include "kkt/m_form.hpp"

#include <algorithm>

namespace convexrelu {
inline namespace kkt {

double MForm::cost() const {
  const double m = static_cast<double>(members_.m());
  double fresh = 0.0;
  for (const Slot& slot : members_.slots()) {
    if (slot.offset < 0) fresh += static_cast<double>(slot.width);
  }
  if (members_.is_scaled()) fresh = 0.5 * m;  // all of it, by halves
  return m * m * m / 3.0 + 2.0 * static_cast<double>(n()) * m * fresh;
}

double MForm::entries() const {
  const double n_samples = static_cast<double>(n()), m = static_cast<double>(members_.m());
  return m * (2.0 * n_samples + 3.0 * m);
}

void MForm::drop() {
  for (Slot& slot : members_.slots()) slot.offset = -1;
  z_.resize(0, 0);
  gram_.resize(0, 0);
  has_gram_ = false;
}

bool MForm::factor(int n_threads, Monitor& monitor) {
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

void MForm::solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha) const {
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
    dalpha(b) =
        radial - slot.alpha * (slot.delta * radial + g2(b)) / (n_samples + slot.alpha * slot.delta);
  }
}

void MForm::invert(Matrix& dr, Matrix& dalpha, int n_threads, Monitor& monitor) const {
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

double MForm::reciprocal_condition() const {
  return matrix_.size() == 0 ? 1.0 : convexrelu::reciprocal_condition(matrix_, norm_);
}

void MForm::update_columns(int n_threads, Monitor& monitor) {
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

void MForm::copy_gram(const std::vector<Slot*>& members, const std::vector<Index>& offsets) {
  const std::size_t last = offsets.size() - 1;
  const Slot& row = *members[last];
  for (std::size_t j = 0; j <= last; ++j) {
    const Slot& column = *members[j];
    spare_gram_.block(offsets[last], offsets[j], row.width, column.width) =
        gram_.block(row.offset, column.offset, row.width, column.width);
  }
}

}  // namespace kkt
}  // namespace convexrelu
