// Eight doubles at a time. With AVX-512 one register, with AVX2 two; elsewhere a plain array that compilers
// turn into the vector instructions there are.
#pragma once

#include <cstdint>

#include "base/bits.hpp"

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#endif

namespace convexrelu {
inline namespace arrangement {

#if defined(__AVX512F__)

struct Lanes {
  static constexpr int kSize = 8;
  using Mask = std::uint8_t;

  __m512d v;

  static Lanes load(const double* from) { return {_mm512_loadu_pd(from)}; }
  static Lanes all(double x) { return {_mm512_set1_pd(x)}; }
  void store(double* to) const { _mm512_storeu_pd(to, v); }

  double sum() const { return _mm512_reduce_add_pd(v); }

  friend Lanes operator+(Lanes a, Lanes b) { return {_mm512_add_pd(a.v, b.v)}; }
  friend Lanes operator-(Lanes a, Lanes b) { return {_mm512_sub_pd(a.v, b.v)}; }
  friend Lanes operator*(Lanes a, Lanes b) { return {_mm512_mul_pd(a.v, b.v)}; }
  friend Mask operator>(Lanes a, Lanes b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_GT_OQ); }
  friend Lanes min(Lanes a, Lanes b) { return {_mm512_min_pd(a.v, b.v)}; }
  friend Lanes max(Lanes a, Lanes b) { return {_mm512_max_pd(a.v, b.v)}; }
  friend Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
};

// Puts the lanes of a mask side by side.
class LanePacking {
 public:
  explicit LanePacking(Lanes::Mask mask) : mask_(mask) {}

  int size() const { return count_bits(mask_); }

  // Anything behind them, up to kSize in all; or zeros.
  void store(Lanes lanes, double* to) const { store_with_zeros(lanes, to); }
  void store_with_zeros(Lanes lanes, double* to) const {
    _mm512_storeu_pd(to, _mm512_maskz_compress_pd(mask_, lanes.v));
  }

 private:
  Lanes::Mask mask_;
};

#elif defined(__AVX2__) && defined(__FMA__)

struct Lanes {
  static constexpr int kSize = 8;
  using Mask = std::uint8_t;

  __m256d low, high;

  static Lanes load(const double* from) {
    return {_mm256_loadu_pd(from), _mm256_loadu_pd(from + 4)};
  }
  static Lanes all(double x) { return {_mm256_set1_pd(x), _mm256_set1_pd(x)}; }
  void store(double* to) const {
    _mm256_storeu_pd(to, low);
    _mm256_storeu_pd(to + 4, high);
  }

  double sum() const {
    const __m256d four = _mm256_add_pd(low, high);  // 04 15 26 37
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
  }

  friend Lanes operator+(Lanes a, Lanes b) {
    return {_mm256_add_pd(a.low, b.low), _mm256_add_pd(a.high, b.high)};
  }
  friend Lanes operator-(Lanes a, Lanes b) {
    return {_mm256_sub_pd(a.low, b.low), _mm256_sub_pd(a.high, b.high)};
  }
  friend Lanes operator*(Lanes a, Lanes b) {
    return {_mm256_mul_pd(a.low, b.low), _mm256_mul_pd(a.high, b.high)};
  }
  friend Mask operator>(Lanes a, Lanes b) {
    const int low = _mm256_movemask_pd(_mm256_cmp_pd(a.low, b.low, _CMP_GT_OQ));
    const int high = _mm256_movemask_pd(_mm256_cmp_pd(a.high, b.high, _CMP_GT_OQ));
    return static_cast<Mask>(low | high << 4);
  }
  friend Lanes min(Lanes a, Lanes b) {
    return {_mm256_min_pd(a.low, b.low), _mm256_min_pd(a.high, b.high)};
  }
  friend Lanes max(Lanes a, Lanes b) {
    return {_mm256_max_pd(a.low, b.low), _mm256_max_pd(a.high, b.high)};
  }
  friend Lanes multiply_add(Lanes a, Lanes b, Lanes c) {
    return {_mm256_fmadd_pd(a.low, b.low, c.low), _mm256_fmadd_pd(a.high, b.high, c.high)};
  }
};

class LanePacking {
 public:
  explicit LanePacking(Lanes::Mask mask)
      : low_(order_of(mask & 15U)),
        high_(order_of(mask >> 4U)),
        keep_(_mm256_cmpgt_epi64(_mm256_set1_epi64x(count_bits(mask >> 4U)),
                                 _mm256_setr_epi64x(0, 1, 2, 3))),
        n_low_(count_bits(mask & 15U)),
        size_(count_bits(mask)) {}

  int size() const { return size_; }

  void store(Lanes lanes, double* to) const {
    _mm256_storeu_pd(to, pack(lanes.low, low_));
    _mm256_storeu_pd(to + n_low_, pack(lanes.high, high_));
  }
  void store_with_zeros(Lanes lanes, double* to) const {
    _mm256_storeu_pd(to + 4, _mm256_setzero_pd());
    _mm256_storeu_pd(to, pack(lanes.low, low_));
    _mm256_storeu_pd(to + n_low_,
                     _mm256_and_pd(pack(lanes.high, high_), _mm256_castsi256_pd(keep_)));
  }

 private:
  // Of four lanes, which 32-bit halves of them come first.
  static __m256i order_of(unsigned mask) {
    alignas(32) static constexpr std::int32_t kOrder[16][8] = {
        {0, 1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3, 4, 5, 6, 7}, {2, 3, 0, 1, 4, 5, 6, 7},
        {0, 1, 2, 3, 4, 5, 6, 7}, {4, 5, 0, 1, 2, 3, 6, 7}, {0, 1, 4, 5, 2, 3, 6, 7},
        {2, 3, 4, 5, 0, 1, 6, 7}, {0, 1, 2, 3, 4, 5, 6, 7}, {6, 7, 0, 1, 2, 3, 4, 5},
        {0, 1, 6, 7, 2, 3, 4, 5}, {2, 3, 6, 7, 0, 1, 4, 5}, {0, 1, 2, 3, 6, 7, 4, 5},
        {4, 5, 6, 7, 0, 1, 2, 3}, {0, 1, 4, 5, 6, 7, 2, 3}, {2, 3, 4, 5, 6, 7, 0, 1},
        {0, 1, 2, 3, 4, 5, 6, 7}};
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(kOrder[mask]));
  }
  static __m256d pack(__m256d four, __m256i order) {
    return _mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(four), order));
  }

  __m256i low_, high_, keep_;
  int n_low_, size_;
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
  void store(double* to) const {
    for (int i = 0; i < kSize; ++i) to[i] = v[i];
  }

  double sum() const { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

  friend Lanes operator+(const Lanes& a, const Lanes& b) {
    return make([&](int i) { return a.v[i] + b.v[i]; });
  }
  friend Lanes operator-(const Lanes& a, const Lanes& b) {
    return make([&](int i) { return a.v[i] - b.v[i]; });
  }
  friend Lanes operator*(const Lanes& a, const Lanes& b) {
    return make([&](int i) { return a.v[i] * b.v[i]; });
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

class LanePacking {
 public:
  explicit LanePacking(Lanes::Mask mask) : mask_(mask) {}

  int size() const { return count_bits(mask_); }

  void store(const Lanes& lanes, double* to) const {
    for (int i = 0; i < Lanes::kSize; ++i) {
      *to = lanes.v[i];
      to += mask_ >> i & 1;
    }
  }
  void store_with_zeros(const Lanes& lanes, double* to) const {
    store(lanes, to);
    for (int i = size(); i < Lanes::kSize; ++i) to[i] = 0.0;
  }

 private:
  Lanes::Mask mask_;
};

#endif

}  // namespace arrangement
}  // namespace convexrelu
