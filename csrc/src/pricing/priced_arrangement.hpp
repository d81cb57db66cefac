#pragma once

#include <algorithm>
#include <array>
#include <cmath>

#include "arrangement/arrangement.hpp"
#include "convexrelu/base/monitor.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace pricing {

constexpr int kMaxPricedRank = 20;
// What is added to bounds (docs/theory/pricing/pricing.md): kRelativeSlack of the bound; kUnitRounding for each unit
// in which values at rays and majorants are known, four hundred roundings; kAbsoluteSlack of those at
// all rows.
constexpr double kRelativeSlack = 1e-9, kUnitRounding = 1e-13, kAbsoluteSlack = 1e-12;

// X and r divided by powers of two, r also by n, so that F(u) = r'(Xu)_+ 2^exponent.
struct ScaledData {
  Matrix X;
  Vector r;
  int exponent;
  double total;  // sum_k |r_k| ||x_k||

  ScaledData(ConstMatrixRef X_in, ConstVectorRef r_in, Monitor& monitor);

  double to_caller(double value) const { return std::ldexp(value, exponent); }
  // Cut off far above and below what F can be.
  double from_caller(double value) const { return std::min(std::ldexp(value, -exponent), 1e300); }

  double evaluate(const Vector& u) const { return r.dot((X * u).cwiseMax(0.0)); }
};

// |F| <= the sum of |r_k| ||x_k|| over rows of one sign, for F and -F.
std::array<double, 2> crude_bounds(const ScaledData& data);

// F(u) = r'Xu / 2 + sum r_k |x_k.u| / 2.
std::array<double, 2> global_bounds(const ScaledData& data, Monitor& monitor);

// The largest |F| found so far, of all threads together or of one.
struct Incumbent {
  double value = 0.0;
  Vector direction;
};

// The arrangement and F on it, up to rank kMaxPricedRank. Points are known by their root coordinates c (rho),
// those along the root rays: u = basis rays c. The rays of a root cone and all that come of them have
// coordinates of the signs of that cone: neither they nor values of rows suffer from cancellation.
//   value_l(u) = V_l.c, V_l = roots.values column l;  F(u) = sum_l w_l (V_l.c)_+ + constant.c
struct PricedArrangement {
  const ScaledData& data;
  Arrangement cells;  // its roots.rays are the identity: points of the walk are root coordinates
  Matrix basis;       // (d, rho) orthonormal
  Matrix rays;        // (rho, rho) the root rays by columns, in this basis
  Vector base_norms;  // (rho) ||b_i||, b_i the dual basis of the rays: c_i = b_i.u
  Vector weights;     // w (h)
  Vector constant;    // (rho)
  Vector loads;       // t (rho) = sum_k |r_k| |x_k.ray_i|
  double model_error = 0.0;  // bounds the difference of F and what it is here, on the unit ball

  PricedArrangement(const ScaledData& scaled, Monitor& monitor);

  int rank() const { return cells.rank(); }

  // Rounding of values, coordinates and F on the unit ball: |b_i.u| <= ||b_i|| there.
  double slack() const { return kAbsoluteSlack * loads.dot(base_norms) + model_error; }

  // Points of the walk as vectors in R^d, up to one common factor.
  Matrix expand(const Matrix& points, Index d) const;
};

}  // namespace pricing
}  // namespace convexrelu
