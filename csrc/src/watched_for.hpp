// parallel_for() under a monitor.
#pragma once

#include <thread>

#include "convexrelu/monitor.hpp"
#include "convexrelu/parallel.hpp"

namespace convexrelu {

// Calls body(chunk, keep_going) for every chunk in [0, n_chunks). body asks keep_going() every few
// milliseconds and ends early when it is false. Throws what Monitor::check() throws.
template <typename Body>
void watched_for(Index n_chunks, int n_threads, Monitor& monitor, const Body& body) {
  const std::thread::id owner = std::this_thread::get_id();
  const auto keep_going = [&] {
    if (std::this_thread::get_id() == owner) monitor.check();
    return !monitor.stop_requested();
  };
  parallel_for(
      n_chunks, n_threads,
      [&](Index chunk) {
        if (keep_going()) body(chunk, keep_going);
      },
      [&] { monitor.check(); });
  monitor.check();
}

}  // namespace convexrelu
