// The shortest linear function that is at least f on a cone.
//
//   v_j (r)   rays of a pointed cone, unit length      f_j    what is asked for at ray j
//   p (r)     shortest vector with p.v_j >= f_j for all j
//
// ||p|| is the maximum, over the unit vectors u = sum a_j v_j, a >= 0, of sum a_j f_j (or 0 where that is
// negative), attained at u = p / ||p||: p = sum a_j v_j over the rays where p.v_j = f_j. The dual active-set
// method of Goldfarb & Idnani (1983), from p = 0: the ray that is most violated enters, those whose
// weight a_j would become negative leave. ||p|| grows from below.
//
// What may be missing is said for each ray, delta_j >= 0: rays can be nearly opposite, so that u is a large
// combination of them, and a tolerance relative to the largest ray would say nothing of u. With
// p.v_j >= f_j - delta_j the maximum is at most ||p|| + the largest sum a_j delta_j of such a u.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

class ShortestMajorant {
 public:
  explicit ShortestMajorant(int rank)
      : rank_(rank),
        p_(static_cast<std::size_t>(rank)),
        q_(static_cast<std::size_t>(rank * rank)),
        r_(static_cast<std::size_t>(rank * rank)),
        coordinates_(static_cast<std::size_t>(rank)),
        step_(static_cast<std::size_t>(rank)),
        rest_(static_cast<std::size_t>(rank)) {}

  // rays: coordinate c of ray j at rays[c * stride + j]. f, delta (n_rays). Entries [n_rays, stride) are
  // ignored. O(n_rays r) a step, some r steps.
  void solve(const double* rays, int stride, int n_rays, const double* f, const double* delta) {
    rays_ = rays;
    stride_ = stride;
    n_rays_ = n_rays;
    f_ = f;
    active_.clear();
    weights_.clear();
    std::fill(p_.begin(), p_.end(), 0.0);
    if (static_cast<int>(values_.size()) < stride) values_.resize(static_cast<std::size_t>(stride));
    const int max_steps = 50 + 10 * rank_;
    for (int step = 0; step < max_steps; ++step) {
      const int worst = find_most_violated(delta);
      if (worst < 0 || !enter(worst)) break;
    }
  }

  // The least s >= 1 with s p.v_j >= f_j - delta_j for all j, where rounding or the limit of steps left p
  // short of it; infinity where there is none, or anything is NaN.
  double stretch(const double* delta) {
    evaluate();
    double s = 1.0;
    for (int j = 0; j < n_rays_; ++j) {
      const double value = values_[static_cast<std::size_t>(j)], wanted = f_[j] - delta[j];
      if (wanted <= value) continue;
      if (!(value > 0.0) || !(wanted / value < kInfinity)) return kInfinity;
      s = std::max(s, wanted / value);
    }
    // Stretching lowers p where it is negative.
    for (int j = 0; j < n_rays_ && s > 1.0; ++j) {
      const double value = values_[static_cast<std::size_t>(j)];
      if (value < 0.0 && !(f_[j] - delta[j] <= s * value)) return kInfinity;
    }
    return s;
  }

  double norm() const {
    double squares = 0.0;
    for (const double x : p_) squares += x * x;
    return std::sqrt(squares);
  }
  const std::vector<double>& point() const { return p_; }
  // p = sum_i weights()[i] v_{support()[i]}, weights > 0.
  const std::vector<int>& support() const { return active_; }
  const std::vector<double>& weights() const { return weights_; }

 private:
  static constexpr double kDependent = 1e-11;

  int size() const { return static_cast<int>(active_.size()); }
  double ray(int j, int c) const { return rays_[c * stride_ + j]; }
  double* column(int i) { return q_.data() + i * rank_; }
  double& r(int i, int j) { return r_[static_cast<std::size_t>(j * rank_ + i)]; }

  // values_: p.v_j
  void evaluate() {
    std::fill_n(values_.data(), n_rays_, 0.0);
    for (int c = 0; c < rank_; ++c) {
      const double* along = rays_ + c * stride_;
      const double x = p_[static_cast<std::size_t>(c)];
      for (int j = 0; j < n_rays_; ++j) values_[static_cast<std::size_t>(j)] += x * along[j];
    }
  }

  // -1 where no ray is violated.
  int find_most_violated(const double* delta) {
    evaluate();
    int worst = -1;
    double largest = 0.0;
    for (int j = 0; j < n_rays_; ++j) {
      const double violation = f_[j] - values_[static_cast<std::size_t>(j)] - delta[j];
      if (violation > largest) {
        largest = violation;
        worst = j;
      }
    }
    return worst;
  }

  // False if rounding leaves nothing to do.
  bool enter(int j) {
    double weight = 0.0;
    for (int round = 0; round < 2 * rank_ + 2; ++round) {
      const double length = split(j);
      double gap = f_[j];
      for (int c = 0; c < rank_; ++c) gap -= p_[static_cast<std::size_t>(c)] * ray(j, c);
      const bool is_independent = size() < rank_ && length > kDependent;
      double t = is_independent ? gap / (length * length) : kInfinity;
      int blocking = -1;
      for (int i = 0; i < size(); ++i) {
        const double direction = step_[static_cast<std::size_t>(i)];
        if (direction <= 0.0) continue;
        const double limit = weights_[static_cast<std::size_t>(i)] / direction;
        if (limit < t) {
          t = limit;
          blocking = i;
        }
      }
      if (t == kInfinity) return false;
      for (int i = 0; i < size(); ++i) {
        weights_[static_cast<std::size_t>(i)] -= t * step_[static_cast<std::size_t>(i)];
      }
      weight += t;
      if (is_independent) {
        for (int c = 0; c < rank_; ++c) {
          p_[static_cast<std::size_t>(c)] += t * rest_[static_cast<std::size_t>(c)];
        }
      }
      if (blocking < 0) {
        append(j, weight, length);
        return true;
      }
      remove(blocking);
    }
    return false;
  }

  // v_j = sum_i step_i v_i + rest over the active rays i; the length of the rest.
  double split(int j) {
    const int k = size();
    for (int c = 0; c < rank_; ++c) rest_[static_cast<std::size_t>(c)] = ray(j, c);
    std::fill(coordinates_.begin(), coordinates_.end(), 0.0);
    for (int pass = 0; pass < 2; ++pass) {
      for (int i = 0; i < k; ++i) {
        const double* q = column(i);
        double dot = 0.0;
        for (int c = 0; c < rank_; ++c) dot += q[c] * rest_[static_cast<std::size_t>(c)];
        for (int c = 0; c < rank_; ++c) rest_[static_cast<std::size_t>(c)] -= dot * q[c];
        coordinates_[static_cast<std::size_t>(i)] += dot;
      }
    }
    for (int i = k - 1; i >= 0; --i) {
      double x = coordinates_[static_cast<std::size_t>(i)];
      for (int l = i + 1; l < k; ++l) x -= r(i, l) * step_[static_cast<std::size_t>(l)];
      step_[static_cast<std::size_t>(i)] = x / r(i, i);
    }
    double squares = 0.0;
    for (const double x : rest_) squares += x * x;
    return std::sqrt(squares);
  }

  void append(int j, double weight, double length) {
    const int k = size();
    for (int c = 0; c < rank_; ++c) column(k)[c] = rest_[static_cast<std::size_t>(c)] / length;
    for (int i = 0; i < k; ++i) r(i, k) = coordinates_[static_cast<std::size_t>(i)];
    r(k, k) = length;
    active_.push_back(j);
    weights_.push_back(weight);
  }

  // Rotations make R triangular again.
  void remove(int position) {
    const int k = size();
    active_.erase(active_.begin() + position);
    weights_.erase(weights_.begin() + position);
    for (int j = position + 1; j < k; ++j) {
      for (int i = 0; i <= j; ++i) r(i, j - 1) = r(i, j);
    }
    for (int i = position; i + 1 < k; ++i) {
      const double length = std::hypot(r(i, i), r(i + 1, i));
      const double cosine = r(i, i) / length, sine = r(i + 1, i) / length;
      for (int j = i; j + 1 < k; ++j) rotate(cosine, sine, r(i, j), r(i + 1, j));
      for (int c = 0; c < rank_; ++c) rotate(cosine, sine, column(i)[c], column(i + 1)[c]);
    }
  }

  static void rotate(double cosine, double sine, double& x, double& y) {
    const double a = cosine * x + sine * y, b = cosine * y - sine * x;
    x = a;
    y = b;
  }

  const int rank_;
  const double* rays_ = nullptr;
  int stride_ = 0, n_rays_ = 0;
  const double* f_ = nullptr;
  std::vector<double> p_, values_;
  std::vector<int> active_;
  std::vector<double> weights_;
  std::vector<double> q_, r_;                      // V = QR of the active rays, by columns
  std::vector<double> coordinates_, step_, rest_;  // of the entering ray
};

}  // namespace numeric
}  // namespace convexrelu
