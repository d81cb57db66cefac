#include "bindings.hpp"
#include "convexrelu/error.hpp"

namespace convexrelu {

namespace {

constexpr const char* kLimitExceededDoc =
    "A limit that the caller set (``max_patterns``, ``max_vertices``, ``time_limit``, ...) ended\n"
    "the work before there was an answer. The message names the limit and what it was.";

const char* explain(StopReason reason) {
  return reason == StopReason::callback ? "the callback stopped the work before it had an answer"
                                        : "time_limit ended the work before it had an answer";
}

}  // namespace

void bind_error(py::module_& m) {
  // Lives as long as the process: a translator may run when the module is already gone.
  static PyObject* limit_exceeded = PyErr_NewExceptionWithDoc(
      "convexrelu.LimitExceeded", kLimitExceededDoc, PyExc_RuntimeError, nullptr);
  if (limit_exceeded == nullptr) throw py::error_already_set();
  m.attr("LimitExceeded") = py::handle(limit_exceeded);

  // pybind11 itself turns std::invalid_argument into ValueError and std::bad_alloc into
  // MemoryError. Stopped gets here only from work that has no partial answer to return.
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const LimitExceeded& error) {
      PyErr_SetString(limit_exceeded, error.what());
    } catch (const Stopped& stopped) {
      PyErr_SetString(limit_exceeded, explain(stopped.reason));
    }
  });
}

}  // namespace convexrelu
