#include "convexrelu/kkt/kkt_system.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>

#include "base/random.hpp"
#include "convexrelu/base/memory.hpp"
#include "convexrelu/numeric/cholesky.hpp"
#include "kkt/kronecker_preconditioner.hpp"
#include "kkt/mixed_preconditioner.hpp"
#include "numeric/tiled_product.hpp"

namespace convexrelu {
inline namespace kkt {

class KktSystem::Impl {
 public:
  Impl(const ScaledProblem& problem, Form form) : problem_(problem), requested_(form) {}

  bool factor(const std::vector<Member>& members, int n_threads, Monitor& monitor) {
    adopt(members);
    n_threads_ = n_threads;
    const bool chosen = requested_ != Form::automatic && requested_ != Form::direct;
    form_ = chosen ? requested_ : cheapest_form();
    monitor.check();
    switch (form_) {
      case Form::n_form:
        return factor_n_form(n_threads, monitor);
      case Form::mixed:
        if (prepare_mixed(n_threads, monitor)) return true;
        if (chosen || mixed_->has_factor()) return false;
        form_ = Form::iterative;  // H is beyond float32
        return prepare_iterative(n_threads, monitor);
      case Form::iterative:
        return prepare_iterative(n_threads, monitor);
      default:
        return factor_m_form(n_threads, monitor);
    }
  }

  bool refactor(double delta, Monitor& monitor) {
    for (Slot& slot : slots_) slot.delta = delta;
    switch (form_) {
      case Form::n_form:
        return has_factor_ && factor_schur(n_threads_, monitor);
      case Form::mixed:
        delta_.setConstant(delta);
        return mixed_->has_factor() && mixed_->set_delta(delta_);
      case Form::iterative:
        return prepare_iterative(n_threads_, monitor);
      default:
        return factor_m_form(n_threads_, monitor);
    }
  }

  void solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha, double accuracy,
             Monitor& monitor) const {
    constexpr double kRefined = 1e-6, kFinest = 1e-8;
    if (form_ == Form::iterative) {
      const auto done = [&] { return cg_.rho <= accuracy * accuracy * cg_.first_rho; };
      return solve_iterative(g1, g2, dr, dalpha, done, monitor);
    }
    solve_once(g1, g2, dr, dalpha, accuracy, monitor);
    // Float32 leaves seven digits where B alone takes up what is left.
    const bool refined = form_ != Form::mixed && accuracy < kRefined;
    if (!refined && !(accuracy < kFinest)) return;
    Refinement& defect = refinement_;
    defect.resize(n(), size_k());
    double last = std::numeric_limits<double>::infinity();
    for (;;) {  // the correction falls by half at least, or it is the last
      apply(dr, dalpha, defect.g1, defect.g2, monitor);
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

  // The model is dr'H_delta dr/2 - g1'dr, H_delta = H + B Delta^-1 B'. With x the m-form's unknown and rho its
  // residual, dr = g1 - Z x is worth (||g1||^2 - n x'P x - n rho'W rho)/2, W the inverse of the
  // block-diagonal part of P, and no direction is worth more than that without the last term.
  void descend(ConstVectorRef g1, double share, VectorRef dr, Monitor& monitor) const {
    constexpr double kFineResidual = 1e-5;
    no_g2_.setZero(size_k());
    dalpha_.resize(size_k());
    if (form_ == Form::mixed) {
      const auto done = [&] {
        return pcg_.rho <= (1.0 - share) * pcg_.energy ||
               pcg_.rho <= kFineResidual * kFineResidual * pcg_.first_rho;
      };
      return solve_mixed(g1, no_g2_, dr, dalpha_, done, monitor);
    }
    if (form_ != Form::iterative) return solve_factored(g1, no_g2_, dr, dalpha_);
    const double square = g1.squaredNorm();
    const auto done = [&] {
      const double worth = square - static_cast<double>(n()) * cg_.energy;
      return model_error() <= (1.0 - share) * worth ||
             cg_.rho <= kFineResidual * kFineResidual * cg_.first_rho;
    };
    solve_iterative(g1, no_g2_, dr, dalpha_, done, monitor);
  }

  double invert(Matrix& dr, Matrix& dalpha, Monitor& monitor) const {
    const double n_samples = static_cast<double>(n());
    const Index room = form_ == Form::n_form ? n() : form_ == Form::m_form ? m_ : 0;
    require_entries(n_samples * static_cast<double>(n() + size_k() + room), {&dr, &dalpha});
    dr.setZero(n(), n());
    dalpha.resize(size_k(), n());
    if (form_ == Form::iterative || form_ == Form::mixed) {
      constexpr double kRounding = 1e-14;
      const Vector g2 = Vector::Zero(size_k());
      for (Index i = 0; i < n(); ++i) {
        solve(Vector::Unit(n(), i), g2, dr.col(i), dalpha.col(i), kRounding, monitor);
      }
    } else if (form_ == Form::n_form) {
      // With H = L L', S = B'H^-1 B + Delta = T T': dr = W'W - V'V, dalpha = T'^-1 V.
      Matrix w = Matrix::Identity(n(), n());
      solve_lower(matrix_, w, n_threads_, monitor);
      add_outer_product(w.transpose(), 1.0, dr, n_threads_, monitor);
      transposed_product(half_, w, 1.0, dalpha, n_threads_, monitor);
      solve_lower(schur_, dalpha, n_threads_, monitor);
      add_outer_product(dalpha.transpose(), -1.0, dr, n_threads_, monitor);
      solve_lower_transposed(schur_, dalpha, n_threads_, monitor);
    } else {
      // With P = L L': dr = I - n V'V, V = L^-1 Z'/n.
      Matrix v = z_.transpose() / n_samples;
      solve_lower(matrix_, v, n_threads_, monitor);
      dr.diagonal().setOnes();
      add_outer_product(v.transpose(), -n_samples, dr, n_threads_, monitor);
      solve_lower_transposed(matrix_, v, n_threads_, monitor);
      for (Index b = 0; b < size_k(); ++b) {
        const double share = n_samples / (n_samples + slot(b).alpha * slot(b).delta);
        dalpha.row(b) =
            share * slot(b).local.transpose() * v.middleRows(slot(b).offset, slot(b).width);
      }
    }
    dr.triangularView<Eigen::StrictlyUpper>() = dr.transpose();
    return residual_of_inverse(dr, dalpha, monitor);
  }

  // ||(g1, g2) - J (dr, dalpha)|| / ||(g1, g2)||; 0 where all are zero.
  double residual(ConstVectorRef g1, ConstVectorRef g2, ConstVectorRef dr, ConstVectorRef dalpha,
                  Monitor& monitor) const {
    Vector image(n()), slope(size_k());
    apply(dr, dalpha, image, slope, monitor);
    const double defect = std::hypot((g1 - image).norm(), (g2 - slope).norm());
    const double size = std::hypot(g1.norm(), g2.norm());
    return defect == 0.0 ? 0.0 : defect / size;
  }

  void correction(ConstVectorRef g1, ConstVectorRef g2, ConstVectorRef dr, ConstVectorRef dalpha,
                  VectorRef error_of_dr, VectorRef error_of_dalpha, Monitor& monitor) const {
    constexpr double kEstimate = 1e-2;
    Vector image(n()), slope(size_k());
    apply(dr, dalpha, image, slope, monitor);
    image = g1 - image;
    slope = g2 - slope;
    solve(image, slope, error_of_dr, error_of_dalpha, kEstimate, monitor);
  }

  // Of J (dr; dalpha) g = (g; 0) at one random g (Freivalds 1977), relative.
  double residual_of_inverse(const Matrix& dr, const Matrix& dalpha, Monitor& monitor) const {
    Random random(0);
    const Vector g = Vector::NullaryExpr(n(), [&] { return 2.0 * random.uniform() - 1.0; });
    return residual(g, Vector::Zero(size_k()), Vector(dr * g), Vector(dalpha * g), monitor);
  }

  double reciprocal_condition() const {
    if (form_ == Form::iterative) return 1.0;
    if (form_ == Form::mixed) return mixed_->reciprocal_condition();
    double result = matrix_.size() == 0 ? 1.0 : convexrelu::reciprocal_condition(matrix_, norm_);
    if (form_ == Form::n_form && size_k() > 0) {
      result = std::min(result, convexrelu::reciprocal_condition(schur_, schur_norm_));
    }
    return result;
  }

  Form form() const { return form_; }
  Index size() const { return m_; }

 private:
  // What is kept of a member between factorisations. Empty basis: all of R^d.
  struct Slot {
    Block block;
    double alpha;
    double delta;
    std::vector<Index> face;
    bool radial;       // alpha = 0: the basis is e_b itself
    bool whole_space;  // no active row
    Matrix basis;      // (d, width) unless whole_space
    Vector direction;  // e_b in R^d
    Vector local;      // Q_b' e_b
    Index width;       // m_b
    Index offset;      // its columns in Z and Z'Z, -1 if not there
  };

  Index size_k() const { return static_cast<Index>(slots_.size()); }
  Index n() const { return problem_.n_samples(); }
  Index d() const { return problem_.n_features(); }

  // Takes over the new members; slots whose block and face are unchanged keep their basis and their
  // columns of Z.
  void adopt(const std::vector<Member>& members) {
    old_slots_.swap(slots_);
    slots_.clear();
    slots_.reserve(members.size());
    patterns_.clear();
    m_ = 0;
    for (const Member& member : members) {
      const bool radial = member.alpha == 0.0;
      const auto same = [&](const Slot& slot) {
        return slot.block == member.block && !slot.radial && slot.face == member.face->rows();
      };
      const auto end = old_slots_.end();
      const auto found = radial ? end : std::find_if(old_slots_.begin(), end, same);
      Slot slot;
      if (found != end) {
        slot = std::move(*found);
        found->block.pattern = -1;
      } else {
        slot.block = member.block;
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
  }

  // Floating-point operations, those of float32 by half, and the entries that a form may take.
  Form cheapest_form() const {
    constexpr double kLargestMatrix = 1e8;
    constexpr double kLargestMixed = 2.5e8;  // of a matrix of float32
    constexpr double kManySteps = 60;
    constexpr double kMixedSteps = 12;  // with a factor that serves two systems
    const double square = static_cast<double>(n()) * static_cast<double>(n());
    const bool n_fits = square <= kLargestMatrix;
    const bool m_fits =
        static_cast<double>(m_) * static_cast<double>(std::max(m_, n())) <= kLargestMatrix;
    const double n_cost = n_form_cost(), m_cost = m_form_cost();
    const bool n_is_better = n_fits != m_fits ? n_fits
                             : n_fits         ? n_cost < m_cost
                                              : n_form_entries() < m_form_entries();
    const Form direct = n_is_better ? Form::n_form : Form::m_form;
    if (requested_ == Form::direct || size_k() == 0 ||
        problem_.formulation() != Formulation::gated) {
      return direct;
    }
    const bool direct_fits = n_fits || m_fits;
    const double direct_cost = !direct_fits ? kInfinity : n_is_better ? n_cost : m_cost;
    const double mixed_cost =
        !n_fits && square <= kLargestMixed
            ? 0.5 * mixed_factor_cost() + mixed_border_cost() + kMixedSteps * mixed_step_cost()
            : kInfinity;
    // A member with alpha = 0 is beyond the iterative form, unless no direct one fits. Against those the
    // steps are overestimated: they are 10 to 40 on images, but 200 elsewhere.
    const bool any_radial =
        std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.radial; });
    const auto iterative_cost = [&](double n_steps) {
      return any_radial && direct_fits ? kInfinity : n_steps * iterative_step_cost();
    };
    if (std::min(mixed_cost, iterative_cost(std::max(n_steps_, kManySteps))) >= direct_cost) {
      return direct;
    }
    return mixed_cost < iterative_cost(n_steps_) ? Form::mixed : Form::iterative;
  }

  double n_form_cost() const {
    const double n_samples = static_cast<double>(n()), k = static_cast<double>(size_k());
    return n_samples * n_samples * (n_samples / 3.0 + 2.0 * k);
  }
  // With the new part of Z'Z at twice its price: where the two are close, the n-form keeps more digits of
  // paths that come to singular systems.
  double m_form_cost() const {
    const double m = static_cast<double>(m_);
    double fresh = 0.0;
    for (const Slot& slot : slots_) {
      if (slot.offset < 0) fresh += static_cast<double>(slot.width);
    }
    return m * m * m / 3.0 + 2.0 * static_cast<double>(n()) * m * fresh;
  }
  // One product with the masks each way.
  double masked_cost() const {
    return 4.0 * static_cast<double>(n()) * static_cast<double>(d()) *
           static_cast<double>(size_k());
  }
  double iterative_step_cost() const {
    const double features = static_cast<double>(d()), k = static_cast<double>(size_k());
    return masked_cost() + (4.0 * features + 8.0 * k) * features * k;
  }
  double mixed_factor_cost() const {
    const double n_samples = static_cast<double>(n()), features = static_cast<double>(d());
    return n_samples * n_samples * (n_samples / 6.0 + features / 2.0);
  }
  double mixed_border_cost() const {
    const double n_samples = static_cast<double>(n());
    return n_samples * n_samples * static_cast<double>(size_k());
  }
  double mixed_step_cost() const {
    const double n_samples = static_cast<double>(n());
    return masked_cost() + 2.0 * n_samples * n_samples;
  }

  // Of the matrices that a form makes.
  double n_form_entries() const {
    const double n_samples = static_cast<double>(n());
    const ColumnsOfH columns = columns_of_h();
    return n_samples *
           ((columns.n_whole > 0 ? 2.0 : 1.0) * n_samples + static_cast<double>(columns.m_rest));
  }
  double m_form_entries() const {
    const double n_samples = static_cast<double>(n()), m = static_cast<double>(m_);
    return m * (2.0 * n_samples + 3.0 * m);
  }

  // Members with all of R^d, and columns of Z of the others; those with alpha = 0 add nothing to H.
  struct ColumnsOfH {
    Index n_whole = 0, m_rest = 0;
  };
  ColumnsOfH columns_of_h() const {
    ColumnsOfH columns;
    for (const Slot& slot : slots_) {
      if (slot.alpha == 0.0) continue;
      if (slot.whole_space) {
        ++columns.n_whole;
      } else {
        columns.m_rest += slot.width;
      }
    }
    return columns;
  }

  // Throws OutOfMemory where there is no room for matrices of so many entries in all, some of which
  // these have.
  static void require_entries(double n_entries, std::initializer_list<const Matrix*> held) {
    for (const Matrix* matrix : held) n_entries -= static_cast<double>(matrix->size());
    require_memory(sizeof(double) * n_entries);
  }

  // s_b D_b X Q_b into columns of Z.
  void fill_columns(const Slot& slot, MatrixRef columns) const {
    if (slot.whole_space) {
      columns = problem_.X();
    } else {
      columns.noalias() = problem_.X() * slot.basis;
    }
    problem_.apply_mask(slot.block, columns);
  }

  // B, and the directions.
  void fill_activations(int n_threads, Monitor& monitor) {
    directions_.resize(d(), size_k());
    for (Index b = 0; b < size_k(); ++b) directions_.col(b) = slot(b).direction;
    b_.resize(n(), size_k());
    product(problem_.X(), directions_, b_, n_threads, monitor);
    for (Index b = 0; b < size_k(); ++b) problem_.apply_mask(slot(b).block, b_.col(b));
  }

  // Z and what comes from it is not kept.
  void drop_gram() {
    for (Slot& slot : slots_) slot.offset = -1;
    z_.resize(0, 0);
    gram_.resize(0, 0);
  }

  // H = I + (XX'/n) o (D diag(alpha) D') over members with all of R^d, + Z diag(alpha) Z'/n over
  // the others.
  bool factor_n_form(int n_threads, Monitor& monitor) {
    const double n_samples = static_cast<double>(n());
    has_factor_ = false;
    drop_gram();
    const auto [n_whole, m_rest] = columns_of_h();
    require_entries(n_form_entries(), {&matrix_, &sample_gram_, &columns_});
    matrix_.setZero(n(), n());
    if (n_whole > 0) {
      if (sample_gram_.size() == 0) {
        Matrix gram = Matrix::Zero(n(), n());
        add_outer_product(problem_.X(), 1.0 / n_samples, gram, n_threads, monitor);
        sample_gram_.swap(gram);  // whole, or not at all
      }
      masks_.resize(n(), n_whole);
      Index j = 0;
      for (const Slot& slot : slots_) {
        if (slot.alpha == 0.0 || !slot.whole_space) continue;
        masks_.col(j).setConstant(std::sqrt(slot.alpha));
        problem_.apply_mask({slot.block.pattern, +1}, masks_.col(j));
        ++j;
      }
      add_outer_product(masks_, 1.0, matrix_, n_threads, monitor);
      matrix_.triangularView<Eigen::Lower>() = matrix_.cwiseProduct(sample_gram_);
    }
    if (m_rest > 0) {
      columns_.resize(n(), m_rest);
      Index j = 0;
      for (const Slot& slot : slots_) {
        if (slot.alpha == 0.0 || slot.whole_space) continue;
        fill_columns(slot, columns_.middleCols(j, slot.width));
        columns_.middleCols(j, slot.width) *= std::sqrt(slot.alpha);
        j += slot.width;
        monitor.check();
      }
      add_outer_product(columns_, 1.0 / n_samples, matrix_, n_threads, monitor);
    }
    matrix_.diagonal().array() += 1.0;
    norm_ = symmetric_one_norm(matrix_);
    if (factor_cholesky(matrix_, {n_threads, &monitor}) >= 0) return false;

    fill_activations(n_threads, monitor);
    half_ = b_;
    solve_lower(matrix_, half_, n_threads, monitor);
    inner_.setZero(size_k(), size_k());
    add_outer_product(half_.transpose(), 1.0, inner_, n_threads, monitor);
    has_factor_ = true;
    return factor_schur(n_threads, monitor);
  }

  bool factor_schur(int n_threads, Monitor& monitor) {
    schur_ = inner_;
    for (Index b = 0; b < size_k(); ++b) schur_(b, b) += slot(b).delta;
    schur_norm_ = symmetric_one_norm(schur_);
    return factor_cholesky(schur_, {n_threads, &monitor}) < 0;
  }

  // Z'Z/n + blkdiag(1/alpha_b (I - e e') + delta_b/(n + alpha_b delta_b) e e').
  bool factor_m_form(int n_threads, Monitor& monitor) {
    update_gram(n_threads, monitor);
    matrix_.resize(m_, m_);
    matrix_.triangularView<Eigen::Lower>() = gram_;
    const double n_samples = static_cast<double>(n());
    for (const Slot& slot : slots_) {
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

  // Z and the lower triangle of Z'Z/n for the present members. Columns of unchanged ones are
  // copied; they come first and in the order that they had, so that what is below the diagonal
  // stays there.
  void update_gram(int n_threads, Monitor& monitor) {
    std::vector<Slot*> order;
    for (Slot& slot : slots_) order.push_back(&slot);
    const auto first_fresh = std::stable_partition(
        order.begin(), order.end(), [](const Slot* slot) { return slot->offset >= 0; });
    if (first_fresh == order.end() && z_.rows() == n() && z_.cols() == m_) return;
    std::sort(order.begin(), first_fresh,
              [](const Slot* a, const Slot* b) { return a->offset < b->offset; });
    require_entries(m_form_entries(), {&z_, &spare_z_, &gram_, &spare_gram_, &matrix_});
    spare_z_.resize(n(), m_);
    spare_gram_.resize(m_, m_);
    std::vector<Index> offsets;
    Index m_kept = 0, next = 0;
    for (const Slot* slot : order) {
      offsets.push_back(next);
      auto columns = spare_z_.middleCols(next, slot->width);
      if (slot->offset < 0) {
        fill_columns(*slot, columns);
        monitor.check();
      } else {
        columns = z_.middleCols(slot->offset, slot->width);
        copy_gram(order, offsets);
        m_kept += slot->width;
      }
      next += slot->width;
    }
    const double scale = 1.0 / static_cast<double>(n());
    const Index n_fresh = m_ - m_kept;
    const auto fresh = spare_z_.rightCols(n_fresh);
    transposed_product(fresh, spare_z_.leftCols(m_kept), scale,
                       spare_gram_.bottomLeftCorner(n_fresh, m_kept), n_threads, monitor);
    auto corner = spare_gram_.bottomRightCorner(n_fresh, n_fresh);
    corner.setZero();
    add_outer_product(fresh.transpose(), scale, corner, n_threads, monitor);
    z_.swap(spare_z_);
    gram_.swap(spare_gram_);
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

  // By the factors, or in the mixed form by iteration with them.
  void solve_once(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha,
                  double accuracy, Monitor& monitor) const {
    if (form_ != Form::mixed) return solve_factored(g1, g2, dr, dalpha);
    const auto done = [&] { return pcg_.rho <= accuracy * accuracy * pcg_.first_rho; };
    solve_mixed(g1, g2, dr, dalpha, done, monitor);
    // rho does not see what is left of the residual in the range of B; dalpha takes it up.
    dr += pcg_.z;
    dalpha += pcg_.z_a;
  }

  void solve_factored(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha) const {
    const double n_samples = static_cast<double>(n());
    if (form_ == Form::n_form) {
      dr = g1;
      solve_cholesky(matrix_, dr);
      if (size_k() == 0) return;
      dalpha.noalias() = b_.transpose() * dr;
      dalpha -= g2;
      solve_cholesky(schur_, dalpha);
      x_.noalias() = half_ * dalpha;
      matrix_.triangularView<Eigen::Lower>().transpose().solveInPlace(x_);
      dr -= x_;
      return;
    }
    Vector& x = x_;
    x.noalias() = z_.transpose() * g1;
    x /= n_samples;
    for (Index b = 0; b < size_k(); ++b) {
      x.segment(slot(b).offset, slot(b).width) -=
          slot(b).local * (g2(b) / (n_samples + slot(b).alpha * slot(b).delta));
    }
    solve_cholesky(matrix_, VectorRef(x));
    dr = g1;
    dr.noalias() -= z_ * x;
    for (Index b = 0; b < size_k(); ++b) {
      const double radial = slot(b).local.dot(x.segment(slot(b).offset, slot(b).width));
      dalpha(b) = radial - slot(b).alpha * (slot(b).delta * radial + g2(b)) /
                               (n_samples + slot(b).alpha * slot(b).delta);
    }
  }

  // The factor of an earlier system will do, until solve_mixed() finds that it does not.
  bool prepare_mixed(int n_threads, Monitor& monitor) {
    drop_gram();
    fill_activations(n_threads, monitor);
    alpha_.resize(size_k());
    delta_.resize(size_k());
    for (Index b = 0; b < size_k(); ++b) {
      alpha_(b) = slot(b).alpha;
      delta_(b) = slot(b).delta;
    }
    if (!mixed_) mixed_ = std::make_unique<MixedPreconditioner>(problem_);
    is_fresh_ = !mixed_->has_factor();
    if (is_fresh_ && !mixed_->factor(patterns_, alpha_, n_threads, monitor)) return false;
    return mixed_->border(b_, delta_, n_threads, monitor);
  }

  // Conjugate gradients on J where B'r = Delta a, until done() or the residual is zero. A factor of an
  // earlier system is made anew once they have cost as much as that.
  template <typename Done>
  void solve_mixed(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha,
                   const Done& done, Monitor& monitor) const {
    constexpr int kMaxSteps = 500;
    ProjectedGradients& cg = pcg_;
    cg.resize(n(), size_k());
    cg.residual = g1;
    cg.energy = 0.0;
    double start_energy = 0.0;
    if (g2.squaredNorm() > 0.0) {
      mixed_->apply(cg.zero, g2, cg.r, cg.a);
      apply(cg.r, cg.a, cg.image, cg.image_a, monitor);
      cg.residual -= cg.image;
      start_energy = cg.r.dot(cg.image) - cg.a.dot(cg.image_a);
    }
    const auto precondition = [&] {
      mixed_->apply(cg.residual, cg.zero_a, cg.z, cg.z_a);
      return cg.residual.dot(cg.z);
    };
    cg.rho = precondition();
    cg.first_rho = cg.rho + std::abs(start_energy);
    cg.p = cg.z;
    cg.p_a = cg.z_a;
    double cost = 0.0;
    for (int step = 0; step < kMaxSteps && cg.rho > 0.0 && !done(); ++step) {
      monitor.check();
      if (!is_fresh_ && cost > mixed_factor_cost() + mixed_border_cost()) {
        is_fresh_ = true;
        if (!mixed_->factor(patterns_, alpha_, n_threads_, monitor) ||
            !mixed_->border(b_, delta_, n_threads_, monitor)) {
          break;
        }
        cg.rho = precondition();
        cg.p = cg.z;
        cg.p_a = cg.z_a;
      }
      apply(cg.p, cg.p_a, cg.image, cg.image_a, monitor);
      cost += mixed_step_cost();
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

  // The iterative form has no place for alpha = 0: next to nothing takes it.
  void widen_radial_members() {
    constexpr double kSmallest = 1e-6;  // relative to the largest alpha
    double largest = 0.0;
    for (const Slot& slot : slots_) largest = std::max(largest, slot.alpha);
    m_ = 0;
    for (Slot& slot : slots_) {
      if (slot.radial) {
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

  bool prepare_iterative(int n_threads, Monitor& monitor) {
    if (!preconditioner_) {
      preconditioner_ = std::make_unique<KroneckerPreconditioner>(problem_, monitor);
    }
    drop_gram();
    widen_radial_members();
    const double n_samples = static_cast<double>(n());
    alpha_.resize(size_k());
    radial_.resize(size_k());
    directions_.resize(d(), size_k());
    for (Index b = 0; b < size_k(); ++b) {
      alpha_(b) = slot(b).alpha;
      radial_(b) = slot(b).delta / (n_samples + slot(b).alpha * slot(b).delta);
      directions_.col(b) = slot(b).direction;
    }
    preconditioner_->setup(patterns_, alpha_, radial_, directions_, n_threads, monitor);
    return true;
  }

  // out = P x, x (d, k) one column a member.
  void apply_m_form(const Matrix& x, Matrix& out, Monitor& monitor) const {
    problem_.products().forward(patterns_, x, cg_.image, n_threads_, &monitor);
    problem_.products().correlate(cg_.image, patterns_, out, n_threads_, &monitor);
    out /= static_cast<double>(n());
    for (Index b = 0; b < size_k(); ++b) {
      const auto e = directions_.col(b);
      const double along = (radial_(b) - 1.0 / alpha_(b)) * e.dot(x.col(b));
      out.col(b) += x.col(b) / alpha_(b) + along * e;
    }
  }

  // n ||residual||^2 in the inverse of the block-diagonal part of P.
  double model_error() const {
    double sum = 0.0;
    for (Index b = 0; b < size_k(); ++b) {
      const double along = directions_.col(b).dot(cg_.residual.col(b));
      const double square = along * along;
      sum += alpha_(b) * (cg_.residual.col(b).squaredNorm() - square) + square / radial_(b);
    }
    return static_cast<double>(n()) * sum;
  }

  // Conjugate gradients until done(step) or, in their own norm, the residual is small.
  template <typename Done>
  void solve_iterative(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha,
                       const Done& done, Monitor& monitor) const {
    constexpr int kMaxSteps = 500;
    const double n_samples = static_cast<double>(n());
    ConjugateGradients& cg = cg_;
    cg.resize(n(), d(), size_k());
    problem_.products().correlate(g1, patterns_, cg.residual, n_threads_, &monitor);
    cg.residual /= n_samples;
    for (Index b = 0; b < size_k(); ++b) {
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
    problem_.products().forward(patterns_, cg.x, cg.image, n_threads_, &monitor);
    dr = g1 - cg.image;
    for (Index b = 0; b < size_k(); ++b) {
      const double along = directions_.col(b).dot(cg.x.col(b));
      dalpha(b) = along - slot(b).alpha * (slot(b).delta * along + g2(b)) /
                              (n_samples + slot(b).alpha * slot(b).delta);
    }
  }

  // (out1, out2) = J (r, alpha), from X and the masks alone.
  void apply(ConstVectorRef r, ConstVectorRef alpha, VectorRef out1, VectorRef out2,
             Monitor& monitor) const {
    const double n_samples = static_cast<double>(n());
    w_.resize(d(), size_k());
    local_.resize(d());
    problem_.products().correlate(r, patterns_, w_, n_threads_, &monitor);
    for (Index b = 0; b < size_k(); ++b) {
      const Slot& member = slot(b);
      const double sign = member.block.sign;
      auto w = w_.col(b);
      out2(b) = sign * member.direction.dot(w) - member.delta * alpha(b);
      if (member.alpha == 0.0) {
        w.setZero();
      } else if (!member.whole_space) {
        auto local = local_.head(member.width);
        local.noalias() = member.basis.transpose() * w;
        w.noalias() = member.basis * local;
      }
      w = (member.alpha / n_samples) * w + sign * alpha(b) * member.direction;
    }
    problem_.products().forward(patterns_, w_, out1, n_threads_, &monitor);
    out1 += r;
  }

  const Slot& slot(Index b) const { return slots_[static_cast<std::size_t>(b)]; }

  const ScaledProblem& problem_;
  Form requested_;
  Form form_ = Form::m_form;
  std::vector<Slot> slots_, old_slots_;
  std::vector<Index> patterns_;
  Index m_ = 0;
  Matrix sample_gram_;           // XX'/n, lower half; made when the n-form first needs it
  Matrix z_, gram_;              // m-form: Z (n, m) and Z'Z/n (m, m), lower half
  Matrix spare_z_, spare_gram_;  // room for the next ones
  Matrix matrix_;                // the factor of H or of the m-form
  bool has_factor_ = false;      // n-form: matrix_ and what comes from it are those of the members
  Matrix masks_, columns_;       // n-form: the factors of H - I
  Matrix b_, half_;              // n-form: B and L^-1 B
  Matrix inner_, schur_;         // n-form: B' H^-1 B, lower half; the factor of it + Delta
  double norm_ = 0.0, schur_norm_ = 0.0;
  std::unique_ptr<KroneckerPreconditioner> preconditioner_;  // made when first needed
  // Conjugate gradients on P: vectors are (d, k), one column a member.
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
  mutable ConjugateGradients cg_;
  // Steps that a system is expected to take, by those of the last ones.
  static constexpr double kFirstSteps = 40.0, kKeptSteps = 0.8;
  mutable double n_steps_ = kFirstSteps;
  std::unique_ptr<MixedPreconditioner> mixed_;  // made when first needed
  mutable bool is_fresh_ = false;               // its factor is that of the present system
  // Conjugate gradients on J: (n) and (k).
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
  mutable ProjectedGradients pcg_;
  struct Refinement {
    Vector g1, g2, dr, dalpha;

    void resize(Index n, Index k) {
      for (Vector* vector : {&g1, &dr}) vector->resize(n);
      for (Vector* vector : {&g2, &dalpha}) vector->resize(k);
    }
  };
  mutable Refinement refinement_;
  mutable Vector x_;               // of solve_factored()
  mutable Vector no_g2_, dalpha_;  // of descend()
  mutable Matrix w_;               // (d, k), of apply()
  mutable Vector local_;
  Vector alpha_, delta_;
  Vector radial_;      // iterative: delta_b / (n + alpha_b delta_b)
  Matrix directions_;  // (d, k)
  int n_threads_ = 1;
};

KktSystem::KktSystem(const ScaledProblem& problem, Form form)
    : impl_(std::make_unique<Impl>(problem, form)) {}
KktSystem::~KktSystem() = default;

bool KktSystem::factor(const std::vector<Member>& members, int n_threads, Monitor& monitor) {
  return impl_->factor(members, n_threads, monitor);
}

bool KktSystem::refactor(double delta, Monitor& monitor) { return impl_->refactor(delta, monitor); }

void KktSystem::solve(ConstVectorRef g1, ConstVectorRef g2, VectorRef dr, VectorRef dalpha,
                      double accuracy, Monitor& monitor) const {
  impl_->solve(g1, g2, dr, dalpha, accuracy, monitor);
}

void KktSystem::correction(ConstVectorRef g1, ConstVectorRef g2, ConstVectorRef dr,
                           ConstVectorRef dalpha, VectorRef error_of_dr, VectorRef error_of_dalpha,
                           Monitor& monitor) const {
  impl_->correction(g1, g2, dr, dalpha, error_of_dr, error_of_dalpha, monitor);
}

void KktSystem::descend(ConstVectorRef g1, double share, VectorRef dr, Monitor& monitor) const {
  impl_->descend(g1, share, dr, monitor);
}

double KktSystem::invert(Matrix& dr, Matrix& dalpha, Monitor& monitor) const {
  return impl_->invert(dr, dalpha, monitor);
}

double KktSystem::reciprocal_condition() const { return impl_->reciprocal_condition(); }
KktSystem::Form KktSystem::form() const { return impl_->form(); }
Index KktSystem::size() const { return impl_->size(); }

}  // namespace kkt
}  // namespace convexrelu
