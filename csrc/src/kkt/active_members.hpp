// The members of a KKT system (kkt_system.hpp) as its forms take them: what is kept of each from one
// factorisation to the next, and the products with J that need no matrix.
//
// The free column counts as a member with alpha = 0, the last one: k below is the number of columns of B.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <utility>
#include <vector>

#include "convexrelu/base/memory.hpp"
#include "convexrelu/kkt/kkt_member.hpp"
#include "convexrelu/program/problem.hpp"
#include "numeric/tiled_product.hpp"

namespace convexrelu {
inline namespace kkt {

class ActiveMembers {
 public:
  struct Slot {
    Block block;
    bool is_free;  // the free column: no block, no direction
    double alpha;
    double delta;
    std::vector<Index> face;
    bool radial;       // alpha = 0: the basis is e_b itself
    bool whole_space;  // no active row: the basis, left empty, is all of R^d
    Matrix basis;      // (d, width) unless whole_space
    Vector direction;  // e_b in R^d
    Vector local;      // Q_b' e_b
    Index width;       // m_b
    Index offset;      // its columns in the matrices of the m-form, -1 if not there
  };

  explicit ActiveMembers(const ScaledProblem& problem) : problem_(problem) {}

  const ScaledProblem& problem() const { return problem_; }
  Index n() const { return problem_.n_samples(); }
  Index d() const { return problem_.n_features(); }
  Index k() const { return static_cast<Index>(slots_.size()); }
  Index n_blocks() const { return static_cast<Index>(patterns_.size()); }
  Index m() const { return m_; }
  const std::vector<Index>& patterns() const { return patterns_; }  // of the blocks
  std::vector<Slot>& slots() { return slots_; }
  const std::vector<Slot>& slots() const { return slots_; }
  const Slot& slot(Index b) const { return slots_[static_cast<std::size_t>(b)]; }

  // S, empty where it is the identity.
  const Vector& row_scale() const { return row_scale_; }
  bool is_scaled() const { return row_scale_.size() > 0; }
  // rows <- S rows
  void scale(MatrixRef rows) const {
    if (is_scaled()) rows.array().colwise() *= row_scale_.array();
  }

  // Takes over the new members; slots whose block and face are unchanged keep their basis and their offset.
  void adopt(const std::vector<KktMember>& members, const Vector& row_scale, double free_delta) {
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

  void set_delta(double delta, double free_delta) {
    for (Slot& slot : slots_) slot.delta = slot.is_free ? free_delta : delta;
  }

  // The iterative form has no place for alpha = 0: next to nothing takes it.
  void widen_radial() {
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

  // Throws OutOfMemory where there is no room for matrices of so many entries in all, some of which
  // these have.
  static void require_entries(double n_entries, std::initializer_list<const Matrix*> held) {
    for (const Matrix* matrix : held) n_entries -= static_cast<double>(matrix->size());
    require_memory(sizeof(double) * n_entries);
  }

  // The columns of a member, s_b D_b X Q_b or the free one, without S.
  void fill_columns(const Slot& slot, MatrixRef columns) const {
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

  // S B (n, k).
  void fill_activations(Matrix& B, int n_threads, Monitor& monitor) {
    directions_.resize(d(), n_blocks());
    for (Index b = 0; b < n_blocks(); ++b) directions_.col(b) = slot(b).direction;
    B.resize(n(), k());
    for_tiles(n(), n_blocks(), n_threads, monitor,
              [&](Index i, Index j, Index height, Index width) {
                B.block(i, j, height, width).noalias() =
                    problem_.X().middleRows(i, height) * directions_.middleCols(j, width);
              });
    for (Index b = 0; b < n_blocks(); ++b) problem_.apply_mask(slot(b).block, B.col(b));
    if (k() > n_blocks()) B.col(n_blocks()) = problem_.free_column();
    scale(B);
  }

  // out1 (n) = N v + B a, out2 (k) = B'v, neither with S; from X and the masks alone.
  void image(ConstVectorRef v, ConstVectorRef a, VectorRef out1, VectorRef out2, int n_threads,
             Monitor& monitor) const {
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

  // (out1, out2) = J (x, a)
  void apply(ConstVectorRef x, ConstVectorRef a, VectorRef out1, VectorRef out2, int n_threads,
             Monitor& monitor) const {
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

 private:
  static constexpr Index kTaken = -2;

  // Moves the first old slot that is wanted; whether there was one.
  template <typename Wanted>
  bool take_old(const Wanted& wanted, Slot& slot) {
    const auto found = std::find_if(old_slots_.begin(), old_slots_.end(), wanted);
    if (found == old_slots_.end()) return false;
    slot = std::move(*found);
    found->block.pattern = kTaken;
    found->is_free = false;
    return true;
  }

  void adopt_free_column(double delta) {
    Slot slot;
    if (!take_old([](const Slot& old) { return old.is_free; }, slot)) {
      slot = {{-1, +1}, true, 0.0, delta, {}, true, false, {}, {}, Vector::Ones(1), 1, -1};
    }
    slot.delta = delta;
    m_ += slot.width;
    slots_.push_back(std::move(slot));
  }

  const ScaledProblem& problem_;
  std::vector<Slot> slots_, old_slots_;
  std::vector<Index> patterns_;
  Index m_ = 0;
  Vector row_scale_;
  Matrix directions_;  // (d, k)
  mutable Matrix w_;   // (d, k), of image()
  mutable Vector local_, scaled_;
};

}  // namespace kkt
}  // namespace convexrelu
