#include "convexrelu/base/error.hpp"

#include "bindings.hpp"

namespace convexrelu {

namespace {

constexpr const char* kLimitExceededDoc =
    "A limit that the caller set (``max_patterns``, ``max_vertices``, ``time_limit``, ...) ended\n"
    "the work before there was an answer. The message names the limit and what it was.\n\n"
    "Examples\n--------\n"
    ">>> from convexrelu import LimitExceeded, enumerate_patterns\n"
    ">>> try:\n"
    "...     enumerate_patterns([[1.0, 0.0], [0.0, 1.0]], max_patterns=3)\n"
    "... except LimitExceeded:\n"
    "...     'more than three'\n"
    "'more than three'\n";

constexpr const char* kAccuracyErrorDoc =
    "float64 does not hold the accuracy that an answer needs, for data that are nearly tied or of\n"
    "very different scales. The message names what was attained.\n\n"
    "Examples\n--------\n"
    ">>> from convexrelu import AccuracyError, Problem, enumerate_patterns, find_optimal_set, "
    "solve\n"
    ">>> X = [[1.0, 0.5], [-0.3, 1.0], [0.7, -1.0]]\n"
    ">>> solution = solve(Problem(X, [1.0, 2.0, 3.0], enumerate_patterns(X)), 0.1)\n"
    ">>> try:\n"
    "...     find_optimal_set(solution, tol=1e-200)\n"
    "... except AccuracyError:\n"
    "...     'more than float64 has'\n"
    "'more than float64 has'\n";

const char* explain(StopReason reason) {
  return reason == StopReason::callback ? "the callback stopped the work before it had an answer"
                                        : "time_limit ended the work before it had an answer";
}

}  // namespace

void bind_error(py::module_& m) {
  // They live as long as the process: a translator may run when the module is already gone.
  static PyObject* limit_exceeded = PyErr_NewExceptionWithDoc(
      "convexrelu.LimitExceeded", kLimitExceededDoc, PyExc_RuntimeError, nullptr);
  static PyObject* accuracy_error = PyErr_NewExceptionWithDoc(
      "convexrelu.AccuracyError", kAccuracyErrorDoc, PyExc_ArithmeticError, nullptr);
  if (limit_exceeded == nullptr || accuracy_error == nullptr) throw py::error_already_set();
  m.attr("LimitExceeded") = py::handle(limit_exceeded);
  m.attr("AccuracyError") = py::handle(accuracy_error);

  // pybind11 itself turns std::invalid_argument into ValueError and std::bad_alloc into
  // MemoryError. Stopped gets here only from work that has no partial answer to return.
  py::register_local_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const LimitExceeded& error) {
      PyErr_SetString(limit_exceeded, error.what());
    } catch (const AccuracyError& error) {
      PyErr_SetString(accuracy_error, error.what());
    } catch (const Stopped& stopped) {
      PyErr_SetString(limit_exceeded, explain(stopped.reason));
    }
  });
}

}  // namespace convexrelu
