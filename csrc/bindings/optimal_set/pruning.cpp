#include "convexrelu/optimal_set/pruning.hpp"

#include "bindings.hpp"

namespace convexrelu {

namespace {

py::list to_list(const std::vector<PruningStep>& history) {
  py::list steps;
  for (const PruningStep& s : history) {
    steps.append(py::make_tuple(s.removed, s.n_neurons, s.objective, s.is_exact));
  }
  return steps;
}

}  // namespace

void bind_pruning(py::module_& m) {
  py::enum_<PruningScore>(m, "PruningScore")
      .value("magnitude", PruningScore::magnitude)
      .value("activation", PruningScore::activation)
      .value("gradient", PruningScore::gradient)
      .value("residual", PruningScore::residual)
      .value("random", PruningScore::random);

  // Both return what is left, and the steps.
  m.def(
      "prune_solution",
      [](const Solution& solution, Index n_neurons, PruningScore score, bool correct,
         std::uint64_t seed, std::optional<double> time_limit) {
        PrunedSolution pruned = watched(time_limit, py::none(), [&](Monitor& monitor) {
          return prune(solution, {n_neurons, score, correct, seed}, monitor);
        });
        return py::make_tuple(std::move(pruned.solution), to_list(pruned.history));
      },
      py::arg("solution"), py::arg("n_neurons"), py::arg("score"), py::arg("correct"),
      py::arg("seed"), py::arg("time_limit"));
  m.def(
      "prune_network",
      [](const Network& network, const Matrix& X, const Vector& y, double lam, Index n_neurons,
         PruningScore score, bool correct, std::uint64_t seed, std::optional<double> time_limit) {
        PrunedNetwork pruned = watched(time_limit, py::none(), [&](Monitor& monitor) {
          return prune(network, X, y, lam, {n_neurons, score, correct, seed}, monitor);
        });
        return py::make_tuple(std::move(pruned.network), to_list(pruned.history));
      },
      py::arg("network"), py::arg("X"), py::arg("y"), py::arg("lam"), py::arg("n_neurons"),
      py::arg("score"), py::arg("correct"), py::arg("seed"), py::arg("time_limit"));
}

}  // namespace convexrelu
