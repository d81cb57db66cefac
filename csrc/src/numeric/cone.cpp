#include "convexrelu/numeric/cone.hpp"

#include <Eigen/QR>
#include <algorithm>
#include <cmath>

namespace convexrelu {
inline namespace numeric {

namespace {

// A slack n_l.q is computed to about this, relative to ||q||; smaller violations are left.
constexpr double kSlackRounding = 4e-15;
// ||q|| below this, relative to ||c||, is rounding of an exact zero.
constexpr double kZero = 1e-14;
// Feasibility is measured relative to ||q||, down to this multiple of ||c||.
constexpr double kSmall = 1e-8;
// A remainder n - N_F a below kDependence (1 + sum |a|) is rounding: n depends on N_F.
constexpr double kDependence = 100.0 * kEpsilon;
// Between two full products N'q only rows violated by this fraction of the largest are looked at.
constexpr double kCandidateCut = 0.6;
// A projection from nothing takes some 4 steps per feature.
constexpr long kStepsPerFeature = 20;

double violation_of(double slack, std::int8_t sigma) {
  return sigma == 0 ? std::abs(slack) : -sigma * slack;
}

}  // namespace

void Face::rotate(Rotation rotation, double& x, double& y) {
  const double turned = rotation.cosine * x + rotation.sine * y;
  y = rotation.cosine * y - rotation.sine * x;
  x = turned;
}

Matrix Face::null_basis(Index d) const {
  const Index k = size();
  Matrix basis = Matrix::Zero(d, d - k);
  basis.bottomRows(d - k).setIdentity();
  if (k == 0 || k == d) return basis;
  const Eigen::HouseholderQR<Matrix> complete(q_.leftCols(k));
  basis.applyOnTheLeft(complete.householderQ());
  return basis;
}

void Face::clear() {
  rows_.clear();
  n_updates_ = 0;
}

void Face::reserve(Index d, Index n_rows) {
  if (q_.rows() == d && q_.cols() >= n_rows) return;
  const Index capacity = std::min(d, std::max<Index>(n_rows, 2 * q_.cols()));
  q_.conservativeResize(d, capacity);
  r_.conservativeResize(capacity, capacity);
  rows_.reserve(static_cast<std::size_t>(capacity));
  rotations_.resize(static_cast<std::size_t>(capacity));
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

// Without its column R is upper Hessenberg from there on. Rotations of rows j, j + 1 of R, and of
// the same columns of Q, make it triangular again; one sweep over the columns applies the rotations
// there are and finds the next.
void Face::remove(Index position, VectorRef coordinates) {
  const Index k = size(), d = q_.rows();
  for (Index j = position; j + 1 < k; ++j) {
    double* const column = r_.col(j).data();
    std::copy_n(r_.col(j + 1).data(), j + 2, column);
    for (Index i = position; i < j; ++i) rotate(rotations_[i], column[i], column[i + 1]);
    const double length = std::sqrt(column[j] * column[j] + column[j + 1] * column[j + 1]);
    const Rotation rotation{column[j] / length, column[j + 1] / length};
    rotations_[j] = rotation;
    column[j] = length;
    rotate(rotation, coordinates[j], coordinates[j + 1]);
    double* const first = q_.col(j).data();
    double* const second = q_.col(j + 1).data();
    for (Index i = 0; i < d; ++i) rotate(rotation, first[i], second[i]);
  }
  rows_.erase(rows_.begin() + position);
  ++n_updates_;
}

ConeProjector::ConeProjector(const Matrix& normals)
    : normals_(normals), transposed_(normals.transpose()) {
  const Index d = normals.rows(), h = normals.cols();
  for (Vector* vector : {&c_, &q_, &coordinates_, &remainder_, &solution_, &scratch_, &result_.q}) {
    vector->setZero(d);
  }
  slack_.setZero(h);
  violation_.setZero(h);
  candidates_.reserve(static_cast<std::size_t>(h));
  rows_.reserve(static_cast<std::size_t>(d));
  tau_.reserve(static_cast<std::size_t>(d));
  result_.multipliers.reserve(static_cast<std::size_t>(d));
}

const Projection& ConeProjector::project(ConstVectorRef c, const std::int8_t* sigma,
                                         std::vector<Index>& rows, double threshold) {
  if (rows != face_.rows()) factor(rows, face_);
  project(c, sigma, face_, threshold);
  rows = face_.rows();
  return result_;
}

const Projection& ConeProjector::project(ConstVectorRef c, const std::int8_t* sigma, Face& face,
                                         double threshold) {
  result_.n_steps = 0;
  result_.stopped_early = result_.converged = false;
  if (!c.allFinite()) {
    result_.q.setConstant(kNaN);
    result_.norm = result_.kkt_error = kNaN;
    result_.multipliers.assign(face.rows_.size(), kNaN);
    return result_;
  }
  // A power of two, so that the scaling is exact and neither 1e-200 nor 1e200 is squared.
  int exponent = 0;
  std::frexp(c.lpNorm<Eigen::Infinity>(), &exponent);
  for (Index j = 0; j < c.size(); ++j) c_[j] = std::ldexp(c[j], -exponent);
  c_norm_ = c_.norm();
  const double scaled_threshold = std::ldexp(threshold, -exponent);

  face.reserve(c.size(), 1);
  enum Start { kAsItIs, kFactoredAnew, kEmpty };
  for (const Start start : {kAsItIs, kFactoredAnew, kEmpty}) {
    if (start == kEmpty) {
      face.clear();
    } else if (start == kFactoredAnew || face.n_updates_ > 2 * c.size() + 64) {
      rows_ = face.rows_;
      factor(rows_, face);
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
                                 const std::vector<double>& multipliers) {
  scratch_ = c;
  double total = c.stableNorm();
  Index n_roundings = c.size();  // of one entry, and of the norm
  for (std::size_t j = 0; j < rows.size(); ++j) {
    if (sigma[rows[j]] * multipliers[j] < 0.0) continue;
    scratch_ += multipliers[j] * normals_.col(rows[j]);
    total += std::abs(multipliers[j]);
    ++n_roundings;
  }
  return scratch_.stableNorm() + static_cast<double>(n_roundings) * kEpsilon * total;
}

void ConeProjector::factor(const std::vector<Index>& rows, Face& face) {
  face.clear();
  face.reserve(normals_.rows(), 1);
  for (const Index row : rows) {
    split(row, face);
    if (solve_dependence(face)) continue;
    face.append(row, coordinates_.head(face.size()), remainder_, length_);
  }
  face.n_updates_ = 0;
}

// Rounds of restoring tau and q from the factorisation and letting rows enter, until none does:
// that leaves tau and q of the face as computed, and the slacks of that q. Ends: a row that enters is a step, and
// count_step() widens the tolerance up to where no row is a candidate.
void ConeProjector::iterate(const std::int8_t* sigma, Face& face, double threshold) {
  tolerance_ = kSlackRounding;
  steps_left_ = kStepsPerFeature * (q_.size() + 16);
  do {
    restore_signs(sigma, face);
    compute_point(face);
    if (q_norm_ <= threshold) {
      const double bound = norm_bound(c_, sigma, face.rows_, tau_);
      result_.stopped_early = bound <= threshold;
      if (result_.stopped_early) {
        q_norm_ = bound;
        return;
      }
    }
    find_candidates(sigma);
  } while (enter_candidates(sigma, face));
  result_.kkt_error = measure_kkt_error(sigma, face);
  result_.converged = result_.kkt_error <= kTolerance;
}

// Where rounding decides which of many tight rows are on the face the last digit may never
// settle: after many steps it is no longer asked for.
void ConeProjector::count_step() {
  ++result_.n_steps;
  if (--steps_left_ > 0) return;
  tolerance_ *= 2.0;
  steps_left_ = kStepsPerFeature * (q_.size() + 16);
}

// Leaves the row with the worst multiplier of the wrong sign out, one less each time, until there is none.
void ConeProjector::restore_signs(const std::int8_t* sigma, Face& face) {
  const double rounding = (tolerance_ - kSlackRounding) * c_norm_;
  for (;;) {
    compute_multipliers(face);
    Index worst = -1;
    double lowest = -rounding;
    for (Index j = 0; j < face.size(); ++j) {
      const std::int8_t side = sigma[face.rows_[j]];
      if (side != 0 && side * tau_[j] <= lowest) {
        lowest = side * tau_[j];
        worst = j;
      }
    }
    if (worst < 0) return;
    drop(worst, face);
  }
}

void ConeProjector::compute_multipliers(const Face& face) {
  const Index k = face.size();
  solution_.head(k).noalias() = -face.q_.leftCols(k).transpose() * c_;
  face.r_.topLeftCorner(k, k).triangularView<Eigen::Upper>().solveInPlace(solution_.head(k));
  tau_.assign(solution_.data(), solution_.data() + k);
}

// q = (I - Q Q') c, projected twice so that n_l.q is zero on F relative to ||q||, not only to ||c||.
void ConeProjector::compute_point(const Face& face) {
  const Index k = face.size();
  const auto basis = face.q_.leftCols(k);
  q_ = c_;
  for (int pass = 0; pass < 2; ++pass) {
    scratch_.head(k).noalias() = basis.transpose() * q_;
    q_.noalias() -= basis * scratch_.head(k);
  }
  q_norm_ = q_.norm();
  if (k == q_.size() || q_norm_ <= kZero * c_norm_) {
    q_.setZero();
    q_norm_ = 0.0;
  }
}

void ConeProjector::find_candidates(const std::int8_t* sigma) {
  slack_.noalias() = transposed_ * q_;
  for (Index row = 0; row < slack_.size(); ++row) {
    violation_[row] = violation_of(slack_[row], sigma[row]);
  }
  largest_violation_ = violation_.size() > 0 ? std::max(violation_.maxCoeff(), 0.0) : 0.0;
  candidates_.clear();
  if (largest_violation_ <= tolerance_ * q_norm_ || tolerance_ > kTolerance) return;
  for (Index row = 0; row < slack_.size(); ++row) {
    if (violation_[row] >= kCandidateCut * largest_violation_) candidates_.push_back(row);
  }
}

// Lets the candidates enter, most violated first, each once, until none is violated. False if none could.
bool ConeProjector::enter_candidates(const std::int8_t* sigma, Face& face) {
  bool entered = false;
  while (!candidates_.empty()) {
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
    if (largest <= tolerance_ * q_norm_) break;
    const Index row = candidates_[worst];
    candidates_[worst] = candidates_.back();
    candidates_.pop_back();
    entered = enter(row, sigma, face) || entered;
  }
  return entered;
}

// One step of Goldfarb & Idnani. With the split n = N_F a + z of the entering normal, q moves along
// z and tau along -a until the row is satisfied; a row whose multiplier reaches zero before leaves,
// which turns the direction: one less each time. False where n depends on N_F and no row can leave: then n.q = a.N_F'q is
// a rounded zero.
bool ConeProjector::enter(Index row, const std::int8_t* sigma, Face& face) {
  const double slack = normals_.col(row).dot(q_);
  const double side = sigma[row] != 0 ? sigma[row] : (slack < 0.0 ? 1.0 : -1.0);
  double violation = -side * slack;
  double multiplier = 0.0;
  split(row, face);
  for (;;) {
    const Index k = face.size();
    const bool depends = solve_dependence(face);
    double step = depends ? kInfinity : std::max(violation, 0.0) / (length_ * length_);
    Index leaving = -1;
    for (Index j = 0; j < k; ++j) {
      const std::int8_t face_side = sigma[face.rows_[j]];
      const double rate = face_side * side * solution_[j];
      if (rate <= kEpsilon) continue;
      const double limit = std::max(face_side * tau_[j], 0.0) / rate;
      if (limit < step) {
        step = limit;
        leaving = j;
      }
    }
    if (step == kInfinity) return false;

    for (Index j = 0; j < k; ++j) tau_[j] -= step * side * solution_[j];
    multiplier += step;
    if (!depends) {
      q_ += step * side * remainder_;
      violation -= step * length_ * length_;
    }
    if (leaving < 0) {
      face.append(row, coordinates_.head(k), remainder_, length_);
      tau_.push_back(side * multiplier);
      q_norm_ = q_.norm();
      count_step();
      return true;
    }
    drop(leaving, face);
    remainder_ += coordinates_[k - 1] * face.q_.col(k - 1);
    length_ = remainder_.norm();
    if (length_ < 0.5) orthogonalise(face);
  }
}

void ConeProjector::drop(Index position, Face& face) {
  face.remove(position, coordinates_);
  tau_.erase(tau_.begin() + position);
  count_step();
}

void ConeProjector::split(Index row, const Face& face) {
  remainder_ = normals_.col(row);
  coordinates_.head(face.size()).setZero();
  length_ = 1.0;
  orthogonalise(face);
}

// Takes what lies along Q out of the remainder, and a second time where that was most of it: twice
// is enough (Kahan & Parlett, in Parlett 1980, section 6-9).
void ConeProjector::orthogonalise(const Face& face) {
  const Index k = face.size();
  const auto basis = face.q_.leftCols(k);
  for (int pass = 0; pass < 2; ++pass) {
    const double before = length_;
    scratch_.head(k).noalias() = basis.transpose() * remainder_;
    remainder_.noalias() -= basis * scratch_.head(k);
    coordinates_.head(k) += scratch_.head(k);
    length_ = remainder_.norm();
    if (length_ > 0.5 * before) break;
  }
}

// Solves for the coefficients of the entering normal in N_F. True where its remainder is rounding.
bool ConeProjector::solve_dependence(const Face& face) {
  const Index k = face.size();
  solution_.head(k) = coordinates_.head(k);
  face.r_.topLeftCorner(k, k).triangularView<Eigen::Upper>().solveInPlace(solution_.head(k));
  return k == remainder_.size() || length_ <= kDependence * (1.0 + solution_.head(k).lpNorm<1>());
}

// From the normals, sigma, c, and the q, tau and N'q at hand.
double ConeProjector::measure_kkt_error(const std::int8_t* sigma, const Face& face) {
  if (c_norm_ == 0.0) return 0.0;
  double wrong_side = largest_violation_, wrong_sign = 0.0, total = c_norm_;
  scratch_ = q_ - c_;
  for (Index j = 0; j < face.size(); ++j) {
    const Index row = face.rows_[j];
    scratch_ -= tau_[j] * normals_.col(row);
    total += std::abs(tau_[j]);
    wrong_sign = std::max(wrong_sign, -sigma[row] * tau_[j]);
    wrong_side = std::max(wrong_side, std::abs(slack_[row]));
  }
  return std::max(std::max(scratch_.norm(), wrong_sign) / total,
                  wrong_side / std::max(q_norm_, kSmall * c_norm_));
}

}  // namespace numeric
}  // namespace convexrelu
