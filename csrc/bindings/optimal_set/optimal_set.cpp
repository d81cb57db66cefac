#include "convexrelu/optimal_set/optimal_set.hpp"

#include <type_traits>

#include "bindings.hpp"
#include "block_array.hpp"
#include "convexrelu/program/network.hpp"

namespace convexrelu {

namespace {

std::vector<BlockArray> to_arrays(const std::vector<std::vector<Block>>& lists) {
  std::vector<BlockArray> arrays;
  for (const std::vector<Block>& blocks : lists) arrays.push_back(to_array(blocks));
  return arrays;
}

// A method under no limit; the monitor is its last argument where it takes one.
template <typename Method, typename... Arguments>
auto watch(const OptimalSet& set, Method method, const Arguments&... arguments) {
  return watched(std::nullopt, py::none(), [&](Monitor& monitor) {
    if constexpr (std::is_invocable_v<Method, const OptimalSet&, Arguments..., Monitor&>) {
      return (set.*method)(arguments..., monitor);
    } else {
      return (set.*method)(arguments...);
    }
  });
}

}  // namespace

void bind_optimal_set(py::module_& m) {
  py::class_<OptimalSet>(m, "OptimalSet")
      .def_property_readonly("problem", &OptimalSet::problem)
      .def_property_readonly("lam", &OptimalSet::lam)
      .def_property_readonly("solution", &OptimalSet::solution)
      .def_property_readonly("blocks", [](const OptimalSet& set) { return to_array(set.blocks()); })
      .def_property_readonly("merged",
                             [](const OptimalSet& set) { return to_arrays(set.merged()); })
      .def_property_readonly("directions", &OptimalSet::directions,
                             py::return_value_policy::reference_internal)
      .def_property_readonly("Q", &OptimalSet::Q)
      .def_property_readonly("dimension", &OptimalSet::dimension)
      .def_property_readonly("is_unique", &OptimalSet::is_unique)
      .def_property_readonly("is_p_unique", &OptimalSet::is_p_unique)
      .def_property_readonly("is_complete", &OptimalSet::is_complete)
      .def_property_readonly("tie_error", &OptimalSet::tie_error)
      .def_property_readonly("support", &OptimalSet::support)
      .def_property_readonly("necessary", &OptimalSet::necessary)
      .def(
          "minimize",
          [](const OptimalSet& set, ConstVectorRef cost) {
            return watch(set, &OptimalSet::minimize, cost);
          },
          py::arg("cost"))
      .def("norm_bounds",
           [](const OptimalSet& set) { return watch(set, &OptimalSet::norm_bounds); })
      .def(
          "smallest",
          [](const OptimalSet& set, std::optional<double> time_limit) {
            return watched(time_limit, py::none(),
                           [&](Monitor& monitor) { return set.smallest(monitor); });
          },
          py::arg("time_limit"))
      .def("min_norm", [](const OptimalSet& set) { return watch(set, &OptimalSet::min_norm); })
      .def(
          "best_for",
          [](const OptimalSet& set, ConstMatrixRef F, ConstVectorRef target) {
            return watch(set, &OptimalSet::best_for, F, target);
          },
          py::arg("F"), py::arg("target"))
      .def(
          "vertices",
          [](const OptimalSet& set, Index max_vertices) {
            return watch(set, &OptimalSet::vertices, max_vertices);
          },
          py::arg("max_vertices"))
      .def(
          "sample",
          [](const OptimalSet& set, Index size, std::uint64_t seed) {
            return watch(set, &OptimalSet::sample, size, seed);
          },
          py::arg("size"), py::arg("seed"))
      .def(
          "outputs",
          [](const OptimalSet& set, ConstMatrixRef X_new) {
            return watch(set, &OptimalSet::outputs, X_new);
          },
          py::arg("X_new"))
      .def(
          "prediction_range",
          [](const OptimalSet& set, ConstMatrixRef X_new) {
            return watch(set, &OptimalSet::prediction_range, X_new);
          },
          py::arg("X_new"))
      .def("solution_at", &OptimalSet::solution_at, py::arg("alpha"))
      .def(
          "nearest",
          [](const OptimalSet& set, const Solution& solution) {
            return watch(set, &OptimalSet::nearest, solution);
          },
          py::arg("solution"))
      .def(
          "contains",
          [](const OptimalSet& set, const Solution& solution, double tol) {
            return watch(set, &OptimalSet::contains, solution, tol);
          },
          py::arg("solution"), py::arg("tol"));

  m.def(
      "find_optimal_set",
      [](const Solution& solution, double tol, bool all_patterns, int n_threads,
         std::optional<double> time_limit) {
        return watched(time_limit, py::none(), [&](Monitor& monitor) {
          return find_optimal_set(solution, {tol, all_patterns, n_threads}, monitor);
        });
      },
      py::arg("solution"), py::arg("tol"), py::arg("all_patterns"), py::arg("n_threads"),
      py::arg("time_limit"));
}

}  // namespace convexrelu
