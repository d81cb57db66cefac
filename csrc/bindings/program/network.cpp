#include "convexrelu/program/network.hpp"

#include "bindings.hpp"

namespace convexrelu {

void bind_network(py::module_& m) {
  py::class_<Network>(m, "Network")
      .def(py::init<Matrix, Vector, std::optional<Matrix>, double>(), py::arg("hidden"),
           py::arg("output"), py::arg("gates"), py::arg("intercept"))
      .def_property_readonly("intercept", &Network::intercept)
      .def_property_readonly("hidden", &Network::hidden,
                             py::return_value_policy::reference_internal)
      .def_property_readonly("output", &Network::output,
                             py::return_value_policy::reference_internal)
      .def_property_readonly("gates",
                             [](const py::object& self) -> py::object {
                               const auto& gates = self.cast<const Network&>().gates();
                               if (!gates) return py::none();
                               return py::cast(*gates, py::return_value_policy::reference_internal,
                                               self);
                             })
      .def(
          "predict",
          [](const Network& network, ConstMatrixRef X, int n_threads) {
            return watched(std::nullopt, py::none(), [&](Monitor& monitor) {
              return network.predict(X, n_threads, monitor);
            });
          },
          py::arg("X"), py::arg("n_threads"))
      .def(
          "objective",
          [](const Network& network, ConstMatrixRef X, const Vector& y, double lam,
             const Vector& sample_weight, int n_threads, LossChoice loss, const Vector& offset) {
            return watched(std::nullopt, py::none(), [&](Monitor& monitor) {
              return network.objective(X, y, lam, sample_weight, n_threads, monitor, loss, offset);
            });
          },
          py::arg("X"), py::arg("y"), py::arg("lam"), py::arg("sample_weight"),
          py::arg("n_threads"), py::arg("loss"), py::arg("offset"))
      .def("balance", &Network::balance)
      .def("merge", &Network::merge, py::arg("tol"))
      .def("split", &Network::split, py::arg("neuron"), py::arg("shares"));

  m.def(
      "to_network",
      [](const Solution& solution) {
        return watched(std::nullopt, py::none(),
                       [&](Monitor& monitor) { return to_network(solution, &monitor); });
      },
      py::arg("solution"));
}

}  // namespace convexrelu
