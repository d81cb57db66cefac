// The extension module, compiled once per instruction-set level; python/convexrelu/_core.py
// picks one of them.
#include "bindings.hpp"

PYBIND11_MODULE(CONVEXRELU_MODULE, m) {
  // What is defined below calls itself convexrelu._core.<name>, whatever the level, so that a
  // pickle made on one machine opens on another.
  m.attr("__name__") = "convexrelu._core";
  m.attr("__version__") = CONVEXRELU_VERSION;
  m.attr("level") = CONVEXRELU_LEVEL;

  convexrelu::bind_error(m);
  convexrelu::bind_monitor(m);
  convexrelu::bind_hyperplanes(m);
  convexrelu::bind_cone(m);
  convexrelu::bind_patterns(m);
  convexrelu::bind_cell_tree(m);
  convexrelu::bind_problem(m);
  convexrelu::bind_solution(m);
  convexrelu::bind_network(m);
  convexrelu::bind_solver(m);
}
