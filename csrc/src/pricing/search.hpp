#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "pricing/cone_bounds.hpp"

namespace convexrelu {
inline namespace pricing {

// What a cone must be able to reach to be looked into: (1 + tol) times the best found, or the threshold.
struct Limits {
  double tol, threshold;
  double at(double best) const { return (1.0 + tol) * std::max(best, threshold); }
};

// A cell on which the correlation of a sign is above the threshold, when all such are listed.
struct ListedCell {
  Vector gate;  // in R^rho
  int sign;
  double norm;
};

using Node = StoredNode<ConeState>;

// What is left to do: a root cone, or a cone on the way.
struct OpenCone {
  double bound;
  long order;  // of equal bounds the older one first
  std::uint64_t root;
  std::unique_ptr<Node> node;  // null: the root cone

  double bytes() const { return node ? node->bytes() : 0.0; }
};

struct Found;
class Searcher;

// Best-first over open cones, depth-first below each; in rounds of fixed tasks, between which threads
// exchange what they found, so that the result does not depend on their number.
class Search {
 public:
  Search(const PricedArrangement& arrangement, Limits limits, bool is_listing, int n_threads,
         Monitor& monitor);
  ~Search();

  // Bytes of all root cones. The bound is the largest of all, so that it falls only after each has been
  // looked at; where they do not fit the memory for open cones this is far off.
  static double bytes_of_roots(const PricedArrangement& arrangement);
  static constexpr double kMaxBytes = 5e8;

  Incumbent best;
  std::vector<ListedCell> cells;
  double closed_bound = 0.0;
  long n_cones = 0;

  // Calls after_round(*this) after each. Returns early when the monitor asks for it, or after max_cones. Ends: a
  // round takes cones off the list and puts back parts of them that further hyperplanes cut off.
  void run(std::array<double, 2> bounds, double max_cones,
           const std::function<void(const Search&)>& after_round);

  double open_bound() const { return open_.empty() ? 0.0 : open_.front().bound; }

 private:
  static constexpr std::size_t kRoundSize = 64;
  static constexpr double kTaskWork = 4e6;
  // A task leaves some tens of cones of the size of its own.
  static constexpr double kRoundBytes = 16e6;

  static double bytes_of_root(const PricedArrangement& arrangement);

  // One for each thread that is at work: their work space can be large.
  std::unique_ptr<Searcher> borrow();

  void give_back(std::unique_ptr<Searcher> searcher);

  // The cones of the largest bounds, or of the smallest ones, which are done soonest, while memory is short.
  std::vector<OpenCone> take_round();

  static bool is_later(const OpenCone& a, const OpenCone& b) {
    return a.bound != b.bound ? a.bound < b.bound : a.order > b.order;
  }

  void push(OpenCone cone);

  void collect(Found found);

  const PricedArrangement& arrangement_;
  Limits limits_;
  bool is_listing_;
  int n_threads_;
  Monitor& monitor_;
  const std::thread::id owner_ = std::this_thread::get_id();
  std::mutex lock_;  // of idle_
  std::vector<std::unique_ptr<Searcher>> idle_;
  std::vector<OpenCone> open_;
  long n_pushed_ = 0;
  double bytes_ = 0.0;  // of open_
};

}  // namespace pricing
}  // namespace convexrelu
