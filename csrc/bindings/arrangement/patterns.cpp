#include "convexrelu/arrangement/patterns.hpp"

#include "bindings.hpp"
#include "convexrelu/base/error.hpp"

namespace convexrelu {

namespace {

using WordArray = py::array_t<BitMatrix::Word, py::array::c_style | py::array::forcecast>;

// words (P, words_per_pattern), as packed() returns them.
BitMatrix from_words(const WordArray& words, Index n_samples) {
  BitMatrix masks(n_samples, words.shape(0));
  if (words.ndim() != 2 || words.shape(1) != masks.words_per_col()) {
    throw_invalid("packed must have one row per pattern and one 64-bit word per 64 samples");
  }
  for (Index i = 0; i < masks.n_cols(); ++i) {
    std::copy_n(words.data(i, 0), masks.words_per_col(), masks.col(i));
  }
  return masks;
}

}  // namespace

void bind_patterns(py::module_& m) {
  py::class_<Patterns>(m, "Patterns")
      .def(py::init([](const WordArray& packed, Index n_samples, Matrix gates,
                       std::optional<std::uint64_t> complete_for) {
             return Patterns(from_words(packed, n_samples), std::move(gates), complete_for);
           }),
           py::arg("packed"), py::arg("n_samples"), py::arg("gates"), py::arg("complete_for"))
      .def("__len__", &Patterns::size)
      .def_property_readonly("n_samples", &Patterns::n_samples)
      .def_property_readonly("n_features", &Patterns::n_features)
      .def_property_readonly("is_complete", &Patterns::is_complete)
      .def_property_readonly("complete_for", &Patterns::complete_for)
      .def_property_readonly(
          "gates",
          [](const Patterns& self) -> const Matrix& {
            watched(std::nullopt, py::none(), [&](Monitor& monitor) { self.gates(monitor); });
            return self.gates();
          },
          py::return_value_policy::reference_internal)
      .def_property_readonly("packed", [](const py::object& self) {
        const BitMatrix& masks = self.cast<const Patterns&>().masks();
        py::array_t<BitMatrix::Word> view({masks.n_cols(), masks.words_per_col()},
                                          masks.words().data(), self);
        view.attr("setflags")(py::arg("write") = false);
        return view;
      });

  m.def(
      "patterns_from_gates",
      [](const Matrix& X, const Matrix& gates, bool distinct, std::optional<double> time_limit,
         int n_threads) {
        return watched(time_limit, py::none(), [&](Monitor& monitor) {
          return distinct ? distinct_patterns_from_gates(X, gates, n_threads, &monitor)
                          : patterns_from_gates(X, gates, n_threads, &monitor);
        });
      },
      py::arg("X"), py::arg("gates"), py::arg("distinct"), py::arg("time_limit") = py::none(),
      py::arg("n_threads") = 1);
}

}  // namespace convexrelu
