// Where a walk through the cells of an arrangement starts: r of the hyperplanes with independent normals cut
// R^r into 2^r simplicial cones.
//
//   rows (r, h)     normals of the hyperplanes, of rank r
//   base (r)        hyperplanes of the root cones, as independent as a pivoted QR finds them; others
//                   are the rest
//   rays (r, r)     ray j lies on all base hyperplanes but the j-th, and on the positive side of that one
//   values (r, h)   values(j, l) = n_l.v_j
//
// The root cone of signs s has the rays s_j v_j.
#pragma once

#include <Eigen/LU>
#include <algorithm>
#include <cstdint>
#include <vector>

#include "arrangement/cell_walk.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"
#include "numeric/pivots.hpp"

namespace convexrelu {
inline namespace arrangement {

struct RootCones {
  std::vector<int> base, others;
  Matrix rays;
  Matrix values;

  int rank() const { return static_cast<int>(base.size()); }
};

// One of the root cones: on the negative side of the base hyperplanes whose bits are set. Its candidates
// are all other hyperplanes.
class RootCone {
 public:
  RootCone(const RootCones& roots, std::uint64_t negative, bool has_coordinates)
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
      store_.facets[static_cast<std::size_t>(j)] =
          2 * roots.base[static_cast<std::size_t>(j)] + is_positive(negative, j);
      for (int i = 0; i < rank_; ++i) {
        ConeView::Word& word =
            store_.incidence[static_cast<std::size_t>(i * store_.n_words + j / kWordBits)];
        if (i != j) word |= ConeView::Word{1} << (j % kWordBits);
      }
    }
  }

  static bool is_positive(std::uint64_t negative, int j) { return (negative >> j & 1) == 0; }

  ConeView cone() const { return store_.view(0, rank_); }
  const std::vector<int>& candidates() const { return store_.candidates; }

 private:
  static constexpr int kWordBits = ConeSplitter::kWordBits;

  int rank_;
  ConeStore store_;
};

// R^-1 S, with a step of refinement whose residual is in extended precision: hyperplanes of integer
// data that meet in one ray must be seen to do so.
inline Matrix solve_accurately(const Matrix& R, const Matrix& S, Monitor* monitor) {
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

inline RootCones find_root_cones(const Matrix& rows, Monitor* monitor) {
  const Index r = rows.rows();
  RootCones cones;
  Matrix base(r, r);
  for (const Index l : pivots(rows.colwise().normalized(), 0.0, r, monitor)) {
    base.col(cones.rank()) = rows.col(l);
    cones.base.push_back(static_cast<int>(l));
  }
  cones.values = solve_accurately(base, rows, monitor);
  cones.rays = solve_accurately(base.transpose(), Matrix::Identity(r, r), monitor);
  for (Index j = 0; j < r; ++j)
    cones.values.col(cones.base[static_cast<std::size_t>(j)]).setUnit(j);
  for (int l = 0; l < rows.cols(); ++l) {
    const bool in_base = std::find(cones.base.begin(), cones.base.end(), l) != cones.base.end();
    if (!in_base) cones.others.push_back(l);
  }
  return cones;
}

}  // namespace arrangement
}  // namespace convexrelu
