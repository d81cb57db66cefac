#include "convexrelu/numeric/simplex.hpp"

#include "bindings.hpp"

namespace convexrelu {

void bind_simplex(py::module_& m) {
  py::class_<Simplex>(m, "Simplex")
      .def(py::init<ConstMatrixRef, ConstVectorRef, double>(), py::arg("Q"), py::arg("start"),
           py::arg("tol") = Simplex::kTolerance)
      .def_property_readonly("rank", &Simplex::rank)
      .def_property_readonly("basis", &Simplex::basis)
      .def_property_readonly("point", &Simplex::point)
      .def(
          "reduce",
          [](Simplex& simplex, const Vector& cost) {
            return watched(std::nullopt, py::none(),
                           [&](Monitor& monitor) { return simplex.reduce(cost, &monitor); });
          },
          py::arg("cost"))
      .def(
          "minimize",
          [](Simplex& simplex, const Vector& cost) {
            return watched(std::nullopt, py::none(),
                           [&](Monitor& monitor) { return simplex.minimize(cost, &monitor); });
          },
          py::arg("cost"))
      .def(
          "vertices",
          [](const Simplex& simplex, Index max_vertices) {
            return watched(std::nullopt, py::none(), [&](Monitor& monitor) {
              return simplex.vertices(max_vertices, monitor);
            });
          },
          py::arg("max_vertices"));
}

}  // namespace convexrelu
