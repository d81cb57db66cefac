#include <string>
#include <thread>

#include "check.hpp"
#include "convexrelu/base/monitor.hpp"

using convexrelu::Monitor;
using convexrelu::Progress;
using convexrelu::Stopped;
using convexrelu::StopReason;

namespace {

// The reason for which check(), called every millisecond, stopped; none if it did not.
StopReason reason_within(Monitor& monitor, double seconds) {
  try {
    while (monitor.seconds() < seconds) {
      monitor.check();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  } catch (const Stopped& stopped) {
    return stopped.reason;
  }
  return StopReason::none;
}

void no_limit_never_stops() {
  Monitor monitor;
  CHECK(monitor.time_left() == convexrelu::kInfinity);
  CHECK(reason_within(monitor, 0.03) == StopReason::none);
  CHECK(!monitor.stop_requested());
}

void time_limit_stops_and_tells_the_workers() {
  Monitor monitor(0.02);
  CHECK(!monitor.stop_requested());
  CHECK(reason_within(monitor, 5) == StopReason::time_limit);
  CHECK(monitor.seconds() >= 0.02);
  CHECK(monitor.time_left() <= 0);
  CHECK(monitor.stop_requested());
}

void callback_gets_the_progress_and_may_stop() {
  int n_calls = 0;
  Progress last{};
  Monitor monitor(convexrelu::kInfinity, [&](const Progress& progress) {
    last = progress;
    return ++n_calls == 2;
  });
  monitor.report("solve", 7, 1.5, 0.25);
  CHECK(n_calls == 1);
  CHECK(std::string(last.phase) == "solve" && last.iteration == 7);
  CHECK(last.objective == 1.5 && last.gap == 0.25 && last.seconds >= 0);
  StopReason reason = StopReason::none;
  try {
    monitor.report("solve", 8, 1.25, 0.125);
  } catch (const Stopped& stopped) {
    reason = stopped.reason;
  }
  CHECK(reason == StopReason::callback);
  CHECK(monitor.stop_requested());
}

void interrupt_is_asked_now_and_then_and_passes_through() {
  struct Interrupted {};
  int n_asked = 0;
  Monitor monitor(convexrelu::kInfinity, nullptr, [&] {
    if (++n_asked == 3) throw Interrupted{};
  });
  for (int k = 0; k < 1000; ++k) monitor.check();
  CHECK(n_asked <= 1);  // 1000 checks take far less than the 20 ms between two questions
  bool caught = false;
  try {
    reason_within(monitor, 5);
  } catch (const Interrupted&) {
    caught = true;
  }
  CHECK(caught);
  CHECK(n_asked == 3);
  CHECK(monitor.stop_requested());
}

void an_answer_is_wrapped_up_without_limit_and_then_it_holds_again() {
  Monitor over(0.0);
  Monitor told(convexrelu::kInfinity, [](const Progress&) { return true; });
  try {
    told.report("solve", 0, 0.0, 0.0);
  } catch (const Stopped&) {
  }
  for (Monitor* monitor : {&over, &told}) {
    const StopReason reason = monitor == &over ? StopReason::time_limit : StopReason::callback;
    CHECK(reason_within(*monitor, 5) == reason);
    {
      const Monitor::WrapUp wrap_up(*monitor);
      CHECK(!monitor->stop_requested());
      CHECK(reason_within(*monitor, monitor->seconds() + 0.005) == StopReason::none);
    }
    CHECK(monitor->stop_requested());
    CHECK(reason_within(*monitor, 5) == reason);
  }
}

// The thread of the monitor checks; others learn that it has stopped, and throw nothing.
void threads_ask_whether_to_go_on() {
  Monitor monitor(0.0);
  bool before = false, after = true, thrown = false;
  std::thread([&] { before = monitor.keep_going(); }).join();
  try {
    while (monitor.keep_going()) {
    }
  } catch (const Stopped&) {
    thrown = true;
  }
  std::thread([&] { after = monitor.keep_going(); }).join();
  CHECK(before && thrown && !after);
  CHECK(convexrelu::keep_going(nullptr));
}

}  // namespace

int main() {
  RUN(no_limit_never_stops);
  RUN(time_limit_stops_and_tells_the_workers);
  RUN(callback_gets_the_progress_and_may_stop);
  RUN(an_answer_is_wrapped_up_without_limit_and_then_it_holds_again);
  RUN(threads_ask_whether_to_go_on);
  RUN(interrupt_is_asked_now_and_then_and_passes_through);
  return failed_checks;
}
