#include "convexrelu/base/monitor.hpp"

#include <utility>

namespace convexrelu {
inline namespace base {

namespace {
constexpr std::chrono::milliseconds kInterruptInterval{20};
}

Monitor::Monitor(double time_limit_seconds, Callback callback, Interrupt interrupt)
    : start_(Clock::now()),
      next_interrupt_check_(start_ + kInterruptInterval),
      time_limit_(time_limit_seconds),
      callback_(std::move(callback)),
      interrupt_(std::move(interrupt)) {}

double Monitor::seconds() const {
  return std::chrono::duration<double>(Clock::now() - start_).count();
}

void Monitor::check() {
  const Clock::time_point now = Clock::now();
  if (interrupt_ && now >= next_interrupt_check_) {
    next_interrupt_check_ = now + kInterruptInterval;
    try {
      interrupt_();
    } catch (...) {
      request_stop();
      throw;
    }
  }
  if (stopped_ != StopReason::none) throw Stopped{stopped_};
  if (std::chrono::duration<double>(now - start_).count() > time_limit_) {
    stop(StopReason::time_limit);
  }
}

void Monitor::report(const char* phase, long iteration, double objective, double gap) {
  const double shown_gap = gap < 0.0 ? 0.0 : gap;  // rounding; NaN stays
  if (callback_ && callback_({phase, iteration, objective, shown_gap, seconds()})) {
    stop(StopReason::callback);
  }
  check();
}

void Monitor::stop(StopReason reason) {
  stopped_ = reason;
  request_stop();
  throw Stopped{reason};
}

Monitor::WrapUp::WrapUp(Monitor& monitor)
    : monitor_(monitor),
      time_limit_(std::exchange(monitor.time_limit_, kInfinity)),
      stopped_(std::exchange(monitor.stopped_, StopReason::none)) {
  monitor_.stop_requested_.store(false, std::memory_order_relaxed);
}

Monitor::WrapUp::~WrapUp() {
  monitor_.time_limit_ = time_limit_;
  monitor_.stopped_ = stopped_;
  if (stopped_ != StopReason::none) monitor_.request_stop();
}

}  // namespace base
}  // namespace convexrelu
