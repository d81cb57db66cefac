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
#include <Eigen/QR>
#include <algorithm>
#include <cstdint>
#include <vector>

#include "cell_walk.hpp"
#include "convexrelu/types.hpp"

namespace convexrelu {

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
inline Matrix solve_accurately(const Matrix& R, const Matrix& S) {
  const Eigen::PartialPivLU<Matrix> lu(R);
  Matrix solution = lu.solve(S);
  using Extended = Eigen::Matrix<long double, Eigen::Dynamic, Eigen::Dynamic>;
  const Extended residual =
      S.cast<long double>() - R.cast<long double>() * solution.cast<long double>();
  solution += lu.solve(residual.cast<double>());
  return solution;
}

inline RootCones find_root_cones(const Matrix& rows) {
  const Index r = rows.rows();
  RootCones cones;
  const Eigen::ColPivHouseholderQR<Matrix> qr(rows.colwise().normalized());
  Matrix base(r, r);
  for (Index j = 0; j < r; ++j) {
    cones.base.push_back(static_cast<int>(qr.colsPermutation().indices()[j]));
    base.col(j) = rows.col(cones.base.back());
  }
  cones.values = solve_accurately(base, rows);
  cones.rays = solve_accurately(base.transpose(), Matrix::Identity(r, r));
  for (Index j = 0; j < r; ++j)
    cones.values.col(cones.base[static_cast<std::size_t>(j)]).setUnit(j);
  for (int l = 0; l < rows.cols(); ++l) {
    const bool in_base = std::find(cones.base.begin(), cones.base.end(), l) != cones.base.end();
    if (!in_base) cones.others.push_back(l);
  }
  return cones;
}

}  // namespace convexrelu
