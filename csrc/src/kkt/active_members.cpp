#include "kkt/active_members.hpp"

namespace convexrelu {
inline namespace kkt {

void ActiveMembers::scale(MatrixRef rows) const {
  if (is_scaled()) rows.array().colwise() *= row_scale_.array();
}

void ActiveMembers::adopt(const std::vector<KktMember>& members, const Vector& row_scale,
                          double free_delta) {
  row_scale_ = row_scale;
  old_slots_.swap(slots_);
  slots_.clear();
  slots_.reserve(members.size() + 1);
  patterns_.clear();
  m_ = 0;
  for (const KktMember& member : members) {
    const bool radial = member.alpha == 0.0;
    const auto same = [&](const Slot& slot) {
      return slot.block == member.block && !slot.radial && slot.face == member.face->rows();
    };
    Slot slot;
    if (radial || !take_old(same, slot)) {
      slot.block = member.block;
      slot.is_free = false;
      slot.face = member.face->rows();
      slot.radial = radial;
      slot.whole_space = !radial && slot.face.empty();
      if (!radial && !slot.face.empty()) {
        slot.basis = member.face->null_basis(d());
      }
      slot.offset = -1;
    }
    slot.alpha = member.alpha;
    slot.delta = member.delta;
    slot.direction = Eigen::Map<const Vector>(member.direction, d());
    if (radial) slot.basis = slot.direction;
    if (slot.whole_space) {
      slot.local = slot.direction;
    } else {
      slot.local.noalias() = slot.basis.transpose() * slot.direction;
    }
    slot.width = slot.local.size();
    m_ += slot.width;
    patterns_.push_back(slot.block.pattern);
    slots_.push_back(std::move(slot));
  }
  if (problem_.has_intercept()) adopt_free_column(free_delta);
}

void ActiveMembers::set_delta(double delta, double free_delta) {
  for (Slot& slot : slots_) slot.delta = slot.is_free ? free_delta : delta;
}

void ActiveMembers::widen_radial() {
  constexpr double kSmallest = 1e-6;  // relative to the largest alpha
  double largest = 0.0;
  for (const Slot& slot : slots_) largest = std::max(largest, slot.alpha);
  m_ = 0;
  for (Slot& slot : slots_) {
    if (slot.radial && !slot.is_free) {
      slot.radial = false;
      slot.alpha = largest > 0.0 ? kSmallest * largest : 1.0;
      slot.whole_space = true;
      slot.basis.resize(0, 0);
      slot.local = slot.direction;
      slot.width = d();
    }
    m_ += slot.width;
  }
}

void ActiveMembers::require_entries(double n_entries, std::initializer_list<const Matrix*> held) {
  for (const Matrix* matrix : held) n_entries -= static_cast<double>(matrix->size());
  require_memory(sizeof(double) * n_entries);
}

void ActiveMembers::fill_columns(const Slot& slot, MatrixRef columns) const {
  if (slot.is_free) {
    columns = problem_.free_column();
    return;
  }
  if (slot.whole_space) {
    columns = problem_.X();
  } else {
    columns.noalias() = problem_.X() * slot.basis;
  }
  problem_.apply_mask(slot.block, columns);
}

void ActiveMembers::fill_activations(Matrix& B, int n_threads, Monitor& monitor) {
  directions_.resize(d(), n_blocks());
  for (Index b = 0; b < n_blocks(); ++b) directions_.col(b) = slot(b).direction;
  B.resize(n(), k());
  for_tiles(n(), n_blocks(), n_threads, monitor, [&](Index i, Index j, Index height, Index width) {
    B.block(i, j, height, width).noalias() =
        problem_.X().middleRows(i, height) * directions_.middleCols(j, width);
  });
  for (Index b = 0; b < n_blocks(); ++b) problem_.apply_mask(slot(b).block, B.col(b));
  if (k() > n_blocks()) B.col(n_blocks()) = problem_.free_column();
  scale(B);
}

void ActiveMembers::image(ConstVectorRef v, ConstVectorRef a, VectorRef out1, VectorRef out2,
                          int n_threads, Monitor& monitor) const {
  const double n_samples = static_cast<double>(n());
  w_.resize(d(), n_blocks());
  local_.resize(d());
  problem_.products().correlate(v, patterns_, w_, n_threads, &monitor);
  for (Index b = 0; b < n_blocks(); ++b) {
    const Slot& member = slot(b);
    const double sign = member.block.sign;
    auto w = w_.col(b);
    out2(b) = sign * member.direction.dot(w);
    if (member.alpha == 0.0) {
      w.setZero();
    } else if (!member.whole_space) {
      auto local = local_.head(member.width);
      local.noalias() = member.basis.transpose() * w;
      w.noalias() = member.basis * local;
    }
    w = (member.alpha / n_samples) * w + sign * a(b) * member.direction;
  }
  problem_.products().forward(patterns_, w_, out1, n_threads, &monitor);
  if (k() == n_blocks()) return;
  const Index free = n_blocks();
  out1 += a(free) * problem_.free_column();
  out2(free) = problem_.free_column().dot(v);
}

void ActiveMembers::apply(ConstVectorRef x, ConstVectorRef a, VectorRef out1, VectorRef out2,
                          int n_threads, Monitor& monitor) const {
  if (is_scaled()) {
    scaled_ = row_scale_.cwiseProduct(x);
    image(scaled_, a, out1, out2, n_threads, monitor);
    out1.array() *= row_scale_.array();
  } else {
    image(x, a, out1, out2, n_threads, monitor);
  }
  out1 += x;
  for (Index b = 0; b < k(); ++b) out2(b) -= slot(b).delta * a(b);
}

void ActiveMembers::adopt_free_column(double delta) {
  Slot slot;
  if (!take_old([](const Slot& old) { return old.is_free; }, slot)) {
    slot = {{-1, +1}, true, 0.0, delta, {}, true, false, {}, {}, Vector::Ones(1), 1, -1};
  }
  slot.delta = delta;
  m_ += slot.width;
  slots_.push_back(std::move(slot));
}

}  // namespace kkt
}  // namespace convexrelu
