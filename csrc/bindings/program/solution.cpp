#include "convexrelu/program/solution.hpp"

#include "bindings.hpp"
#include "block_array.hpp"

namespace convexrelu {

void bind_solution(py::module_& m) {
  py::enum_<Status>(m, "Status")
      .value("optimal", Status::optimal)
      .value("max_iter", Status::max_iter)
      .value("time_limit", Status::time_limit)
      .value("callback", Status::callback)
      .value("stalled", Status::stalled)
      .value("unproven", Status::unproven)
      .value("pruned", Status::pruned)
      .value("numerical_failure", Status::numerical_failure)
      .value("out_of_memory", Status::out_of_memory);

  py::class_<Solution>(m, "Solution")
      .def_readonly("problem", &Solution::problem)
      .def_readonly("lam", &Solution::lam)
      .def_readonly("status", &Solution::status)
      .def_property_readonly("active_set", [](const Solution& s) { return to_array(s.active_set); })
      .def_property_readonly(
          "weights", [](const Solution& s) -> const Matrix& { return s.weights; },
          py::return_value_policy::reference_internal)
      .def_readonly("intercept", &Solution::intercept)
      .def_property_readonly(
          "fitted", [](const Solution& s) -> const Vector& { return s.fitted; },
          py::return_value_policy::reference_internal)
      .def_property_readonly(
          "residual", [](const Solution& s) -> const Vector& { return s.residual; },
          py::return_value_policy::reference_internal)
      .def_property_readonly(
          "dual", [](const Solution& s) -> const Vector& { return s.dual; },
          py::return_value_policy::reference_internal)
      .def_readonly("objective", &Solution::objective)
      .def_readonly("lower_bound", &Solution::lower_bound)
      .def_readonly("gap", &Solution::gap)
      .def_readonly("n_iter", &Solution::n_iter)
      .def_readonly("global_lower_bound", &Solution::global_lower_bound);

  // weights (d, k). Certifies what it is given.
  m.def(
      "make_solution",
      [](const Problem& problem, double lam, Status status, const BlockArray& active_set,
         const Matrix& weights, const Vector& dual, long n_iter, double global_lower_bound,
         double intercept) {
        return watched(std::nullopt, py::none(), [&](Monitor& monitor) {
          Solution solution = make_solution(problem, lam, status, to_blocks(active_set), weights,
                                            dual, n_iter, 1, monitor, intercept);
          solution.global_lower_bound = global_lower_bound;
          return solution;
        });
      },
      py::arg("problem"), py::arg("lam"), py::arg("status"), py::arg("active_set"),
      py::arg("weights"), py::arg("dual"), py::arg("n_iter"), py::arg("global_lower_bound"),
      py::arg("intercept") = 0.0);

  m.def(
      "certify",
      [](const Solution& s, int n_threads) {
        const Certificate c = watched(std::nullopt, py::none(), [&](Monitor& monitor) {
          return certify(s.problem, s.lam, s.active_set, s.weights, s.dual, n_threads, monitor,
                         s.intercept);
        });
        return py::make_tuple(c.primal, c.dual, c.gap, c.stationarity, c.cone_violation);
      },
      py::arg("solution"), py::arg("n_threads"));
}

}  // namespace convexrelu
