// The m-form of a KKT system: Cholesky of
//
//   P = Z'S^2 Z/n + blkdiag(1/alpha_b (I - e e') + delta_b/(n + alpha_b delta_b) e e'),   Z = [A_b Q_b, U]  (n, m)
//
// in face coordinates. Z, and without S also Z'Z, is kept from one factorisation to the next.
#pragma once

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
  double cost() const;
  // Of the matrices that it makes.
  double entries() const;

  // Z and what comes from it is not kept.
  void drop();

  bool factor(int n_threads, Monitor& monitor);

  void solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha) const;

  // With P = L L': dr = I - n V'V, V = L^-1 Z'S/n; dr (n, n) zero, its lower half.
  void invert(Matrix& dr, Matrix& dalpha, int n_threads, Monitor& monitor) const;

  double reciprocal_condition() const;

 private:
  // Z for the present members and, without S, the lower triangle of Z'Z/n. Columns of unchanged ones are
  // copied; they come first and in the order that they had, so that what is below the diagonal
  // stays there.
  void update_columns(int n_threads, Monitor& monitor);

  // The rows of the last of the members that have a new offset, up to the diagonal.
  void copy_gram(const std::vector<Slot*>& members, const std::vector<Index>& offsets);

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
