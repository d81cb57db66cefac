#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.hpp"
#include "convexrelu/parallel.hpp"

using convexrelu::Index;
using convexrelu::parallel_for;

namespace {

void every_chunk_runs_once() {
  for (const int n_threads : {1, 2, 3, 8}) {
    for (const Index n_chunks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n_chunks));
      parallel_for(n_chunks, n_threads, [&](Index c) { ++visits[static_cast<std::size_t>(c)]; });
      for (const std::atomic<int>& count : visits) CHECK(count == 1);
    }
  }
}

// Later chunks are dropped, running ones end, the exception arrives in the calling thread.
void exception_of_a_chunk_is_rethrown() {
  for (const int n_threads : {1, 4}) {
    std::atomic<int> n_running{0};
    bool caught = false;
    try {
      parallel_for(100, n_threads, [&](Index c) {
        ++n_running;
        if (c == 3) {
          --n_running;
          throw std::runtime_error("chunk 3");
        }
        --n_running;
      });
    } catch (const std::runtime_error& error) {
      caught = std::string(error.what()) == "chunk 3";
    }
    CHECK(caught);
    CHECK(n_running == 0);
  }
}

void loops_nest() {
  std::atomic<int> total{0};
  parallel_for(4, 2, [&](Index) { parallel_for(5, 2, [&](Index) { ++total; }); });
  CHECK(total == 20);
}

}  // namespace

int main() {
  RUN(every_chunk_runs_once);
  RUN(exception_of_a_chunk_is_rethrown);
  RUN(loops_nest);
  return failed_checks;
}
