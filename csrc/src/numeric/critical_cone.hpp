// What the tight rows of a cone allow a projection to do.
//
//   q = Proj_K(c), T its tight hyperplanes, nu = q - c = N_T tau, sigma_l tau_l >= 0
//
// The critical cone {u : sigma_t n_t.u >= 0 (t in T), nu.u = 0} is where q can move at first order:
// the derivative of the projection in the direction dc is the projection of dc onto it. It is
// {u : n_l.u = 0 (l held), sigma_t n_t.u >= 0 (t loose)}, where a row is held iff it has a positive
// multiplier in some representation of nu (Farkas). Without loose rows it is a subspace and the
// projection is differentiable.
#pragma once

#include <cstdint>
#include <vector>

#include "convexrelu/base/types.hpp"
#include "convexrelu/numeric/cone.hpp"

namespace convexrelu {
inline namespace numeric {

struct CriticalCone {
  std::vector<Index> held;         // hyperplanes, ascending
  std::vector<Index> loose;        // ascending
  std::vector<std::int8_t> sides;  // of the loose ones
  bool is_subspace() const { return loose.empty(); }
};

// The derivative of a projection in one direction.
struct DirectionalDerivative {
  Vector dq;
  std::vector<Index> bound;  // loose rows that hold dq, ascending
};

class CriticalCones {
 public:
  // Slacks, multipliers and derivatives below this, relative to their scale, are zero.
  static constexpr double kZero = 1e-9;

  explicit CriticalCones(const Matrix& normals) : normals_(normals) {}

  // sigma (h): the sides of K; face: that of q in the projection of c. q != 0.
  CriticalCone find(const std::int8_t* sigma, ConstVectorRef c, ConstVectorRef q,
                    const Face& face) const;

  // The projection of dc onto the cone.
  DirectionalDerivative derivative(const CriticalCone& cone, ConstVectorRef dc) const;

  // The critical cone of the projection of c + h dc for small h > 0.
  CriticalCone after(const CriticalCone& cone, ConstVectorRef dc) const;

 private:
  // Holds the loose rows that vanish on the whole cone: those left when all that are positive at some
  // point of it are taken out, one at least each time. The projection of their sum vanishes iff all of them do.
  void settle(CriticalCone& cone) const;

  const Matrix& normals_;
};

}  // namespace numeric
}  // namespace convexrelu
