#include "convexrelu/global/stationarity.hpp"

#include "bindings.hpp"

namespace convexrelu {

void bind_stationarity(py::module_& m) {
  m.def(
      "check_network",
      [](const Network& network, const Matrix& X, const Vector& y, double lam,
         const Vector& sample_weight, double tol, double kink_tol, std::optional<double> time_limit,
         int n_threads) {
        const NetworkReport report = watched(time_limit, py::none(), [&](Monitor& monitor) {
          return check_network(network, X, y, lam, sample_weight, tol, kink_tol, n_threads,
                               monitor);
        });
        return py::make_tuple(report.objective, report.has_all_sides, report.merged, report.own,
                              report.best);
      },
      py::arg("network"), py::arg("X"), py::arg("y"), py::arg("lam"), py::arg("sample_weight"),
      py::arg("tol"), py::arg("kink_tol"), py::arg("time_limit"), py::arg("n_threads"));

  m.def(
      "bound_globally",
      [](const Solution& solution, double tol, std::uint64_t seed, std::optional<double> time_limit,
         int n_threads) {
        return watched(time_limit, py::none(), [&](Monitor& monitor) {
          return bound_globally(solution, tol, seed, n_threads, monitor);
        });
      },
      py::arg("solution"), py::arg("tol"), py::arg("seed"), py::arg("time_limit"),
      py::arg("n_threads"));

  m.def(
      "descent_path",
      [](const Network& network, const Matrix& X, const Vector& y, double lam,
         const Vector& sample_weight, const Patterns& more, Index n_steps,
         std::optional<double> time_limit, int n_threads) {
        return watched(time_limit, py::none(), [&](Monitor& monitor) {
          return descent_path(network, X, y, lam, sample_weight, more, n_steps, n_threads, monitor);
        });
      },
      py::arg("network"), py::arg("X"), py::arg("y"), py::arg("lam"), py::arg("sample_weight"),
      py::arg("more"), py::arg("n_steps"), py::arg("time_limit"), py::arg("n_threads"));
}

}  // namespace convexrelu
