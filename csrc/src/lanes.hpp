// Eight doubles at a time. With AVX-512 one register; elsewhere a plain array that compilers turn into
// the vector instructions there are.
#pragma once

#include <cstdint>

#include "bits.hpp"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace convexrelu {

#if defined(__AVX512F__)

struct Lanes {
  static constexpr int kSize = 8;
  using Mask = std::uint8_t;

  __m512d v;

  static Lanes load(const double* from) { return {_mm512_loadu_pd(from)}; }
  static Lanes all(double x) { return {_mm512_set1_pd(x)}; }
  static Lanes gather(const double* from, const int* index) {
    const __m256i i = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(index));
    return {_mm512_i32gather_pd(i, from, 8)};
  }
  void store(double* to) const { _mm512_storeu_pd(to, v); }

  // The lanes of the mask, moved together; zeros behind them.
  Lanes compress(Mask mask) const { return {_mm512_maskz_compress_pd(mask, v)}; }
  // The lanes of the mask, zeros elsewhere.
  Lanes select(Mask mask) const { return {_mm512_maskz_mov_pd(mask, v)}; }
  double sum() const { return _mm512_reduce_add_pd(v); }
  double max() const { return _mm512_reduce_max_pd(v); }

  friend Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_pd(a.v, b.v)}; }
  friend Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_pd(a.v, b.v)}; }
  friend Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_pd(a.v, b.v)}; }
  friend Lanes operator/(Lanes a, Lanes b) { return {_mm512_div_pd(a.v, b.v)}; }
  friend Mask operator>(Lanes a, Lanes b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_GT_OQ); }
  friend Lanes min(Lanes a, Lanes b) { return {_mm512_min_pd(a.v, b.v)}; }
  friend Lanes max(Lanes a, Lanes b) { return {_mm512_max_pd(a.v, b.v)}; }
  friend Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
};

#else

struct Lanes {
  static constexpr int kSize = 8;
  using Mask = std::uint8_t;

  double v[kSize];

  template <typename Of>
  static Lanes make(Of of) {
    Lanes lanes;
    for (int i = 0; i < kSize; ++i) lanes.v[i] = of(i);
    return lanes;
  }
  static Lanes load(const double* from) {
    return make([=](int i) { return from[i]; });
  }
  static Lanes all(double x) {
    return make([=](int) { return x; });
  }
  static Lanes gather(const double* from, const int* index) {
    return make([=](int i) { return from[index[i]]; });
  }
  void store(double* to) const {
    for (int i = 0; i < kSize; ++i) to[i] = v[i];
  }

  Lanes compress(Mask mask) const {
    Lanes packed = all(0.0);
    int n = 0;
    for (int i = 0; i < kSize; ++i) {
      packed.v[n & (kSize - 1)] = mask >> i & 1 ? v[i] : packed.v[n & (kSize - 1)];
      n += mask >> i & 1;
    }
    return packed;
  }
  Lanes select(Mask mask) const {
    return make([&](int i) { return mask >> i & 1 ? v[i] : 0.0; });
  }
  double sum() const { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }
  double max() const {
    double largest = v[0];
    for (int i = 1; i < kSize; ++i) largest = largest > v[i] ? largest : v[i];
    return largest;
  }

  friend Lanes operator+(const Lanes& a, const Lanes& b) {
    return make([&](int i) { return a.v[i] + b.v[i]; });
  }
  friend Lanes operator-(const Lanes& a, const Lanes& b) {
    return make([&](int i) { return a.v[i] - b.v[i]; });
  }
  friend Lanes operator*(const Lanes& a, const Lanes& b) {
    return make([&](int i) { return a.v[i] * b.v[i]; });
  }
  friend Lanes operator/(const Lanes& a, const Lanes& b) {
    return make([&](int i) { return a.v[i] / b.v[i]; });
  }
  friend Mask operator>(const Lanes& a, const Lanes& b) {
    unsigned mask = 0;
    for (int i = 0; i < kSize; ++i) mask |= unsigned{a.v[i] > b.v[i]} << i;
    return static_cast<Mask>(mask);
  }
  friend Lanes min(const Lanes& a, const Lanes& b) {
    return make([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  friend Lanes max(const Lanes& a, const Lanes& b) {
    return make([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }
  friend Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& c) {
    return make([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
  }
};

#endif

}  // namespace convexrelu
