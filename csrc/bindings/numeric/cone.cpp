#include "convexrelu/numeric/cone.hpp"

#include <algorithm>
#include <memory>

#include "bindings.hpp"
#include "convexrelu/base/error.hpp"

namespace convexrelu {

namespace {

using Signs = py::array_t<std::int8_t, py::array::c_style | py::array::forcecast>;

// A projector with the normals it refers to.
struct OwningProjector {
  explicit OwningProjector(Matrix n) : normals(std::move(n)), projector(normals) {}

  // The core trusts its callers.
  void check(const Signs& sigma, const Vector& c, const std::vector<Index>& face) const {
    const Index d = normals.rows(), h = normals.cols();
    if (c.size() != d) throw_invalid("c must have one entry per row of normals");
    if (sigma.ndim() != 1 || sigma.size() != h) {
      throw_invalid("sigma must have one entry per column of normals");
    }
    const std::int8_t* begin = sigma.data();
    if (std::any_of(begin, begin + h, [](std::int8_t side) { return side < -1 || side > 1; })) {
      throw_invalid("sigma must be -1, 0 or +1");
    }
    if (std::any_of(face.begin(), face.end(), [h](Index row) { return row < 0 || row >= h; })) {
      throw_invalid("face must list columns of normals");
    }
  }

  Matrix normals;
  ConeProjector projector;
};

}  // namespace

void bind_cone(py::module_& m) {
  m.attr("Projection") = py::module_::import("collections")
                             .attr("namedtuple")("Projection",
                                                 "q norm face multipliers kkt_error converged "
                                                 "stopped_early n_steps",
                                                 py::arg("module") = "convexrelu._core");
  const py::object projection_type = m.attr("Projection");

  py::class_<OwningProjector>(m, "ConeProjector")
      .def(py::init<Matrix>(), py::arg("normals"))
      .def(
          "project",
          [projection_type](OwningProjector& self, const Signs& sigma, const Vector& c,
                            std::vector<Index> face, double threshold) {
            self.check(sigma, c, face);
            const Projection& p = self.projector.project(c, sigma.data(), face, threshold);
            return projection_type(p.q, p.norm, face, p.multipliers, p.kkt_error, p.converged,
                                   p.stopped_early, p.n_steps);
          },
          py::arg("sigma"), py::arg("c"), py::arg("face"), py::arg("threshold"));
}

}  // namespace convexrelu
