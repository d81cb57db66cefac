#include "convexrelu/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace convexrelu {

void parallel_for(Index n_chunks, int n_threads, const std::function<void(Index)>& body) {
  const Index n_workers = std::min<Index>(n_threads, n_chunks);
  if (n_workers <= 1) {
    for (Index chunk = 0; chunk < n_chunks; ++chunk) body(chunk);
    return;
  }
  std::atomic<Index> next{0};
  std::exception_ptr failure;
  std::mutex failure_lock;
  const auto work = [&] {
    for (Index chunk; (chunk = next.fetch_add(1)) < n_chunks;) {
      try {
        body(chunk);
      } catch (...) {
        const std::lock_guard<std::mutex> hold(failure_lock);
        if (!failure) failure = std::current_exception();
        next.store(n_chunks);
      }
    }
  };
  std::vector<std::thread> workers;
  workers.reserve(static_cast<std::size_t>(n_workers - 1));
  for (Index w = 1; w < n_workers; ++w) {
    try {
      workers.emplace_back(work);
    } catch (const std::system_error&) {
      break;  // the threads that did start take the remaining chunks
    }
  }
  work();
  for (std::thread& worker : workers) worker.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace convexrelu
