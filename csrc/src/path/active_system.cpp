#include "path/active_system.hpp"

#include <cmath>

#include "numeric/pivots.hpp"

namespace convexrelu {
inline namespace path {

double horner(const double* c, Index stride, Index order, double x) {
  double sum = 0.0;
  for (Index k = order; k >= 0; --k) sum = sum * x + c[k * stride];
  return sum;
}

Vector horner(const Matrix& coefficients, double x) {
  Vector sum = coefficients.col(coefficients.cols() - 1);
  for (Index k = coefficients.cols() - 2; k >= 0; --k) sum = sum * x + coefficients.col(k);
  return sum;
}

Vector derivative(const Matrix& coefficients, double x) {
  Vector sum = Vector::Zero(coefficients.rows());
  for (Index k = coefficients.cols() - 1; k >= 1; --k) {
    sum = sum * x + static_cast<double>(k) * coefficients.col(k);
  }
  return sum;
}

bool holds(const Face& face, Index row) {
  return std::find(face.rows().begin(), face.rows().end(), row) != face.rows().end();
}

Matrix multipliers(const Face& face, const Matrix& c) {
  if (face.size() == 0) return Matrix(0, c.cols());
  Matrix tau = -(face.q().transpose() * c);
  face.r().triangularView<Eigen::Upper>().solveInPlace(tau);
  return tau;
}

ActiveSystem::ActiveSystem(const ScaledProblem& problem, int n_threads, Monitor& monitor)
    : problem_(problem),
      n_(static_cast<double>(problem.n_samples())),
      d_(problem.n_features()),
      y_norm_(problem.y().norm()),
      x_norm_(problem.X().norm()),
      n_threads_(n_threads),
      monitor_(monitor),
      kkt_(problem, KktSystem::Form::direct) {}

std::vector<Index> ActiveSystem::patterns() const {
  std::vector<Index> result;
  for (const Member& m : members_) result.push_back(m.block.pattern);
  return result;
}

std::vector<Block> ActiveSystem::blocks() const {
  std::vector<Block> result;
  for (const Member& m : members_) result.push_back(m.block);
  return result;
}

Vector ActiveSystem::alphas() const {
  Vector result(size());
  for (Index b = 0; b < size(); ++b) result(b) = member(b).alpha;
  return result;
}

void ActiveSystem::correlate(ConstVectorRef z, MatrixRef c) const {
  if (size() == 0) return;
  problem_.products().correlate(z, patterns(), c, n_threads_, &monitor_);
  for (Index b = 0; b < size(); ++b) c.col(b) *= member(b).block.sign / n_;
}

void ActiveSystem::correlate(ConstVectorRef z, MatrixRef c, MatrixRef p) const {
  correlate(z, c);
  for (Index b = 0; b < size(); ++b) {
    p.col(b) = c.col(b);
    project_out(member(b).face, p.col(b));
  }
}

Vector ActiveSystem::combine(const Matrix& u) const {
  Vector sum = Vector::Zero(problem_.n_samples());
  if (size() == 0) return sum;
  Matrix signed_u = u;
  for (Index b = 0; b < size(); ++b) {
    signed_u.col(b) *= member(b).block.sign;
  }
  problem_.products().forward(patterns(), signed_u, sum, n_threads_, &monitor_);
  return sum;
}

Vector ActiveSystem::column(Block block, const Vector& p) const {
  Vector result = problem_.X() * p;
  problem_.apply_mask(block, result);
  return result;
}

Matrix ActiveSystem::columns() const {
  Matrix result(z_.size(), size());
  for (Index b = 0; b < size(); ++b) result.col(b) = column(member(b).block, p_.col(b));
  return result;
}

void ActiveSystem::compute_point() {
  c_.resize(d_, size());
  p_.resize(d_, size());
  correlate(z_, c_, p_);
  rounding_ = kEpsilon * x_norm_ * z_.norm() / n_;
  fit_rounding_ = rounding_ * x_norm_ * alphas().sum() / (mu_ * y_norm_);
}

bool ActiveSystem::factor() {
  compute_point();
  directions_ = p_.colwise().normalized();
  if (!directions_.allFinite()) return false;
  const double scale = size() > 0 ? alphas().maxCoeff() : 0.0;
  refine_ = false;
  std::vector<KktSystem::Member> members;
  for (Index b = 0; b < size(); ++b) {
    const Member& m = member(b);
    const double alpha = m.alpha > 1e-14 * scale ? m.alpha : 0.0;
    refine_ = refine_ || (alpha > 0.0 && alpha < kSmallAlpha * scale);
    members.push_back({m.block, alpha, 0.0, directions_.col(b).data(), &m.face});
  }
  ++n_factorisations_;
  return kkt_.factor(members, n_threads_, monitor_);
}

void ActiveSystem::solve(const Vector& g1, const Vector& g2, Vector& dz, Vector& dalpha) const {
  dz.resize(problem_.n_samples());
  dalpha.resize(size());
  kkt_.solve(g1, g2, dz, dalpha, refine_ ? kRefined : kNotRefined, monitor_);
}

double ActiveSystem::correct() {
  for (double last = kInfinity;;) {
    const Vector g1 = mu_ * problem_.y() - z_ - combine(p_ * alphas().asDiagonal());
    const Vector norms = p_.colwise().norm().transpose();
    const Vector g2 = 0.5 * n_ * (1.0 - norms.array().square()) / norms.array();
    const double residual =
        std::max(g1.norm() / (mu_ * y_norm_), size() > 0 ? g2.lpNorm<Eigen::Infinity>() / n_ : 0.0);
    if (std::isnan(residual)) return kInfinity;
    if (residual <= kConverged || !(residual < 0.3 * last)) return residual;
    last = residual;
    Vector dz, dalpha;
    dz.resize(z_.size());
    dalpha.resize(size());
    kkt_.solve(g1, g2, dz, dalpha, kRefined, monitor_);
    z_ += dz;
    for (Index b = 0; b < size(); ++b) member(b).alpha += dalpha(b);
    compute_point();
  }
}

bool ActiveSystem::settle() {
  for (int patience = kMaxPatience;; --patience) {
    if (!factor()) return false;
    const double residual = correct();
    const double rounding = visible(fit_rounding_);
    if (residual <= std::max(kSettled, rounding)) return true;
    if (patience == 0 || !(residual < kTooFar)) return residual <= std::max(kAccepted, rounding);
  }
}

Series ActiveSystem::start_series(int max_order) const {
  const Index columns = max_order + 1;
  Series s{0, Matrix(problem_.n_samples(), columns), Matrix(size(), columns),
           Matrix(d_ * size(), columns), Matrix(d_ * size(), columns)};
  s.z.col(0) = z_;
  s.alpha.col(0) = alphas();
  s.c.col(0) = c_.reshaped();
  s.p.col(0) = p_.reshaped();
  return s;
}

void ActiveSystem::extend(Series& s, Index order) const {
  for (Index j = s.order + 1; j <= order; ++j) {
    Vector g1 = Vector::Zero(z_.size());
    Vector g2 = Vector::Zero(size());
    if (j == 1) {
      g1 = mu_ * problem_.y();
    } else if (size() > 0) {
      Matrix u = Matrix::Zero(d_, size());
      for (Index b = 0; b < size(); ++b) {
        for (Index a = 1; a < j; ++a) {
          const auto other = s.p.col(j - a).segment(b * d_, d_);
          u.col(b) += s.alpha(b, a) * other;
          g2(b) += s.p.col(a).segment(b * d_, d_).dot(other);
        }
      }
      g1 = -combine(u);
      g2 *= -0.5 * n_;
    }
    Vector z, alpha;
    solve(g1, g2, z, alpha);
    s.z.col(j) = z;
    s.alpha.col(j) = alpha;
    correlate(z, Eigen::Map<Matrix>(s.c.col(j).data(), d_, size()),
              Eigen::Map<Matrix>(s.p.col(j).data(), d_, size()));
  }
  s.order = std::max(s.order, order);
}

double ActiveSystem::radius(const Series& s) {
  double reach = kLongestStep;
  for (const Matrix* x : {&s.z, &s.alpha}) {
    if (x->rows() == 0) continue;
    const double size = std::max(x->col(0).norm(), x->col(1).norm());
    for (Index k = s.order - 1; k <= s.order; ++k) {
      const double term = x->col(k).norm();
      if (term > 0.0) {
        reach = std::min(reach, std::pow(kTruncation * size / term, 1.0 / static_cast<double>(k)));
      }
    }
  }
  return reach;
}

double ActiveSystem::independence() const {
  if (size() == 0) return 1.0;
  if (size() > z_.size()) return 0.0;
  Matrix units = columns().colwise().normalized();
  const PivotedQr qr = factor_pivoted_qr(units, 0.0, size(), &monitor_);
  return qr.rank < size() ? 0.0 : std::abs(units(size() - 1, size() - 1));
}

void ActiveSystem::make_independent(double dependent) {
  while (size() > 0) {
    Matrix unit = columns();
    const Vector lengths = unit.colwise().norm().transpose();
    unit.colwise().normalize();
    const PivotedQr qr = factor_pivoted_qr(unit, dependent, size(), &monitor_);
    const Index rank = qr.rank;
    if (rank == size()) return;
    Vector in_order = Vector::Zero(size());
    in_order.head(rank) = -unit.topLeftCorner(rank, rank)
                               .triangularView<Eigen::Upper>()
                               .solve(unit.col(rank).head(rank));
    in_order(rank) = 1.0;
    Vector null(size());
    null(qr.order) = in_order;
    null = null.cwiseQuotient(lengths.cwiseMax(1e-300)).eval();  // of the columns as they are
    Index leaving = -1;
    double step = kInfinity;
    if (!(null.array() > 0.0).any()) null = -null;
    for (Index b = 0; b < size(); ++b) {
      if (!(null(b) > 0.0)) continue;
      const double limit = member(b).alpha / null(b);
      if (limit < step) {
        step = limit;
        leaving = b;
      }
    }
    for (Index b = 0; b < size(); ++b) {
      member(b).alpha = std::max(0.0, member(b).alpha - step * null(b));
    }
    members_.erase(members_.begin() + leaving);
    compute_point();
  }
}

}  // namespace path
}  // namespace convexrelu
