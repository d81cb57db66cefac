#include "convexrelu/program/problem.hpp"

#include <utility>

#include "bindings.hpp"

namespace convexrelu {

void bind_problem(py::module_& m) {
  py::enum_<Formulation>(m, "Formulation")
      .value("relu", Formulation::relu)
      .value("gated", Formulation::gated);

  py::class_<Problem>(m, "Problem")
      .def(py::init([](Matrix X, Vector y, const Patterns& patterns, Formulation formulation,
                       Vector sample_weight, LossChoice loss, bool fit_intercept, Vector offset) {
             return watched(std::nullopt, py::none(), [&](Monitor& monitor) {
               return Problem(std::move(X), std::move(y), patterns, formulation,
                              std::move(sample_weight), &monitor,
                              {loss, fit_intercept, std::move(offset)});
             });
           }),
           py::arg("X"), py::arg("y"), py::arg("patterns"), py::arg("formulation"),
           py::arg("sample_weight"), py::arg("loss"), py::arg("fit_intercept"), py::arg("offset"))
      .def_property_readonly("X", &Problem::X, py::return_value_policy::reference_internal)
      .def_property_readonly("y", &Problem::y, py::return_value_policy::reference_internal)
      .def_property_readonly("sample_weight", &Problem::sample_weight,
                             py::return_value_policy::reference_internal)
      .def_property_readonly("patterns", &Problem::patterns)
      .def_property_readonly("formulation", &Problem::formulation)
      .def_property_readonly("loss", [](const Problem& problem) { return problem.model().loss; })
      .def_property_readonly("fit_intercept",
                             [](const Problem& problem) { return problem.model().fit_intercept; })
      .def_property_readonly(
          "offset", [](const Problem& problem) -> const Vector& { return problem.model().offset; },
          py::return_value_policy::reference_internal)
      // -l' (n) where the network is zero.
      .def_property_readonly(
          "null_residual",
          [](const Problem& problem) { return problem.scaled().from_scaled(problem.scaled().y()); })
      .def_property_readonly("n_blocks", &Problem::n_blocks)
      .def_property_readonly("is_complete", &Problem::is_complete)
      .def("lambda_max", [](const Problem& problem) {
        return watched(std::nullopt, py::none(),
                       [&](Monitor& monitor) { return problem.lambda_max(monitor); });
      });
}

}  // namespace convexrelu
