#include "convexrelu/sensitivity/sensitivity.hpp"

#include "bindings.hpp"
#include "block_array.hpp"

namespace convexrelu {

void bind_sensitivity(py::module_& m) {
  const auto to_tuple = [](const Gradient& g) { return py::make_tuple(g.lam, g.y, g.X); };
  const auto run = [](const auto& work) { return watched(std::nullopt, py::none(), work); };

  py::class_<Sensitivity>(m, "Sensitivity")
      .def(py::init([run](const Solution& solution) {
             return run([&](Monitor& monitor) { return Sensitivity(solution, monitor); });
           }),
           py::arg("solution"))
      .def_property_readonly("solution", &Sensitivity::solution,
                             py::return_value_policy::reference_internal)
      .def_property_readonly("differentiable", &Sensitivity::differentiable)
      .def_property_readonly("differentiable_in_X", &Sensitivity::differentiable_in_X)
      .def_property_readonly("fit_differentiable", &Sensitivity::fit_differentiable)
      .def_property_readonly("why", &Sensitivity::why)
      .def_property_readonly("active_set",
                             [](const Sensitivity& s) { return to_array(s.active_set()); })
      .def_property_readonly("weights", &Sensitivity::weights,
                             py::return_value_policy::reference_internal)
      .def(
          "one_sided",
          [run](const Sensitivity& s, bool above) {
            const Side side = above ? Side::above : Side::below;
            return run([&](Monitor& monitor) { return s.one_sided(side, monitor); });
          },
          py::arg("above"))
      .def("d_lam",
           [run](const Sensitivity& s) {
             return run([&](Monitor& monitor) { return s.d_lam(monitor); });
           })
      .def("d_fitted_d_lam",
           [run](const Sensitivity& s) {
             return run([&](Monitor& monitor) { return s.d_fitted_d_lam(monitor); });
           })
      .def("d_fitted_d_y",
           [run](const Sensitivity& s) {
             return run([&](Monitor& monitor) { return s.d_fitted_d_y(monitor); });
           })
      .def("degrees_of_freedom",
           [run](const Sensitivity& s) {
             const DegreesOfFreedom found =
                 run([&](Monitor& monitor) { return s.degrees_of_freedom(monitor); });
             return py::make_tuple(found.value, found.d_lam);
           })
      .def("d_objective", [to_tuple](const Sensitivity& s) { return to_tuple(s.d_objective()); })
      .def(
          "jvp",
          [run](const Sensitivity& s, double d_lam, const Vector& d_y, const Matrix& d_X) {
            return run([&](Monitor& monitor) { return s.jvp(d_lam, d_y, d_X, monitor); });
          },
          py::arg("d_lam"), py::arg("d_y"), py::arg("d_X"))
      .def(
          "vjp",
          [run, to_tuple](const Sensitivity& s, const Matrix& grad_weights) {
            return to_tuple(run([&](Monitor& monitor) { return s.vjp(grad_weights, monitor); }));
          },
          py::arg("grad_weights"))
      .def(
          "predictions",
          [run](const Sensitivity& s, ConstMatrixRef X) {
            const PredictionSensitivity p =
                run([&](Monitor& monitor) { return s.predictions(X, monitor); });
            return py::make_tuple(p.d_lam, p.d_y);
          },
          py::arg("X"));
}

}  // namespace convexrelu
