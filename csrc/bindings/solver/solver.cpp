#include "convexrelu/solver/solver.hpp"

#include "bindings.hpp"

namespace convexrelu {

void bind_solver(py::module_& m) {
  m.def(
      "solve",
      [](const Problem& problem, double lam, double tol, const Solution* warm_start,
         std::optional<long> max_iter, std::optional<double> time_limit, int n_threads,
         const py::object& callback) {
        SolveOptions options;
        options.tol = tol;
        if (max_iter) options.max_iter = *max_iter;
        options.n_threads = n_threads;
        options.warm_start = warm_start;
        return watched(time_limit, callback,
                       [&](Monitor& monitor) { return solve(problem, lam, options, monitor); });
      },
      py::arg("problem"), py::arg("lam"), py::arg("tol"), py::arg("warm_start"),
      py::arg("max_iter"), py::arg("time_limit"), py::arg("n_threads"), py::arg("callback"));
}

}  // namespace convexrelu
