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

#include <vector>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace numeric {

class ShortestMajorant {
 public:
  explicit ShortestMajorant(int rank);

  // rays: coordinate c of ray j at rays[c * stride + j]. f, delta (n_rays). Entries [n_rays, stride) are
  // ignored. O(n_rays r) a step, some r steps.
  void solve(const double* rays, int stride, int n_rays, const double* f, const double* delta);

  // The least s >= 1 with s p.v_j >= f_j - delta_j for all j, where rounding or the limit of steps left p
  // short of it; infinity where there is none, or anything is NaN.
  double stretch(const double* delta);

  double norm() const;
  const std::vector<double>& point() const { return p_; }
  // p = sum_i weights()[i] v_{support()[i]}, weights > 0.
  const std::vector<int>& support() const { return active_; }
  const std::vector<double>& weights() const { return weights_; }

 private:
  static constexpr double kDependent = 1e-11;

  int size() const { return static_cast<int>(active_.size()); }
  double ray(int j, int c) const { return rays_[c * stride_ + j]; }
  double* column(int i) { return q_.data() + i * rank_; }
  double& r(int i, int j) { return r_[j * rank_ + i]; }

  // values_: p.v_j
  void evaluate();

  // -1 where no ray is violated.
  int find_most_violated(const double* delta);

  // False if rounding leaves nothing to do.
  bool enter(int j);

  // v_j = sum_i step_i v_i + rest over the active rays i; the length of the rest.
  double split(int j);

  void append(int j, double weight, double length);

  // Rotations make R triangular again.
  void remove(int position);

  static void rotate(double cosine, double sine, double& x, double& y);

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
