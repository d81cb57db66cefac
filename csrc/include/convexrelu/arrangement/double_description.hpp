// How a hyperplane splits a cone that is given by its extreme rays (the double description method:
// Motzkin, Raiffa, Thompson & Thrall 1953; Fukuda & Prodon 1996).
//
//   K          pointed, full-dimensional cone in R^r, an intersection of half spaces
//   v_1..v_q   its extreme rays, one representative each
//   incidence  (q x W words) bit s of ray j: v_j lies on the boundary of half space s, for all half
//              spaces that bound K; redundant ones do no harm
//   a.v_j      values of a new hyperplane, both signs among them: above tol the ray is on its
//              positive side, below -tol on the negative one, in between on the hyperplane
//
// The two children share the rays on the hyperplane: those of K, and one on every edge of K that joins a
// positive with a negative ray. Two rays span an edge iff no third ray lies on all the
// hyperplanes that both lie on, which needs no general position.
//
// A new ray is a convex combination of its two parents. So rays that start as the corners of a
// simplex stay in it, a linear functional is known at a new ray from its values at the parents, and
// rounding errors add up along a path of splits but are never amplified.
#pragma once

#include <cstdint>
#include <vector>

#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace arrangement {

class ConeSplitter {
 public:
  using Word = std::uint64_t;
  static constexpr int kWordBits = 64;

  // An edge between a positive and a negative ray meets the hyperplane in
  // positive_weight v_positive + negative_weight v_negative, weights that add up to 1.
  struct Edge {
    int positive, negative;
    double positive_weight, negative_weight;
  };

  explicit ConeSplitter(int rank) : rank_(rank) {}

  // O(q + n_positive n_negative W), and q W for every pair that shares r - 2 hyperplanes and has
  // more than r - 1 each. Allocates only what earlier splits did not need.
  void split(const double* values, const Word* incidence, int n_words, int n_rays, double tol);

  // The rays of the children: positive | on | edges | negative. The positive child has the first
  // three groups, the negative one the last three.
  int n_positive() const { return n_positive_; }
  int n_on() const { return n_on_; }
  int n_edges() const { return static_cast<int>(edges_.size()); }
  int n_negative() const { return n_negative_; }
  int size() const { return n_positive_ + n_on_ + n_edges() + n_negative_; }

  // Calls keep(j) for each ray of K and cut(edge) for each new one, in this order.
  template <typename Keep, typename Cut>
  void for_each_ray(const Keep& keep, const Cut& cut) const {
    for (int i = 0; i < n_positive_; ++i) keep(positive_[i]);
    for (int i = 0; i < n_on_; ++i) keep(on_[i]);
    for (const Edge& edge : edges_) cut(edge);
    for (int i = 0; i < n_negative_; ++i) keep(negative_[i]);
  }

  // out (size x n_out_words, at least W): incidence of these rays. Rays on the hyperplane and on
  // edges have bit `slot` too.
  void transfer_incidence(const Word* incidence, int n_words, int slot, Word* out,
                          int n_out_words) const;

 private:
  void sort_rays(const double* values, int n_rays, double tol);
  void gather_negative(const Word* incidence, int n_words);
  int find_sharing(Word a);
  int find_sharing(const Word* a, int n_words);
  template <int kWords>
  void find_edges(const double* values, const Word* incidence, int n_words, int n_rays);

  int rank_;
  int n_positive_ = 0, n_on_ = 0, n_negative_ = 0;
  std::vector<int> positive_, on_, negative_;  // rays of K by side, with room to spare
  std::vector<Edge> edges_;
  std::vector<Word> negative_incidence_;
  std::vector<int> sharing_;
};

}  // namespace arrangement
}  // namespace convexrelu
