#include <string>

#include "bindings.hpp"

namespace convexrelu {

double time_limit_from(std::optional<double> seconds) {
  if (!seconds) return kInfinity;
  if (!(*seconds >= 0)) {
    throw py::value_error("time_limit must be None or a number of seconds >= 0, got " +
                          std::string(py::str(py::float_(*seconds))));
  }
  return *seconds;
}

Monitor::Callback callback_from(const py::object& callable) {
  if (callable.is_none()) return nullptr;
  if (PyCallable_Check(callable.ptr()) == 0) {
    throw py::type_error("callback must be None or a callable that takes a Progress, got " +
                         std::string(py::repr(callable)));
  }
  const py::object progress_type = py::module_::import("convexrelu._core").attr("Progress");
  return [callable, progress_type](const Progress& progress) {
    const py::gil_scoped_acquire hold;
    const py::object answer = callable(progress_type(
        progress.phase, progress.iteration, progress.objective, progress.gap, progress.seconds));
    const int stop = PyObject_IsTrue(answer.ptr());
    if (stop < 0) throw py::error_already_set();
    return stop != 0;
  };
}

void check_signals() {
  const py::gil_scoped_acquire hold;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

void bind_monitor(py::module_& m) {
  py::object progress = py::module_::import("collections")
                            .attr("namedtuple")("Progress", "phase iteration objective gap seconds",
                                                py::arg("module") = "convexrelu");
  progress.attr("__doc__") =
      "What a callback is told: the phase of the work in one word, the iteration, the objective\n"
      "and the relative gap reached (nan where there is none yet), and the seconds since the "
      "start.\n\n"
      "Examples\n--------\n"
      ">>> from convexrelu import Progress, solve_global\n"
      ">>> seen = []\n"
      ">>> solution = solve_global([[1.0], [-2.0]], [1.0, 1.0], 0.1, callback=seen.append)\n"
      ">>> all(isinstance(progress, Progress) for progress in seen)\n"
      "True\n";
  m.attr("Progress") = progress;
}

}  // namespace convexrelu
