// The losses by their names (loss.hpp).
#pragma once

#include <memory>

#include "convexrelu/base/types.hpp"
#include "convexrelu/program/loss.hpp"

namespace convexrelu {
inline namespace program {

// Throws std::invalid_argument, naming y and what would be right, for targets that the loss has not; naming
// delta, unless it is a positive number.
void require_targets(LossChoice choice, const Vector& y);

// y (n); nu (n) > 0 or empty for ones, which those of the squared loss must be.
std::unique_ptr<Loss> make_loss(LossChoice choice, Vector y, Vector nu);

}  // namespace program
}  // namespace convexrelu
