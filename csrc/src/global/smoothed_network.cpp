#include "global/smoothed_network.hpp"

namespace convexrelu {
inline namespace global {

SmoothedNetwork::Point SmoothedNetwork::at(Matrix W) const {
  Point p;
  p.slope.resize(problem_.X.rows(), W.cols());
  p.residual = problem_.y;
  problem_.for_rows(W.cols(), [&](Index first, Index count) {
    const Matrix Z = problem_.X.middleRows(first, count) * W;
    for (Index j = 0; j < W.cols(); ++j) {
      const auto z = Z.col(j).array();
      const Eigen::ArrayXd E =
          (widths_(j) * problem_.row_norms.segment(first, count).array()).max(kSmallestWidth);
      auto slope = p.slope.col(j).segment(first, count).array();
      slope = ((z + E) / (2.0 * E)).max(0.0).min(1.0);
      p.residual.segment(first, count).array() -= sign(j) * (slope.square() * E + (z - E).max(0.0));
    }
  });
  p.norm = W.colwise().norm().transpose();
  p.value = problem_.loss(p.residual) + problem_.lam * p.norm.sum();
  p.W = std::move(W);
  return p;
}

Matrix SmoothedNetwork::gradient(const Point& p) const {
  Matrix gradient = p.W * (problem_.lam * p.norm.cwiseInverse()).asDiagonal();
  problem_.for_rows(p.W.cols(), [&](Index first, Index count) {
    Matrix weighted = p.slope.middleRows(first, count);
    for (Index j = 0; j < p.W.cols(); ++j) {
      weighted.col(j).array() *= -sign(j) / problem_.n * p.residual.segment(first, count).array();
    }
    gradient.noalias() += problem_.X.middleRows(first, count).transpose() * weighted;
  });
  return gradient;
}

}  // namespace global
}  // namespace convexrelu
