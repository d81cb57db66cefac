#include <chrono>
#include <string>
#include <thread>

#include "bindings.hpp"

namespace convexrelu {

namespace {

// A daemon thread may still be at work when the interpreter ends. CPython before 3.14 ends such a thread
// as soon as it asks for the GIL, by pthread_exit(), which unwinds its stack: through destructors that
// need the GIL or must not throw, and handlers that do not throw on, so that the process aborts. So
// every call in which the GIL can be asked for is made by unless_python_ended(), with nothing to destroy
// between it and a handler that is never left: the thread sleeps until the process ends, as it does by
// CPython's own doing from 3.14 on.
[[noreturn]] void sleep_until_exit() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

// In the thread that ends the interpreter, whose last objects may still call the library.
thread_local bool ends_python = false;

template <typename Call>
auto unless_python_ended(const Call& call) noexcept {
  if (Py_IsInitialized() == 0 && !ends_python) sleep_until_exit();
  try {
    return call();
  } catch (...) {  // calls are of C and throw nothing: this is pthread_exit()
    sleep_until_exit();
  }
}

// The GIL while it lives, for a thread that has released it.
class WithGil {
 public:
  WithGil() : state_(unless_python_ended([] { return PyGILState_Ensure(); })) {}
  ~WithGil() { PyGILState_Release(state_); }

  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;

 private:
  PyGILState_STATE state_;
};

// callable(*arguments): Python code, which lets others have the GIL now and then.
py::object call(const py::object& callable, const py::tuple& arguments) {
  PyObject* const result =
      unless_python_ended([&] { return PyObject_CallObject(callable.ptr(), arguments.ptr()); });
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

}  // namespace

WithoutGil::WithoutGil() {
  ends_python =
      Py_IsInitialized() == 0;  // who holds the GIL then has no other thread to give it to
  if (!ends_python) state_ = PyEval_SaveThread();
}

WithoutGil::~WithoutGil() {
  if (state_ == nullptr) return;
  unless_python_ended([this] { PyEval_RestoreThread(state_); });
}

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
    const WithGil hold;
    const py::object answer =
        call(callable,
             py::make_tuple(call(progress_type, py::make_tuple(progress.phase, progress.iteration,
                                                               progress.objective, progress.gap,
                                                               progress.seconds))));
    const int stop = unless_python_ended([&] { return PyObject_IsTrue(answer.ptr()); });
    if (stop < 0) throw py::error_already_set();
    return stop != 0;
  };
}

void check_signals() {
  const WithGil hold;
  if (unless_python_ended([] { return PyErr_CheckSignals(); }) != 0) throw py::error_already_set();
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
