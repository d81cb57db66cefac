#include "convexrelu/program/loss.hpp"

#include "bindings.hpp"

namespace convexrelu {

void bind_loss(py::module_& m) {
  py::enum_<LossKind>(m, "LossKind")
      .value("squared", LossKind::squared)
      .value("logistic", LossKind::logistic)
      .value("poisson", LossKind::poisson)
      .value("huber", LossKind::huber)
      .value("squared_hinge", LossKind::squared_hinge);

  py::class_<LossChoice>(m, "LossChoice")
      .def(py::init([](LossKind kind, double delta) {
             return LossChoice{kind, delta};
           }),
           py::arg("kind"), py::arg("delta"))
      .def_readonly("kind", &LossChoice::kind)
      .def_readonly("delta", &LossChoice::delta);
}

}  // namespace convexrelu
