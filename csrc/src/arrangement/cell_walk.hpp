// Depth-first walk through the cells of a central arrangement, as a binary space partition without
// linear programs.
//
//   node         a cone, given by its extreme rays, and its conflicts: the hyperplanes that still cut it.
//                One of them splits it into two nodes; both have an interior. A node without conflicts is
//                a cell. So P cells cost P - 1 splits, and the walk holds one cone per level.
//   candidates   of a node: the conflicts of its parent but for the one that split it
//   values       of each ray in turn: the values of all candidates. Both children of a cone lie in
//                one array, the positive one is its first part and the negative one its last
//                (double_description.hpp).
//
// What becomes of a node is the visitor's to say: enumeration writes down cells, branch and bound
// prunes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "arrangement/lanes.hpp"
#include "base/bits.hpp"
#include "convexrelu/arrangement/double_description.hpp"
#include "convexrelu/base/types.hpp"

namespace convexrelu {
inline namespace arrangement {

// The rays of one cone, in arrays that it does not own.
struct ConeView {
  using Word = ConeSplitter::Word;

  int n_rays;
  int n_words;        // of the incidence of a ray
  int n_coordinates;  // of a ray, 0 if they are not kept
  int stride;         // values of a ray, a multiple of the lanes; zeros behind the candidates
  const double* values;
  const double* coordinates;
  const Word* incidence;
  const int*
      facets;  // of each slot: 2 l + 1 on the positive side of hyperplane l, 2 l on the other

  const double* values_of(int ray) const {
    return values + static_cast<std::ptrdiff_t>(ray) * stride;
  }
  const double* coordinates_of(int ray) const {
    return coordinates + static_cast<std::ptrdiff_t>(ray) * n_coordinates;
  }

  // Least and greatest values over the rays, of the candidates of one block.
  struct Extent {
    Lanes low, high;
  };
  Extent extent(int block) const {
    // Two at a time, because a minimum waits for the one before.
    const double* v = values + block * Lanes::kSize;
    const double* const end = v + static_cast<std::ptrdiff_t>(n_rays) * stride;
    Lanes low = Lanes::load(v), high = low, other_low = low, other_high = low;
    for (v += stride; end - v > stride; v += 2 * static_cast<std::ptrdiff_t>(stride)) {
      const Lanes one = Lanes::load(v), other = Lanes::load(v + stride);
      low = min(low, one);
      high = max(high, one);
      other_low = min(other_low, other);
      other_high = max(other_high, other);
    }
    if (v < end) {
      low = min(low, Lanes::load(v));
      high = max(high, Lanes::load(v));
    }
    return {min(low, other_low), max(high, other_high)};
  }

  // Word w of the set of slots that some ray lies on.
  Word used_slots(int w) const {
    Word used = 0;
    for (int j = 0; j < n_rays; ++j) used |= incidence[j * n_words + w];
    return used;
  }
};

inline int n_blocks(int n) { return (n + Lanes::kSize - 1) / Lanes::kSize; }

// Which of the candidates of a node cut it, and how good it would be to split by them.
class Conflicts {
 public:
  void clear(int n_candidates) {
    const std::size_t n = static_cast<std::size_t>(n_blocks(n_candidates));
    if (masks_.size() < n) {
      masks_.resize(2 * n);
      scores_.resize(2 * n * Lanes::kSize);
    }
    size_ = 0;
  }

  void set(int block, Lanes::Mask cuts, Lanes score) {
    masks_[block] = cuts;
    score.store(scores_.data() + block * Lanes::kSize);
    size_ += count_bits(cuts);
  }

  int size() const { return size_; }
  Lanes::Mask mask(int block) const { return masks_[block]; }
  double score(int position) const { return scores_[position]; }

  // Calls visit(position) for all conflicts, in ascending order.
  template <typename Visit>
  void for_each(const Visit& visit) const {
    int n_left = size_;
    for (int block = 0; n_left > 0; ++block) {
      for (unsigned mask = masks_[block]; mask != 0; mask &= mask - 1) {
        visit(block * Lanes::kSize + lowest_bit(mask));
        --n_left;
      }
    }
  }

  // The first conflict of the highest score; there is one.
  int best() const {
    int best = -1;
    for_each([&](int i) {
      if (best < 0 || score(i) > score(best)) best = i;
    });
    return best;
  }

  void remove(int position) {
    masks_[position / Lanes::kSize] &= static_cast<Lanes::Mask>(~(1U << position % Lanes::kSize));
    --size_;
  }

 private:
  int size_ = 0;
  std::vector<Lanes::Mask> masks_;
  std::vector<double> scores_;
};

// Arrays of the rays of a cone, or of both children of one.
struct ConeStore {
  int n_words = 0, n_coordinates = 0, stride = 0;
  std::vector<double> values, coordinates;
  std::vector<ConeView::Word> incidence;
  std::vector<int> facets;
  std::vector<int> candidates;

  // Rays [begin, begin + n_rays).
  ConeView view(int begin, int n_rays) const {
    return {n_rays,
            n_words,
            n_coordinates,
            stride,
            values.data() + static_cast<std::ptrdiff_t>(begin) * stride,
            coordinates.data() + static_cast<std::ptrdiff_t>(begin) * n_coordinates,
            incidence.data() + static_cast<std::ptrdiff_t>(begin) * n_words,
            facets.data()};
  }

  // Room for n rays; vector instructions may write a little more.
  void make_room(int n) {
    grow(values, Index{n} * stride + 2 * Lanes::kSize);
    grow(coordinates, Index{n} * n_coordinates);
    grow(incidence, Index{n} * n_words);
  }

  template <typename T>
  static void grow(std::vector<T>& buffer, Index size) {
    if (static_cast<Index>(buffer.size()) < size) buffer.resize(static_cast<std::size_t>(2 * size));
  }
};

// Puts values of conflicts side by side, zeros behind them.
class ValuePacking {
 public:
  void set(const Conflicts& conflicts, int n_candidates) {
    blocks_.clear();
    for (int block = 0; block < n_blocks(n_candidates); ++block) {
      blocks_.emplace_back(conflicts.mask(block));
    }
  }

  // Calls work(pack): pack(load, out) writes the values of one ray, load(block) gives those of the candidates.
  template <typename Work>
  void apply(const Work& work) const {
    if (blocks_.size() == 1) {  // as at most nodes: it stays in registers
      const LanePacking block = blocks_[0];
      work([&block](const auto& load, double* out) { block.store_with_zeros(load(0), out); });
      return;
    }
    const LanePacking* const blocks = blocks_.data();
    const int n = static_cast<int>(blocks_.size());
    work([=](const auto& load, double* out) {
      for (int i = 0; i < n; ++i) {
        blocks[i].store(load(i), out);
        out += blocks[i].size();
      }
      Lanes::all(0.0).store(out);
    });
  }

 private:
  std::vector<LanePacking> blocks_;
};

// A node that owns what it needs, to be visited later or by another thread.
template <class State>
class StoredNode {
 public:
  StoredNode(const ConeView& cone, const std::vector<int>& candidates, const Conflicts& conflicts,
             State state)
      : n_rays_(cone.n_rays), state_(std::move(state)) {
    store_.n_words = cone.n_words;
    store_.n_coordinates = cone.n_coordinates;
    store_.stride = n_blocks(conflicts.size()) * Lanes::kSize;
    store_.incidence.assign(cone.incidence, cone.incidence + n_rays_ * cone.n_words);
    store_.coordinates.assign(cone.coordinates, cone.coordinates_of(n_rays_));
    if (cone.facets != nullptr) {
      store_.facets.assign(cone.facets, cone.facets + cone.n_words * ConeSplitter::kWordBits);
    }
    store_.values.resize(static_cast<std::size_t>(n_rays_ * store_.stride + 2 * Lanes::kSize));
    ValuePacking packing;
    packing.set(conflicts, static_cast<int>(candidates.size()));
    packing.apply([&](const auto& pack) {
      for (int j = 0; j < n_rays_; ++j) {
        const double* v = cone.values_of(j);
        pack([v](int block) { return Lanes::load(v + block * Lanes::kSize); },
             store_.values.data() + static_cast<std::ptrdiff_t>(j) * store_.stride);
      }
    });
    std::vector<double> scores;
    conflicts.for_each([&](int i) {
      store_.candidates.push_back(candidates[i]);
      scores.push_back(conflicts.score(i));
    });
    conflicts_.clear(conflicts.size());
    scores.resize(static_cast<std::size_t>(store_.stride));
    for (int block = 0; block < n_blocks(conflicts.size()); ++block) {
      const int left = conflicts.size() - block * Lanes::kSize;
      const unsigned lanes = left >= Lanes::kSize ? 0xffU : (1U << left) - 1;
      conflicts_.set(block, static_cast<Lanes::Mask>(lanes),
                     Lanes::load(scores.data() + block * Lanes::kSize));
    }
  }

  ConeView cone() const { return store_.view(0, n_rays_); }
  const std::vector<int>& candidates() const { return store_.candidates; }
  const Conflicts& conflicts() const { return conflicts_; }  // all candidates
  const State& state() const { return state_; }

  double bytes() const {
    return 8.0 * static_cast<double>(store_.values.size() + store_.coordinates.size() +
                                     store_.incidence.size() + store_.candidates.size());
  }

 private:
  int n_rays_;
  ConeStore store_;
  Conflicts conflicts_;
  State state_;
};

// Visitor:
//   State                      goes from a node to its children
//   kNeedsCells                looks at the geometry of cells: nodes of one conflict are split too
//   kNeedsFacets               ConeView::facets is kept
//   fix(state, l, positive)    the node lies on that side of hyperplane l
//   neglect(state, l, depth)   but for rays that count as on it, whose values are up to depth
//   examine(cone, candidates, state, conflicts) -> bool
//                              finds out which candidates cut the cone, and fixes the others. True: go
//                              on below.
template <class Visitor>
class CellWalk {
 public:
  using Word = ConeView::Word;
  using State = typename Visitor::State;

  CellWalk(int rank, double tol, Visitor& visitor)
      : tol_(tol), splitter_(rank), visitor_(visitor) {}

  // Visits everything below a node that has been examined and has conflicts.
  void run(const ConeView& cone, const std::vector<int>& candidates, const Conflicts& conflicts,
           const State& state) {
    depth_ = 0;
    conflicts_ = conflicts;
    push(cone, candidates, state);
    while (depth_ > 0) {
      Level& level = *levels_[depth_ - 1];
      if (level.n_visited == 2) {
        --depth_;
        continue;
      }
      const bool positive = level.n_visited++ == 0;
      State child_state = level.state;
      visitor_.fix(child_state, level.hyperplane, positive);
      if (level.neglected > 0.0) {
        visitor_.neglect(child_state, level.hyperplane, level.neglected);
      }
      const ConeView child = level.child(positive);
      const std::vector<int>& child_candidates = level.store.candidates;
      conflicts_.clear(static_cast<int>(child_candidates.size()));
      if (visitor_.examine(child, child_candidates, child_state, conflicts_)) {
        push(child, child_candidates, child_state);
      }
    }
  }

 private:
  // A cone that has been split; its children are visited one after the other.
  struct Level {
    ConeStore store;
    int hyperplane, slot;
    int n_positive, n_shared, n_negative;  // rays
    int n_visited;
    double neglected;  // the largest value on the hyperplane that counts as zero
    State state;

    ConeView child(bool positive) {
      if (Visitor::kNeedsFacets) {
        store.facets[slot] = 2 * hyperplane + positive;
      }
      return positive ? store.view(0, n_positive + n_shared)
                      : store.view(n_positive, n_shared + n_negative);
    }
  };

  // Splits a cone by the best of conflicts_.
  void push(const ConeView& cone, const std::vector<int>& candidates, const State& state) {
    if (static_cast<int>(levels_.size()) == depth_) levels_.push_back(std::make_unique<Level>());
    Level& level = *levels_[depth_++];
    ConeStore& store = level.store;
    level.state = state;
    level.n_visited = 0;

    const int split = conflicts_.best();
    level.hyperplane = candidates[split];
    conflicts_.remove(split);
    store.candidates.clear();
    conflicts_.for_each([&](int i) { store.candidates.push_back(candidates[i]); });

    ConeStore::grow(split_values_, cone.n_rays);
    level.neglected = 0.0;
    for (int j = 0; j < cone.n_rays; ++j) {
      const double value = cone.values_of(j)[split];
      split_values_[j] = value;
      if (std::abs(value) <= tol_) level.neglected = std::max(level.neglected, std::abs(value));
    }
    splitter_.split(split_values_.data(), cone.incidence, cone.n_words, cone.n_rays, tol_);
    level.n_positive = splitter_.n_positive();
    level.n_shared = splitter_.n_on() + splitter_.n_edges();
    level.n_negative = splitter_.n_negative();

    // Children that will not be split need no more than their values.
    const bool is_last = !Visitor::kNeedsCells && store.candidates.size() < 2;
    level.slot = is_last ? 0 : free_slot(cone);
    store.n_words = is_last ? 0 : std::max(cone.n_words, level.slot / kWordBits + 1);
    store.n_coordinates = cone.n_coordinates;
    store.stride = n_blocks(conflicts_.size()) * Lanes::kSize;
    store.make_room(splitter_.size());
    transfer_values(cone, static_cast<int>(candidates.size()), store);
    transfer_coordinates(cone, store);
    if (is_last) return;
    splitter_.transfer_incidence(cone.incidence, cone.n_words, level.slot, store.incidence.data(),
                                 store.n_words);
    if (Visitor::kNeedsFacets) {
      store.facets.assign(cone.facets, cone.facets + cone.n_words * kWordBits);
      store.facets.resize(static_cast<std::size_t>(store.n_words * kWordBits));
    }
  }

  // The first slot that no ray lies on; one in a further word when there is none.
  static int free_slot(const ConeView& cone) {
    for (int w = 0; w < cone.n_words; ++w) {
      const Word free = ~cone.used_slots(w);
      if (free != 0) return w * kWordBits + lowest_bit(free);
    }
    return cone.n_words * kWordBits;
  }

  void transfer_values(const ConeView& cone, int n_candidates, ConeStore& store) {
    packing_.set(conflicts_, n_candidates);
    packing_.apply([&](const auto& pack) {
      double* out = store.values.data();
      const std::ptrdiff_t stride = store.stride;
      splitter_.for_each_ray(
          [&](int j) {
            const double* v = cone.values_of(j);
            pack([v](int block) { return Lanes::load(v + block * Lanes::kSize); }, out);
            out += stride;
          },
          [&](const ConeSplitter::Edge& edge) {
            const double* v = cone.values_of(edge.positive);
            const double* w = cone.values_of(edge.negative);
            const Lanes a = Lanes::all(edge.positive_weight), b = Lanes::all(edge.negative_weight);
            pack(
                [=](int block) {
                  const int i = block * Lanes::kSize;
                  return multiply_add(a, Lanes::load(v + i), b * Lanes::load(w + i));
                },
                out);
            out += stride;
          });
    });
  }

  void transfer_coordinates(const ConeView& cone, ConeStore& store) {
    const int n = cone.n_coordinates;
    if (n == 0) return;
    double* out = store.coordinates.data();
    splitter_.for_each_ray([&](int j) { out = std::copy_n(cone.coordinates_of(j), n, out); },
                           [&](const ConeSplitter::Edge& edge) {
                             const double* v = cone.coordinates_of(edge.positive);
                             const double* w = cone.coordinates_of(edge.negative);
                             for (int i = 0; i < n; ++i) {
                               *out++ = edge.positive_weight * v[i] + edge.negative_weight * w[i];
                             }
                           });
  }

  static constexpr int kWordBits = ConeSplitter::kWordBits;

  double tol_;
  ConeSplitter splitter_;
  Visitor& visitor_;
  std::vector<std::unique_ptr<Level>> levels_;
  int depth_ = 0;
  Conflicts conflicts_;
  ValuePacking packing_;
  std::vector<double> split_values_;
};

}  // namespace arrangement
}  // namespace convexrelu
