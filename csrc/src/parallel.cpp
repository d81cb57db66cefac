#include "convexrelu/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace convexrelu {

void parallel_for(Index n_chunks, int n_threads, const std::function<void(Index)>& body,
                  const std::function<void()>& meanwhile) {
  constexpr std::chrono::milliseconds kPatience{5};
  const Index n_workers = std::min<Index>(n_threads, n_chunks);
  if (n_workers <= 1) {
    for (Index chunk = 0; chunk < n_chunks; ++chunk) body(chunk);
    return;
  }
  std::atomic<Index> next{0};
  std::mutex lock;  // of what follows
  std::condition_variable ended;
  std::size_t n_ended = 0;
  std::exception_ptr failure;
  const auto attempt = [&](const auto& call) {
    try {
      call();
    } catch (...) {
      const std::lock_guard<std::mutex> hold(lock);
      if (!failure) failure = std::current_exception();
      next.store(n_chunks);
    }
  };
  const auto work = [&] {
    for (Index chunk; (chunk = next.fetch_add(1)) < n_chunks;) attempt([&] { body(chunk); });
  };
  const auto work_as_other = [&] {
    work();
    const std::lock_guard<std::mutex> hold(lock);
    ++n_ended;
    ended.notify_one();
  };
  std::vector<std::thread> workers;
  workers.reserve(static_cast<std::size_t>(n_workers - 1));
  for (Index w = 1; w < n_workers; ++w) {
    try {
      workers.emplace_back(work_as_other);
    } catch (...) {
      break;  // no more threads or no memory: those that did start take the remaining chunks
    }
  }
  work();
  if (meanwhile) {
    std::unique_lock<std::mutex> hold(lock);
    const auto all_ended = [&] { return n_ended == workers.size(); };
    while (!ended.wait_for(hold, kPatience, all_ended)) {
      hold.unlock();
      attempt(meanwhile);
      hold.lock();
    }
  }
  for (std::thread& worker : workers) worker.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace convexrelu
