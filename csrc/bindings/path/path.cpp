#include "convexrelu/path/path.hpp"

#include <algorithm>

#include "bindings.hpp"
#include "block_array.hpp"

namespace convexrelu {

namespace {

using IndexVector = Eigen::Matrix<Index, Eigen::Dynamic, 1>;

// A segment as plain arrays: faces are their rows end to end, with the number of rows of each.
py::tuple segment_parts(const PathSegment& s) {
  IndexVector sizes(static_cast<Index>(s.faces.size()));
  std::vector<Index> rows;
  for (std::size_t b = 0; b < s.faces.size(); ++b) {
    sizes(static_cast<Index>(b)) = static_cast<Index>(s.faces[b].size());
    rows.insert(rows.end(), s.faces[b].begin(), s.faces[b].end());
  }
  const IndexVector all =
      Eigen::Map<const IndexVector>(rows.data(), static_cast<Index>(rows.size()));
  return py::make_tuple(s.lam_begin, s.lam_end, s.centre, to_array(s.blocks), sizes, all, s.z,
                        s.alpha, s.gap);
}

PathSegment segment_from(double lam_begin, double lam_end, double centre, const BlockArray& blocks,
                         const IndexVector& sizes, const IndexVector& rows, const Matrix& z,
                         const Matrix& alpha, double gap) {
  PathSegment s{lam_begin, lam_end, centre, to_blocks(blocks), {}, z, alpha, gap};
  Index first = 0;
  for (Index b = 0; b < sizes.size(); ++b) {
    if (sizes(b) < 0 || sizes(b) > rows.size() - first) {
      throw std::invalid_argument("face_sizes must add up to the number of face_rows");
    }
    s.faces.emplace_back(rows.data() + first, rows.data() + first + sizes(b));
    first += sizes(b);
  }
  return s;
}

// One number of each segment.
Vector of_segments(const Path& path, double PathSegment::*number) {
  Vector numbers(static_cast<Index>(path.segments().size()));
  std::transform(path.segments().begin(), path.segments().end(), numbers.begin(),
                 [&](const PathSegment& segment) { return segment.*number; });
  return numbers;
}

}  // namespace

void bind_path(py::module_& m) {
  py::class_<PathSegment>(m, "PathSegment")
      .def(py::init(&segment_from), py::arg("lam_begin"), py::arg("lam_end"), py::arg("centre"),
           py::arg("blocks"), py::arg("face_sizes"), py::arg("face_rows"), py::arg("z"),
           py::arg("alpha"), py::arg("gap"))
      .def("parts", &segment_parts);

  py::class_<Path>(m, "Path")
      .def(
          py::init([](const Problem& problem, double lam_max, double tol, Status status,
                      std::vector<PathSegment> segments,
                      const std::vector<std::tuple<std::string, double, Index, int, Index>>& events,
                      long n_factorisations) {
            std::vector<PathEvent> list;
            for (const auto& [kind, lam, pattern, sign, sample] : events) {
              list.push_back({event_kind_from(kind), lam, {pattern, sign}, sample});
            }
            return Path(problem, lam_max, tol, status, std::move(segments), std::move(list),
                        n_factorisations);
          }),
          py::arg("problem"), py::arg("lam_max"), py::arg("tol"), py::arg("status"),
          py::arg("segments"), py::arg("events"), py::arg("n_factorisations"))
      .def_property_readonly("lam_max", &Path::lam_max)
      .def_property_readonly("lam_min", &Path::lam_min)
      .def_property_readonly("tol", &Path::tol)
      .def_property_readonly("status", &Path::status)
      .def_property_readonly("n_factorisations", &Path::n_factorisations)
      .def_property_readonly("segments", &Path::segments)
      .def_property_readonly(
          "events",
          [](const Path& path) {
            py::list list;
            for (const PathEvent& e : path.events()) {
              list.append(py::make_tuple(to_string(e.kind), e.lam, e.block.pattern, e.block.sign,
                                         e.sample));
            }
            return list;
          })
      .def_property_readonly(
          "segment_ends", [](const Path& path) { return of_segments(path, &PathSegment::lam_end); })
      .def_property_readonly("gaps",
                             [](const Path& path) { return of_segments(path, &PathSegment::gap); })
      .def_property_readonly("n_segments", [](const Path& path) { return path.segments().size(); })
      .def(
          "objectives",
          [](const Path& path, const Vector& lams) {
            return watched(std::nullopt, py::none(),
                           [&](Monitor& monitor) { return path.objectives(lams, monitor); });
          },
          py::arg("lams"))
      .def(
          "n_active",
          [](const Path& path, const Vector& lams) {
            return watched(std::nullopt, py::none(),
                           [&](Monitor& monitor) { return path.n_active(lams, monitor); });
          },
          py::arg("lams"))
      .def(
          "predict",
          [](const Path& path, const Matrix& X, const Vector& lams, int n_threads) {
            return watched(std::nullopt, py::none(), [&](Monitor& monitor) {
              return path.predict(X, lams, n_threads, monitor);
            });
          },
          py::arg("X"), py::arg("lams"), py::arg("n_threads"))
      .def(
          "at",
          [](const Path& path, double lam) {
            PathPoint point = watched(std::nullopt, py::none(),
                                      [&](Monitor& monitor) { return path.at(lam, monitor); });
            return py::make_tuple(to_array(point.active_set), std::move(point.weights),
                                  std::move(point.slopes), std::move(point.dual));
          },
          py::arg("lam"))
      .def(
          "solution",
          [](const Path& path, double lam, int n_threads) {
            return watched(std::nullopt, py::none(), [&](Monitor& monitor) {
              return path.solution(lam, n_threads, monitor);
            });
          },
          py::arg("lam"), py::arg("n_threads"));

  m.def(
      "trace_path",
      [](const Problem& problem, double lam_min, double tol, const Solution* start,
         std::optional<long> max_segments, std::optional<double> time_limit, int n_threads,
         const py::object& callback, int max_order) {
        PathOptions options;
        options.lam_min = lam_min;
        options.tol = tol;
        options.start = start;
        if (max_segments) options.max_segments = *max_segments;
        options.max_order = max_order;
        options.n_threads = n_threads;
        return watched(time_limit, callback,
                       [&](Monitor& monitor) { return trace_path(problem, options, monitor); });
      },
      py::arg("problem"), py::arg("lam_min"), py::arg("tol"), py::arg("start"),
      py::arg("max_segments"), py::arg("time_limit"), py::arg("n_threads"), py::arg("callback"),
      py::arg("max_order") = PathOptions().max_order);
}

}  // namespace convexrelu
