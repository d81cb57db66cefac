#include "convexrelu/pricing/pricing.hpp"

#include "bindings.hpp"

namespace convexrelu {

void bind_pricing(py::module_& m) {
  py::class_<Pricing>(m, "Pricing")
      .def_readonly("value", &Pricing::value)
      .def_readonly("upper_bound", &Pricing::upper_bound)
      .def_readonly("raw_bound", &Pricing::raw_bound)
      .def_readonly("direction", &Pricing::direction)
      .def_readonly("sign", &Pricing::sign)
      .def_readonly("is_exact", &Pricing::is_exact)
      .def_readonly("n_cones", &Pricing::n_cones);

  m.def(
      "price_patterns",
      [](const Matrix& X, const Vector& r, double tol, double threshold,
         std::optional<double> max_cones, std::optional<double> time_limit, std::uint64_t seed,
         int n_threads, const py::object& callback) {
        PricingOptions options;
        options.tol = tol;
        options.threshold = threshold;
        options.max_cones = max_cones.value_or(kInfinity);
        options.seed = seed;
        options.n_threads = n_threads;
        return watched(time_limit, callback,
                       [&](Monitor& monitor) { return price_patterns(X, r, options, monitor); });
      },
      py::arg("X"), py::arg("r"), py::arg("tol"), py::arg("threshold"), py::arg("max_cones"),
      py::arg("time_limit"), py::arg("seed"), py::arg("n_threads"), py::arg("callback"));

  m.def(
      "cells_above",
      [](const Matrix& X, const Vector& r, double threshold, double max_cells,
         std::optional<double> time_limit, int n_threads) {
        PricingOptions options;
        options.n_threads = n_threads;
        PricedCells cells = watched(time_limit, py::none(), [&](Monitor& monitor) {
          return cells_above(X, r, threshold, max_cells, options, monitor);
        });
        Eigen::Matrix<Index, Eigen::Dynamic, 2> blocks(static_cast<Index>(cells.blocks.size()), 2);
        for (std::size_t b = 0; b < cells.blocks.size(); ++b) {
          blocks.row(static_cast<Index>(b)) << cells.blocks[b].pattern, cells.blocks[b].sign;
        }
        return py::make_tuple(std::move(cells.patterns), std::move(blocks), std::move(cells.norms));
      },
      py::arg("X"), py::arg("r"), py::arg("threshold"), py::arg("max_cells"), py::arg("time_limit"),
      py::arg("n_threads"));
}

}  // namespace convexrelu
