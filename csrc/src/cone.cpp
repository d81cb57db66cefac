#include "convexrelu/cone.hpp"

#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <numeric>

namespace convexrelu {

namespace {

// A slack n_l.q is computed to about this, relative to ||q||; smaller violations are not looked at.
constexpr double kEntryTolerance = 4e-15;
// ||q|| below this, relative to ||c||, is rounding of an exact zero.
constexpr double kZero = 1e-14;
// A remainder n_l - N_F a below kDependence (1 + sum |a|) is rounding: n_l depends on N_F.
constexpr double kDependence = 100.0 * kEpsilon;
// Between two full products N'q only rows violated by this fraction of the largest are looked at.
constexpr double kCandidateCut = 0.5;

double violation_of(double slack, std::int8_t sigma) {
  return sigma == 0 ? std::abs(slack) : -sigma * slack;
}

bool has_wrong_sign(double tau, std::int8_t sigma, double tolerance) {
  return sigma != 0 && sigma * tau <= -tolerance;
}

}  // namespace

Matrix Face::null_basis(Index d) const {
  const Index k = size();
  if (k == 0) return Matrix::Identity(d, d);
  Matrix basis = Matrix::Zero(d, d - k);
  if (k == d) return basis;
  const Eigen::HouseholderQR<Matrix> complete(q_.leftCols(k));
  basis.bottomRows(d - k).setIdentity();
  basis.applyOnTheLeft(complete.householderQ());
  return basis;
}

void Face::reserve(Index d, Index n_rows) {
  if (q_.rows() == d && q_.cols() >= n_rows) return;
  const Index capacity = std::min(d, std::max<Index>(n_rows, 2 * q_.cols()));
  q_.conservativeResize(d, capacity);
  r_.conservativeResize(capacity, capacity);
  rows_.reserve(static_cast<std::size_t>(capacity));
}

void Face::append(Index row, ConstVectorRef coordinates, ConstVectorRef remainder, double length) {
  const Index k = size();
  reserve(remainder.size(), k + 1);
  q_.col(k) = remainder / length;
  r_.col(k).head(k) = coordinates;
  r_(k, k) = length;
  rows_.push_back(row);
  ++n_updates_;
}

// Without its column R is upper Hessenberg from there on; rotations of neighbouring rows of R, and
// of the same columns of Q, make it triangular again.
void Face::remove(Index position) {
  const Index k = size();
  for (Index j = position + 1; j < k; ++j) {
    r_.col(j - 1).head(j + 1) = r_.col(j).head(j + 1);
    Eigen::JacobiRotation<double> rotation;
    rotation.makeGivens(r_(j - 1, j - 1), r_(j, j - 1), &r_(j - 1, j - 1));
    r_(j, j - 1) = 0.0;
    for (Index next = j + 1; next < k; ++next) {
      const double above = r_(j - 1, next), below = r_(j, next);
      r_(j - 1, next) = rotation.c() * above - rotation.s() * below;
      r_(j, next) = rotation.s() * above + rotation.c() * below;
    }
    q_.applyOnTheRight(j - 1, j, rotation);
  }
  rows_.erase(rows_.begin() + position);
  ++n_updates_;
}

ConeProjector::ConeProjector(const Matrix& normals)
    : normals_(normals), transposed_(normals.transpose()) {
  const Index d = normals.rows(), h = normals.cols();
  for (Vector* vector : {&c_, &q_, &coordinates_, &remainder_, &correction_, &solution_}) {
    vector->setZero(d);
  }
  slack_.setZero(h);
  tau_.reserve(static_cast<std::size_t>(d));
  violation_.setZero(h);
  candidates_.reserve(static_cast<std::size_t>(h));
  result_.q.setZero(d);
  result_.multipliers.reserve(static_cast<std::size_t>(d));
}

const Projection& ConeProjector::project(ConstVectorRef c, const std::int8_t* sigma,
                                         std::vector<Index>& rows, double threshold) {
  factor(rows, own_face_);
  project(c, sigma, own_face_, threshold);
  rows = own_face_.rows();
  return result_;
}

const Projection& ConeProjector::project(ConstVectorRef c, const std::int8_t* sigma, Face& face,
                                         double threshold) {
  result_.stopped_early = false;
  result_.n_steps = 0;
  // A power of two, so that the scaling is exact and neither 1e-200 nor 1e200 is squared.
  const double largest = c.size() > 0 ? c.cwiseAbs().maxCoeff() : 0.0;
  int exponent = 0;
  std::frexp(largest, &exponent);
  if (std::isfinite(largest)) {
    for (Index j = 0; j < c.size(); ++j) c_[j] = std::ldexp(c[j], -exponent);
  } else {
    c_ = c;
  }
  c_norm_ = c_.norm();
  const double scaled_threshold = threshold >= 0.0 ? std::ldexp(threshold, -exponent) : -1.0;

  face.reserve(c.size(), 1);
  // From the face as it is; from its rows factored anew; from nothing.
  for (int attempt = 0; attempt < 3; ++attempt) {
    if (attempt == 1 || face.n_updates_ > 2 * c.size() + 64) {
      const std::vector<Index> rows = face.rows_;
      factor(rows, face);
    }
    if (attempt == 2) {
      face.rows_.clear();
      face.n_updates_ = 0;
    }
    iterate(sigma, face, scaled_threshold);
    if (result_.stopped_early || result_.converged) break;
  }

  for (Index j = 0; j < c.size(); ++j) result_.q[j] = std::ldexp(q_[j], exponent);
  result_.norm = std::ldexp(q_norm_, exponent);
  result_.multipliers.resize(tau_.size());
  for (std::size_t j = 0; j < tau_.size(); ++j) {
    result_.multipliers[j] = std::ldexp(tau_[j], exponent);
  }
  return result_;
}

double ConeProjector::norm_bound(ConstVectorRef c, const std::int8_t* sigma,
                                 const std::vector<Index>& rows,
                                 const std::vector<double>& multipliers) const {
  Vector point = c;
  for (std::size_t j = 0; j < rows.size(); ++j) {
    const Index row = rows[j];
    if (sigma[row] * multipliers[j] >= 0.0) point += multipliers[j] * normals_.col(row);
  }
  return point.stableNorm();
}

void ConeProjector::factor(const std::vector<Index>& rows, Face& face) {
  face.rows_.clear();
  for (const Index row : rows) {
    if (face.size() == normals_.rows()) break;
    const double length = split(row, face);
    const Index k = face.size();
    solution_.head(k) = coordinates_.head(k);
    face.r_.topLeftCorner(k, k).triangularView<Eigen::Upper>().solveInPlace(solution_.head(k));
    if (length <= kDependence * (1.0 + solution_.head(k).lpNorm<1>())) continue;
    face.append(row, coordinates_.head(k), remainder_, length);
  }
  face.n_updates_ = 0;
}

// n_row = Q coordinates + remainder; returns ||remainder||. Projected out twice, which is enough
// (Kahan and Parlett, in Parlett 1980, section 6-9).
double ConeProjector::split(Index row, const Face& face) {
  const Index k = face.size();
  const auto basis = face.q_.leftCols(k);
  remainder_ = normals_.col(row);
  coordinates_.head(k).noalias() = basis.transpose() * remainder_;
  remainder_.noalias() -= basis * coordinates_.head(k);
  correction_.head(k).noalias() = basis.transpose() * remainder_;
  remainder_.noalias() -= basis * correction_.head(k);
  coordinates_.head(k) += correction_.head(k);
  return remainder_.norm();
}

void ConeProjector::compute_multipliers(const Face& face) {
  const Index k = face.size();
  solution_.head(k).noalias() = -face.q_.leftCols(k).transpose() * c_;
  face.r_.topLeftCorner(k, k).triangularView<Eigen::Upper>().solveInPlace(solution_.head(k));
  tau_.assign(solution_.data(), solution_.data() + k);
}

// q = (I - Q Q') c, projected twice so that n_l.q is zero on F relative to ||q||, not only to
// ||c||.
void ConeProjector::compute_point(const Face& face) {
  const Index k = face.size();
  const auto basis = face.q_.leftCols(k);
  q_ = c_;
  for (int pass = 0; pass < 2 && k > 0; ++pass) {
    correction_.head(k).noalias() = basis.transpose() * q_;
    q_.noalias() -= basis * correction_.head(k);
  }
  q_norm_ = q_.norm();
  if (k == q_.size() || q_norm_ <= kZero * c_norm_) {
    q_.setZero();
    q_norm_ = 0.0;
  }
}

void ConeProjector::drop(Index position, Face& face) {
  face.remove(position);
  tau_.erase(tau_.begin() + position);
  ++result_.n_steps;
}

// Leaves the worst multiplier of the wrong sign out until there is none.
void ConeProjector::restore_dual_feasibility(const std::int8_t* sigma, Face& face) {
  const double tolerance = (entry_tolerance_ - kEntryTolerance) * c_norm_;
  for (;;) {
    compute_multipliers(face);
    Index worst = -1;
    double lowest = kInfinity;
    for (Index j = 0; j < face.size(); ++j) {
      const std::int8_t side = sigma[face.rows_[static_cast<std::size_t>(j)]];
      const double value = side * tau_[static_cast<std::size_t>(j)];
      if (has_wrong_sign(tau_[static_cast<std::size_t>(j)], side, tolerance) && value < lowest) {
        lowest = value;
        worst = j;
      }
    }
    if (worst < 0) return;
    drop(worst, face);
  }
}

// The most violated rows, by a full product.
void ConeProjector::find_candidates(const std::int8_t* sigma) {
  slack_.noalias() = transposed_ * q_;
  for (Index row = 0; row < slack_.size(); ++row) {
    const double side = sigma[row];
    violation_[row] = side == 0.0 ? std::abs(slack_[row]) : -side * slack_[row];
  }
  largest_violation_ = violation_.size() > 0 ? std::max(violation_.maxCoeff(), 0.0) : 0.0;
  candidates_.clear();
  if (largest_violation_ <= entry_tolerance_ * q_norm_) return;
  const double cut = std::max(kCandidateCut * largest_violation_, entry_tolerance_ * q_norm_);
  for (Index row = 0; row < slack_.size(); ++row) {
    if (violation_[row] > cut) candidates_.push_back(row);
  }
}

// One step of Goldfarb & Idnani: along (z, -a), with n = N_F a + z the split of the entering
// normal, until the row is satisfied; rows whose multiplier reaches zero on the way leave. False
// where the row depends on F and nothing can leave: then its violation is rounding.
bool ConeProjector::enter(Index row, const std::int8_t* sigma, Face& face) {
  const double slack = normals_.col(row).dot(q_);
  const double side = sigma[row] != 0 ? sigma[row] : (slack < 0.0 ? 1.0 : -1.0);
  double violation = -side * slack;
  double multiplier = 0.0;
  for (;;) {
    const Index k = face.size();
    const double length = k == q_.size() ? 0.0 : split(row, face);
    if (k == q_.size()) coordinates_.noalias() = face.q_.transpose() * normals_.col(row);
    solution_.head(k) = coordinates_.head(k);
    face.r_.topLeftCorner(k, k).triangularView<Eigen::Upper>().solveInPlace(solution_.head(k));
    const bool depends = length <= kDependence * (1.0 + solution_.head(k).lpNorm<1>());
    const double full_step = depends ? kInfinity : std::max(violation, 0.0) / (length * length);

    double step = full_step;
    Index leaving = -1;
    for (Index j = 0; j < k; ++j) {
      const std::int8_t face_side = sigma[face.rows_[static_cast<std::size_t>(j)]];
      const double rate = face_side * side * solution_[j];
      if (rate <= kEpsilon) continue;
      const double limit = std::max(face_side * tau_[static_cast<std::size_t>(j)], 0.0) / rate;
      if (limit < step) {
        step = limit;
        leaving = j;
      }
    }
    if (step == kInfinity) return false;

    for (Index j = 0; j < k; ++j) tau_[static_cast<std::size_t>(j)] -= step * side * solution_[j];
    multiplier += step;
    if (!depends) {
      q_ += step * side * remainder_;
      violation -= step * length * length;
    }
    if (leaving < 0) {
      face.append(row, coordinates_.head(k), remainder_, length);
      tau_.push_back(side * multiplier);
      ++result_.n_steps;
      q_norm_ = q_.norm();
      return true;
    }
    drop(leaving, face);
  }
}

bool ConeProjector::proves_threshold(const std::int8_t* sigma, const Face& face, double threshold) {
  if (q_norm_ > threshold) return false;
  correction_ = c_;
  for (Index j = 0; j < face.size(); ++j) {
    const Index row = face.rows_[static_cast<std::size_t>(j)];
    const double tau = tau_[static_cast<std::size_t>(j)];
    if (sigma[row] * tau >= 0.0) correction_ += tau * normals_.col(row);
  }
  const double bound = correction_.norm();
  if (bound > threshold) return false;
  q_norm_ = bound;
  return true;
}

void ConeProjector::iterate(const std::int8_t* sigma, Face& face, double threshold) {
  const long budget = result_.n_steps + 20 * (c_.size() + 16);
  long next_increase = budget;
  entry_tolerance_ = kEntryTolerance;
  result_.converged = false;
  for (;;) {
    restore_dual_feasibility(sigma, face);
    compute_point(face);
    if (threshold >= 0.0 && proves_threshold(sigma, face, threshold)) {
      result_.stopped_early = true;
      return;
    }
    find_candidates(sigma);
    if (result_.n_steps > next_increase) {
      // Rounding decides which of many tight rows are on the face: stop asking for the last digit.
      entry_tolerance_ *= 2.0;
      next_increase = result_.n_steps + 20 * (c_.size() + 16);
    }
    bool changed = false;
    while (!candidates_.empty() && entry_tolerance_ < ConeProjector::kTolerance) {
      std::size_t worst = 0;
      double largest = 0.0;
      for (std::size_t j = 0; j < candidates_.size(); ++j) {
        const Index row = candidates_[j];
        const double violation = violation_of(normals_.col(row).dot(q_), sigma[row]);
        if (violation > largest) {
          largest = violation;
          worst = j;
        }
      }
      if (largest <= entry_tolerance_ * q_norm_) break;
      const Index row = candidates_[worst];
      candidates_[worst] = candidates_.back();
      candidates_.pop_back();
      const long before = result_.n_steps;
      enter(row, sigma, face);
      changed = changed || result_.n_steps != before;
    }
    if (!changed) break;
  }
  result_.kkt_error = measure_kkt_error(sigma, face);
  result_.converged = result_.kkt_error <= kTolerance;
}

// From the normals, c, q, tau alone; slack_ is N'q of this q.
double ConeProjector::measure_kkt_error(const std::int8_t* sigma, const Face& face) {
  if (c_norm_ == 0.0) return 0.0;
  double violation = largest_violation_;
  correction_ = q_ - c_;
  double total = c_norm_, wrong = 0.0;
  for (Index j = 0; j < face.size(); ++j) {
    const Index row = face.rows_[static_cast<std::size_t>(j)];
    const double tau = tau_[static_cast<std::size_t>(j)];
    correction_ -= tau * normals_.col(row);
    total += std::abs(tau);
    wrong = std::max(wrong, -sigma[row] * tau);
    violation = std::max(violation, std::abs(slack_[row]));
  }
  const double stationarity = correction_.norm();
  const double error = std::max(stationarity, wrong) / total;
  const double feasibility = q_norm_ > 0.0 ? violation / q_norm_ : violation / c_norm_;
  // NaN, of a NaN in c, must not be lost in a comparison.
  return std::isfinite(stationarity) && std::isfinite(violation) ? std::max(error, feasibility)
                                                                 : kNaN;
}

}  // namespace convexrelu
