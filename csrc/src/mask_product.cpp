#include "convexrelu/mask_product.hpp"

#include <algorithm>
#include <string>

#include "convexrelu/error.hpp"
#include "convexrelu/parallel.hpp"

namespace convexrelu {

namespace {

constexpr Index kPatternsPerChunk = 64;
constexpr Index kSamplesPerChunk = 256;

Index n_chunks(Index size, Index chunk) { return (size + chunk - 1) / chunk; }

void correlate_chunk(const Matrix& X, const BitMatrix& masks, ConstMatrixRef R,
                     const Index* patterns, Index first, Index count, MatrixRef C) {
  const Index n = X.rows();
  const Index d = X.cols();
  Matrix masked(n, count);
  for (Index a = 0; a < R.cols(); ++a) {
    for (Index j = 0; j < count; ++j) {
      const Index i = patterns ? patterns[first + j] : first + j;
      for (Index k = 0; k < n; ++k) masked(k, j) = masks.test(k, i) ? R(k, a) : 0.0;
    }
    C.block(a * d, first, d, count).noalias() = X.transpose() * masked;
  }
}

}  // namespace

MaskProduct::MaskProduct(const Matrix& X, const BitMatrix& masks) : X_(&X), masks_(&masks) {
  if (X.rows() != masks.n_rows()) {
    throw_invalid("masks has " + std::to_string(masks.n_rows()) + " rows, X has " +
                  std::to_string(X.rows()));
  }
}

void MaskProduct::correlate(ConstMatrixRef R, MatrixRef C, int n_threads) const {
  const Index P = n_patterns();
  parallel_for(n_chunks(P, kPatternsPerChunk), n_threads, [&](Index chunk) {
    const Index first = chunk * kPatternsPerChunk;
    correlate_chunk(*X_, *masks_, R, nullptr, first, std::min(kPatternsPerChunk, P - first), C);
  });
}

void MaskProduct::correlate(ConstMatrixRef R, const std::vector<Index>& patterns, MatrixRef C,
                            int n_threads) const {
  const Index P = static_cast<Index>(patterns.size());
  parallel_for(n_chunks(P, kPatternsPerChunk), n_threads, [&](Index chunk) {
    const Index first = chunk * kPatternsPerChunk;
    correlate_chunk(*X_, *masks_, R, patterns.data(), first, std::min(kPatternsPerChunk, P - first),
                    C);
  });
}

double MaskProduct::correlation_norms(ConstVectorRef r, VectorRef norms, int n_threads) const {
  const Index P = n_patterns();
  parallel_for(n_chunks(P, kPatternsPerChunk), n_threads, [&](Index chunk) {
    const Index first = chunk * kPatternsPerChunk;
    const Index count = std::min(kPatternsPerChunk, P - first);
    Matrix C(n_features(), P);
    correlate_chunk(*X_, *masks_, r, nullptr, first, count, C);
    norms.segment(first, count) = C.middleCols(first, count).colwise().norm().transpose();
  });
  const double roundings = static_cast<double>(n_samples() + n_features() + 2);
  return roundings * kEpsilon * (X_->cwiseAbs().transpose() * r.cwiseAbs()).norm();
}

void MaskProduct::forward(const std::vector<Index>& patterns, ConstMatrixRef U, VectorRef f,
                          int n_threads) const {
  const Index n = n_samples();
  parallel_for(n_chunks(n, kSamplesPerChunk), n_threads, [&](Index chunk) {
    const Index first = chunk * kSamplesPerChunk;
    const Index count = std::min(kSamplesPerChunk, n - first);
    const Matrix products = X_->middleRows(first, count) * U;
    f.segment(first, count).setZero();
    for (Index j = 0; j < U.cols(); ++j) {
      const Index i = patterns[static_cast<std::size_t>(j)];
      for (Index k = 0; k < count; ++k) {
        if (masks_->test(first + k, i)) f[first + k] += products(k, j);
      }
    }
  });
}

}  // namespace convexrelu
