#include "convexrelu/kkt/kkt_system.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/random.hpp"
#include "kkt/active_members.hpp"
#include "kkt/iterative_form.hpp"
#include "kkt/m_form.hpp"
#include "kkt/mixed_form.hpp"
#include "kkt/n_form.hpp"

namespace convexrelu {
inline namespace kkt {

class KktSystem::Impl {
 public:
  Impl(const ScaledProblem& problem, Form form) : requested_(form), members_(problem) {}

  bool factor(const std::vector<Member>& members, int n_threads, Monitor& monitor,
              const Vector& row_scale, double free_delta) {
    members_.adopt(members, row_scale, free_delta);
    n_threads_ = n_threads;
    const bool chosen = requested_ != Form::automatic && requested_ != Form::direct;
    form_ = chosen ? requested_ : cheapest_form();
    monitor.check();
    if (form_ != Form::m_form) m_form_.drop();
    switch (form_) {
      case Form::n_form:
        if (!n_form_.factor(n_threads, monitor)) return false;
        members_.fill_activations(B_, n_threads, monitor);
        return n_form_.border(B_, n_threads, monitor);
      case Form::mixed:
        members_.fill_activations(B_, n_threads, monitor);
        if (mixed_.prepare(B_, n_threads, monitor)) return true;
        if (chosen || mixed_.has_factor()) return false;
        form_ = Form::iterative;  // H is beyond float32
        return iterative_.prepare(n_threads, monitor);
      case Form::iterative:
        return iterative_.prepare(n_threads, monitor);
      default:
        return m_form_.factor(n_threads, monitor);
    }
  }

  bool refactor(double delta, double free_delta, Monitor& monitor) {
    members_.set_delta(delta, free_delta);
    switch (form_) {
      case Form::n_form:
        return n_form_.factor_schur(n_threads_, monitor);
      case Form::mixed:
        return mixed_.refactor();
      case Form::iterative:
        return iterative_.prepare(n_threads_, monitor);
      default:
        return m_form_.factor(n_threads_, monitor);
    }
  }

  void solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha, double accuracy,
             Monitor& monitor) const {
    constexpr double kRefined = 1e-6, kFinest = 1e-8;
    solve_once(g1, g2, dr, dalpha, accuracy, monitor);
    if (form_ == Form::iterative) return;
    // Float32 leaves seven digits where B alone takes up what is left.
    const bool refined = form_ != Form::mixed && accuracy < kRefined;
    if (!refined && !(accuracy < kFinest)) return;
    Refinement& defect = refinement_;
    defect.resize(n(), k());
    double last = std::numeric_limits<double>::infinity();
    for (;;) {  // the correction falls by half at least, or it is the last
      members_.apply(dr, dalpha, defect.g1, defect.g2, n_threads_, monitor);
      defect.g1 = g1 - defect.g1;
      defect.g2 = g2 - defect.g2;
      solve_once(defect.g1, defect.g2, defect.dr, defect.dalpha, accuracy, monitor);
      dr += defect.dr;
      dalpha += defect.dalpha;
      const double size = std::hypot(defect.dr.norm(), defect.dalpha.norm());
      const double enough = accuracy * std::hypot(dr.norm(), dalpha.norm());
      if (!(accuracy < kFinest) || !(size > enough) || !(size <= 0.5 * last)) return;
      last = size;
    }
  }

  void descend(ConstVectorRef g1, double share, VectorRef dr, VectorRef dalpha,
               Monitor& monitor) const {
    no_g2_.setZero(k());
    if (form_ == Form::mixed) return mixed_.descend(g1, no_g2_, share, dr, dalpha, monitor);
    if (form_ == Form::iterative) return iterative_.descend(g1, no_g2_, share, dr, dalpha, monitor);
    constexpr double kUnused = 1.0;
    solve_once(g1, no_g2_, dr, dalpha, kUnused, monitor);
  }

  void image(ConstVectorRef v, ConstVectorRef a, VectorRef out1, VectorRef out2,
             Monitor& monitor) const {
    members_.image(v, a, out1, out2, n_threads_, monitor);
  }

  double invert(Matrix& dr, Matrix& dalpha, Monitor& monitor) const {
    const Index room = form_ == Form::n_form ? n() : form_ == Form::m_form ? members_.m() : 0;
    ActiveMembers::require_entries(static_cast<double>(n()) * static_cast<double>(n() + k() + room),
                                   {&dr, &dalpha});
    dr.setZero(n(), n());
    dalpha.resize(k(), n());
    if (form_ == Form::n_form) {
      n_form_.invert(dr, dalpha, n_threads_, monitor);
    } else if (form_ == Form::m_form) {
      m_form_.invert(dr, dalpha, n_threads_, monitor);
    } else {
      constexpr double kRounding = 1e-14;
      const Vector g2 = Vector::Zero(k());
      for (Index i = 0; i < n(); ++i) {
        solve(Vector::Unit(n(), i), g2, dr.col(i), dalpha.col(i), kRounding, monitor);
      }
    }
    dr.triangularView<Eigen::StrictlyUpper>() = dr.transpose();
    return residual_of_inverse(dr, dalpha, monitor);
  }

  void correction(ConstVectorRef g1, ConstVectorRef g2, ConstVectorRef dr, ConstVectorRef dalpha,
                  VectorRef error_of_dr, VectorRef error_of_dalpha, Monitor& monitor) const {
    constexpr double kEstimate = 1e-2;
    Vector image(n()), slope(k());
    members_.apply(dr, dalpha, image, slope, n_threads_, monitor);
    image = g1 - image;
    slope = g2 - slope;
    solve(image, slope, error_of_dr, error_of_dalpha, kEstimate, monitor);
  }

  double reciprocal_condition() const {
    switch (form_) {
      case Form::iterative:
        return 1.0;
      case Form::mixed:
        return mixed_.reciprocal_condition();
      case Form::n_form:
        return n_form_.reciprocal_condition();
      default:
        return m_form_.reciprocal_condition();
    }
  }

  const Vector& row_scale() const { return members_.row_scale(); }
  Form form() const { return form_; }
  Index size() const { return members_.m(); }

 private:
  Index n() const { return members_.n(); }
  Index k() const { return members_.k(); }

  // Floating-point operations, those of float32 by half, and the entries that a form may take.
  Form cheapest_form() const {
    constexpr double kLargestMatrix = 1e8;
    constexpr double kLargestMixed = 2.5e8;  // of a matrix of float32
    constexpr double kManySteps = 60;
    constexpr double kMixedSteps = 12;
    const double square = static_cast<double>(n()) * static_cast<double>(n());
    const bool n_fits = square <= kLargestMatrix;
    const double m = static_cast<double>(members_.m());
    const bool m_fits = m * std::max(m, static_cast<double>(n())) <= kLargestMatrix;
    const double n_cost = n_form_.cost(), m_cost = m_form_.cost();
    const bool n_is_better = n_fits != m_fits ? n_fits
                             : n_fits         ? n_cost < m_cost
                                              : n_form_.entries() < m_form_.entries();
    const Form direct = n_is_better ? Form::n_form : Form::m_form;
    if (requested_ == Form::direct || members_.n_blocks() == 0 ||
        members_.problem().formulation() != Formulation::gated) {
      return direct;
    }
    const bool direct_fits = n_fits || m_fits;
    const double direct_cost = !direct_fits ? kInfinity : n_is_better ? n_cost : m_cost;
    const double mixed_cost =
        !n_fits && square <= kLargestMixed ? mixed_.cost(kMixedSteps) : kInfinity;
    // A member with alpha = 0 is beyond the iterative form, unless no direct one fits. Against those the
    // steps are overestimated: they are 10 to 40 on images, but 200 elsewhere.
    const auto& slots = members_.slots();
    const bool any_radial =
        std::any_of(slots.begin(), slots.end(),
                    [](const ActiveMembers::Slot& slot) { return slot.radial && !slot.is_free; });
    const auto iterative_cost = [&](double n_steps) {
      return any_radial && direct_fits ? kInfinity : iterative_.cost(n_steps);
    };
    const double n_steps = iterative_.n_steps();
    if (std::min(mixed_cost, iterative_cost(std::max(n_steps, kManySteps))) >= direct_cost) {
      return direct;
    }
    return mixed_cost < iterative_cost(n_steps) ? Form::mixed : Form::iterative;
  }

  // Without refinement.
  void solve_once(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha,
                  double accuracy, Monitor& monitor) const {
    switch (form_) {
      case Form::n_form:
        return n_form_.solve(g1, g2, dr, dalpha);
      case Form::mixed:
        return mixed_.solve(g1, g2, dr, dalpha, accuracy, monitor);
      case Form::iterative:
        return iterative_.solve(g1, g2, dr, dalpha, accuracy, monitor);
      default:
        return m_form_.solve(g1, g2, dr, dalpha);
    }
  }

  // ||(g1, g2) - J (dr, dalpha)|| / ||(g1, g2)||; 0 where all are zero.
  double residual(ConstVectorRef g1, ConstVectorRef g2, ConstVectorRef dr, ConstVectorRef dalpha,
                  Monitor& monitor) const {
    Vector image(n()), slope(k());
    members_.apply(dr, dalpha, image, slope, n_threads_, monitor);
    const double defect = std::hypot((g1 - image).norm(), (g2 - slope).norm());
    const double size = std::hypot(g1.norm(), g2.norm());
    return defect == 0.0 ? 0.0 : defect / size;
  }

  // Of J (dr; dalpha) g = (g; 0) at one random g (Freivalds 1977), relative.
  double residual_of_inverse(const Matrix& dr, const Matrix& dalpha, Monitor& monitor) const {
    Random random(0);
    const Vector g = Vector::NullaryExpr(n(), [&] { return 2.0 * random.uniform() - 1.0; });
    return residual(g, Vector::Zero(k()), Vector(dr * g), Vector(dalpha * g), monitor);
  }

  const Form requested_;
  Form form_ = Form::m_form;
  int n_threads_ = 1;
  ActiveMembers members_;
  NForm n_form_{members_};
  MForm m_form_{members_};
  IterativeForm iterative_{members_};
  MixedForm mixed_{members_};
  Matrix B_;  // S B, of the n-form and the mixed one
  struct Refinement {
    Vector g1, g2, dr, dalpha;

    void resize(Index n, Index k) {
      for (Vector* vector : {&g1, &dr}) vector->resize(n);
      for (Vector* vector : {&g2, &dalpha}) vector->resize(k);
    }
  };
  mutable Refinement refinement_;
  mutable Vector no_g2_;  // of descend()
};

KktSystem::KktSystem(const ScaledProblem& problem, Form form)
    : impl_(std::make_unique<Impl>(problem, form)) {}
KktSystem::~KktSystem() = default;

bool KktSystem::factor(const std::vector<Member>& members, int n_threads, Monitor& monitor,
                       const Vector& row_scale, double free_delta) {
  return impl_->factor(members, n_threads, monitor, row_scale, free_delta);
}

bool KktSystem::refactor(double delta, Monitor& monitor, double free_delta) {
  return impl_->refactor(delta, free_delta, monitor);
}

void KktSystem::solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha,
                      double accuracy, Monitor& monitor) const {
  impl_->solve(g1, g2, dr, dalpha, accuracy, monitor);
}

void KktSystem::correction(ConstVectorRef g1, ConstVectorRef g2, ConstVectorRef dr,
                           ConstVectorRef dalpha, VectorRef error_of_dr, VectorRef error_of_dalpha,
                           Monitor& monitor) const {
  impl_->correction(g1, g2, dr, dalpha, error_of_dr, error_of_dalpha, monitor);
}

void KktSystem::descend(ConstVectorRef g1, double share, VectorRef dr, VectorRef dalpha,
                        Monitor& monitor) const {
  impl_->descend(g1, share, dr, dalpha, monitor);
}

void KktSystem::image(ConstVectorRef v, ConstVectorRef a, VectorRef out1, VectorRef out2,
                      Monitor& monitor) const {
  impl_->image(v, a, out1, out2, monitor);
}

double KktSystem::invert(Matrix& dr, Matrix& dalpha, Monitor& monitor) const {
  return impl_->invert(dr, dalpha, monitor);
}

double KktSystem::reciprocal_condition() const { return impl_->reciprocal_condition(); }
const Vector& KktSystem::row_scale() const { return impl_->row_scale(); }
KktSystem::Form KktSystem::form() const { return impl_->form(); }
Index KktSystem::size() const { return impl_->size(); }

}  // namespace kkt
}  // namespace convexrelu
