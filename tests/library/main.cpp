#include <atomic>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/parallel.hpp"

int main() {
  const convexrelu::Monitor monitor(60.0);
  std::atomic<int> n_chunks{0};
  convexrelu::parallel_for(8, 2, [&](convexrelu::Index) { ++n_chunks; });
  return n_chunks == 8 && monitor.time_left() > 0 ? 0 : 1;
}
