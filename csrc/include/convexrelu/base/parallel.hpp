// Loops over independent chunks, on one or several threads.
//
// Determinism: the chunks are the caller's and do not depend on the number of threads, and
// each writes to its own place, so the bits of the result do not depend on it either.
#pragma once

#include <functional>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace base {

// How many threads an argument `n_threads` means on this machine: itself, but no more than there are
// processors, which -1 asks for. Throws std::invalid_argument for anything else below 1.
int usable_threads(int n_threads);

// Calls body(chunk) once for every chunk in [0, n_chunks), on at most usable_threads(n_threads)
// threads, the calling one included. Returns when all are done. The first exception of a body is
// rethrown here after the others have ended. The threads stay, asleep, for the next loop of the
// calling one, and end with it; a loop inside a chunk runs on the thread of the chunk. A loop costs
// some microseconds soon after another, and some 30 where threads have to wake: chunks should carry
// more. Where there is `meanwhile`, the calling thread calls it every few milliseconds while it waits
// for the others; an exception of it counts as one of a body.
void parallel_for(Index n_chunks, int n_threads, const std::function<void(Index)>& body,
                  const std::function<void()>& meanwhile = nullptr);

}  // namespace base
}  // namespace convexrelu
