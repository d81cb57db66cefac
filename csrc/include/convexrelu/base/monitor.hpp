// How long work is watched and ended: a time limit, the caller's callback, an interrupt.
//
// Work calls check() at least every few milliseconds, from the thread that made the monitor, and
// report() once per iteration; the threads that help it ask keep_going(). The first two throw Stopped when the time is over or the
// callback asked to stop; whoever owns an answer that is worth returning catches it, once,
// at the top of its loop. What the interrupt hook throws (Ctrl-C) passes through untouched.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace base {

struct Progress {
  const char* phase;  // what is being done, one word: "solve", "polish", "enumerate", ...
  long iteration;
  double objective;  // of the problem at hand, NaN where there is none
  double gap;        // relative, NaN where unknown
  double seconds;    // wall clock since the monitor was made
};

enum class StopReason { none, time_limit, callback };

// Thrown by check() and report(). Not an error: it carries control to the loop that
// returns the best answer so far.
struct Stopped {
  StopReason reason;
};

class Monitor {
 public:
  using Callback = std::function<bool(const Progress&)>;  // true: stop
  using Interrupt = std::function<void()>;                // throws to abandon the work

  Monitor() : Monitor(kInfinity, nullptr, nullptr) {}
  explicit Monitor(double time_limit_seconds, Callback callback = nullptr,
                   Interrupt interrupt = nullptr);

  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  // Cheap (one clock read). Calls the interrupt hook at most every 20 ms. Once stopped, throws
  // Stopped again, for the same reason.
  void check();

  // Hands one line of progress to the callback, then checks.
  void report(const char* phase, long iteration, double objective, double gap);

  // Lives where an answer is wrapped up after Stopped was caught: neither the limit nor the stop
  // applies until it ends, interrupts do. Work that called this work then sees at its next check()
  // that it is stopped too.
  class WrapUp;

  double seconds() const;
  double time_left() const { return time_limit_ - seconds(); }

  // For any thread: the one that made the monitor calls check(); others learn whether to go on. Work
  // that ends because of it is not done: the thread that made the monitor throws at its next check().
  bool keep_going() {
    if (std::this_thread::get_id() == owner_) check();
    return !stop_requested();
  }

  // For worker threads, which must not call check(): true once the work should end.
  bool stop_requested() const { return stop_requested_.load(std::memory_order_relaxed); }
  // Set by a worker that failed, so that its siblings end too.
  void request_stop() { stop_requested_.store(true, std::memory_order_relaxed); }

 private:
  using Clock = std::chrono::steady_clock;

  [[noreturn]] void stop(StopReason reason);

  std::thread::id owner_ = std::this_thread::get_id();
  Clock::time_point start_;
  Clock::time_point next_interrupt_check_;
  double time_limit_;
  Callback callback_;
  Interrupt interrupt_;
  StopReason stopped_ = StopReason::none;
  std::atomic<bool> stop_requested_{false};
};

// For work that may have no monitor.
inline bool keep_going(Monitor* monitor) { return monitor == nullptr || monitor->keep_going(); }

class Monitor::WrapUp {
 public:
  explicit WrapUp(Monitor& monitor);
  ~WrapUp();

  WrapUp(const WrapUp&) = delete;
  WrapUp& operator=(const WrapUp&) = delete;

 private:
  Monitor& monitor_;
  double time_limit_;
  StopReason stopped_;
};

}  // namespace base
}  // namespace convexrelu
