// The n-form of a KKT system: Cholesky of H = I + S N S, then of the Schur complement B'S H^-1 S B + Delta.
#pragma once

#include "convexrelu/numeric/cholesky.hpp"
#include "kkt/active_members.hpp"
#include "numeric/tiled_product.hpp"

namespace convexrelu {
inline namespace kkt {

class NForm {
 public:
  explicit NForm(const ActiveMembers& members) : members_(members) {}

  double cost() const;
  // Of the matrices that it makes.
  double entries() const;

  // H = I + S ((XX'/n) o (D diag(alpha) D')) S over members with all of R^d, + S Z diag(alpha) Z' S/n over
  // the others.
  bool factor(int n_threads, Monitor& monitor);

  // After factor(), with B for S B, which is read in solve().
  bool border(const Matrix& B, int n_threads, Monitor& monitor);

  // With the present Delta.
  bool factor_schur(int n_threads, Monitor& monitor);

  void solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha) const;

  // With H = L L', B'H^-1 B + Delta = T T': dr = W'W - V'V, dalpha = T'^-1 V; dr (n, n) zero, its lower half.
  void invert(Matrix& dr, Matrix& dalpha, int n_threads, Monitor& monitor) const;

  double reciprocal_condition() const;

 private:
  // Members with all of R^d, and columns of Z of the others; those with alpha = 0 add nothing to H.
  struct ColumnsOfH {
    Index n_whole = 0, m_rest = 0;
  };
  ColumnsOfH columns_of_h() const;

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
