// Lists of blocks as arrays (k, 2) of pattern and sign, and back.
#pragma once

#include <pybind11/eigen.h>

#include <vector>

#include "convexrelu/base/types.hpp"

namespace convexrelu {

using BlockArray = Eigen::Matrix<Index, Eigen::Dynamic, 2, Eigen::RowMajor>;

inline BlockArray to_array(const std::vector<Block>& blocks) {
  BlockArray array(static_cast<Index>(blocks.size()), 2);
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    array.row(static_cast<Index>(b)) << blocks[b].pattern, blocks[b].sign;
  }
  return array;
}

inline std::vector<Block> to_blocks(const BlockArray& array) {
  std::vector<Block> blocks;
  for (Index b = 0; b < array.rows(); ++b) {
    blocks.push_back({array(b, 0), static_cast<int>(array(b, 1))});
  }
  return blocks;
}

}  // namespace convexrelu
