#include "kkt/kronecker_preconditioner.hpp"

#include <utility>

namespace convexrelu {
inline namespace kkt {

KroneckerPreconditioner::KroneckerPreconditioner(const ScaledProblem& problem, Monitor& monitor)
    : problem_(problem) {
  decompose(problem.X(), monitor);
}

// V and l of X'X/n.
void KroneckerPreconditioner::decompose(ConstMatrixRef X, Monitor& monitor) {
  Matrix gram = Matrix::Zero(X.cols(), X.cols());
  add_outer_product(X.transpose(), 1.0 / static_cast<double>(X.rows()), gram, 1, monitor);
  l_ = symmetric_eigenvalues(std::move(gram), &V_, &monitor).cwiseMax(0.0);
}

// s: of a few sizes, so that Z_s can be kept while blocks come and go. Only singular values that stand
// out, and as many as cost no more than some ten products with the masks.
Index KroneckerPreconditioner::n_top(Index k) const {
  constexpr double kStandsOut = 4.0;  // times the mean of l
  constexpr Index kMostCoordinates = 1500;
  const Index d = l_.size();
  const Index n_large = (l_.array() > kStandsOut * l_.mean()).count();
  for (const Index s : {20, 12, 8, 5, 3}) {
    if (s <= n_large && s * k <= kMostCoordinates && s * s * k <= 20 * d) return s;
  }
  return 0;
}

void KroneckerPreconditioner::setup(const std::vector<Index>& patterns, const Vector& alpha,
                                    const Vector& rho, const Matrix& directions,
                                    const Vector& row_scale, int n_threads, Monitor& monitor) {
  Matrix overlaps;
  if (row_scale.size() > 0) {
    scaled_X_ = row_scale.asDiagonal() * problem_.X();
    decompose(scaled_X_, monitor);
    s_ = 0;
    known_.clear();
    overlaps = weighted_overlaps(patterns, row_scale, n_threads, monitor);
  } else {
    overlaps = problem_.overlaps(patterns, &monitor);
  }
  const Vector root = alpha.cwiseSqrt();
  Matrix U;
  const Vector m =
      symmetric_eigenvalues(root.asDiagonal() * overlaps * root.asDiagonal(), &U, &monitor)
          .cwiseMax(0.0);
  T_ = root.asDiagonal() * U;
  inverse_ = ((l_ * m.transpose()).array() + 1.0).inverse();
  multiply(V_.transpose(), directions, rotated_directions_, monitor);

  update_top(patterns, n_threads, monitor);
  factor_top(alpha, rho, n_threads, monitor);
  inverse_.bottomRows(s_).setZero();

  capacitance_ = -between_directions(n_threads, monitor);
  capacitance_.diagonal().array() += (alpha.cwiseInverse() - rho).array().inverse();
  corrected_ = factor_cholesky(capacitance_, {n_threads, &monitor}) < 0;
}

// The shares of sum S^2 that pairs of patterns have in common (k, k).
Matrix KroneckerPreconditioner::weighted_overlaps(const std::vector<Index>& patterns,
                                                  const Vector& row_scale, int n_threads,
                                                  Monitor& monitor) const {
  const Index k = static_cast<Index>(patterns.size());
  Matrix masks(row_scale.size(), k);
  for (Index j = 0; j < k; ++j) {
    masks.col(j) = row_scale;
    problem_.apply_mask({patterns[j], +1}, masks.col(j));
  }
  Matrix result = Matrix::Zero(k, k);
  const double total = row_scale.squaredNorm();
  add_outer_product(masks.transpose(), total > 0.0 ? 1.0 / total : 0.0, result, n_threads, monitor);
  return result.selfadjointView<Eigen::Lower>();
}

// The lower triangle of E' K^-1 E, in shares that do not depend on the number of threads.
Matrix KroneckerPreconditioner::between_directions(int n_threads, Monitor& monitor) const {
  constexpr Index kMostShares = 8;
  const Index k = T_.cols(), n_shares = std::clamp<Index>(k, 1, kMostShares);
  std::vector<Matrix> sums(static_cast<std::size_t>(n_shares), Matrix::Zero(k, k));
  watched_for(n_shares, n_threads, monitor, [&](Index share, const auto& keep_going) {
    Matrix weighted;
    for (Index j = share; j < k && keep_going(); j += n_shares) {
      weighted =
          inverse_.col(j).cwiseSqrt().asDiagonal() * rotated_directions_ * T_.col(j).asDiagonal();
      sums[share].selfadjointView<Eigen::Lower>().rankUpdate(weighted.transpose());
    }
  });
  for (std::size_t share = 1; share < sums.size(); ++share) sums.front() += sums[share];
  return sums.front();
}

// Z_s and its Gram matrix for the patterns; those that were there before are copied.
void KroneckerPreconditioner::update_top(const std::vector<Index>& patterns, int n_threads,
                                         Monitor& monitor) {
  const Index k = static_cast<Index>(patterns.size());
  const Index s = n_top(k);
  if (s != s_) {
    known_.clear();
    s_ = s;
    const Matrix& X = scaled_X_.size() > 0 ? scaled_X_ : problem_.X();
    multiply(X, V_.rightCols(s), top_X_, monitor);
  }
  if (known_ == patterns || s == 0) return;
  const auto start = [s](Index place) { return s * place; };
  std::vector<std::pair<Index, Index>> kept;  // place here, place there
  std::vector<Index> fresh;
  for (Index b = 0; b < k; ++b) {
    const auto found = std::find(known_.begin(), known_.end(), patterns[b]);
    if (found == known_.end()) {
      fresh.push_back(b);
    } else {
      kept.emplace_back(b, static_cast<Index>(found - known_.begin()));
    }
  }
  known_.clear();  // nothing, until all is there
  spare_z_.resize(problem_.n_samples(), s * k);
  spare_gram_.resize(s * k, s * k);
  for (const auto& [b, old_b] : kept) {
    spare_z_.middleCols(start(b), s) = z_.middleCols(start(old_b), s);
    for (const auto& [c, old_c] : kept) {
      spare_gram_.block(start(b), start(c), s, s) = gram_.block(start(old_b), start(old_c), s, s);
    }
  }
  const Index n_fresh = static_cast<Index>(fresh.size());
  fresh_z_.resize(problem_.n_samples(), s * n_fresh);
  for (Index j = 0; j < n_fresh; ++j) {
    const Index b = fresh[j];
    auto columns = fresh_z_.middleCols(start(j), s);
    columns = top_X_;
    problem_.apply_mask({patterns[b], +1}, columns);
    spare_z_.middleCols(start(b), s) = columns;
  }
  fresh_gram_.resize(s * k, s * n_fresh);
  transposed_product(spare_z_, fresh_z_, 1.0 / static_cast<double>(problem_.n_samples()),
                     fresh_gram_, n_threads, monitor);
  for (Index j = 0; j < n_fresh; ++j) {
    const Index b = fresh[j];
    const auto products = fresh_gram_.middleCols(start(j), s);
    spare_gram_.middleCols(start(b), s) = products;
    spare_gram_.middleRows(start(b), s) = products.transpose();
  }
  z_.swap(spare_z_);
  gram_.swap(spare_gram_);
  known_ = patterns;
}

// P in the top coordinates; without them where rounding makes it indefinite.
void KroneckerPreconditioner::factor_top(const Vector& alpha, const Vector& rho, int n_threads,
                                         Monitor& monitor) {
  if (s_ == 0) return;
  top_ = gram_;
  for (Index b = 0; b < alpha.size(); ++b) {
    auto block = top_.block(s_ * b, s_ * b, s_, s_);
    const auto e = rotated_directions_.col(b).tail(s_);
    block.diagonal().array() += 1.0 / alpha(b);
    block.noalias() += (rho(b) - 1.0 / alpha(b)) * e * e.transpose();
  }
  if (factor_cholesky(top_, {n_threads, &monitor}) >= 0) {
    s_ = 0;
    known_.clear();
  }
}

// In the coordinates of V; in and out may be the same.
void KroneckerPreconditioner::solve_kronecker(const Matrix& in, Matrix& out,
                                              Monitor& monitor) const {
  multiply(in, T_, product_, monitor);
  product_.array() *= inverse_.array();
  multiply(product_, T_.transpose(), out, monitor);
}

void KroneckerPreconditioner::apply(const Matrix& in, Matrix& out, Monitor& monitor) const {
  multiply(V_.transpose(), in, rotated_, monitor);
  if (s_ > 0) {
    coarse_ = rotated_.bottomRows(s_);
    solve_cholesky(top_, coarse_.reshaped());
  }
  solve_kronecker(rotated_, rotated_, monitor);
  if (corrected_) {
    radial_ = rotated_directions_.cwiseProduct(rotated_).colwise().sum().transpose();
    const auto factor = capacitance_.triangularView<Eigen::Lower>();
    factor.solveInPlace(radial_);
    factor.transpose().solveInPlace(radial_);
    correction_ = rotated_directions_ * radial_.asDiagonal();
    solve_kronecker(correction_, correction_, monitor);
    rotated_ += correction_;
  }
  if (s_ > 0) rotated_.bottomRows(s_) = coarse_;
  multiply(V_, rotated_, out, monitor);
}

}  // namespace kkt
}  // namespace convexrelu
