#include "convexrelu/pricing/pricing.hpp"

#include <Eigen/QR>
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <mutex>
#include <queue>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "arrangement/arrangement.hpp"
#include "arrangement/cell_walk.hpp"
#include "arrangement/lanes.hpp"
#include "arrangement/root_cones.hpp"
#include "base/preconditions.hpp"
#include "convexrelu/base/error.hpp"
#include "convexrelu/base/parallel.hpp"
#include "convexrelu/pricing/local_search.hpp"
#include "numeric/pivots.hpp"
#include "numeric/shortest_majorant.hpp"
#include "numeric/watched_dense.hpp"

namespace convexrelu {
inline namespace pricing {

namespace {

constexpr int kMaxRank = 20;
constexpr Index kRowsAtOnce = 256;  // of a product
// What is added to bounds (docs/theory/pricing/pricing.md): kRelativeSlack of the bound; kRounding for each unit
// in which values at rays and majorants are known, four hundred roundings; kAbsoluteSlack of those at
// all rows. A bound is called exact if it is so to kExactRounding of sum_k |r_k| ||x_k||.
constexpr double kRelativeSlack = 1e-9, kRounding = 1e-13, kAbsoluteSlack = 1e-12;
constexpr double kExactRounding = 2e-11;

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
  require_finite(X, "X");
  require_finite(r, "r");
}

// |F| <= the sum of |r_k| ||x_k|| over rows of one sign, for F and -F.
std::array<double, 2> crude_bounds(const ScaledData& data) {
  const Vector lengths = data.X.rowwise().norm();
  return {data.r.cwiseMax(0.0).dot(lengths), (-data.r).cwiseMax(0.0).dot(lengths)};
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

// The largest |F| found so far, of all threads together or of one.
struct Incumbent {
  double value = 0.0;
  Vector direction;
};

// The arrangement and F on it, up to rank kMaxRank. Points are known by their root coordinates c (rho),
// those along the root rays: u = basis rays c. The rays of a root cone and all that come of them have
// coordinates of the signs of that cone: neither they nor values of rows suffer from cancellation.
//   value_l(u) = V_l.c, V_l = roots.values column l;  F(u) = sum_l w_l (V_l.c)_+ + constant.c
struct PricedArrangement {
  const ScaledData& data;
  Arrangement cells;  // its roots.rays are the identity: points of the walk are root coordinates
  Matrix basis;       // (d, rho) orthonormal
  Matrix rays;        // (rho, rho) the root rays by columns, in this basis
  Vector base_norms;  // (rho) ||b_i||, b_i the dual basis of the rays: c_i = b_i.u
  Vector weights;     // w (h)
  Vector constant;    // (rho)
  Vector loads;       // t (rho) = sum_k |r_k| |x_k.ray_i|
  double model_error = 0.0;  // bounds the difference of F and what it is here, on the unit ball

  PricedArrangement(const ScaledData& scaled, Monitor& monitor)
      : data(scaled), cells(arrange(data.X, kMaxRank, false, &monitor)) {
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
    const Matrix rays_in_features = expand(roots.rays, d);
    rays = basis.transpose() * rays_in_features;
    roots.rays.setIdentity();

    // value_l = scale_l times the product with the first row of hyperplane l.
    const auto first = [&](Index l) {
      const Index begin = cells.planes.offsets[static_cast<std::size_t>(l)];
      return X.row(cells.planes.samples[static_cast<std::size_t>(begin)]);
    };
    Vector scales(h);
    for (Index l = 0; l < h; ++l) {
      Index j;
      roots.values.col(l).cwiseAbs().maxCoeff(&j);
      scales(l) = roots.values(j, l) / first(l).dot(rays_in_features.col(j));
    }
    Matrix base(rank, rank);
    for (Index i = 0; i < rank; ++i) {
      const Index l = roots.base[static_cast<std::size_t>(i)];
      base.col(i) = scales(l) * (basis.transpose() * first(l).transpose());
    }
    base_norms = base.colwise().norm();

    weights.setZero(h);
    constant.setZero(rank);
    loads.setZero(rank);
    for (Index l = 0; l < h; ++l) {
      const Hyperplanes& planes = cells.planes;
      const auto values = roots.values.col(l);
      const Vector row = basis * (base * values) / scales(l);
      for (Index i = planes.offsets[static_cast<std::size_t>(l)];
           i < planes.offsets[static_cast<std::size_t>(l) + 1]; ++i) {
        const Index k = planes.samples[static_cast<std::size_t>(i)];
        const double ratio = X.row(k).norm() / first(l).norm();
        const double w = data.r(k) * ratio / scales(l);
        const double side = planes.orientation[static_cast<std::size_t>(k)];
        weights(l) += w;
        // (x.u)_+ = (-x.u)_+ + x.u
        if (side < 0) constant -= w * values;
        loads += std::abs(w) * values.cwiseAbs();
        model_error += std::abs(data.r(k)) * (X.row(k).transpose() - side * ratio * row).norm();
      }
    }
  }

  int rank() const { return cells.rank(); }

  // Rounding of values, coordinates and F on the unit ball: |b_i.u| <= ||b_i|| there.
  double slack() const { return kAbsoluteSlack * loads.dot(base_norms) + model_error; }

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

// What goes from a cone to the parts of it.
struct ConeState {
  // Gradient of the part of F that is linear on the cone, in root coordinates.
  std::array<double, kMaxRank> c;
  double neglected;  // sum of |w_l| times what values of fixed rows of the wrong sign may be
  std::array<double, 2> bounds;  // of F and -F, 0 where they do not matter any more
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
    const double* values = arrangement_.cells.roots.values.col(hyperplane).data();
    for (int i = 0; i < rank_; ++i) state.c[static_cast<std::size_t>(i)] += w * values[i];
  }

  // Rays of the walk have sum_i |c_i| = 1, so that on the unit ball the row is wrong by this times
  // sum_i ||b_i|| at most.
  void neglect(ConeState& state, int hyperplane, double depth) const {
    state.neglected += std::abs(arrangement_.weights(hyperplane)) * depth;
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
      const unsigned neglected = (depth > zero) & (high > zero);
      for (unsigned mask = fixed & neglected; mask != 0; mask &= mask - 1) {
        const int at = first + lowest_bit(mask);
        neglect(state, candidates[static_cast<std::size_t>(at)],
                balance_[static_cast<std::size_t>(at)]);
      }
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

  // Unit rays and their root coordinates, one coordinate after the other; and delta_j = kRounding t.|c_j|,
  // which is at least kRounding sum_k |r_k| |x_k.v_j|.
  void load_rays(const ConeView& cone) {
    n_rays_ = cone.n_rays;
    ray_stride_ = (n_rays_ + 3) / 4 * 4;
    ConeStore::grow(rays_, Index{ray_stride_} * rank_);
    ConeStore::grow(roots_, Index{ray_stride_} * rank_);
    for (auto* values : {&lengths_, &delta_, &noise_, &majorant_[0], &majorant_[1]}) {
      ConeStore::grow(*values, ray_stride_);
    }
    for (int j = 0; j < n_rays_; ++j) {
      const double* c = cone.coordinates_of(j);
      double squares = 0.0;
      for (int i = 0; i < rank_; ++i) {
        double x = 0.0;
        for (int l = 0; l < rank_; ++l) x += arrangement_.rays(i, l) * c[l];
        squares += x * x;
        rays_[static_cast<std::size_t>(i * ray_stride_ + j)] = x;
      }
      const double length = std::sqrt(squares);
      lengths_[static_cast<std::size_t>(j)] = length;
      for (int i = 0; i < rank_; ++i) {
        rays_[static_cast<std::size_t>(i * ray_stride_ + j)] /= length;
        roots_[static_cast<std::size_t>(i * ray_stride_ + j)] = c[i] / length;
      }
    }
    find_delta(arrangement_.loads.data(), delta_.data());
  }

  // delta_j = kRounding scale.|c_j|, scale (rho).
  void find_delta(const double* scale, double* delta) const {
    std::fill_n(delta, n_rays_, 0.0);
    for (int i = 0; i < rank_; ++i) {
      const double* c = roots_.data() + i * ray_stride_;
      const double factor = kRounding * scale[i];
      for (int j = 0; j < n_rays_; ++j) delta[j] += factor * std::abs(c[j]);
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
                   roots_[static_cast<std::size_t>(c * ray_stride_ + j + k)];
        }
        majorant_[s][at] = (sign == 0 ? fixed : -fixed) + sum[k].sum() / lengths_[at];
      }
    }
  }

  // A bound by the shortest majorant p. Of p.v_j = sum_i c_ij rays_i.p no more is known than each term
  // to rounding: kRounding pi.|c_j|, pi = |rays|'|p|. What that can do to p.u, u = rays c of length 1,
  // is kRounding pi.|c| <= kRounding sum_i pi_i ||b_i||.
  double solve(int sign, double neglected) {
    ShortestMajorant& solver = solvers_[static_cast<std::size_t>(sign)];
    solver.solve(rays_.data(), ray_stride_, n_rays_,
                 majorant_[static_cast<std::size_t>(sign)].data(), delta_.data());
    std::array<double, kMaxRank> scale;
    double noise = 0.0;
    for (int i = 0; i < rank_; ++i) {
      double pi = 0.0;
      for (int l = 0; l < rank_; ++l) {
        pi += std::abs(arrangement_.rays(l, i) * solver.point()[static_cast<std::size_t>(l)]);
      }
      noise += (kRounding * pi + neglected) * arrangement_.base_norms(i);
      scale[static_cast<std::size_t>(i)] = arrangement_.loads(i) + pi;
    }
    find_delta(scale.data(), noise_.data());
    const double bound = solver.stretch(noise_.data()) * (solver.norm() + noise);
    return std::isnan(bound) ? kInfinity : bound;
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
    double value = 0.0;
    for (std::size_t i = 0; i < solver.support().size(); ++i) {
      const int j = solver.support()[i];
      for (int c = 0; c < rank_; ++c) {
        value += solver.weights()[i] * state.c[static_cast<std::size_t>(c)] *
                 roots_[static_cast<std::size_t>(c * ray_stride_ + j)];
      }
    }
    if (sign == 1) value = -value;
    Lanes sum = Lanes::all(0.0);
    for (int i = 0; i < blocks * Lanes::kSize; i += Lanes::kSize) {
      const Lanes w = Lanes::load(convex_[s].data() + i) - Lanes::load(convex_[1 - s].data() + i);
      sum = multiply_add(w, max(Lanes::load(point.data() + i), Lanes::all(0.0)), sum);
    }
    value += sum.sum();
    const double norm = solver.norm();
    return norm > 0.0 ? value / norm : 0.0;
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
  std::vector<double> rays_, roots_, lengths_, delta_, noise_;
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

  static constexpr double kTol = 1e-12;
  static constexpr int kRounds = 1;  // of moving the linear parts

  double limit() const { return is_listing_ ? limits_.threshold : limits_.at(found_.best.value); }
  bool is_open(double bound) const { return is_listing_ ? bound >= limit() : bound > limit(); }
  bool is_open(const ConeState& state) const { return is_open(state.bound()); }

  void bound_sign(const ConeView& cone, ConeState& state, int sign) {
    double& bound = state.bounds[static_cast<std::size_t>(sign)];
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
    const Eigen::Map<const Vector> point(solvers_[static_cast<std::size_t>(sign)].point().data(),
                                         rank_);
    const Vector direction = arrangement_.basis * point.stableNormalized();
    value = std::abs(arrangement_.data.evaluate(direction));
    if (value > found_.best.value) found_.best = {value, direction};
  }

  void list(const ConeState& state) {
    Vector gate = Vector::Zero(rank_);
    for (int j = 0; j < n_rays_; ++j) {
      for (int c = 0; c < rank_; ++c)
        gate(c) += rays_[static_cast<std::size_t>(c * ray_stride_ + j)];
    }
    for (int sign = 0; sign < 2; ++sign) {
      const double norm = state.bounds[static_cast<std::size_t>(sign)];
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

// Best-first over open cones, depth-first below each; in rounds of fixed tasks, between which threads
// exchange what they found, so that the result does not depend on their number.
class Search {
 public:
  Search(const PricedArrangement& arrangement, Limits limits, bool is_listing, int n_threads,
         Monitor& monitor)
      : arrangement_(arrangement),
        limits_(limits),
        is_listing_(is_listing),
        n_threads_(n_threads),
        monitor_(monitor) {}

  // Bytes of all root cones. The bound is the largest of all, so that it falls only after each has been
  // looked at; where they do not fit the memory for open cones this is far off.
  static double bytes_of_roots(const PricedArrangement& arrangement) {
    return std::ldexp(bytes_of_root(arrangement), arrangement.rank());
  }
  static constexpr double kMaxBytes = 5e8;

  Incumbent best;
  std::vector<ListedCell> cells;
  double closed_bound = 0.0;
  long n_cones = 0;

  // Calls after_round(*this) after each. Returns early when the monitor asks for it, or after max_cones. Ends: a
  // round takes cones off the list and puts back parts of them that further hyperplanes cut off.
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

  double open_bound() const { return open_.empty() ? 0.0 : open_.front().bound; }

 private:
  static constexpr std::size_t kRoundSize = 64;
  static constexpr double kTaskWork = 4e6;
  // A task leaves some tens of cones of the size of its own.
  static constexpr double kRoundBytes = 16e6;

  static double bytes_of_root(const PricedArrangement& arrangement) {
    return 8.0 *
           static_cast<double>(arrangement.cells.roots.others.size() * arrangement.rays.rows());
  }

  // One for each thread that is at work: their work space can be large.
  std::unique_ptr<Searcher> borrow() {
    const std::lock_guard<std::mutex> hold(lock_);
    if (idle_.empty()) {
      return std::make_unique<Searcher>(arrangement_, limits_, is_listing_, monitor_, owner_);
    }
    std::unique_ptr<Searcher> searcher = std::move(idle_.back());
    idle_.pop_back();
    return searcher;
  }

  void give_back(std::unique_ptr<Searcher> searcher) {
    const std::lock_guard<std::mutex> hold(lock_);
    idle_.push_back(std::move(searcher));
  }

  // The cones of the largest bounds, or of the smallest ones, which are done soonest, while memory is short.
  std::vector<OpenCone> take_round() {
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

  static bool is_later(const OpenCone& a, const OpenCone& b) {
    return a.bound != b.bound ? a.bound < b.bound : a.order > b.order;
  }

  void push(OpenCone cone) {
    cone.order = n_pushed_++;
    bytes_ += cone.bytes();
    open_.push_back(std::move(cone));
    std::push_heap(open_.begin(), open_.end(), is_later);
  }

  void collect(Found found) {
    if (found.best.value > best.value) best = std::move(found.best);
    closed_bound = std::max(closed_bound, found.closed_bound);
    n_cones += found.n_cones;
    for (OpenCone& cone : found.open) push(std::move(cone));
    for (ListedCell& cell : found.cells) cells.push_back(std::move(cell));
  }

  const PricedArrangement& arrangement_;
  Limits limits_;
  bool is_listing_;
  int n_threads_;
  Monitor& monitor_;
  const std::thread::id owner_ = std::this_thread::get_id();
  std::mutex lock_;  // of idle_
  std::vector<std::unique_ptr<Searcher>> idle_;
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
    monitor.check();
    const std::vector<LocalMaximum> found =
        LocalSearch(data.X, &monitor).maximise(data.r, starts, local, monitor);
    for (const LocalMaximum& maximum : found) offer(maximum.direction);
  } catch (const Stopped&) {
  }
  return best;
}

// Whether branch and bound can bring the bound down: its rank is one that it handles, and neither memory
// nor the number of cones that may be looked at ends it before all root cones are.
bool is_worth_a_search(const PricedArrangement& arrangement, double max_cones) {
  return arrangement.rank() <= kMaxRank && std::ldexp(1.0, arrangement.rank()) <= max_cones &&
         Search::bytes_of_roots(arrangement) <= Search::kMaxBytes;
}

// slack: what rounding can have taken from the bound of branch and bound.
struct Bound {
  double value;
  double slack = 0.0;

  double above_rounding(const ScaledData& data) const {
    return value * (1.0 + kRelativeSlack) + std::max(slack, kAbsoluteSlack * data.total);
  }
};

Pricing finish(const ScaledData& data, const Incumbent& best, Bound bound, double formula,
               const PricingOptions& options) {
  Pricing pricing;
  pricing.direction =
      unit(best.direction.size() > 0 ? best.direction : Vector::Zero(data.X.cols()));
  const double F = data.evaluate(pricing.direction), value = std::abs(F);
  pricing.sign = F < 0.0 ? -1 : 1;
  pricing.value = data.to_caller(value);
  pricing.raw_bound = data.to_caller(bound.value);
  double upper = bound.above_rounding(data);
  // A bound below what is attained is wrong, NaN says nothing: the formula, of which either is unlikely.
  const bool is_wrong = !(upper >= value);
  if (is_wrong) upper = Bound{formula}.above_rounding(data);
  upper = std::max(value, upper);
  pricing.upper_bound = data.to_caller(upper);
  pricing.is_exact = !is_wrong && upper <= (1.0 + options.tol + 2.0 * kRelativeSlack) * value +
                                               kExactRounding * data.total;
  return pricing;
}

}  // namespace

Pricing price_patterns(ConstMatrixRef X, ConstVectorRef r, const PricingOptions& options,
                       Monitor& monitor) {
  check(X, r);
  if (options.starts.cols() > 0 && options.starts.rows() != X.cols()) {
    throw_invalid("starts must have a row per column of X");
  }
  require_finite(options.starts, "starts");
  require_not_negative(options.tol, "tol");
  require_not_negative(options.threshold, "threshold");
  const ScaledData data(X, r);
  Incumbent best = search_locally(data, options, monitor);
  std::array<double, 2> bounds = crude_bounds(data);
  double formula = std::max(bounds[0], bounds[1]);
  Bound bound{formula};
  long n_cones = 0;
  const Limits limits{options.tol, data.from_caller(options.threshold)};
  try {
    monitor.check();
    bounds = global_bounds(data, monitor);
    bound.value = formula = std::min(formula, std::max(bounds[0], bounds[1]));
    monitor.check();
    if (formula > limits.at(best.value)) {
      const PricedArrangement arrangement(data, monitor);
      if (is_worth_a_search(arrangement, options.max_cones)) {
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
        bound = {std::max(search.open_bound(), search.closed_bound), arrangement.slack()};
        if (search.best.direction.size() > 0) best = search.best;
        n_cones = search.n_cones;
      }
    }
  } catch (const Stopped&) {
  }
  Pricing pricing = finish(data, best, bound, formula, options);
  pricing.n_cones = n_cones;
  return pricing;
}

double price_bound(ConstMatrixRef X, ConstVectorRef r, Monitor& monitor) {
  check(X, r);
  const ScaledData data(X, r);
  std::array<double, 2> bounds = crude_bounds(data);
  try {
    bounds = global_bounds(data, monitor);
  } catch (const Stopped&) {
  }
  return data.to_caller(Bound{std::max(bounds[0], bounds[1])}.above_rounding(data));
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

}  // namespace pricing
}  // namespace convexrelu
