#include "convexrelu/arrangement/hyperplanes.hpp"

#include "bindings.hpp"

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
        const auto [planes, columns] = watched(std::nullopt, py::none(), [&](Monitor& monitor) {
          Hyperplanes found = find_hyperplanes(X, &monitor);
          std::vector<Index> pivots =
              pivot_columns(X, found, kIndependentColumns, X.cols(), &monitor);
          return std::make_pair(std::move(found), std::move(pivots));
        });
        const std::vector<int> orientation(planes.orientation.begin(), planes.orientation.end());
        return hyperplanes_type(planes.normals, planes.plane, orientation, columns);
      },
      py::arg("X"));
}

}  // namespace convexrelu
