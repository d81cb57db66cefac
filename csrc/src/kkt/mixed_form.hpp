// The mixed form of a KKT system of a gated problem: conjugate gradients on J in float64, preconditioned by J
// with a factor in float32 of the H of this or an earlier system.
#pragma once

#include <cmath>
#include <memory>

#include "kkt/active_members.hpp"
#include "kkt/mixed_preconditioner.hpp"

namespace convexrelu {
inline namespace kkt {

class MixedForm {
 public:
  explicit MixedForm(const ActiveMembers& members) : members_(members) {}

  // Of so many steps, with a factor that serves two systems.
  double cost(double n_steps) const;

  bool has_factor() const { return preconditioner_ && preconditioner_->has_factor(); }

  // B is S B. The factor of an earlier system will do, until a solution finds that it does not.
  bool prepare(const Matrix& B, int n_threads, Monitor& monitor);

  // With the present Delta.
  bool refactor();

  void solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha, double accuracy,
             Monitor& monitor) const;

  void descend(ConstVectorRef g1, ConstVectorRef no_g2, double share, VectorRef dr,
               VectorRef dalpha, Monitor& monitor) const;

  double reciprocal_condition() const { return preconditioner_->reciprocal_condition(); }

 private:
  // Vectors (n) and (k).
  struct ProjectedGradients {
    Vector r, a, residual, z, z_a, p, p_a, image, image_a, zero, zero_a;
    double rho, first_rho;  // squared norm of the residual in the preconditioner, now and at first
    double energy;          // gained

    void resize(Index n, Index k) {
      for (Vector* vector : {&r, &zero}) vector->setZero(n);
      for (Vector* vector : {&a, &zero_a}) vector->setZero(k);
      for (Vector* vector : {&residual, &z, &p, &image}) vector->resize(n);
      for (Vector* vector : {&z_a, &p_a, &image_a}) vector->resize(k);
    }
  };

  double samples() const { return static_cast<double>(members_.n()); }
  double factor_cost() const;
  double border_cost() const { return samples() * samples() * static_cast<double>(members_.k()); }
  double step_cost() const;

  void take_delta();

  bool factor(Monitor& monitor) const;

  // Conjugate gradients on J where B'r = Delta a, until done() or the residual is zero. A factor of an
  // earlier system is made anew once they have cost as much as that.
  template <typename Done>
  void solve_until(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha,
                   const Done& done, Monitor& monitor) const {
    constexpr int kMaxSteps = 500;
    ProjectedGradients& cg = cg_;
    cg.resize(members_.n(), members_.k());
    cg.residual = g1;
    cg.energy = 0.0;
    double start_energy = 0.0;
    if (g2.squaredNorm() > 0.0) {
      preconditioner_->apply(cg.zero, g2, cg.r, cg.a);
      members_.apply(cg.r, cg.a, cg.image, cg.image_a, n_threads_, monitor);
      cg.residual -= cg.image;
      start_energy = cg.r.dot(cg.image) - cg.a.dot(cg.image_a);
    }
    const auto precondition = [&] {
      preconditioner_->apply(cg.residual, cg.zero_a, cg.z, cg.z_a);
      return cg.residual.dot(cg.z);
    };
    cg.rho = precondition();
    cg.first_rho = cg.rho + std::abs(start_energy);
    cg.p = cg.z;
    cg.p_a = cg.z_a;
    double cost = 0.0;
    for (int step = 0; step < kMaxSteps && cg.rho > 0.0 && !done(); ++step) {
      monitor.check();
      if (!is_fresh_ && cost > factor_cost() + border_cost()) {
        is_fresh_ = true;
        if (!factor(monitor) || !preconditioner_->border(*B_, delta_, n_threads_, monitor)) break;
        cg.rho = precondition();
        cg.p = cg.z;
        cg.p_a = cg.z_a;
      }
      members_.apply(cg.p, cg.p_a, cg.image, cg.image_a, n_threads_, monitor);
      cost += step_cost();
      const double length = cg.rho / cg.p.dot(cg.image);
      cg.r += length * cg.p;
      cg.a += length * cg.p_a;
      cg.residual -= length * cg.image;
      cg.energy += length * cg.rho;
      const double next = precondition();
      cg.p = cg.z + (next / cg.rho) * cg.p;
      cg.p_a = cg.z_a + (next / cg.rho) * cg.p_a;
      cg.rho = next;
    }
    dr = cg.r;
    dalpha = cg.a;
  }

  const ActiveMembers& members_;
  const Matrix* B_ = nullptr;
  int n_threads_ = 1;
  Vector alpha_, delta_;
  std::unique_ptr<MixedPreconditioner> preconditioner_;  // made when first needed
  mutable bool is_fresh_ = false;                        // its factor is that of the present system
  mutable ProjectedGradients cg_;
};

}  // namespace kkt
}  // namespace convexrelu
