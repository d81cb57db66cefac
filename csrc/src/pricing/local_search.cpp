#include "convexrelu/pricing/local_search.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

#include "base/preconditions.hpp"
#include "base/watched_for.hpp"
#include "base/watched_sort.hpp"
#include "convexrelu/arrangement/hyperplanes.hpp"

namespace convexrelu {
inline namespace pricing {

namespace {

constexpr Index kChunk = 64;          // points that ascend together
constexpr Index kPlanesAtOnce = 512;  // hyperplanes at a time
constexpr Index kPadding = 4;  // the features are a multiple in float32, as matrix products like it

// Steps of the ascent: how they grow, shrink and end, and the rise that counts in float32.
constexpr float kGrowth = 1.5F;
constexpr float kShrinkage = 0.4F;
constexpr float kSmallestStep = 5e-3F;
constexpr float kRise = 1e-6F;

// Maxima with a larger cosine are one.
constexpr double kSameMaximum = 1.0 - 1e-8;

// Reach of the polish, in ||x_k||: first, last, and how it shrinks.
constexpr double kFirstReach = 0.1;
constexpr double kLastReach = 1e-9;
constexpr double kReachShrinkage = 0.3;
constexpr int kMaxMoves = 24;
// The slope need not be the shortest to the last digit as long as the reach is long.
constexpr double kShortReach = 3e-3;
constexpr int kQuickSweeps = 20, kMaxSweeps = 80;
constexpr double kSweepAccuracy = 1e-9;
constexpr double kPolished = 1e-12;

bool precedes(const Matrix& normals, Index a, Index b) {
  return std::lexicographical_compare(normals.col(a).begin(), normals.col(a).end(),
                                      normals.col(b).begin(), normals.col(b).end());
}

}  // namespace

Matrix random_directions(Index d, Index m, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  const auto uniform = [&] {  // in (0, 1]
    return static_cast<double>((engine() >> 11) + 1) * 0x1p-53;
  };
  Matrix directions(d, m);
  for (double& entry : directions.reshaped()) {  // Box & Muller 1958
    const double radius = std::sqrt(-2.0 * std::log(uniform()));
    entry = radius * std::cos(2.0 * 3.14159265358979323846 * uniform());
  }
  directions.colwise().normalize();
  return directions;
}

// n F(u) = sum_l rho_l (n_l.u)_+ + slope.u over the distinct hyperplanes: (-z)_+ = z_+ - z.
// Divided by max |rho|, so that float32 can hold it.
class LocalSearch::Target {
 public:
  Target(const LocalSearch& search, ConstVectorRef r)
      : rho(Vector::Zero(search.normals_.cols())), slope(Vector::Zero(search.d_)) {
    for (Index k = 0; k < r.size(); ++k) {
      const Index l = search.plane_[k];
      if (l < 0) continue;
      rho(l) += r(k) * std::abs(search.length_(k));
      if (search.length_(k) < 0.0) slope += (r(k) * search.length_(k)) * search.normals_.col(l);
    }
    unit = std::max(rho.size() > 0 ? rho.lpNorm<Eigen::Infinity>() : 0.0,
                    slope.size() > 0 ? slope.lpNorm<Eigen::Infinity>() : 0.0);
    if (unit > 0.0) {
      rho /= unit;
      slope /= unit;
    }
    rho32 = rho.cast<float>();
    slope32 = Eigen::VectorXf::Zero(search.normals32_.rows());
    slope32.head(slope.size()) = slope.cast<float>();
  }

  Vector rho, slope;
  double unit;
  Eigen::VectorXf rho32, slope32;
};

// The ascent of up to kChunk points, each with its sign, in float32. A point is a row.
class LocalSearch::Chunk {
 public:
  Chunk(const LocalSearch& search, const Target& target, Eigen::MatrixXf starts,
        Eigen::VectorXf signs)
      : points(std::move(starts)),
        search_(search),
        target_(target),
        signs_(std::move(signs)),
        steps_(Eigen::VectorXf::Ones(signs_.size())),
        live_(static_cast<std::size_t>(signs_.size())) {
    std::iota(live_.begin(), live_.end(), Index{0});
  }

  template <typename KeepGoing>
  void ascend(int n_steps, const KeepGoing& keep_going) {
    trial_ = points;
    if (!evaluate(keep_going)) return;
    slopes_ = trial_slopes_;
    values = trial_values_;
    for (int step = 0; step < n_steps && !live_.empty(); ++step) {
      trial_.resize(static_cast<Index>(live_.size()), points.cols());
      for (std::size_t i = 0; i < live_.size(); ++i) {
        const Index j = live_[i];
        const float norm = slopes_.row(j).norm();
        auto next = trial_.row(static_cast<Index>(i));
        next = (1.0F - steps_(j)) * points.row(j) +
               (norm > 0.0F ? steps_(j) / norm : 0.0F) * slopes_.row(j);
        const float length = next.norm();
        if (length > 0.0F) next /= length;
      }
      if (!evaluate(keep_going)) return;
      std::vector<Index> still;
      for (std::size_t i = 0; i < live_.size(); ++i) {
        const Index j = live_[i], t = static_cast<Index>(i);
        if (trial_values_(t) > values(j) + kRise * std::abs(values(j))) {
          points.row(j) = trial_.row(t);
          slopes_.row(j) = trial_slopes_.row(t);
          values(j) = trial_values_(t);
          steps_(j) = std::min(1.0F, kGrowth * steps_(j));
        } else {
          steps_(j) *= kShrinkage;
        }
        if (steps_(j) > kSmallestStep) still.push_back(j);
      }
      live_ = std::move(still);
    }
  }

  Eigen::MatrixXf points;  // (size, d) unit rows, zeros behind
  Eigen::VectorXf values;  // sign n F, in units of the target

 private:
  // Slopes and values of the trial points. False if there was no time for it.
  template <typename KeepGoing>
  bool evaluate(const KeepGoing& keep_going) {
    trial_slopes_ = target_.slope32.transpose().replicate(trial_.rows(), 1);
    for (Index first = 0; first < search_.rows32_.rows(); first += kPlanesAtOnce) {
      if (!keep_going()) return false;
      const Index width = std::min(kPlanesAtOnce, search_.rows32_.rows() - first);
      active_.noalias() = trial_ * search_.normals32_.middleCols(first, width);
      for (Index l = 0; l < width; ++l) {
        const float rho = target_.rho32(first + l);
        float* const z = active_.col(l).data();
        for (Index j = 0; j < active_.rows(); ++j) z[j] = z[j] > 0.0F ? rho : 0.0F;
      }
      trial_slopes_.noalias() += active_ * search_.rows32_.middleRows(first, width);
    }
    trial_values_ = trial_slopes_.cwiseProduct(trial_).rowwise().sum();
    for (Index j = 0; j < trial_.rows(); ++j) {
      const float sign = signs_(live_[j]);
      trial_slopes_.row(j) *= sign;
      trial_values_(j) *= sign;
    }
    return true;
  }

  const LocalSearch& search_;
  const Target& target_;
  Eigen::VectorXf signs_, steps_;
  std::vector<Index> live_;
  Eigen::MatrixXf slopes_, trial_, trial_slopes_, active_;
  Eigen::VectorXf trial_values_;
};

class LocalSearch::Polisher {
 public:
  Polisher(const LocalSearch& search, const Target& target) : search_(search), target_(target) {}

  LocalMaximum evaluated(Vector u, int sign) {
    sign_ = sign;
    const double value = evaluate(u);
    return {std::move(u), sign, value};
  }

  // Moves u uphill until no slope within the last reach leads further.
  template <typename KeepGoing>
  LocalMaximum polished(Vector u, int sign, const KeepGoing& keep_going) {
    sign_ = sign;
    double value = evaluate(u);
    Vector z = z_, slope = slope_;
    double reach = kFirstReach;
    for (int move = 0; move < kMaxMoves && reach > kLastReach && keep_going(); ++move) {
      const Vector q = shortest_slope(z, slope, reach, keep_going);
      const double norm = q.norm();
      if (!(norm > 0.0)) break;
      const Vector next = q / norm;
      const double next_value = evaluate(next);
      const bool rises = next_value > value * (1.0 + kPolished);
      if (!rises || next_value < value * (1.0 + 1e-8)) reach *= kReachShrinkage;
      if (rises) {
        u = next;
        value = next_value;
        z = z_;
        slope = slope_;
      }
      if (std::abs(value - norm) <= kPolished * norm) break;
    }
    return {std::move(u), sign, value};
  }

 private:
  // Returns sign n F(u); leaves N'u and its slope behind.
  double evaluate(const Vector& u) {
    z_.noalias() = search_.normals_.transpose() * u;
    active_ = (z_.array() > 0.0).select(target_.rho, 0.0);
    slope_.noalias() = search_.normals_ * active_;
    slope_ = sign_ * (slope_ + target_.slope);
    return slope_.dot(u);
  }

  // argmin || slope + sum_A (tau_l - bit_l) s rho_l n_l || over 0 <= tau <= 1, by coordinate descent.
  template <typename KeepGoing>
  Vector shortest_slope(const Vector& z, Vector q, double reach, const KeepGoing& keep_going) {
    near_.clear();
    for (Index l = 0; l < z.size(); ++l) {
      if (sign_ * target_.rho(l) < 0.0 && std::abs(z(l)) <= reach) near_.push_back(l);
    }
    const Index k = static_cast<Index>(near_.size());
    columns_.resize(q.size(), k);
    tau_.resize(k);
    for (Index i = 0; i < k; ++i) {
      const Index l = near_[i];
      columns_.col(i) = search_.normals_.col(l);
      tau_(i) = z(l) > 0.0 ? 1.0 : 0.0;
    }
    const int n_sweeps = reach > kShortReach ? kQuickSweeps : kMaxSweeps;
    for (int sweep = 0; sweep < n_sweeps && keep_going(); ++sweep) {
      double largest = 0.0;
      for (Index i = 0; i < k; ++i) {
        const double weight = sign_ * target_.rho(near_[i]);
        const double next = std::clamp(tau_(i) - columns_.col(i).dot(q) / weight, 0.0, 1.0);
        const double change = next - tau_(i);
        if (change == 0.0) continue;
        tau_(i) = next;
        q += (change * weight) * columns_.col(i);
        largest = std::max(largest, std::abs(change));
      }
      if (largest < kSweepAccuracy) break;
    }
    return q;
  }

  const LocalSearch& search_;
  const Target& target_;
  int sign_ = 1;
  Vector z_, active_, slope_, tau_;
  std::vector<Index> near_;
  Matrix columns_;
};

LocalSearch::LocalSearch(ConstMatrixRef X, Monitor* monitor)
    : n_(X.rows()),
      d_(X.cols()),
      plane_(static_cast<std::size_t>(X.rows()), -1),
      length_(Vector::Zero(X.rows())) {
  const Hyperplanes planes = find_hyperplanes(X, monitor);
  const Index h = planes.size();
  // A side and an order that do not depend on those of the rows.
  Matrix oriented = planes.normals;
  std::vector<int> side(static_cast<std::size_t>(h), 1);
  for (Index l = 0; l < h; ++l) {
    const auto normal = oriented.col(l);
    const auto first =
        std::find_if(normal.begin(), normal.end(), [](double v) { return v != 0.0; });
    if (*first > 0.0) continue;
    oriented.col(l) *= -1.0;
    side[l] = -1;
  }
  std::vector<Index> order(static_cast<std::size_t>(h));
  std::iota(order.begin(), order.end(), Index{0});
  watched_sort(
      order.begin(), order.end(), [&](Index a, Index b) { return precedes(oriented, a, b); },
      monitor);
  std::vector<Index> place(order.size());
  normals_.resize(d_, h);
  for (std::size_t l = 0; l < order.size(); ++l) {
    normals_.col(static_cast<Index>(l)) = oriented.col(order[l]);
    place[order[l]] = static_cast<Index>(l);
  }
  for (Index k = 0; k < n_; ++k) {
    if (k % kPlanesAtOnce == 0) keep_going(monitor);
    const std::size_t row = static_cast<std::size_t>(k);
    if (planes.plane[row] < 0) continue;
    const std::size_t l = static_cast<std::size_t>(planes.plane[row]);
    plane_[row] = place[l];
    length_(k) = side[l] * planes.orientation[row] * X.row(k).stableNorm();
  }
  keep_going(monitor);
  normals32_.setZero((d_ + kPadding - 1) / kPadding * kPadding, h);
  normals32_.topRows(d_) = normals_.cast<float>();
  rows32_ = normals32_.transpose();
}

std::vector<LocalMaximum> LocalSearch::maximise(ConstVectorRef r, ConstMatrixRef starts,
                                                const LocalSearchOptions& options,
                                                Monitor& monitor) const {
  require_size(r.size(), n_, "r", "entries");
  require_finite(r, "r");
  if (starts.rows() != d_) throw_invalid("starts must have a row per column of X");
  require_finite(starts, "starts");
  const Target target(*this, r);
  if (target.unit == 0.0) return {};

  // Every start twice, once for each sign.
  std::vector<Index> used;
  for (Index j = 0; j < starts.cols(); ++j) {
    if (starts.col(j).stableNorm() > 0.0) used.push_back(j);
  }
  const Index m = static_cast<Index>(used.size());
  Eigen::MatrixXf points = Eigen::MatrixXf::Zero(normals32_.rows(), 2 * m);
  Eigen::VectorXf signs(2 * m), values(2 * m);
  for (Index j = 0; j < m; ++j) {
    points.col(j).head(d_) = starts.col(used[j]).stableNormalized().cast<float>();
    points.col(m + j) = points.col(j);
    signs(j) = 1.0F;
    signs(m + j) = -1.0F;
  }
  const Index n_chunks = (2 * m + kChunk - 1) / kChunk;
  watched_for(n_chunks, options.n_threads, monitor, [&](Index index, const auto& keep_going) {
    const Index first = index * kChunk, size = std::min(kChunk, 2 * m - first);
    Chunk chunk(*this, target, points.middleCols(first, size).transpose(),
                signs.segment(first, size));
    chunk.ascend(options.n_steps, keep_going);
    if (!keep_going()) return;
    points.middleCols(first, size) = chunk.points.transpose();
    values.segment(first, size) = chunk.values;
  });

  // The best distinct points.
  std::vector<Index> order(static_cast<std::size_t>(2 * m));
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](Index a, Index b) { return values(a) > values(b); });
  const std::size_t n_wanted =
      static_cast<std::size_t>(options.n_polished > 0 ? options.n_polished : options.n_results);
  std::vector<Index> chosen;
  for (const Index j : order) {
    if (chosen.size() == n_wanted || !(values(j) > 0.0F)) break;
    const bool seen = std::any_of(chosen.begin(), chosen.end(), [&](Index i) {
      return signs(i) == signs(j) && points.col(i).dot(points.col(j)) > options.distinct;
    });
    if (!seen) chosen.push_back(j);
  }

  std::vector<LocalMaximum> maxima(chosen.size());
  watched_for(static_cast<Index>(chosen.size()), options.n_threads, monitor,
              [&](Index i, const auto& keep_going) {
                Polisher polisher(*this, target);
                const Index j = chosen[i];
                const Vector u = points.col(j).head(d_).cast<double>().normalized();
                const int sign = signs(j) > 0.0F ? 1 : -1;
                maxima[i] = options.n_polished > 0 ? polisher.polished(u, sign, keep_going)
                                                   : polisher.evaluated(u, sign);
              });
  for (LocalMaximum& maximum : maxima) {
    maximum.value *= target.unit / static_cast<double>(n_);
  }
  std::stable_sort(maxima.begin(), maxima.end(),
                   [](const LocalMaximum& a, const LocalMaximum& b) { return a.value > b.value; });
  std::vector<LocalMaximum> results;
  for (LocalMaximum& maximum : maxima) {
    if (static_cast<Index>(results.size()) == options.n_results) break;
    if (!(maximum.value > options.floor)) break;
    const bool seen = std::any_of(results.begin(), results.end(), [&](const LocalMaximum& other) {
      return other.sign == maximum.sign && other.direction.dot(maximum.direction) > kSameMaximum;
    });
    if (!seen) results.push_back(std::move(maximum));
  }
  return results;
}

}  // namespace pricing
}  // namespace convexrelu
