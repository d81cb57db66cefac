#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <new>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "check.hpp"
#include "convexrelu/base/parallel.hpp"

using convexrelu::Index;
using convexrelu::parallel_for;
using convexrelu::usable_threads;

namespace {

std::atomic<long> news_left{1L << 62};  // allocations that succeed

}  // namespace

void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return --news_left >= 0 ? std::malloc(size) : nullptr;
}
void* operator new(std::size_t size) {
  void* const memory = operator new(size, std::nothrow);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

void every_chunk_runs_once() {
  for (const int n_threads : {1, 2, 3, 8}) {
    for (const Index n_chunks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> visits(static_cast<std::size_t>(n_chunks));
      parallel_for(n_chunks, n_threads, [&](Index c) { ++visits[c]; });
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

// Wherever memory ends: for the team of a new thread, the list of its members, each of them and its thread.
void threads_that_do_not_start_are_done_without() {
  for (long n_allocations = 0; n_allocations < 10; ++n_allocations) {
    std::atomic<int> n_visits{0};
    std::thread([&] {
      news_left = n_allocations;
      parallel_for(100, 4, [&](Index) { ++n_visits; });
      news_left = 1L << 62;
    }).join();
    CHECK(n_visits == 100);
  }
}

// Loops right after another find the threads awake, later ones asleep; several threads have loops of
// their own.
void threads_stay_for_the_next_loop() {
  std::atomic<long> total{0};
  std::vector<std::thread> owners;
  for (int owner = 0; owner < 3; ++owner) {
    owners.emplace_back([&] {
      for (int loop = 0; loop < 2000; ++loop) {
        parallel_for(1 + loop % 7, 1 + loop % 4, [&](Index) { ++total; });
        if (loop % 100 == 0) std::this_thread::sleep_for(std::chrono::microseconds(300));
      }
    });
  }
  for (std::thread& owner : owners) owner.join();
  long expected = 0;
  for (int loop = 0; loop < 2000; ++loop) expected += 3 * (1 + loop % 7);
  CHECK(total == expected);
}

// A chunk of another thread lasts until the calling one, which has none left, ends it.
void the_calling_thread_watches_while_it_waits() {
  if (usable_threads(2) < 2) return;
  const std::thread::id owner = std::this_thread::get_id();
  std::atomic<bool> has_begun{false}, is_over{false};
  bool caught = false;
  try {
    parallel_for(
        2, 2,
        [&](Index) {
          if (std::this_thread::get_id() == owner) {
            while (!has_begun) std::this_thread::yield();
          } else {
            has_begun = true;
            while (!is_over) std::this_thread::yield();
          }
        },
        [&] {
          is_over = true;
          throw std::runtime_error("stop");
        });
  } catch (const std::runtime_error& error) {
    caught = std::string(error.what()) == "stop";
  }
  CHECK(caught && is_over);
}

void loops_nest() {
  std::atomic<int> total{0};
  parallel_for(4, 2, [&](Index) { parallel_for(5, 2, [&](Index) { ++total; }); });
  CHECK(total == 20);
}

void no_more_threads_than_processors() {
  const int all = usable_threads(-1);
  CHECK(all >= 1 && usable_threads(1) == 1);
  CHECK(usable_threads(1 << 30) == all);
  for (const int wrong : {0, -2}) {
    bool refused = false;
    try {
      usable_threads(wrong);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    CHECK(refused);
  }
  std::mutex lock;
  std::set<std::thread::id> seen;
  parallel_for(10000, 1 << 30, [&](Index) {
    const std::lock_guard<std::mutex> hold(lock);
    seen.insert(std::this_thread::get_id());
  });
  CHECK(static_cast<int>(seen.size()) <= all);
}

}  // namespace

int main() {
  RUN(every_chunk_runs_once);
  RUN(exception_of_a_chunk_is_rethrown);
  RUN(threads_that_do_not_start_are_done_without);
  RUN(threads_stay_for_the_next_loop);
  RUN(the_calling_thread_watches_while_it_waits);
  RUN(loops_nest);
  RUN(no_more_threads_than_processors);
  return failed_checks;
}
