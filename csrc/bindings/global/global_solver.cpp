#include "convexrelu/global/global_solver.hpp"

#include "bindings.hpp"

namespace convexrelu {

void bind_global_solver(py::module_& m) {
  m.def(
      "solve_global",
      [](const Matrix& X, const Vector& y, double lam, const Vector& sample_weight, double tol,
         bool certify, const Network* warm_start, std::optional<double> time_limit,
         std::uint64_t seed, int n_threads, const py::object& callback) {
        const GlobalSolverOptions options{tol, certify, seed, n_threads, warm_start};
        return watched(time_limit, callback, [&](Monitor& monitor) {
          return solve_global(X, y, lam, sample_weight, options, monitor);
        });
      },
      py::arg("X"), py::arg("y"), py::arg("lam"), py::arg("sample_weight"), py::arg("tol"),
      py::arg("certify"), py::arg("warm_start"), py::arg("time_limit"), py::arg("seed"),
      py::arg("n_threads"), py::arg("callback"));
}

}  // namespace convexrelu
