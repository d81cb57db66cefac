// The iterative form of a KKT system of a gated problem: conjugate gradients on the P of the m-form, which is
// never formed, from X and the masks. The free column is taken out by its Schur complement.
#pragma once

#include <algorithm>
#include <memory>

#include "kkt/active_members.hpp"
#include "kkt/kronecker_preconditioner.hpp"

namespace convexrelu {
inline namespace kkt {

class IterativeForm {
 public:
  explicit IterativeForm(ActiveMembers& members) : members_(members) {}

  // Of so many steps.
  double cost(double n_steps) const;
  // Steps that a system is expected to take, by those of the last ones.
  double n_steps() const { return n_steps_; }

  bool prepare(int n_threads, Monitor& monitor);

  // To a relative residual.
  void solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha, double accuracy,
             Monitor& monitor) const;

  // The model is dr'H_delta dr/2 - g1'dr, H_delta = H + B Delta^-1 B'. With x the m-form's unknown and rho its
  // residual, dr = g1 - Z x is worth (||g1||^2 - n x'P x - n rho'W rho)/2, W the inverse of the
  // block-diagonal part of P, and no direction is worth more than that without the last term.
  void descend(ConstVectorRef g1, ConstVectorRef no_g2, double share, VectorRef dr,
               VectorRef dalpha, Monitor& monitor) const;

 private:
  // Vectors are (d, k), one column a member.
  struct ConjugateGradients {
    Matrix x, residual, preconditioned, p, image_of_p;
    Vector image;           // A p
    double rho, first_rho;  // squared norm of the residual in the preconditioner, now and at x = 0
    double energy;          // x'P x

    void resize(Index n, Index d, Index k) {
      x.setZero(d, k);
      for (Matrix* vector : {&residual, &preconditioned, &p, &image_of_p}) vector->resize(d, k);
      image.resize(n);
    }
  };

  // What the free column alone asks for, and its Schur complement.
  void border(Monitor& monitor);

  template <typename Done>
  void solve_until(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha,
                   const Done& done, Monitor& monitor) const {
    const Index k = members_.n_blocks();
    solve_blocks(g1, g2.head(k), dr, dalpha.head(k), done, monitor);
    if (members_.k() == k) return;
    const double shift = (column_.dot(dr) - g2(k)) / schur_;
    dr -= shift * free_dr_;
    dalpha.head(k) -= shift * free_dalpha_;
    dalpha(k) = shift;
  }

  // out = P x, x (d, k) one column a member.
  void apply_m_form(const Matrix& x, Matrix& out, Monitor& monitor) const;

  // n ||residual||^2 in the inverse of the block-diagonal part of P.
  double model_error() const;

  // Without the free column. Conjugate gradients until done() or, in their own norm, the residual is small.
  template <typename Done>
  void solve_blocks(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha,
                    const Done& done, Monitor& monitor) const {
    constexpr int kMaxSteps = 500;
    const MaskProduct& products = members_.problem().products();
    const double n_samples = static_cast<double>(members_.n());
    const Index k = members_.n_blocks();
    const auto slot = [&](Index b) -> const auto& { return members_.slot(b); };
    ConjugateGradients& cg = cg_;
    cg.resize(members_.n(), members_.d(), k);
    if (members_.is_scaled()) {
      cg.image = members_.row_scale().cwiseProduct(g1);
      products.correlate(cg.image, members_.patterns(), cg.residual, n_threads_, &monitor);
    } else {
      products.correlate(g1, members_.patterns(), cg.residual, n_threads_, &monitor);
    }
    cg.residual /= n_samples;
    for (Index b = 0; b < k; ++b) {
      cg.residual.col(b) -=
          directions_.col(b) * (g2(b) / (n_samples + slot(b).alpha * slot(b).delta));
    }
    preconditioner_->apply(cg.residual, cg.preconditioned, monitor);
    cg.p = cg.preconditioned;
    cg.rho = cg.first_rho = cg.residual.cwiseProduct(cg.preconditioned).sum();
    cg.energy = 0.0;
    int step = 0;
    for (; step < kMaxSteps && cg.rho > 0.0 && !done(); ++step) {
      monitor.check();
      apply_m_form(cg.p, cg.image_of_p, monitor);
      const double length = cg.rho / cg.p.cwiseProduct(cg.image_of_p).sum();
      cg.x += length * cg.p;
      cg.residual -= length * cg.image_of_p;
      cg.energy += length * cg.rho;
      preconditioner_->apply(cg.residual, cg.preconditioned, monitor);
      const double next = cg.residual.cwiseProduct(cg.preconditioned).sum();
      cg.p = cg.preconditioned + (next / cg.rho) * cg.p;
      cg.rho = next;
    }
    n_steps_ = std::max(kKeptSteps * n_steps_, static_cast<double>(step));
    products.forward(members_.patterns(), cg.x, cg.image, n_threads_, &monitor);
    if (members_.is_scaled()) cg.image.array() *= members_.row_scale().array();
    dr = g1 - cg.image;
    for (Index b = 0; b < k; ++b) {
      const double along = directions_.col(b).dot(cg.x.col(b));
      dalpha(b) = along - slot(b).alpha * (slot(b).delta * along + g2(b)) /
                              (n_samples + slot(b).alpha * slot(b).delta);
    }
  }

  ActiveMembers& members_;
  int n_threads_ = 1;
  std::unique_ptr<KroneckerPreconditioner> preconditioner_;  // made when first needed
  mutable ConjugateGradients cg_;
  static constexpr double kFirstSteps = 40.0, kKeptSteps = 0.8;
  mutable double n_steps_ = kFirstSteps;
  Vector alpha_;
  Vector radial_;                          // delta_b / (n + alpha_b delta_b)
  Matrix directions_;                      // (d, k)
  Vector curvature_;                       // S^2
  Vector column_, free_dr_, free_dalpha_;  // S u, and J^-1 (S u, 0) without the free column
  double schur_ = 1.0;
};

}  // namespace kkt
}  // namespace convexrelu
