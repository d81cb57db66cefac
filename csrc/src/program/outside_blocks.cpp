#include "program/outside_blocks.hpp"

#include <algorithm>

namespace convexrelu {
inline namespace program {

OutsideBlocks::OutsideBlocks(const ScaledProblem& problem, int n_threads)
    : problem_(problem),
      n_threads_(n_threads),
      n_signs_(problem.formulation() == Formulation::relu ? 2 : 1),
      cones_(problem.hyperplanes().normals),
      signs_(static_cast<std::size_t>(problem.hyperplanes().size())),
      memory_(n_signs_ == 2 ? static_cast<std::size_t>(2 * problem.n_patterns()) : 0) {}

std::vector<OutsideBlocks::Near> OutsideBlocks::scan(ConstVectorRef z, double level,
                                                     const std::vector<Block>& members,
                                                     Monitor& monitor) {
  const double n = static_cast<double>(problem_.n_samples());
  const Index n_patterns = problem_.n_patterns();
  norms_.resize(n_patterns);
  const double error = problem_.products().correlation_norms(z, norms_, n_threads_, 0, &monitor);
  std::vector<Index> patterns;
  for (Index i = 0; i < n_patterns; ++i) {
    const double bound = (norms_(i) + error) / n;
    if (!(bound <= level)) patterns.push_back(i);
  }
  Matrix c(problem_.n_features(), static_cast<Index>(patterns.size()));
  problem_.products().correlate(z, patterns, c, n_threads_, &monitor);
  c /= n;
  std::vector<Near> near;
  for (std::size_t j = 0; j < patterns.size(); ++j) {
    monitor.check();
    for (int sign = +1; sign >= 3 - 2 * n_signs_; sign -= 2) {
      const Block block{patterns[j], sign};
      if (std::find(members.begin(), members.end(), block) != members.end()) continue;
      evaluate(block, sign * c.col(static_cast<Index>(j)), level, near);
    }
  }
  return near;
}

const Projection& OutsideBlocks::project(Block block, ConstVectorRef c, std::vector<Index>& face,
                                         double threshold) {
  problem_.cone_signs(block.pattern, signs_.data());
  return cones_.project(c, signs_.data(), face, threshold);
}

void OutsideBlocks::evaluate(Block block, const Vector& c, double level, std::vector<Near>& near) {
  double bound = c.norm();
  if (bound <= level) return;
  if (n_signs_ == 1) {
    near.push_back({block, bound, c, c, {}, {}, {}});
    return;
  }
  Memory& memory = memory_[index(block)];
  problem_.cone_signs(block.pattern, signs_.data());
  bound = std::min(bound, cones_.norm_bound(c, signs_.data(), memory.face, memory.multipliers));
  if (bound <= level) return;
  const Projection& projection = cones_.project(c, signs_.data(), memory.face, level);
  memory.multipliers = projection.multipliers;
  bound = projection.norm;
  if (!projection.converged && !projection.stopped_early) {
    bound = cones_.norm_bound(c, signs_.data(), memory.face, memory.multipliers);
  }
  if (bound <= level) return;
  near.push_back({block, bound, c, projection.q, memory.face, memory.multipliers, {}});
}

}  // namespace program
}  // namespace convexrelu
