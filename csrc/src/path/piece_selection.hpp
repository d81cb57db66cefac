// The piece of the path ahead of a point: which blocks are members there, on which faces. See
// docs/theory/path/path.md.
#pragma once

#include <cstdint>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "numeric/pivots.hpp"
#include "path/active_system.hpp"
#include "path/event_finder.hpp"

namespace convexrelu {
inline namespace path {

class PieceSelection {
 public:
  PieceSelection(const ScaledProblem& problem, ActiveSystem& at, EventFinder& events, int n_threads,
                 Monitor& monitor);

  // The change that an event is. tangent: dz/dh on arrival. False where it cannot be made.
  bool take_in(const Event& event, const Vector& tangent);

  // Members and faces for which the tangent points into what is allowed: one change at a time, the
  // first in the order of blocks (Murty 1974), until there is none.
  bool select();

  // Whether a hyperplane contains what all those of a face contain.
  bool spans(const Face& face, Index row) const;

 private:
  bool is_relu() const { return problem_.formulation() == Formulation::relu; }

  void remove(Index b);

  // Whether more than one block outside is at f = 1.
  bool is_tied();

  // Whether f of block j of near() rises along a tangent of z. Then its column A_b q_b is outside
  // the span of those of the members, for which f stays.
  bool is_rising(std::size_t j, const Vector& tangent);

  // Block j of near() becomes a member. If its column depends on theirs, alpha moves along the
  // dependence until one of theirs vanishes, which leaves.
  bool enter(std::size_t j, bool may_depend);

  // The first block that should leave or enter does.
  bool change_members(const Vector& alpha, double scale, const Vector& z1, const Vector& alpha1,
                      bool& failed);

  // The faces whose tight rows ask for others, or the first of them. Ahead of a point, q_b moves
  // along the projection of dc_b = A_b'z1/n onto the critical cone {u : C_T u >= 0, (q_b - c_b)'u = 0}, T the
  // tight rows.
  bool turn_faces(const Vector& z1, bool one_at_a_time);

  // The same for the blocks outside with f = 1: the multipliers to follow are those ahead.
  void turn_faces_outside();

  // False where no row is weakly active: the face stays.
  bool directional_face(Block block, const Face& face, const Vector& c, const Vector& p,
                        const Vector& dc, std::vector<Index>& result);

  const ScaledProblem& problem_;
  ActiveSystem& at_;
  EventFinder& events_;
  const int n_threads_;
  Monitor& monitor_;
  const double n_;
  const Index d_;
  ConeProjector cones_;
  const Matrix transposed_normals_;
  std::vector<std::int8_t> signs_;
  Block by_contact_{-1, 0};  // entered without rising: its alpha grows of second order
};

}  // namespace path
}  // namespace convexrelu
