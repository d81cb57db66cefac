#include "convexrelu/arrangement/double_description.hpp"

#include <algorithm>

#include "base/bits.hpp"

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace convexrelu {
inline namespace arrangement {

namespace {

using Word = ConeSplitter::Word;

constexpr int kSpare = 16;  // entries that vector instructions may write over the end

// Sets of facet slots. kWords = 0: n_words of them, known at run time only.
template <int kWords>
struct Slots {
  int n_words;

  int size() const { return kWords > 0 ? kWords : n_words; }

  const Word* of(const Word* incidence, int ray) const { return incidence + ray * size(); }

  int count(const Word* a) const {
    int total = 0;
    for (int w = 0; w < size(); ++w) total += count_bits(a[w]);
    return total;
  }

  // a & b is a subset of c
  bool common_is_in(const Word* a, const Word* b, const Word* c) const {
    Word missing = 0;
    for (int w = 0; w < size(); ++w) missing |= a[w] & b[w] & ~c[w];
    return missing == 0;
  }

  bool is_subset(const Word* a, const Word* b) const { return common_is_in(a, a, b); }
};

// Whether no third ray lies on all the hyperplanes that v_i and v_j share. Sets of different rays do
// not contain one another, but rounding can make two rays of nearly one direction look so; such a
// twin does not speak against an edge.
template <int kWords>
bool spans_edge(const Slots<kWords>& slots, const Word* incidence, int n_rays, int i, int j) {
  const Word* a = slots.of(incidence, i);
  const Word* b = slots.of(incidence, j);
  for (int k = 0; k < n_rays; ++k) {
    const Word* c = slots.of(incidence, k);
    if (!slots.common_is_in(a, b, c) || k == i || k == j) continue;
    if (!slots.is_subset(a, c) && !slots.is_subset(b, c)) return false;
  }
  return true;
}

}  // namespace

void ConeSplitter::split(const double* values, const Word* incidence, int n_words, int n_rays,
                         double tol) {
  const std::size_t room = static_cast<std::size_t>(n_rays + kSpare);
  if (positive_.size() < room) {
    for (std::vector<int>* rays : {&positive_, &on_, &negative_, &sharing_}) rays->resize(2 * room);
  }
  sort_rays(values, n_rays, tol);
  gather_negative(incidence, n_words);
  edges_.clear();
  if (n_words == 1) {
    find_edges<1>(values, incidence, n_words, n_rays);
  } else {
    find_edges<0>(values, incidence, n_words, n_rays);
  }
}

void ConeSplitter::sort_rays(const double* values, int n_rays, double tol) {
  int* positive = positive_.data();
  int* on = on_.data();
  int* negative = negative_.data();
  for (int j = 0; j < n_rays; ++j) {
    const bool is_positive = values[j] > tol, is_negative = values[j] < -tol;
    *positive = *on = *negative = j;
    positive += is_positive;
    negative += is_negative;
    on += !is_positive && !is_negative;
  }
  n_positive_ = static_cast<int>(positive - positive_.data());
  n_on_ = static_cast<int>(on - on_.data());
  n_negative_ = static_cast<int>(negative - negative_.data());
}

void ConeSplitter::gather_negative(const Word* incidence, int n_words) {
  const std::size_t size = static_cast<std::size_t>(n_negative_ * n_words + kSpare);
  if (negative_incidence_.size() < size) negative_incidence_.resize(2 * size);
  Word* out = negative_incidence_.data();
  for (int n = 0; n < n_negative_; ++n) {
    const Word* b = incidence + negative_[n] * n_words;
    for (int w = 0; w < n_words; ++w) *out++ = b[w];
  }
}

// Edges join rays that share r - 2 hyperplanes. That is enough when one of them is simple, on r - 1
// hyperplanes: any r - 2 of those meet in an edge.
template <int kWords>
void ConeSplitter::find_edges(const double* values, const Word* incidence, int n_words,
                              int n_rays) {
  const Slots<kWords> slots{n_words};
  for (int p = 0; p < n_positive_; ++p) {
    const int i = positive_[p];
    const Word* a = slots.of(incidence, i);
    const bool is_simple = slots.count(a) < rank_;
    const int n_sharing = kWords == 1 ? find_sharing(*a) : find_sharing(a, n_words);
    for (int n = 0; n < n_sharing; ++n) {
      const int j = sharing_[n];
      if (!is_simple && slots.count(slots.of(incidence, j)) >= rank_ &&
          !spans_edge(slots, incidence, n_rays, i, j)) {
        continue;
      }
      const double scale = 1.0 / (values[i] - values[j]);
      edges_.push_back({i, j, -values[j] * scale, values[i] * scale});
    }
  }
}

// The negative rays that share r - 2 hyperplanes with the set a, into sharing_.
int ConeSplitter::find_sharing(Word a) {
#if defined(__AVX512F__)
  int n_found = 0;
  for (int n = 0; n < n_negative_; n += 8) {
    const int left = n_negative_ - n;
    __mmask8 lanes = static_cast<__mmask8>(left >= 8 ? 0xff : (1 << left) - 1);
    __m512i common = _mm512_and_si512(_mm512_loadu_si512(negative_incidence_.data() + n),
                                      _mm512_set1_epi64(static_cast<long long>(a)));
    for (int k = 3; k < rank_; ++k) {  // less the lowest bit
      common = _mm512_and_si512(common, _mm512_add_epi64(common, _mm512_set1_epi64(-1)));
    }
    if (rank_ > 2) lanes = _mm512_mask_test_epi64_mask(lanes, common, common);
    const __m512i rays = _mm512_loadu_si512(negative_.data() + n);
    _mm512_storeu_si512(sharing_.data() + n_found, _mm512_maskz_compress_epi32(lanes, rays));
    n_found += count_bits(lanes);
  }
  return n_found;
#elif defined(__AVX2__)
  // Of each set of lanes, which come first.
  alignas(16) static constexpr int kOrder[16][4] = {
      {0, 0, 0, 0}, {0, 0, 0, 0}, {1, 0, 0, 0}, {0, 1, 0, 0}, {2, 0, 0, 0}, {0, 2, 0, 0},
      {1, 2, 0, 0}, {0, 1, 2, 0}, {3, 0, 0, 0}, {0, 3, 0, 0}, {1, 3, 0, 0}, {0, 1, 3, 0},
      {2, 3, 0, 0}, {0, 2, 3, 0}, {1, 2, 3, 0}, {0, 1, 2, 3}};
  const __m256i set = _mm256_set1_epi64x(static_cast<long long>(a));
  int n_found = 0;
  for (int n = 0; n < n_negative_; n += 4) {
    const int left = n_negative_ - n;
    unsigned lanes = left >= 4 ? 15U : (1U << left) - 1;
    __m256i common = _mm256_and_si256(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(negative_incidence_.data() + n)), set);
    for (int k = 3; k < rank_; ++k) {  // less the lowest bit
      common = _mm256_and_si256(common, _mm256_add_epi64(common, _mm256_set1_epi64x(-1)));
    }
    if (rank_ > 2) {
      const __m256i none = _mm256_cmpeq_epi64(common, _mm256_setzero_si256());
      lanes &= ~static_cast<unsigned>(_mm256_movemask_pd(_mm256_castsi256_pd(none)));
    }
    const __m128 rays = _mm_loadu_ps(reinterpret_cast<const float*>(negative_.data() + n));
    const __m128i order = _mm_load_si128(reinterpret_cast<const __m128i*>(kOrder[lanes]));
    _mm_storeu_ps(reinterpret_cast<float*>(sharing_.data() + n_found),
                  _mm_permutevar_ps(rays, order));
    n_found += count_bits(lanes);
  }
  return n_found;
#else
  return find_sharing(&a, 1);
#endif
}

int ConeSplitter::find_sharing(const Word* a, int n_words) {
  int n_found = 0;
  for (int n = 0; n < n_negative_; ++n) {
    const Word* b = negative_incidence_.data() + n * n_words;
    int n_common = 0;
    for (int w = 0; w < n_words; ++w) n_common += count_bits(a[w] & b[w]);
    sharing_[n_found] = negative_[n];
    n_found += n_common >= rank_ - 2;
  }
  return n_found;
}

void ConeSplitter::transfer_incidence(const Word* incidence, int n_words, int slot, Word* out,
                                      int n_out_words) const {
  const auto put = [&](int i, int j) {
    for (int w = 0; w < n_words; ++w)
      out[w] = incidence[i * n_words + w] & incidence[j * n_words + w];
    for (int w = n_words; w < n_out_words; ++w) out[w] = 0;
    out += n_out_words;
  };
  Word* const begin = out;
  for_each_ray([&](int j) { put(j, j); }, [&](const Edge& e) { put(e.positive, e.negative); });
  const Word bit = Word{1} << (slot % kWordBits);
  for (int j = n_positive_; j < size() - n_negative_; ++j) {
    begin[j * n_out_words + slot / kWordBits] |= bit;
  }
}

}  // namespace arrangement
}  // namespace convexrelu
