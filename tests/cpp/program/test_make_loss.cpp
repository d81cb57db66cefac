#include <stdexcept>
#include <string>

#include "check.hpp"
#include "convexrelu/program/make_loss.hpp"

namespace convexrelu {
namespace {

void targets_are_checked() {
  const auto refuses = [](LossChoice choice, double target, const std::string& word) {
    try {
      require_targets(choice, Vector::Constant(2, target));
    } catch (const std::invalid_argument& error) {
      return std::string(error.what()).find(word) != std::string::npos;
    }
    return false;
  };
  CHECK(refuses({LossKind::logistic}, 1.5, "[0, 1]"));
  CHECK(refuses({LossKind::poisson}, -1.0, ">= 0"));
  CHECK(refuses({LossKind::squared_hinge}, 0.0, "-1 or +1"));
  CHECK(refuses({LossKind::huber, 0.0}, 1.0, "delta"));
  require_targets({LossKind::squared}, Vector::Constant(1, -7.0));
}

void each_is_what_it_is_called() {
  const Vector y = Vector::Ones(2);
  CHECK(make_loss({LossKind::squared}, y, {})->is_squared());
  for (const LossKind kind : {LossKind::logistic, LossKind::poisson}) {
    CHECK(!make_loss({kind}, y, {})->is_squared() &&
          make_loss({kind}, y, {})->is_strictly_convex());
  }
  for (const LossKind kind : {LossKind::huber, LossKind::squared_hinge}) {
    CHECK(!make_loss({kind}, y, {})->is_strictly_convex());
  }
  CHECK(to_string(LossKind::squared_hinge) == std::string("squared_hinge"));
}

}  // namespace
}  // namespace convexrelu

int main() {
  using namespace convexrelu;
  RUN(targets_are_checked);
  RUN(each_is_what_it_is_called);
  return failed_checks;
}
