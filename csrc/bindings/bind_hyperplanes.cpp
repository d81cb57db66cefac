#include "bindings.hpp"
#include "convexrelu/hyperplanes.hpp"

namespace convexrelu {

void bind_hyperplanes(py::module_& m) {
  m.attr("Hyperplanes") =
      py::module_::import("collections")
          .attr("namedtuple")("Hyperplanes", "normals plane orientation pivot_columns",
                              py::arg("module") = "convexrelu._core");
  const py::object hyperplanes_type = m.attr("Hyperplanes");

  m.def(
      "find_hyperplanes",
      [hyperplanes_type](const Matrix& X) {
        const Hyperplanes planes = find_hyperplanes(X);
        const std::vector<int> orientation(planes.orientation.begin(), planes.orientation.end());
        return hyperplanes_type(planes.normals, planes.plane, orientation,
                                pivot_columns(X, planes));
      },
      py::arg("X"));
}

}  // namespace convexrelu
