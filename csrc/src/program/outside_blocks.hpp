// The blocks outside an active set, along a path: which of them could hold ||Proj_{K_b}(A_b'z/n)||
// > 1.
#pragma once

#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/numeric/cone.hpp"
#include "convexrelu/program/problem.hpp"

namespace convexrelu {
inline namespace program {

// Keeps for every block what the last projection of A_b'z/n found: the multipliers of an earlier z
// bound f_b = ||Proj_{K_b}(A_b'z/n)|| at this one, often without another projection.
class OutsideBlocks {
 public:
  struct Near {
    Block block;
    double f;
    Vector c, q;
    std::vector<Index> face;
    std::vector<double> multipliers;
    Vector rate;  // of c along the tangent, where it was asked for
  };

  OutsideBlocks(const ScaledProblem& problem, int n_threads);

  // The blocks with f_b above level at z, in order, members left out.
  std::vector<Near> scan(ConstVectorRef z, double level, const std::vector<Block>& members,
                         Monitor& monitor);

  // Projection of a block at c, from a face in and out.
  const Projection& project(Block block, ConstVectorRef c, std::vector<Index>& face,
                            double threshold = -1.0);

 private:
  struct Memory {
    std::vector<Index> face;
    std::vector<double> multipliers;
  };

  Index index(Block block) const { return n_signs_ * block.pattern + (block.sign > 0 ? 0 : 1); }

  void evaluate(Block block, const Vector& c, double level, std::vector<Near>& near);

  const ScaledProblem& problem_;
  int n_threads_;
  int n_signs_;
  ConeProjector cones_;
  std::vector<std::int8_t> signs_;
  Vector norms_;
  std::vector<Memory> memory_;  // by pattern, + before -
};

}  // namespace program
}  // namespace convexrelu
