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
  const Slot& slot(Index b) const { return slots_[b]; }

  // S, empty where it is the identity.
  const Vector& row_scale() const { return row_scale_; }
  bool is_scaled() const { return row_scale_.size() > 0; }
  // rows <- S rows
  void scale(MatrixRef rows) const;

  // Takes over the new members; slots whose block and face are unchanged keep their basis and their offset.
  void adopt(const std::vector<KktMember>& members, const Vector& row_scale, double free_delta);

  void set_delta(double delta, double free_delta);

  // The iterative form has no place for alpha = 0: next to nothing takes it.
  void widen_radial();

  // Throws OutOfMemory where there is no room for matrices of so many entries in all, some of which
  // these have.
  static void require_entries(double n_entries, std::initializer_list<const Matrix*> held);

  // The columns of a member, s_b D_b X Q_b or the free one, without S.
  void fill_columns(const Slot& slot, MatrixRef columns) const;

  // S B (n, k).
  void fill_activations(Matrix& B, int n_threads, Monitor& monitor);

  // out1 (n) = N v + B a, out2 (k) = B'v, neither with S; from X and the masks alone.
  void image(ConstVectorRef v, ConstVectorRef a, VectorRef out1, VectorRef out2, int n_threads,
             Monitor& monitor) const;

  // (out1, out2) = J (x, a)
  void apply(ConstVectorRef x, ConstVectorRef a, VectorRef out1, VectorRef out2, int n_threads,
             Monitor& monitor) const;

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

  void adopt_free_column(double delta);

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
