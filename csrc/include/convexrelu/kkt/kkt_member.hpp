// One member of an active set, as a KKT system takes it (kkt_system.hpp).
#pragma once

#include "convexrelu/base/types.hpp"
#include "convexrelu/numeric/cone.hpp"

namespace convexrelu {
inline namespace kkt {

// The pointers are read while a system is factored only.
struct KktMember {
  Block block;
  double alpha;             // >= 0; a member with alpha = 0 moves along e_b only
  double delta;             // >= 0
  const double* direction;  // e_b (d), unit length
  const Face* face;         // F_b; null_basis() of it is Q_b
};

}  // namespace kkt
}  // namespace convexrelu
