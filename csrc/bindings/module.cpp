// The extension module, compiled once per instruction-set level; python/convexrelu/_core.py
// picks one of them.
#include <pybind11/pybind11.h>

namespace convexrelu {

namespace py = pybind11;

// One per concept, each in bind_<module>.cpp; lower floors first.
void bind_error(py::module_& m);    // LimitExceeded, and the translation of exceptions
void bind_monitor(py::module_& m);  // Progress
void bind_hyperplanes(py::module_& m);
void bind_cone(py::module_& m);
void bind_simplex(py::module_& m);
void bind_patterns(py::module_& m);
void bind_mask_product(py::module_& m);
void bind_cell_tree(py::module_& m);
void bind_loss(py::module_& m);
void bind_problem(py::module_& m);
void bind_pricing(py::module_& m);
void bind_solution(py::module_& m);
void bind_network(py::module_& m);
void bind_solver(py::module_& m);
void bind_sensitivity(py::module_& m);
void bind_stationarity(py::module_& m);
void bind_path(py::module_& m);
void bind_optimal_set(py::module_& m);
void bind_pruning(py::module_& m);
void bind_global_solver(py::module_& m);

}  // namespace convexrelu

PYBIND11_MODULE(CONVEXRELU_MODULE, m) {
  // What is defined below calls itself convexrelu._core.<name>, whatever the level, so that a
  // pickle made on one machine opens on another.
  m.attr("__name__") = "convexrelu._core";
  m.attr("__version__") = CONVEXRELU_VERSION;
  m.attr("level") = CONVEXRELU_LEVEL;

  convexrelu::bind_error(m);
  convexrelu::bind_monitor(m);
  convexrelu::bind_hyperplanes(m);
  convexrelu::bind_cone(m);
  convexrelu::bind_simplex(m);
  convexrelu::bind_patterns(m);
  convexrelu::bind_mask_product(m);
  convexrelu::bind_cell_tree(m);
  convexrelu::bind_loss(m);
  convexrelu::bind_problem(m);
  convexrelu::bind_pricing(m);
  convexrelu::bind_solution(m);
  convexrelu::bind_network(m);
  convexrelu::bind_solver(m);
  convexrelu::bind_sensitivity(m);
  convexrelu::bind_stationarity(m);
  convexrelu::bind_optimal_set(m);
  convexrelu::bind_pruning(m);
  convexrelu::bind_path(m);
  convexrelu::bind_global_solver(m);
}
