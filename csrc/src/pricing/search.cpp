#include "pricing/search.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "arrangement/root_cones.hpp"
#include "convexrelu/base/error.hpp"
#include "convexrelu/base/parallel.hpp"

namespace convexrelu {
inline namespace pricing {

// What became of one cone.
struct Found {
  std::vector<OpenCone> open;
  std::vector<ListedCell> cells;
  Incumbent best;
  double closed_bound = 0.0;  // the largest of what was not looked into further
  long n_cones = 0;
};

// Searches below one cone, depth first, until its share of work is done.
class Searcher : public ConeBounds {
 public:
  Searcher(const PricedArrangement& arrangement, Limits limits, bool is_listing, Monitor& monitor,
           std::thread::id owner)
      : ConeBounds(arrangement, kTol),
        limits_(limits),
        is_listing_(is_listing),
        monitor_(monitor),
        owner_(owner),
        walk_(rank_, kTol, *this) {}

  Searcher(const Searcher&) = delete;
  Searcher& operator=(const Searcher&) = delete;

  Found search(const OpenCone& task, std::array<double, 2> bounds, double best_value, double work,
               double max_cones) {
    found_ = Found();
    found_.best.value = best_value;
    look_below(task, bounds, work, max_cones);
    return std::move(found_);
  }

  bool examine(const ConeView& cone, const std::vector<int>& candidates, ConeState& state,
               Conflicts& conflicts) {
    watch();
    ++found_.n_cones;
    work_left_ -= static_cast<double>(cone.n_rays + 4) * static_cast<double>(cone.stride + 16);
    find_conflicts(cone, candidates, state);
    load_rays(cone);
    for (int sign = 0; sign < 2; ++sign) bound_sign(cone, state, sign);
    if (!is_open(state)) return false;
    if (n_conflicts_ == 0) {
      if (is_listing_) list(state);
      found_.closed_bound = std::max(found_.closed_bound, state.bound());
      return false;
    }
    find_scores(cone, state.bounds[0] >= state.bounds[1] ? 0 : 1);
    set_conflicts(conflicts);
    const bool has_time = work_left_ > 0.0 && static_cast<double>(found_.n_cones) < max_cones_;
    if (has_time && !monitor_.stop_requested()) return true;
    found_.open.push_back(
        {state.bound(), 0, root_, std::make_unique<Node>(cone, candidates, conflicts, state)});
    return false;
  }

 private:
  void look_below(const OpenCone& task, std::array<double, 2> bounds, double work,
                  double max_cones) {
    work_left_ = work;
    max_cones_ = max_cones;
    root_ = task.root;
    if (task.node) {
      const Node& node = *task.node;
      if (is_open(node.state())) {
        walk_.run(node.cone(), node.candidates(), node.conflicts(), node.state());
      } else {
        found_.closed_bound = node.state().bound();
      }
      return;
    }
    const RootCones& roots = arrangement_.cells.roots;
    const RootCone root(roots, task.root, true);
    ConeState state;
    state.bounds = bounds;
    state.neglected = 0.0;
    for (int i = 0; i < rank_; ++i) state.c[i] = arrangement_.constant(i);
    for (int j = 0; j < rank_; ++j) {
      fix(state, roots.base[j], RootCone::is_positive(task.root, j));
    }
    Conflicts conflicts;
    conflicts.clear(static_cast<int>(root.candidates().size()));
    if (examine(root.cone(), root.candidates(), state, conflicts)) {
      walk_.run(root.cone(), root.candidates(), conflicts, state);
    }
  }

  static constexpr double kTol = 1e-12;
  static constexpr int kRounds = 1;  // of moving the linear parts

  double limit() const { return is_listing_ ? limits_.threshold : limits_.at(found_.best.value); }
  bool is_open(double bound) const { return is_listing_ ? bound >= limit() : bound > limit(); }
  bool is_open(const ConeState& state) const { return is_open(state.bound()); }

  void bound_sign(const ConeView& cone, ConeState& state, int sign) {
    double& bound = state.bounds[sign];
    if (bound == 0.0) return;
    if (is_open(bound)) {
      find_majorant(cone, state, sign);
      bound = std::min(bound, solve(sign, state.neglected));
      for (int round = 0; is_open(bound); ++round) {
        offer(evaluate_at_point(cone, state, sign), sign);
        if (n_conflicts_ == 0 || round == kRounds || !move_linear_parts(cone, sign)) break;
        bound = std::min(bound, solve(sign, state.neglected));
      }
    }
    if (is_open(bound)) return;
    found_.closed_bound = std::max(found_.closed_bound, bound);
    bound = 0.0;
  }

  // The point where a bound is attained. What counts is F there: in root coordinates the point may be
  // another one by rounding, where rays are nearly opposite.
  void offer(double value, int sign) {
    if (is_listing_ || !(value > found_.best.value)) return;
    const Eigen::Map<const Vector> point(solvers_[sign].point().data(), rank_);
    const Vector direction = arrangement_.basis * point.stableNormalized();
    value = std::abs(arrangement_.data.evaluate(direction));
    if (value > found_.best.value) found_.best = {value, direction};
  }

  void list(const ConeState& state) {
    Vector gate = Vector::Zero(rank_);
    for (int j = 0; j < n_rays_; ++j) {
      for (int c = 0; c < rank_; ++c) gate(c) += rays_[c * ray_stride_ + j];
    }
    for (int sign = 0; sign < 2; ++sign) {
      const double norm = state.bounds[sign];
      if (norm > 0.0) found_.cells.push_back({gate, sign == 0 ? 1 : -1, norm});
    }
  }

  // Stopping shows in monitor_.stop_requested(), for all threads; the walk then puts away what is left.
  void watch() {
    if (std::this_thread::get_id() != owner_ || monitor_.stop_requested()) return;
    try {
      monitor_.check();
    } catch (const Stopped&) {
    }
  }

  Limits limits_;
  bool is_listing_;
  Monitor& monitor_;
  std::thread::id owner_;
  CellWalk<Searcher> walk_;
  Found found_;
  std::uint64_t root_ = 0;
  double work_left_ = 0.0, max_cones_ = 0.0;
};

Search::Search(const PricedArrangement& arrangement, Limits limits, bool is_listing, int n_threads,
               Monitor& monitor)
    : arrangement_(arrangement),
      limits_(limits),
      is_listing_(is_listing),
      n_threads_(n_threads),
      monitor_(monitor) {}

Search::~Search() = default;

double Search::bytes_of_roots(const PricedArrangement& arrangement) {
  return std::ldexp(bytes_of_root(arrangement), arrangement.rank());
}

void Search::run(std::array<double, 2> bounds, double max_cones,
                 const std::function<void(const Search&)>& after_round) {
  const double bound = std::max(bounds[0], bounds[1]);
  const std::uint64_t n_roots = std::uint64_t{1} << arrangement_.rank();
  for (std::uint64_t root = 0; root < n_roots; ++root) {
    push({bound, 0, root, nullptr});
  }
  // With many roots it matters more where to look than to look.
  double n_unseen = n_roots > kRoundSize ? static_cast<double>(n_roots) : 0.0;
  while (!open_.empty() && static_cast<double>(n_cones) < max_cones && !monitor_.stop_requested()) {
    std::vector<OpenCone> round = take_round();
    const double share =
        (max_cones - static_cast<double>(n_cones)) / static_cast<double>(round.size());
    const double work = n_unseen > 0.0 ? 0.0 : kTaskWork;
    n_unseen -= static_cast<double>(round.size());
    std::vector<Found> found(round.size());
    parallel_for(static_cast<Index>(round.size()), n_threads_, [&](Index i) {
      const std::size_t at = static_cast<std::size_t>(i);
      std::unique_ptr<Searcher> searcher = borrow();
      found[at] = searcher->search(round[at], bounds, best.value, work, share);
      give_back(std::move(searcher));
    });
    for (Found& part : found) collect(std::move(part));
    after_round(*this);
  }
}

double Search::bytes_of_root(const PricedArrangement& arrangement) {
  return 8.0 * static_cast<double>(arrangement.cells.roots.others.size() * arrangement.rays.rows());
}

std::unique_ptr<Searcher> Search::borrow() {
  const std::lock_guard<std::mutex> hold(lock_);
  if (idle_.empty()) {
    return std::make_unique<Searcher>(arrangement_, limits_, is_listing_, monitor_, owner_);
  }
  std::unique_ptr<Searcher> searcher = std::move(idle_.back());
  idle_.pop_back();
  return searcher;
}

void Search::give_back(std::unique_ptr<Searcher> searcher) {
  const std::lock_guard<std::mutex> hold(lock_);
  idle_.push_back(std::move(searcher));
}

std::vector<OpenCone> Search::take_round() {
  const bool is_full = bytes_ > kMaxBytes;
  if (is_full) std::sort(open_.begin(), open_.end(), is_later);
  std::vector<OpenCone> round;
  double bytes = 0.0, bytes_taken = 0.0;
  const auto take = [&](OpenCone& cone) {
    bytes += cone.node ? cone.bytes() : bytes_of_root(arrangement_);
    bytes_taken += cone.bytes();
    round.push_back(std::move(cone));
  };
  const auto has_room = [&] { return round.size() < kRoundSize && bytes < kRoundBytes; };
  if (is_full) {
    std::size_t n = 0;
    while (n < open_.size() && has_room()) take(open_[n++]);
    open_.erase(open_.begin(), open_.begin() + static_cast<std::ptrdiff_t>(n));
    std::make_heap(open_.begin(), open_.end(), is_later);
  } else {
    while (!open_.empty() && has_room()) {
      std::pop_heap(open_.begin(), open_.end(), is_later);
      take(open_.back());
      open_.pop_back();
    }
  }
  bytes_ -= bytes_taken;
  return round;
}

void Search::push(OpenCone cone) {
  cone.order = n_pushed_++;
  bytes_ += cone.bytes();
  open_.push_back(std::move(cone));
  std::push_heap(open_.begin(), open_.end(), is_later);
}

void Search::collect(Found found) {
  if (found.best.value > best.value) best = std::move(found.best);
  closed_bound = std::max(closed_bound, found.closed_bound);
  n_cones += found.n_cones;
  for (OpenCone& cone : found.open) push(std::move(cone));
  for (ListedCell& cell : found.cells) cells.push_back(std::move(cell));
}

}  // namespace pricing
}  // namespace convexrelu
