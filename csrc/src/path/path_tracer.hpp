// Follows the path from event to event. See docs/theory/path/path.md.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <vector>

#include "convexrelu/base/memory.hpp"
#include "convexrelu/path/segments.hpp"
#include "convexrelu/solver/solver.hpp"
#include "numeric/tiled_product.hpp"
#include "path/active_system.hpp"
#include "path/event_finder.hpp"
#include "path/piece_selection.hpp"

namespace convexrelu {
inline namespace path {

class PathTracer {
 public:
  PathTracer(const Problem& problem, const PathOptions& options, Monitor& monitor);

  Status run();

  std::vector<PathSegment> segments;
  std::vector<PathEvent> events;
  double lam_max = 0.0;
  long n_factorisations() const { return at_.n_factorisations(); }

 private:
  bool is_relu() const { return problem_.formulation() == Formulation::relu; }
  double lam_of(double mu) const { return problem_.lam_unit() / mu; }

  Status follow();

  // At lambda_max every block of that norm is a candidate; at a solution, its own blocks.
  bool begin();

  // From the present point to the next event.
  bool advance();

  // Whether rounding of f is as large as f there, or that of y - fit, whose square the objective sees, as a gap is
  // allowed to be: then float64 knows nothing of the path.
  bool is_blind(double h = 0.0) const;

  // Whether the series satisfies the equations; or its points are certified, where rounding leaves more of the
  // equations than that. Where rounding of f may cost what a gap is allowed the equations say too little, and
  // certificates alone decide.
  bool is_of_use(const Series& s, double h);

  // Whether the series satisfies the equations at h and on the way, to be on the safe side of a
  // system that is nearly singular.
  bool fits(const Series& s, double h);

  // From where the path has got to, to h.
  PathSegment make_segment(const Series& s, double h) const;

  void append(PathSegment segment);

  void move_to(const Series& s, double h);

  // Certifies the point, takes the event in, and settles members and faces ahead of it.
  // tangent: dz/dh on arrival.
  bool finish_point(const Event& event, const Vector& tangent);

  // Events since the last segment: leaves, enters, then the rows that became tight or ceased to
  // be: by the spans of the faces, since on a face with more rows than dimensions several lists
  // mean the same.
  void record_changes();

  // The gap of the weights alpha_b lam p_b, with z as the dual point.
  void certify_point();

  // sum_b alpha_b A_b p_b; of relu neurons as their network has it, wherever p_b may be outside its cone.
  Vector network_fit(const Vector& alpha);

  // With y - f as another dual point: z has lost digits where lam is far below the rounding of y.
  double full_gap();

  void record(EventKind kind, Block block, Index row = -1);

  // What a solution ahead is good for: a piece of the path with columns apart, whose series holds on this
  // side too; any piece; a way on by certificate; a point, from which to look again. All but the last have to lead
  // on: close to a tie a solution may have found, to rounding, a vertex from which nothing does.
  enum class Landing { smooth, piece, certified, point };

  // Goes on from a solution a little further ahead: the nearest of the first kind that there is; of points, the
  // farthest. selected: whether there is a piece ahead of it. The levels are few, and each is solved once.
  bool restart(bool& selected);

  double lam_here() const;

  // Where the path has got to: its weights and z, without a certificate.
  Solution last_point();

  // From nothing: near ties the last point may be a vertex that no neighbour shares, and what a warm solve finds
  // from there leans on it. From there where nothing else arrives.
  Solution solve_ahead();

  // The point of a solution, with independent columns: more so where the system is singular otherwise.
  bool settle_at(const Solution& solution);

  // Leads the path from begin to a solution at at_.mu(), by a segment of its own.
  bool land(const Solution& solution, double begin, const Vector& z_begin, Landing landing);

  // The multiple of z that is the best dual point at begin.
  double feasible_share(double begin) const;

  // From a solution, with its own blocks and faces, as far as the points are certified; the change of weights
  // alone is watched for on the way. Returns as finish_point() does.
  bool advance_by_certificate(double limit);

  // The dual point goes straight to one at begin, and the weights stay but for a factor. Between two feasible
  // z all are feasible, so this leaves a gap of second order in the distance; and that factor makes
  // lam^2 (||z||^2/2n + sum alpha) the dual value: n sum alpha = z.(mu y - z).
  void bridge(Series& s, double begin, const Vector& z_begin) const;

  double limit() const { return std::max(kBridged, options_.tol); }
  double gap_limit(Landing landing) const { return landing == Landing::point ? limit() : kBridged; }

  // Whether points of a segment, at these shares of it from its end, have gaps within the limit, and their
  // objective is that of their weights.
  bool is_certified(const PathSegment& segment, std::initializer_list<double> shares, double limit);

  // Members, alpha and z of a solution at at_.mu().
  void take(const Solution& solution);

  const Problem& caller_;
  const ScaledProblem& problem_;
  const PathOptions& options_;
  Monitor& monitor_;
  const double n_;
  const Index d_;
  const double mu_end_;
  ActiveSystem at_;
  EventFinder events_;
  PieceSelection pieces_;
  ConeProjector cones_;
  std::size_t restart_level_ = 0;
  double restarted_until_ = 0.0;  // mu
  double landed_ = 0.0;           // mu, of the last restart
  double finished_ = 0.0;         // mu, of the last finish_point()
  int n_cut_ = 0;
  std::optional<PathSegment> start_;  // the point where the path was told to begin
  double room_ = kRoom;               // that was asked for; the first is taken for granted
  std::vector<Member> recorded_;      // the members up to which events are told
  double objective_ = kNaN, gap_ = kNaN;
};

}  // namespace path
}  // namespace convexrelu
