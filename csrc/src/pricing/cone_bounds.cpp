#include "pricing/cone_bounds.hpp"

#include <algorithm>
#include <cmath>

namespace convexrelu {
inline namespace pricing {

void ConeBounds::find_conflicts(const ConeView& cone, const std::vector<int>& candidates,
                                ConeState& state) {
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
    cuts_[block] = cuts;
    n_conflicts_ += count_bits(cuts);
    min(depth, high).store(balance_.data() + block * Lanes::kSize);
    const int first = block * Lanes::kSize;
    const int n_here = std::min(Lanes::kSize, n_candidates_ - first);
    alignas(64) double w[Lanes::kSize] = {};
    for (unsigned mask = cuts; mask != 0; mask &= mask - 1) {
      const int lane = lowest_bit(mask);
      w[lane] = arrangement_.weights(candidates[first + lane]);
    }
    const unsigned fixed = ~unsigned{cuts} & ((1U << n_here) - 1);
    const unsigned neglected = (depth > zero) & (high > zero);
    for (unsigned mask = fixed & neglected; mask != 0; mask &= mask - 1) {
      const int at = first + lowest_bit(mask);
      neglect(state, candidates[at], balance_[at]);
    }
    for (unsigned mask = fixed & positive; mask != 0; mask &= mask - 1) {
      fix(state, candidates[first + lowest_bit(mask)], true);
    }
    const Lanes weight = Lanes::load(w), minus = zero - weight;
    max(weight, zero).store(convex_[0].data() + first);
    max(minus, zero).store(convex_[1].data() + first);
    for (int lane = 0; lane < Lanes::kSize; ++lane) w[lane] = positive >> lane & 1 ? w[lane] : 0.0;
    max(zero - Lanes::load(w), zero).store(linear_[0].data() + first);
    max(Lanes::load(w), zero).store(linear_[1].data() + first);
  }
}

void ConeBounds::load_rays(const ConeView& cone) {
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
      rays_[i * ray_stride_ + j] = x;
    }
    const double length = std::sqrt(squares);
    lengths_[j] = length;
    for (int i = 0; i < rank_; ++i) {
      rays_[i * ray_stride_ + j] /= length;
      roots_[i * ray_stride_ + j] = c[i] / length;
    }
  }
  find_delta(arrangement_.loads.data(), delta_.data());
}

void ConeBounds::find_delta(const double* scale, double* delta) const {
  std::fill_n(delta, n_rays_, 0.0);
  for (int i = 0; i < rank_; ++i) {
    const double* c = roots_.data() + i * ray_stride_;
    const double factor = kUnitRounding * scale[i];
    for (int j = 0; j < n_rays_; ++j) delta[j] += factor * std::abs(c[j]);
  }
}

void ConeBounds::find_majorant(const ConeView& cone, const ConeState& state, int sign) {
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
        fixed += state.c[c] * roots_[c * ray_stride_ + j + k];
      }
      majorant_[s][at] = (sign == 0 ? fixed : -fixed) + sum[k].sum() / lengths_[at];
    }
  }
}

double ConeBounds::solve(int sign, double neglected) {
  ShortestMajorant& solver = solvers_[sign];
  solver.solve(rays_.data(), ray_stride_, n_rays_, majorant_[sign].data(), delta_.data());
  std::array<double, kMaxPricedRank> scale;
  double noise = 0.0;
  for (int i = 0; i < rank_; ++i) {
    double pi = 0.0;
    for (int l = 0; l < rank_; ++l) {
      pi += std::abs(arrangement_.rays(l, i) * solver.point()[l]);
    }
    noise += (kUnitRounding * pi + neglected) * arrangement_.base_norms(i);
    scale[i] = arrangement_.loads(i) + pi;
  }
  find_delta(scale.data(), noise_.data());
  const double bound = solver.stretch(noise_.data()) * (solver.norm() + noise);
  return std::isnan(bound) ? kInfinity : bound;
}

double ConeBounds::evaluate_at_point(const ConeView& cone, const ConeState& state, int sign) {
  const std::size_t s = static_cast<std::size_t>(sign);
  const ShortestMajorant& solver = solvers_[s];
  std::vector<double>& point = at_point_[s];
  const int blocks = n_blocks(n_candidates_);
  std::fill_n(point.data(), blocks * Lanes::kSize, 0.0);
  for (std::size_t i = 0; i < solver.support().size(); ++i) {
    const int j = solver.support()[i];
    const Lanes weight = Lanes::all(solver.weights()[i] / lengths_[j]);
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
      value += solver.weights()[i] * state.c[c] * roots_[c * ray_stride_ + j];
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

bool ConeBounds::move_linear_parts(const ConeView& cone, int sign) {
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
    majorant_[s][j] -= sum / lengths_[j];
  }
  return true;
}

void ConeBounds::find_scores(const ConeView& cone, int sign) {
  const std::size_t s = static_cast<std::size_t>(sign);
  const ShortestMajorant& solver = solvers_[s];
  const int blocks = n_blocks(n_candidates_);
  std::fill_n(chord_.data(), blocks * Lanes::kSize, 0.0);
  double total = 0.0;
  const Lanes zero = Lanes::all(0.0);
  for (std::size_t i = 0; i < solver.support().size(); ++i) {
    const int j = solver.support()[i];
    const double a = solver.weights()[i] / lengths_[j];
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
    const auto at = [i](const std::vector<double>& array) { return Lanes::load(array.data() + i); };
    const Lanes y = at(at_point_[s]), on = max(y, zero);
    const Lanes convex = at(convex_[s]), concave = at(convex_[1 - s]);
    const Lanes excess = convex * (at(chord_) - on) + concave * on - at(linear_[s]) * y;
    multiply_add(evenness, (convex + concave) * at(balance_), excess).store(score_.data() + i);
  }
}

void ConeBounds::set_conflicts(Conflicts& conflicts) const {
  for (int block = 0; block < n_blocks(n_candidates_); ++block) {
    conflicts.set(block, cuts_[block], Lanes::load(score_.data() + block * Lanes::kSize));
  }
}

}  // namespace pricing
}  // namespace convexrelu
