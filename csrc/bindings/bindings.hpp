// What all bindings share: how Python watches a long call.
//
// Rules of this floor: a binding converts and forwards, it computes nothing. The GIL is released
// in watched() and nowhere else, and taken in base/monitor.cpp; C++ exceptions become Python ones in
// bind_error() and nowhere else. No signal handler is installed: Ctrl-C is noticed by asking Python.
// Nothing that may wait for lambda_max or gates, which are made once, holds the GIL: the thread that
// makes them asks for it.
#pragma once

#include <pybind11/eigen.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <utility>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {

namespace py = pybind11;

// The argument `time_limit`: None or a number of seconds >= 0. ValueError otherwise.
double time_limit_from(std::optional<double> seconds);

// The argument `callback`: None or a callable, which gets a Progress and stops the work by
// returning a true value. TypeError otherwise. What it raises passes through the core.
Monitor::Callback callback_from(const py::object& callable);

// Throws what a pending signal raised (KeyboardInterrupt). May be called without the GIL.
void check_signals();

// Without the GIL while it lives. A thread that asks for it back after the interpreter has ended never
// returns (see base/monitor.cpp).
class WithoutGil {
 public:
  WithoutGil();
  ~WithoutGil();

  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_ = nullptr;
};

// Returns work(monitor), run with the GIL released, under the two arguments that all long calls
// share. `work` must not touch Python objects.
template <typename Work>
auto watched(std::optional<double> time_limit, const py::object& callback, Work&& work) {
  Monitor monitor(time_limit_from(time_limit), callback_from(callback), check_signals);
  const WithoutGil released;
  return std::forward<Work>(work)(monitor);
}

}  // namespace convexrelu
