#include "arrangement/root_cones.hpp"

#include <Eigen/LU>
#include <algorithm>

#include "numeric/pivots.hpp"

namespace convexrelu {
inline namespace arrangement {

RootCone::RootCone(const RootCones& roots, std::uint64_t negative, bool has_coordinates)
    : rank_(roots.rank()) {
  store_.n_words = (rank_ + kWordBits - 1) / kWordBits;
  store_.n_coordinates = has_coordinates ? rank_ : 0;
  store_.candidates = roots.others;
  store_.stride = n_blocks(static_cast<int>(store_.candidates.size())) * Lanes::kSize;
  store_.make_room(rank_);
  store_.facets.assign(static_cast<std::size_t>(store_.n_words * kWordBits), 0);
  std::fill(store_.incidence.begin(), store_.incidence.end(), 0);
  for (int j = 0; j < rank_; ++j) {
    const double sign = is_positive(negative, j) ? 1.0 : -1.0;
    double* values = store_.values.data() + static_cast<std::ptrdiff_t>(j) * store_.stride;
    for (const int l : store_.candidates) *values++ = sign * roots.values(j, l);
    if (has_coordinates) {
      Eigen::Map<Vector>(store_.coordinates.data() + j * rank_, rank_) = sign * roots.rays.col(j);
    }
    store_.facets[j] = 2 * roots.base[j] + is_positive(negative, j);
    for (int i = 0; i < rank_; ++i) {
      ConeView::Word& word = store_.incidence[i * store_.n_words + j / kWordBits];
      if (i != j) word |= ConeView::Word{1} << (j % kWordBits);
    }
  }
}

Matrix solve_accurately(const Matrix& R, const Matrix& S, Monitor* monitor) {
  constexpr Index kProducts = 1 << 20;  // between two looks at the monitor
  using Extended = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;
  const Eigen::PartialPivLU<Matrix> lu(R);
  const Extended R_extended = R.cast<long double>();
  const Index stripe = std::max<Index>(kProducts / std::max<Index>(R.size(), 1), 1);
  Matrix solution(R.rows(), S.cols());
  for (Index first = 0; first < S.cols(); first += stripe) {
    keep_going(monitor);
    const auto right = S.middleCols(first, std::min(stripe, S.cols() - first));
    auto here = solution.middleCols(first, right.cols());
    here = lu.solve(right);
    const Extended residual = right.cast<long double>() - R_extended * here.cast<long double>();
    here += lu.solve(residual.cast<double>());
  }
  return solution;
}

RootCones find_root_cones(const Matrix& rows, Monitor* monitor) {
  const Index r = rows.rows();
  RootCones cones;
  Matrix base(r, r);
  for (const Index l : pivots(rows.colwise().normalized(), 0.0, r, monitor)) {
    base.col(cones.rank()) = rows.col(l);
    cones.base.push_back(static_cast<int>(l));
  }
  cones.values = solve_accurately(base, rows, monitor);
  cones.rays = solve_accurately(base.transpose(), Matrix::Identity(r, r), monitor);
  for (Index j = 0; j < r; ++j) cones.values.col(cones.base[j]).setUnit(j);
  for (int l = 0; l < rows.cols(); ++l) {
    const bool in_base = std::find(cones.base.begin(), cones.base.end(), l) != cones.base.end();
    if (!in_base) cones.others.push_back(l);
  }
  return cones;
}

}  // namespace arrangement
}  // namespace convexrelu
