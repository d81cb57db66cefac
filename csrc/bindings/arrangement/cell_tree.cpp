#include "convexrelu/arrangement/cell_tree.hpp"

#include "bindings.hpp"

namespace convexrelu {

void bind_cell_tree(py::module_& m) {
  m.def(
      "enumerate_patterns",
      [](const Matrix& X, double max_patterns, double tol, int n_threads,
         const py::object& callback) {
        return watched(std::nullopt, callback, [&](Monitor& monitor) {
          return enumerate_patterns(X, {max_patterns, tol, n_threads}, monitor);
        });
      },
      py::arg("X"), py::arg("max_patterns"), py::arg("tol"), py::arg("n_threads"),
      py::arg("callback"));

  m.def(
      "sample_ray_gates",
      [](const Matrix& X, Index n_gates, std::uint64_t seed, std::optional<double> time_limit) {
        return watched(time_limit, py::none(), [&](Monitor& monitor) {
          return sample_ray_gates(X, n_gates, seed, monitor);
        });
      },
      py::arg("X"), py::arg("n_gates"), py::arg("seed"), py::arg("time_limit") = py::none());
}

}  // namespace convexrelu
