#include "numeric/shortest_majorant.hpp"

#include <algorithm>
#include <cmath>

namespace convexrelu {
inline namespace numeric {

ShortestMajorant::ShortestMajorant(int rank)
    : rank_(rank),
      p_(static_cast<std::size_t>(rank)),
      q_(static_cast<std::size_t>(rank * rank)),
      r_(static_cast<std::size_t>(rank * rank)),
      coordinates_(static_cast<std::size_t>(rank)),
      step_(static_cast<std::size_t>(rank)),
      rest_(static_cast<std::size_t>(rank)) {}

void ShortestMajorant::solve(const double* rays, int stride, int n_rays, const double* f,
                             const double* delta) {
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

double ShortestMajorant::stretch(const double* delta) {
  evaluate();
  double s = 1.0;
  for (int j = 0; j < n_rays_; ++j) {
    const double value = values_[j], wanted = f_[j] - delta[j];
    if (wanted <= value) continue;
    if (!(value > 0.0) || !(wanted / value < kInfinity)) return kInfinity;
    s = std::max(s, wanted / value);
  }
  // Stretching lowers p where it is negative.
  for (int j = 0; j < n_rays_ && s > 1.0; ++j) {
    const double value = values_[j];
    if (value < 0.0 && !(f_[j] - delta[j] <= s * value)) return kInfinity;
  }
  return s;
}

double ShortestMajorant::norm() const {
  double squares = 0.0;
  for (const double x : p_) squares += x * x;
  return std::sqrt(squares);
}

void ShortestMajorant::evaluate() {
  std::fill_n(values_.data(), n_rays_, 0.0);
  for (int c = 0; c < rank_; ++c) {
    const double* along = rays_ + c * stride_;
    const double x = p_[c];
    for (int j = 0; j < n_rays_; ++j) values_[j] += x * along[j];
  }
}

int ShortestMajorant::find_most_violated(const double* delta) {
  evaluate();
  int worst = -1;
  double largest = 0.0;
  for (int j = 0; j < n_rays_; ++j) {
    const double violation = f_[j] - values_[j] - delta[j];
    if (violation > largest) {
      largest = violation;
      worst = j;
    }
  }
  return worst;
}

bool ShortestMajorant::enter(int j) {
  double weight = 0.0;
  for (int round = 0; round < 2 * rank_ + 2; ++round) {
    const double length = split(j);
    double gap = f_[j];
    for (int c = 0; c < rank_; ++c) gap -= p_[c] * ray(j, c);
    const bool is_independent = size() < rank_ && length > kDependent;
    double t = is_independent ? gap / (length * length) : kInfinity;
    int blocking = -1;
    for (int i = 0; i < size(); ++i) {
      const double direction = step_[i];
      if (direction <= 0.0) continue;
      const double limit = weights_[i] / direction;
      if (limit < t) {
        t = limit;
        blocking = i;
      }
    }
    if (t == kInfinity) return false;
    for (int i = 0; i < size(); ++i) {
      weights_[i] -= t * step_[i];
    }
    weight += t;
    if (is_independent) {
      for (int c = 0; c < rank_; ++c) {
        p_[c] += t * rest_[c];
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

double ShortestMajorant::split(int j) {
  const int k = size();
  for (int c = 0; c < rank_; ++c) rest_[c] = ray(j, c);
  std::fill(coordinates_.begin(), coordinates_.end(), 0.0);
  for (int pass = 0; pass < 2; ++pass) {
    for (int i = 0; i < k; ++i) {
      const double* q = column(i);
      double dot = 0.0;
      for (int c = 0; c < rank_; ++c) dot += q[c] * rest_[c];
      for (int c = 0; c < rank_; ++c) rest_[c] -= dot * q[c];
      coordinates_[i] += dot;
    }
  }
  for (int i = k - 1; i >= 0; --i) {
    double x = coordinates_[i];
    for (int l = i + 1; l < k; ++l) x -= r(i, l) * step_[l];
    step_[i] = x / r(i, i);
  }
  double squares = 0.0;
  for (const double x : rest_) squares += x * x;
  return std::sqrt(squares);
}

void ShortestMajorant::append(int j, double weight, double length) {
  const int k = size();
  for (int c = 0; c < rank_; ++c) column(k)[c] = rest_[c] / length;
  for (int i = 0; i < k; ++i) r(i, k) = coordinates_[i];
  r(k, k) = length;
  active_.push_back(j);
  weights_.push_back(weight);
}

void ShortestMajorant::remove(int position) {
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

void ShortestMajorant::rotate(double cosine, double sine, double& x, double& y) {
  const double a = cosine * x + sine * y, b = cosine * y - sine * x;
  x = a;
  y = b;
}

}  // namespace numeric
}  // namespace convexrelu
