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

#include <cstdint>
#include <vector>

#include "arrangement/cell_walk.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

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
  RootCone(const RootCones& roots, std::uint64_t negative, bool has_coordinates);

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
Matrix solve_accurately(const Matrix& R, const Matrix& S, Monitor* monitor);

RootCones find_root_cones(const Matrix& rows, Monitor* monitor);

}  // namespace arrangement
}  // namespace convexrelu
