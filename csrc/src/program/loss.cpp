#include "convexrelu/program/loss.hpp"

namespace convexrelu {
inline namespace program {

const char* to_string(LossKind kind) {
  switch (kind) {
    case LossKind::squared:
      return "squared";
    case LossKind::logistic:
      return "logistic";
    case LossKind::poisson:
      return "poisson";
    case LossKind::huber:
      return "huber";
    case LossKind::squared_hinge:
      return "squared_hinge";
  }
  return "";
}

void Loss::step(const FitPoint& from, double length, const Vector& du, const Vector&,
                FitPoint& to) const {
  move_to(from.u + length * du, to);
}

}  // namespace program
}  // namespace convexrelu
