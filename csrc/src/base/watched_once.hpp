// What is made once, by the first thread that asks for it.
#pragma once

#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "convexrelu/base/monitor.hpp"

namespace convexrelu {
inline namespace base {

// std::once_flag, but that threads that wait for another one to make it ask their monitors whether to go
// on. What make() throws leaves it to be made by the next one.
class WatchedOnce {
 public:
  template <typename Make>
  void call(Monitor* monitor, const Make& make) {
    if (is_made_.load(std::memory_order_acquire)) return;
    std::unique_lock<std::mutex> hold(lock_, std::defer_lock);
    while (!hold.try_lock()) {
      keep_going(monitor);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (is_made_.load(std::memory_order_relaxed)) return;
    make();
    is_made_.store(true, std::memory_order_release);
  }

 private:
  std::atomic<bool> is_made_{false};
  std::mutex lock_;
};

}  // namespace base
}  // namespace convexrelu
