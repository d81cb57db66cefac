#include "convexrelu/pricing.hpp"

#include <Eigen/QR>
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "arrangement.hpp"
#include "cell_walk.hpp"
#include "convexrelu/error.hpp"
#include "convexrelu/local_search.hpp"
#include "convexrelu/parallel.hpp"
#include "lanes.hpp"
#include "pivots.hpp"
#include "root_cones.hpp"
#include "shortest_majorant.hpp"
#include "watched_dense.hpp"

namespace convexrelu {

namespace {

constexpr int kMaxRank = 20;
constexpr Index kRowsAtOnce = 256;  // of a product
constexpr double kRelativeSlack = 1e-9, kAbsoluteSlack = 1e-11;

// The power of two in (a/2, a], a the largest magnitude; 1 where all are zero.
int exponent_of_largest(const double* entries, Index size) {
  double largest = 0.0;
  for (Index i = 0; i < size; ++i) largest = std::max(largest, std::abs(entries[i]));
  return largest > 0.0 ? std::ilogb(largest) : 0;
}

// X and r divided by powers of two, r also by n, so that F(u) = r'(Xu)_+ 2^exponent.
struct ScaledData {
  Matrix X;
  Vector r;
  int exponent;
  double total;  // sum_k |r_k| ||x_k||

  ScaledData(ConstMatrixRef X_in, ConstVectorRef r_in) : X(X_in), r(r_in) {
    const int x = exponent_of_largest(X.data(), X.size());
    const int y = exponent_of_largest(r.data(), r.size());
    for (double& entry : X.reshaped()) entry = std::ldexp(entry, -x);
    for (double& entry : r) entry = std::ldexp(entry, -y) / static_cast<double>(X.rows());
    exponent = x + y;
    total = r.cwiseAbs().dot(X.rowwise().norm());
  }

  double to_caller(double value) const { return std::ldexp(value, exponent); }
  // Cut off far above and below what F can be.
  double from_caller(double value) const { return std::min(std::ldexp(value, -exponent), 1e300); }

  double evaluate(const Vector& u) const { return r.dot((X * u).cwiseMax(0.0)); }
};

void check(ConstMatrixRef X, ConstVectorRef r) {
  if (r.size() != X.rows()) {
    throw_invalid("r must have as many entries as X has rows (" + std::to_string(X.rows()) +
                  "), got " + std::to_string(r.size()));
  }
  if (!X.allFinite()) throw_invalid("X must be finite");
  if (!r.allFinite()) throw_invalid("r must be finite");
}

// sum_k |w_k| |x_k.u| <= sqrt(sum |w_k| ||x_k|| . u'(sum |w_k| x_k x_k' / ||x_k||) u), over rows of one sign.
double bound_of_one_sign(const ScaledData& data, double sign, Monitor& monitor) {
  const Index d = data.X.cols();
  Matrix gram = Matrix::Zero(d, d);
  double total = 0.0;
  Matrix rows(d, std::min<Index>(data.X.rows(), kRowsAtOnce));
  for (Index k = 0, m = 0; k < data.X.rows(); ++k) {
    const double length = data.X.row(k).norm(), w = sign * data.r(k);
    if (w > 0.0 && length > 0.0) {
      rows.col(m++) = data.X.row(k).transpose() * std::sqrt(w / length);
      total += w * length;
    }
    if (m < rows.cols() && k + 1 < data.X.rows()) continue;
    monitor.check();
    gram.selfadjointView<Eigen::Lower>().rankUpdate(rows.leftCols(m));
    m = 0;
  }
  const Vector eigenvalues = symmetric_eigenvalues(std::move(gram), nullptr, &monitor);
  return std::sqrt(total * std::max(0.0, eigenvalues(d - 1)));
}

// F(u) = r'Xu / 2 + sum r_k |x_k.u| / 2.
std::array<double, 2> global_bounds(const ScaledData& data, Monitor& monitor) {
  const double linear = (data.X.transpose() * data.r).norm();
  return {0.5 * (linear + bound_of_one_sign(data, 1.0, monitor)),
          0.5 * (linear + bound_of_one_sign(data, -1.0, monitor))};
}

// Where time is up, |F(u)| <= sum |r_k| ||x_k||.
std::array<double, 2> bounds_in_time(const ScaledData& data, Monitor& monitor) {
  try {
    return global_bounds(data, monitor);
  } catch (const Stopped&) {
    return {data.total, data.total};
  }
}

// The largest |F| found so far, of all threads together or of one.
struct Incumbent {
  double value = 0.0;
  Vector direction;
};

// The arrangement and F on it, in coordinates in which lengths are those of R^d.
//   value_l(u) = N_l.u, in the units of the cell walk;  F(u) = sum_l w_l (N_l.u)_+ + constant.u
struct PricedArrangement {
  Arrangement cells;
  Matrix basis;    // (d, rho) orthonormal, u in R^rho stands for basis u
  Matrix normals;  // N (rho, h)
  Vector weights;  // w (h)
  Vector constant;

  PricedArrangement(const ScaledData& data, Monitor& monitor)
      : cells(arrange(data.X, kMaxRank, false, &monitor)) {
    const Matrix& X = data.X;
    const Index d = X.cols(), rank = cells.rank(), h = cells.planes.size();
    if (rank == 0 || rank > kMaxRank) return;
    basis = Matrix::Identity(d, d);
    if (rank < d) {
      Matrix rows = X.transpose();
      for (Index k = 0; k < rows.cols(); ++k) {
        const double largest = rows.col(k).cwiseAbs().maxCoeff();
        if (largest > 0.0) rows.col(k) /= largest;
      }
      const Eigen::HouseholderQR<Matrix> qr(
          Matrix(rows(Eigen::all, pivots(rows, 0.0, rank, &monitor))));
      basis = Matrix(qr.householderQ() * Matrix::Identity(d, rank));
    }
    RootCones& roots = cells.roots;
    const Matrix rays = expand(roots.rays, d);
    roots.rays = basis.transpose() * rays;

    normals.resize(rank, h);
    weights.setZero(h);
    Vector constant_in_features = Vector::Zero(d);
    for (Index l = 0; l < h; ++l) {
      const Hyperplanes& planes = cells.planes;
      const Index begin = planes.offsets[static_cast<std::size_t>(l)];
      const Index end = planes.offsets[static_cast<std::size_t>(l) + 1];
      const Vector first = X.row(planes.samples[static_cast<std::size_t>(begin)]);
      Index j;
      roots.values.col(l).cwiseAbs().maxCoeff(&j);
      const double scale = roots.values(j, l) / first.dot(rays.col(j));
      normals.col(l) = scale * (basis.transpose() * first);
      for (Index i = begin; i < end; ++i) {
        const Index k = planes.samples[static_cast<std::size_t>(i)];
        weights(l) += data.r(k) * (X.row(k).norm() / first.norm()) / scale;
        // (x.u)_+ = (-x.u)_+ + x.u
        if (planes.orientation[static_cast<std::size_t>(k)] < 0) {
          constant_in_features += data.r(k) * X.row(k).transpose();
        }
      }
    }
    constant = basis.transpose() * constant_in_features;
  }

  int rank() const { return cells.rank(); }

  // Points of the walk as vectors in R^d, up to one common factor.
  Matrix expand(const Matrix& points, Index d) const {
    int largest = std::numeric_limits<int>::min();
    const auto exponent = [&](Index j) {
      return cells.column_exponents[static_cast<std::size_t>(j)];
    };
    for (Index p = 0; p < points.cols(); ++p) {
      for (Index j = 0; j < points.rows(); ++j) {
        if (points(j, p) == 0.0) continue;
        largest = std::max(largest, std::ilogb(points(j, p)) - exponent(j));
      }
    }
    Matrix vectors = Matrix::Zero(d, points.cols());
    for (Index p = 0; p < points.cols(); ++p) {
      for (Index j = 0; j < points.rows(); ++j) {
        vectors(cells.columns[static_cast<std::size_t>(j)], p) =
            std::ldexp(points(j, p), -exponent(j) - largest);
      }
    }
    return vectors;
  }
};

// None, where time is up.
std::optional<PricedArrangement> arrange_in_time(const ScaledData& data, Monitor& monitor) {
  try {
    return PricedArrangement(data, monitor);
  } catch (const Stopped&) {
    return std::nullopt;
  }
}

// What goes from a cone to the parts of it.
struct ConeState {
  std::array<double, kMaxRank> c;  // gradient of the part of F that is linear on the cone
  std::array<double, 2> bounds;    // of F and -F, 0 where they do not matter any more
  double bound() const { return std::max(bounds[0], bounds[1]); }
};

using Node = StoredNode<ConeState>;

struct Limits {
  double tol, threshold;
  double at(double best) const { return (1.0 + tol) * std::max(best, threshold); }
};

struct ListedCell {
  Vector gate;  // in R^rho
  int sign;
  double norm;
};

// Bounds F and -F on cones, for the walk. Whoever derives from it says what becomes of them.
class ConeBounds {
 public:
  using State = ConeState;
  static constexpr bool kNeedsCells = true;
  static constexpr bool kNeedsFacets = false;

  ConeBounds(const PricedArrangement& arrangement, double tol)
      : arrangement_(arrangement),
        rank_(arrangement.rank()),
        tol_(tol),
        solvers_{ShortestMajorant(rank_), ShortestMajorant(rank_)} {}

  void fix(ConeState& state, int hyperplane, bool positive) const {
    if (!positive) return;
    const double w = arrangement_.weights(hyperplane);
    const double* normal = arrangement_.normals.col(hyperplane).data();
    for (int i = 0; i < rank_; ++i) state.c[static_cast<std::size_t>(i)] += w * normal[i];
  }

 protected:
  // Which candidates cut the cone; the others are fixed.
  void find_conflicts(const ConeView& cone, const std::vector<int>& candidates, ConeState& state) {
    n_candidates_ = static_cast<int>(candidates.size());
    const int blocks = n_blocks(n_candidates_);
    const std::size_t room = static_cast<std::size_t>(cone.stride);
    if (convex_[0].size() < room) {
      for (auto* array : {&convex_[0], &convex_[1], &linear_[0], &linear_[1], &balance_,
                          &at_point_[0], &at_point_[1], &chord_, &score_, &weight_, &floor_}) {
        array->resize(2 * room);
      }
      cuts_.resize(2 * room);
    }
    n_conflicts_ = 0;
    const Lanes tol = Lanes::all(tol_), zero = Lanes::all(0.0);
    for (int block = 0; block < blocks; ++block) {
      const auto [low, high] = cone.extent(block);
      const Lanes depth = zero - low;
      const Lanes::Mask cuts = (depth > tol) & (high > tol), positive = high > depth;
      cuts_[static_cast<std::size_t>(block)] = cuts;
      n_conflicts_ += count_bits(cuts);
      min(depth, high).store(balance_.data() + block * Lanes::kSize);
      const int first = block * Lanes::kSize;
      const int n_here = std::min(Lanes::kSize, n_candidates_ - first);
      alignas(64) double w[Lanes::kSize] = {};
      for (unsigned mask = cuts; mask != 0; mask &= mask - 1) {
        const int lane = lowest_bit(mask);
        w[lane] = arrangement_.weights(candidates[static_cast<std::size_t>(first + lane)]);
      }
      const unsigned fixed = ~unsigned{cuts} & ((1U << n_here) - 1);
      for (unsigned mask = fixed & positive; mask != 0; mask &= mask - 1) {
        fix(state, candidates[static_cast<std::size_t>(first + lowest_bit(mask))], true);
      }
      const Lanes weight = Lanes::load(w), minus = zero - weight;
      max(weight, zero).store(convex_[0].data() + first);
      max(minus, zero).store(convex_[1].data() + first);
      for (int lane = 0; lane < Lanes::kSize; ++lane)
        w[lane] = positive >> lane & 1 ? w[lane] : 0.0;
      max(zero - Lanes::load(w), zero).store(linear_[0].data() + first);
      max(Lanes::load(w), zero).store(linear_[1].data() + first);
    }
  }

  // Unit rays, one coordinate after the other.
  void load_rays(const ConeView& cone) {
    n_rays_ = cone.n_rays;
    ray_stride_ = (n_rays_ + 3) / 4 * 4;
    ConeStore::grow(rays_, Index{ray_stride_} * rank_);
    ConeStore::grow(lengths_, ray_stride_);
    for (auto& values : majorant_) ConeStore::grow(values, ray_stride_);
    for (int j = 0; j < n_rays_; ++j) {
      const double* v = cone.coordinates_of(j);
      double squares = 0.0;
      for (int c = 0; c < rank_; ++c) squares += v[c] * v[c];
      const double length = std::sqrt(squares);
      lengths_[static_cast<std::size_t>(j)] = length;
      for (int c = 0; c < rank_; ++c) {
        rays_[static_cast<std::size_t>(c * ray_stride_ + j)] = v[c] / length;
      }
    }
  }

  // F at the rays (sign 0) or -F (sign 1), rows that are concave on the cone replaced by linear_.
  void find_majorant(const ConeView& cone, const ConeState& state, int sign) {
    const std::size_t s = static_cast<std::size_t>(sign);
    // Of every candidate w max(x, 0), or w x = w max(x, -infinity) where it is concave.
    const std::size_t n = static_cast<std::size_t>(n_blocks(n_candidates_) * Lanes::kSize);
    for (std::size_t i = 0; i < n; ++i) {
      weight_[i] = convex_[s][i] - linear_[s][i];
      floor_[i] = convex_[1 - s][i] > 0.0 ? -kInfinity : 0.0;
    }
    for (int j = 0; j < n_rays_; j += 2) {
      // Two rays at a time: they share the weights, and sums wait for the one before.
      const double* v = cone.values_of(j);
      const int next = j + 1 < n_rays_ ? cone.stride : 0;
      Lanes sum[2] = {Lanes::all(0.0), Lanes::all(0.0)};
      for (int i = 0; i < n_candidates_; i += Lanes::kSize) {
        const Lanes w = Lanes::load(weight_.data() + i), floor = Lanes::load(floor_.data() + i);
        for (int k = 0; k < 2; ++k) {
          sum[k] = multiply_add(w, max(Lanes::load(v + i + k * next), floor), sum[k]);
        }
      }
      for (int k = 0; k < 2 && j + k < n_rays_; ++k) {
        const std::size_t at = static_cast<std::size_t>(j + k);
        double fixed = 0.0;
        for (int c = 0; c < rank_; ++c) {
          fixed += state.c[static_cast<std::size_t>(c)] *
                   rays_[static_cast<std::size_t>(c * ray_stride_ + j + k)];
        }
        majorant_[s][at] = (sign == 0 ? fixed : -fixed) + sum[k].sum() / lengths_[at];
      }
    }
  }

  double solve(int sign) {
    ShortestMajorant& solver = solvers_[static_cast<std::size_t>(sign)];
    solver.solve(rays_.data(), ray_stride_, n_rays_,
                 majorant_[static_cast<std::size_t>(sign)].data());
    return solver.bound();
  }

  // at_point_: the values of the candidates at the point where the majorant is largest on the ball (times
  // ||p||). Returns F there, or -F.
  double evaluate_at_point(const ConeView& cone, const ConeState& state, int sign) {
    const std::size_t s = static_cast<std::size_t>(sign);
    const ShortestMajorant& solver = solvers_[s];
    std::vector<double>& point = at_point_[s];
    const int blocks = n_blocks(n_candidates_);
    std::fill_n(point.data(), blocks * Lanes::kSize, 0.0);
    for (std::size_t i = 0; i < solver.support().size(); ++i) {
      const int j = solver.support()[i];
      const Lanes weight = Lanes::all(solver.weights()[i] / lengths_[static_cast<std::size_t>(j)]);
      const double* v = cone.values_of(j);
      for (int block = 0; block < blocks; ++block) {
        double* out = point.data() + block * Lanes::kSize;
        multiply_add(weight, Lanes::load(v + block * Lanes::kSize), Lanes::load(out)).store(out);
      }
    }
    double value = 0.0, squares = 0.0;
    for (int c = 0; c < rank_; ++c) {
      const double x = solver.point()[static_cast<std::size_t>(c)];
      value += state.c[static_cast<std::size_t>(c)] * x;
      squares += x * x;
    }
    if (sign == 1) value = -value;
    Lanes sum = Lanes::all(0.0);
    for (int i = 0; i < blocks * Lanes::kSize; i += Lanes::kSize) {
      const Lanes w = Lanes::load(convex_[s].data() + i) - Lanes::load(convex_[1 - s].data() + i);
      sum = multiply_add(w, max(Lanes::load(point.data() + i), Lanes::all(0.0)), sum);
    }
    value += sum.sum();
    return squares > 0.0 ? value / std::sqrt(squares) : 0.0;
  }

  // Linear parts as at the point, and the majorant with them; whether any changed.
  bool move_linear_parts(const ConeView& cone, int sign) {
    const std::size_t s = static_cast<std::size_t>(sign);
    moved_.clear();
    const Lanes zero = Lanes::all(0.0);
    for (int i = 0; i < n_candidates_; i += Lanes::kSize) {
      const double* concave = convex_[1 - s].data() + i;
      double* linear = linear_[s].data() + i;
      const Lanes w = Lanes::load(concave);
      unsigned is_on = Lanes::load(linear) > zero,
               wanted = Lanes::load(at_point_[s].data() + i) > zero;
      for (unsigned mask = (is_on ^ wanted) & (w > zero); mask != 0; mask &= mask - 1) {
        const int lane = lowest_bit(mask);
        const double now = wanted >> lane & 1 ? concave[lane] : 0.0;
        moved_.emplace_back(i + lane, now - linear[lane]);
        linear[lane] = now;
      }
    }
    if (moved_.empty()) return false;
    for (int j = 0; j < n_rays_; ++j) {
      const double* v = cone.values_of(j);
      double sum = 0.0;
      for (const auto& [i, change] : moved_) sum += change * v[i];
      majorant_[s][static_cast<std::size_t>(j)] -= sum / lengths_[static_cast<std::size_t>(j)];
    }
    return true;
  }

  // How much each conflict adds to the bound at the point where it is attained.
  void find_scores(const ConeView& cone, int sign) {
    const std::size_t s = static_cast<std::size_t>(sign);
    const ShortestMajorant& solver = solvers_[s];
    const int blocks = n_blocks(n_candidates_);
    std::fill_n(chord_.data(), blocks * Lanes::kSize, 0.0);
    double total = 0.0;
    const Lanes zero = Lanes::all(0.0);
    for (std::size_t i = 0; i < solver.support().size(); ++i) {
      const int j = solver.support()[i];
      const double a = solver.weights()[i] / lengths_[static_cast<std::size_t>(j)];
      total += a;
      const double* v = cone.values_of(j);
      for (int block = 0; block < blocks; ++block) {
        double* out = chord_.data() + block * Lanes::kSize;
        multiply_add(Lanes::all(a), max(Lanes::load(v + block * Lanes::kSize), zero),
                     Lanes::load(out))
            .store(out);
      }
    }
    const Lanes evenness = Lanes::all(kEvenness * total);
    for (int i = 0; i < blocks * Lanes::kSize; i += Lanes::kSize) {
      const auto at = [i](const std::vector<double>& array) {
        return Lanes::load(array.data() + i);
      };
      const Lanes y = at(at_point_[s]), on = max(y, zero);
      const Lanes convex = at(convex_[s]), concave = at(convex_[1 - s]);
      const Lanes excess = convex * (at(chord_) - on) + concave * on - at(linear_[s]) * y;
      multiply_add(evenness, (convex + concave) * at(balance_), excess).store(score_.data() + i);
    }
  }

  void set_conflicts(Conflicts& conflicts) const {
    for (int block = 0; block < n_blocks(n_candidates_); ++block) {
      conflicts.set(block, cuts_[static_cast<std::size_t>(block)],
                    Lanes::load(score_.data() + block * Lanes::kSize));
    }
  }

  static constexpr double kEvenness = 0.05;

  const PricedArrangement& arrangement_;
  int rank_;
  double tol_;
  std::array<ShortestMajorant, 2> solvers_;

  int n_candidates_ = 0, n_conflicts_ = 0;
  std::vector<Lanes::Mask> cuts_;
  // Of every candidate, 0 where it does not cut: |w| if it is convex for this sign; what multiplies the
  // value if it is concave.
  std::array<std::vector<double>, 2> convex_, linear_;
  std::array<std::vector<double>, 2> at_point_;  // of the candidates, where the bound is attained
  std::vector<double> balance_, chord_, score_, weight_, floor_;
  std::vector<std::pair<int, double>> moved_;

  int n_rays_ = 0, ray_stride_ = 0;
  std::vector<double> rays_, lengths_;
  std::array<std::vector<double>, 2> majorant_;
};

// What is left to do: a root cone, or a cone on the way.
struct OpenCone {
  double bound;
  long order;  // of equal bounds the older one first
  std::uint64_t root;
  std::unique_ptr<Node> node;  // null: the root cone

  double bytes() const { return node ? node->bytes() : 0.0; }
};

// Searches below one cone, depth first, until its share of work is done.
class Searcher : public ConeBounds {
 public:
  Searcher(const PricedArrangement& arrangement, Limits limits, bool is_listing, Monitor& monitor)
      : ConeBounds(arrangement, kTol),
        limits_(limits),
        is_listing_(is_listing),
        monitor_(monitor),
        owner_(std::this_thread::get_id()),
        walk_(rank_, kTol, *this) {}

  Searcher(const Searcher&) = delete;
  Searcher& operator=(const Searcher&) = delete;

  // Results of one task.
  std::vector<OpenCone> open;
  std::vector<ListedCell> cells;
  Incumbent best;
  double closed_bound = 0.0;  // the largest of what was not looked into further
  long n_cones = 0;

  void search(const OpenCone& task, std::array<double, 2> bounds, double best_value, double work,
              double max_cones) {
    open.clear();
    cells.clear();
    best = {best_value, Vector()};
    closed_bound = 0.0;
    n_cones = 0;
    work_left_ = work;
    max_cones_ = max_cones;
    root_ = task.root;
    if (task.node) {
      const Node& node = *task.node;
      if (is_open(node.state())) {
        walk_.run(node.cone(), node.candidates(), node.conflicts(), node.state());
      } else {
        closed_bound = node.state().bound();
      }
      return;
    }
    const RootCones& roots = arrangement_.cells.roots;
    const RootCone root(roots, task.root, true);
    ConeState state;
    state.bounds = bounds;
    for (int i = 0; i < rank_; ++i) state.c[static_cast<std::size_t>(i)] = arrangement_.constant(i);
    for (int j = 0; j < rank_; ++j) {
      fix(state, roots.base[static_cast<std::size_t>(j)], RootCone::is_positive(task.root, j));
    }
    Conflicts conflicts;
    conflicts.clear(static_cast<int>(root.candidates().size()));
    if (examine(root.cone(), root.candidates(), state, conflicts)) {
      walk_.run(root.cone(), root.candidates(), conflicts, state);
    }
  }

  bool examine(const ConeView& cone, const std::vector<int>& candidates, ConeState& state,
               Conflicts& conflicts) {
    watch();
    ++n_cones;
    work_left_ -= static_cast<double>(cone.n_rays + 4) * static_cast<double>(cone.stride + 16);
    find_conflicts(cone, candidates, state);
    load_rays(cone);
    for (int sign = 0; sign < 2; ++sign) bound_sign(cone, state, sign);
    if (!is_open(state)) return false;
    if (n_conflicts_ == 0) {
      if (is_listing_) list(state);
      closed_bound = std::max(closed_bound, state.bound());
      return false;
    }
    find_scores(cone, state.bounds[0] >= state.bounds[1] ? 0 : 1);
    set_conflicts(conflicts);
    const bool has_time = work_left_ > 0.0 && static_cast<double>(n_cones) < max_cones_;
    if (has_time && !monitor_.stop_requested()) return true;
    open.push_back(
        {state.bound(), 0, root_, std::make_unique<Node>(cone, candidates, conflicts, state)});
    return false;
  }

 private:
  static constexpr double kTol = 1e-12;
  static constexpr int kRounds = 1;  // of moving the linear parts

  double limit() const { return is_listing_ ? limits_.threshold : limits_.at(best.value); }
  bool is_open(double bound) const { return is_listing_ ? bound >= limit() : bound > limit(); }
  bool is_open(const ConeState& state) const { return is_open(state.bound()); }

  void bound_sign(const ConeView& cone, ConeState& state, int sign) {
    double& bound = state.bounds[static_cast<std::size_t>(sign)];
    if (bound == 0.0) return;
    if (is_open(bound)) {
      find_majorant(cone, state, sign);
      bound = std::min(bound, solve(sign));
      for (int round = 0; is_open(bound); ++round) {
        offer(evaluate_at_point(cone, state, sign), sign);
        if (n_conflicts_ == 0 || round == kRounds || !move_linear_parts(cone, sign)) break;
        bound = std::min(bound, solve(sign));
      }
    }
    if (is_open(bound)) return;
    closed_bound = std::max(closed_bound, bound);
    bound = 0.0;
  }

  void offer(double value, int sign) {
    if (is_listing_ || value <= best.value) return;
    best.value = value;
    best.direction =
        Eigen::Map<const Vector>(solvers_[static_cast<std::size_t>(sign)].point().data(), rank_);
  }

  void list(const ConeState& state) {
    Vector gate = Vector::Zero(rank_);
    for (int j = 0; j < n_rays_; ++j) {
      for (int c = 0; c < rank_; ++c)
        gate(c) += rays_[static_cast<std::size_t>(c * ray_stride_ + j)];
    }
    for (int sign = 0; sign < 2; ++sign) {
      const double norm = state.bounds[static_cast<std::size_t>(sign)];
      if (norm > 0.0) cells.push_back({gate, sign == 0 ? 1 : -1, norm});
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
  std::uint64_t root_ = 0;
  double work_left_ = 0.0, max_cones_ = 0.0;
};

// Best-first over open cones, depth-first below each; in rounds of fixed tasks, between which threads
// exchange what they found, so that the result does not depend on their number.
class Search {
 public:
  Search(const PricedArrangement& arrangement, Limits limits, bool is_listing, int n_threads,
         Monitor& monitor)
      : arrangement_(arrangement), limits_(limits), n_threads_(n_threads), monitor_(monitor) {
    for (std::size_t i = 0; i < kRoundSize; ++i) {
      searchers_.push_back(std::make_unique<Searcher>(arrangement, limits, is_listing, monitor));
    }
  }

  Incumbent best;
  std::vector<ListedCell> cells;
  double closed_bound = 0.0;
  long n_cones = 0;

  // Calls after_round(*this) after each. Returns early when the monitor asks for it, or after max_cones.
  template <typename AfterRound>
  void run(std::array<double, 2> bounds, double max_cones, const AfterRound& after_round) {
    const double bound = std::max(bounds[0], bounds[1]);
    const std::uint64_t n_roots = std::uint64_t{1} << arrangement_.rank();
    for (std::uint64_t root = 0; root < n_roots; ++root) {
      push({bound, 0, root, nullptr});
    }
    // With many roots it matters more where to look than to look.
    double n_unseen = n_roots > kRoundSize ? static_cast<double>(n_roots) : 0.0;
    while (!open_.empty() && static_cast<double>(n_cones) < max_cones &&
           !monitor_.stop_requested()) {
      std::vector<OpenCone> round = take_round();
      const double share =
          (max_cones - static_cast<double>(n_cones)) / static_cast<double>(round.size());
      const double work = n_unseen > 0.0 ? 0.0 : kTaskWork;
      n_unseen -= static_cast<double>(round.size());
      parallel_for(static_cast<Index>(round.size()), n_threads_, [&](Index i) {
        const std::size_t at = static_cast<std::size_t>(i);
        searchers_[at]->search(round[at], bounds, best.value, work, share);
      });
      for (std::size_t i = 0; i < round.size(); ++i) collect(*searchers_[i]);
      after_round(*this);
    }
  }

  double open_bound() const { return open_.empty() ? 0.0 : open_.front().bound; }

 private:
  static constexpr std::size_t kRoundSize = 64;
  static constexpr double kTaskWork = 4e6;
  // A task leaves some tens of cones of the size of its own.
  static constexpr double kRoundBytes = 16e6, kMaxBytes = 1e9;

  // The cones of the largest bounds, or of the smallest ones, which are done soonest, while memory is short.
  std::vector<OpenCone> take_round() {
    const bool is_full = bytes_ > kMaxBytes;
    if (is_full) std::sort(open_.begin(), open_.end(), is_later);
    std::vector<OpenCone> round;
    double bytes = 0.0;
    const auto take = [&](OpenCone& cone) {
      bytes += cone.bytes();
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
    bytes_ -= bytes;
    return round;
  }

  static bool is_later(const OpenCone& a, const OpenCone& b) {
    return a.bound != b.bound ? a.bound < b.bound : a.order > b.order;
  }

  void push(OpenCone cone) {
    cone.order = n_pushed_++;
    bytes_ += cone.bytes();
    open_.push_back(std::move(cone));
    std::push_heap(open_.begin(), open_.end(), is_later);
  }

  void collect(Searcher& searcher) {
    if (searcher.best.value > best.value) best = searcher.best;
    closed_bound = std::max(closed_bound, searcher.closed_bound);
    n_cones += searcher.n_cones;
    for (OpenCone& cone : searcher.open) push(std::move(cone));
    for (ListedCell& cell : searcher.cells) cells.push_back(std::move(cell));
  }

  const PricedArrangement& arrangement_;
  Limits limits_;
  int n_threads_;
  Monitor& monitor_;
  std::vector<std::unique_ptr<Searcher>> searchers_;
  std::vector<OpenCone> open_;
  long n_pushed_ = 0;
  double bytes_ = 0.0;  // of open_
};

Vector unit(Vector u) {
  const double largest = u.size() > 0 ? u.cwiseAbs().maxCoeff() : 0.0;
  if (!(largest > 0.0)) return Vector::Unit(u.size(), 0);
  u /= largest;
  return u / u.norm();
}

// A good direction to begin with. Throws nothing when time is up: what is there by then is good enough.
Incumbent search_locally(const ScaledData& data, const PricingOptions& options, Monitor& monitor) {
  constexpr Index kRandomStarts = 32;
  const Index d = data.X.cols();
  const Vector linear = unit(data.X.transpose() * data.r);
  Incumbent best;
  const auto offer = [&](const Vector& u) {
    const double value = std::abs(data.evaluate(u));
    if (value > best.value) best = {value, u};
  };
  offer(linear);
  offer(-linear);
  Matrix starts(d, kRandomStarts + 2 + options.starts.cols());
  starts.leftCols(kRandomStarts) = random_directions(d, kRandomStarts, options.seed);
  starts.col(kRandomStarts) = linear;
  starts.col(kRandomStarts + 1) = -linear;
  for (Index j = 0; j < options.starts.cols(); ++j) {
    const Vector start = unit(options.starts.col(j));
    offer(start);
    starts.col(kRandomStarts + 2 + j) = start;
  }
  LocalSearchOptions local;
  local.n_polished = 8;
  local.n_results = 1;
  local.n_threads = options.n_threads;
  try {
    const std::vector<LocalMaximum> found =
        LocalSearch(data.X, &monitor).maximise(data.r, starts, local, monitor);
    for (const LocalMaximum& maximum : found) offer(maximum.direction);
  } catch (const Stopped&) {
  }
  return best;
}

double above_rounding(const ScaledData& data, double bound) {
  return bound * (1.0 + kRelativeSlack) + kAbsoluteSlack * data.total;
}

Pricing finish(const ScaledData& data, const Incumbent& best, double bound,
               const PricingOptions& options) {
  Pricing pricing;
  pricing.direction =
      unit(best.direction.size() > 0 ? best.direction : Vector::Zero(data.X.cols()));
  const double F = data.evaluate(pricing.direction);
  pricing.sign = F < 0.0 ? -1 : 1;
  const double slack = kAbsoluteSlack * data.total;
  const double upper = above_rounding(data, std::max(std::abs(F), bound));
  pricing.value = data.to_caller(std::abs(F));
  pricing.upper_bound = data.to_caller(upper);
  pricing.is_exact =
      upper <= (1.0 + options.tol + 2.0 * kRelativeSlack) * std::abs(F) + 2.0 * slack;
  return pricing;
}

}  // namespace

Pricing price_patterns(ConstMatrixRef X, ConstVectorRef r, const PricingOptions& options,
                       Monitor& monitor) {
  check(X, r);
  if (options.starts.cols() > 0 && options.starts.rows() != X.cols()) {
    throw_invalid("starts must have a row per column of X");
  }
  const ScaledData data(X, r);
  Incumbent best = search_locally(data, options, monitor);
  const std::array<double, 2> bounds = bounds_in_time(data, monitor);
  double bound = std::max(bounds[0], bounds[1]);
  long n_cones = 0;
  const Limits limits{options.tol, data.from_caller(options.threshold)};
  if (bound > limits.at(best.value)) {
    const std::optional<PricedArrangement> found = arrange_in_time(data, monitor);
    if (found && found->rank() <= kMaxRank) {
      const PricedArrangement& arrangement = *found;
      Search search(arrangement, limits, false, options.n_threads, monitor);
      search.best = {best.value, Vector()};
      try {
        search.run(bounds, options.max_cones, [&](const Search& now) {
          const double open = std::max(now.open_bound(), now.closed_bound);
          monitor.report("price", now.n_cones, data.to_caller(now.best.value),
                         std::max(0.0, open / now.best.value - 1.0));
        });
      } catch (const Stopped&) {
      }
      bound = std::max(search.open_bound(), search.closed_bound);
      if (search.best.direction.size() > 0)
        best.direction = arrangement.basis * search.best.direction;
      n_cones = search.n_cones;
    }
  }
  Pricing pricing = finish(data, best, bound, options);
  pricing.n_cones = n_cones;
  return pricing;
}

double price_bound(ConstMatrixRef X, ConstVectorRef r, Monitor& monitor) {
  check(X, r);
  const ScaledData data(X, r);
  const std::array<double, 2> bounds = bounds_in_time(data, monitor);
  return data.to_caller(above_rounding(data, std::max(bounds[0], bounds[1])));
}

PricedCells cells_above(ConstMatrixRef X, ConstVectorRef r, double threshold, double max_cells,
                        const PricingOptions& options, Monitor& monitor) {
  check(X, r);
  if (!(threshold > 0.0))
    throw_invalid("threshold must be positive, got " + std::to_string(threshold));
  const ScaledData data(X, r);
  const PricedArrangement arrangement(data, monitor);
  if (arrangement.rank() > kMaxRank) {
    throw_invalid("X must have rank " + std::to_string(kMaxRank) + " at most, got more");
  }
  PricedCells result;
  Matrix gates(X.cols(), 0);
  if (arrangement.rank() > 0) {
    Search search(arrangement, {0.0, data.from_caller(threshold)}, true, options.n_threads,
                  monitor);
    search.run(global_bounds(data, monitor), kInfinity, [&](const Search& now) {
      if (static_cast<double>(now.cells.size()) > max_cells) {
        throw LimitExceeded(
            "more than max_cells = " + std::to_string(static_cast<long long>(max_cells)) +
            " blocks reach the threshold");
      }
      monitor.report("list", now.n_cones, kNaN, kNaN);
    });
    monitor.check();
    Index p = -1;
    gates.resize(X.cols(), static_cast<Index>(search.cells.size()));
    for (const ListedCell& cell : search.cells) {
      const Vector gate = unit(arrangement.basis * cell.gate);
      if (p < 0 || gates.col(p) != gate) gates.col(++p) = gate;
      result.blocks.push_back({p, cell.sign});
      result.norms.push_back(data.to_caller(cell.norm));
    }
    gates.conservativeResize(X.cols(), p + 1);
  }
  result.patterns = patterns_from_gates(X, gates, options.n_threads, &monitor);
  return result;
}

}  // namespace convexrelu
