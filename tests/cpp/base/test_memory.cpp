#include <string>

#include "check.hpp"
#include "convexrelu/base/memory.hpp"

using namespace convexrelu;

namespace {

constexpr double kTooMuch = 1e18;

bool is_known() { return available_memory() < kInfinity; }

void some_memory_is_available() { CHECK(available_memory() > 0.0); }

void what_fits_is_granted() {
  require_memory(0.0);
  require_memory(1e6);
  CHECK(fitting_growth(10, 1000, 8) == 1000);
  CHECK(fitting_growth(0, 0, 8) == 0);
}

void what_does_not_fit_is_refused_with_figures() {
  if (!is_known()) return;
  for (const bool grows : {false, true}) {
    std::string message;
    try {
      if (grows) {
        fitting_growth(static_cast<Index>(kTooMuch / 8), static_cast<Index>(kTooMuch / 4), 8);
      } else {
        require_memory(kTooMuch);
      }
    } catch (const std::bad_alloc& error) {
      message = error.what();
    }
    CHECK(message.find("1e+09 GB of memory are needed") == 0);
  }
}

void growth_shrinks_to_what_fits() {
  if (!is_known()) return;
  const Index least = 1000, wanted = static_cast<Index>(kTooMuch / 8);
  const Index granted = fitting_growth(least, wanted, 8);
  CHECK(granted >= least && granted < wanted);
  CHECK(static_cast<double>(granted) * 8.0 <= 1.1 * available_memory());
}

}  // namespace

int main() {
  RUN(some_memory_is_available);
  RUN(what_fits_is_granted);
  RUN(what_does_not_fit_is_refused_with_figures);
  RUN(growth_shrinks_to_what_fits);
  return failed_checks;
}
