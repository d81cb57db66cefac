// parallel_for() under a monitor.
#pragma once

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/parallel.hpp"

namespace convexrelu {
inline namespace base {

// Calls body(chunk, keep_going) for every chunk in [0, n_chunks). body asks keep_going() every few
// milliseconds and ends early when it is false. Throws what Monitor::check() throws; inside a chunk of
// another loop, on another thread than the monitor's, it returns early instead.
template <typename Body>
void watched_for(Index n_chunks, int n_threads, Monitor* monitor, const Body& body) {
  const auto going = [monitor] { return keep_going(monitor); };
  parallel_for(
      n_chunks, n_threads,
      [&](Index chunk) {
        if (going()) body(chunk, going);
      },
      going);
  going();
}

template <typename Body>
void watched_for(Index n_chunks, int n_threads, Monitor& monitor, const Body& body) {
  watched_for(n_chunks, n_threads, &monitor, body);
}

}  // namespace base
}  // namespace convexrelu
