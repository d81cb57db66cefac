#include "convexrelu/numeric/mask_product.hpp"

#include <algorithm>
#include <utility>

#include "bindings.hpp"
#include "convexrelu/arrangement/patterns.hpp"
#include "convexrelu/base/error.hpp"

namespace convexrelu {

void bind_mask_product(py::module_& m) {
  py::class_<MaskProduct>(m, "MaskProduct")
      .def(py::init([](const Matrix& X, const Patterns& patterns) {
             return MaskProduct(X, patterns.masks());
           }),
           py::arg("X"), py::arg("patterns"), py::keep_alive<1, 3>())
      .def(
          "correlate",
          [](const MaskProduct& self, const Matrix& R, int n_threads) {
            if (R.rows() != self.n_samples()) throw_invalid("R must have one row per sample");
            return watched(std::nullopt, py::none(), [&](Monitor& monitor) {
              Matrix C(R.cols() * self.n_features(), self.n_patterns());
              self.correlate(R, C, n_threads, &monitor);
              return C;
            });
          },
          py::arg("R"), py::arg("n_threads") = 1)
      .def(
          "correlation_norms",
          [](const MaskProduct& self, const Vector& r, int n_threads) {
            if (r.size() != self.n_samples()) throw_invalid("r must have one entry per sample");
            return watched(std::nullopt, py::none(), [&](Monitor& monitor) {
              Vector norms(self.n_patterns());
              const double bound = self.correlation_norms(r, norms, n_threads, 0, &monitor);
              return std::make_pair(std::move(norms), bound);
            });
          },
          py::arg("r"), py::arg("n_threads") = 1)
      .def(
          "forward",
          [](const MaskProduct& self, const std::vector<Index>& patterns, const Matrix& U,
             int n_threads) {
            const auto is_one = [&](Index i) { return i >= 0 && i < self.n_patterns(); };
            if (!std::all_of(patterns.begin(), patterns.end(), is_one)) {
              throw_invalid("patterns must list columns of the masks");
            }
            if (U.rows() != self.n_features() || U.cols() != static_cast<Index>(patterns.size())) {
              throw_invalid("U must have one row per feature and one column per listed pattern");
            }
            return watched(std::nullopt, py::none(), [&](Monitor& monitor) {
              Vector f(self.n_samples());
              self.forward(patterns, U, f, n_threads, &monitor);
              return f;
            });
          },
          py::arg("patterns"), py::arg("U"), py::arg("n_threads") = 1);
}

}  // namespace convexrelu
