#include "numeric/critical_cone.hpp"

#include <algorithm>
#include <cmath>

namespace convexrelu {
inline namespace numeric {

CriticalCone CriticalCones::find(const std::int8_t* sigma, ConstVectorRef c, ConstVectorRef q,
                                 const Face& face) const {
  const Vector slack = normals_.transpose() * q;
  const Vector tau = face.r().triangularView<Eigen::Upper>().solve(face.q().transpose() * (q - c));
  CriticalCone cone;
  for (Index l = 0; l < slack.size(); ++l) {
    if (std::abs(slack(l)) > kZero * q.norm()) continue;
    const auto place = std::find(face.rows().begin(), face.rows().end(), l);
    const bool positive = place != face.rows().end() &&
                          sigma[l] * tau(place - face.rows().begin()) > kZero * c.norm();
    if (sigma[l] == 0 || positive) {
      cone.held.push_back(l);
    } else {
      cone.loose.push_back(l);
      cone.sides.push_back(sigma[l]);
    }
  }
  settle(cone);
  return cone;
}

DirectionalDerivative CriticalCones::derivative(const CriticalCone& cone, ConstVectorRef dc) const {
  std::vector<Index> rows = cone.held;
  rows.insert(rows.end(), cone.loose.begin(), cone.loose.end());
  std::vector<std::int8_t> sides(cone.held.size(), 0);
  sides.insert(sides.end(), cone.sides.begin(), cone.sides.end());
  Matrix normals(normals_.rows(), static_cast<Index>(rows.size()));
  for (Index j = 0; j < normals.cols(); ++j) normals.col(j) = normals_.col(rows[j]);
  ConeProjector projector(normals);
  Face face;
  // Held rows first: the projection keeps them.
  std::vector<Index> first(cone.held.size());
  for (std::size_t j = 0; j < first.size(); ++j) first[j] = static_cast<Index>(j);
  projector.factor(first, face);
  const Projection& projection = projector.project(dc, sides.data(), face);
  DirectionalDerivative result{projection.q, {}};
  for (const Index j : face.rows()) {
    if (static_cast<std::size_t>(j) >= cone.held.size()) result.bound.push_back(rows[j]);
  }
  std::sort(result.bound.begin(), result.bound.end());
  return result;
}

CriticalCone CriticalCones::after(const CriticalCone& cone, ConstVectorRef dc) const {
  const DirectionalDerivative d = derivative(cone, dc);
  CriticalCone next;
  next.held = cone.held;
  for (std::size_t j = 0; j < cone.loose.size(); ++j) {
    const Index row = cone.loose[j];
    if (std::abs(normals_.col(row).dot(d.dq)) > kZero * dc.norm()) continue;
    if (std::binary_search(d.bound.begin(), d.bound.end(), row)) {
      next.held.push_back(row);
    } else {
      next.loose.push_back(row);
      next.sides.push_back(cone.sides[j]);
    }
  }
  std::sort(next.held.begin(), next.held.end());
  settle(next);
  return next;
}

void CriticalCones::settle(CriticalCone& cone) const {
  std::vector<std::size_t> candidates(cone.loose.size());
  for (std::size_t j = 0; j < candidates.size(); ++j) candidates[j] = j;
  while (!candidates.empty()) {
    Vector sum = Vector::Zero(normals_.rows());
    for (const std::size_t j : candidates) sum += cone.sides[j] * normals_.col(cone.loose[j]);
    const Vector u = derivative(cone, sum).dq;
    const auto positive = [&](std::size_t j) {
      return cone.sides[j] * normals_.col(cone.loose[j]).dot(u) > kZero * u.norm();
    };
    if (u.norm() <= kZero * static_cast<double>(candidates.size())) break;
    const auto end = std::remove_if(candidates.begin(), candidates.end(), positive);
    if (end == candidates.end()) break;
    candidates.erase(end, candidates.end());
  }
  for (auto j = candidates.rbegin(); j != candidates.rend(); ++j) {
    cone.held.push_back(cone.loose[*j]);
    cone.loose.erase(cone.loose.begin() + static_cast<std::ptrdiff_t>(*j));
    cone.sides.erase(cone.sides.begin() + static_cast<std::ptrdiff_t>(*j));
  }
  std::sort(cone.held.begin(), cone.held.end());
}

}  // namespace numeric
}  // namespace convexrelu
