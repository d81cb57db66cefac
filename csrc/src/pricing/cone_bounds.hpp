#pragma once

#include <array>
#include <utility>
#include <vector>

#include "arrangement/cell_walk.hpp"
#include "arrangement/lanes.hpp"
#include "numeric/shortest_majorant.hpp"
#include "pricing/priced_arrangement.hpp"

namespace convexrelu {
inline namespace pricing {

// What goes from a cone to the parts of it.
struct ConeState {
  // Gradient of the part of F that is linear on the cone, in root coordinates.
  std::array<double, kMaxPricedRank> c;
  double neglected;  // sum of |w_l| times what values of fixed rows of the wrong sign may be
  std::array<double, 2> bounds;  // of F and -F, 0 where they do not matter any more
  double bound() const { return std::max(bounds[0], bounds[1]); }
};

// Bounds F and -F on cones, for the walk. Whoever derives from it says what becomes of them.
class ConeBounds {
 public:
  using State = ConeState;
  static constexpr bool kNeedsCells = true;
  static constexpr bool kNeedsFacets = false;

  ConeBounds(const PricedArrangement& arrangement, double tol)
      : arrangement_(arrangement),
        rank_(arrangement.rank()),
        tol_(tol),
        solvers_{ShortestMajorant(rank_), ShortestMajorant(rank_)} {}

  void fix(ConeState& state, int hyperplane, bool positive) const {
    if (!positive) return;
    const double w = arrangement_.weights(hyperplane);
    const double* values = arrangement_.cells.roots.values.col(hyperplane).data();
    for (int i = 0; i < rank_; ++i) state.c[i] += w * values[i];
  }

  // Rays of the walk have sum_i |c_i| = 1, so that on the unit ball the row is wrong by this times
  // sum_i ||b_i|| at most.
  void neglect(ConeState& state, int hyperplane, double depth) const {
    state.neglected += std::abs(arrangement_.weights(hyperplane)) * depth;
  }

 protected:
  // Which candidates cut the cone; the others are fixed.
  void find_conflicts(const ConeView& cone, const std::vector<int>& candidates, ConeState& state);

  // Unit rays and their root coordinates, one coordinate after the other; and delta_j = kUnitRounding t.|c_j|,
  // which is at least kUnitRounding sum_k |r_k| |x_k.v_j|.
  void load_rays(const ConeView& cone);

  // delta_j = kUnitRounding scale.|c_j|, scale (rho).
  void find_delta(const double* scale, double* delta) const;

  // F at the rays (sign 0) or -F (sign 1), rows that are concave on the cone replaced by linear_.
  void find_majorant(const ConeView& cone, const ConeState& state, int sign);

  // A bound by the shortest majorant p. Of p.v_j = sum_i c_ij rays_i.p no more is known than each term
  // to rounding: kUnitRounding pi.|c_j|, pi = |rays|'|p|. What that can do to p.u, u = rays c of length 1,
  // is kUnitRounding pi.|c| <= kUnitRounding sum_i pi_i ||b_i||.
  double solve(int sign, double neglected);

  // at_point_: the values of the candidates at the point where the majorant is largest on the ball (times
  // ||p||). Returns F there, or -F.
  double evaluate_at_point(const ConeView& cone, const ConeState& state, int sign);

  // Linear parts as at the point, and the majorant with them; whether any changed.
  bool move_linear_parts(const ConeView& cone, int sign);

  // How much each conflict adds to the bound at the point where it is attained.
  void find_scores(const ConeView& cone, int sign);

  void set_conflicts(Conflicts& conflicts) const;

  static constexpr double kEvenness = 0.05;

  const PricedArrangement& arrangement_;
  int rank_;
  double tol_;
  std::array<ShortestMajorant, 2> solvers_;

  int n_candidates_ = 0, n_conflicts_ = 0;
  std::vector<Lanes::Mask> cuts_;
  // Of every candidate, 0 where it does not cut: |w| if it is convex for this sign; what multiplies the
  // value if it is concave.
  std::array<std::vector<double>, 2> convex_, linear_;
  std::array<std::vector<double>, 2> at_point_;  // of the candidates, where the bound is attained
  std::vector<double> balance_, chord_, score_, weight_, floor_;
  std::vector<std::pair<int, double>> moved_;

  int n_rays_ = 0, ray_stride_ = 0;
  std::vector<double> rays_, roots_, lengths_, delta_, noise_;
  std::array<std::vector<double>, 2> majorant_;
};

}  // namespace pricing
}  // namespace convexrelu
