#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "convexrelu/arrangement/cell_tree.hpp"
#include "convexrelu/base/error.hpp"
#include "convexrelu/pricing/pricing.hpp"
#include "convexrelu/program/problem.hpp"

using namespace convexrelu;

namespace {

using Random = std::mt19937_64;

Matrix gaussian(Index n, Index d, Random& rng) {
  std::normal_distribution<double> normal;
  return Matrix::NullaryExpr(n, d, [&] { return normal(rng); });
}

Matrix integers(Index n, Index d, int bound, Random& rng) {
  return Matrix::NullaryExpr(n, d, [&] {
    return static_cast<double>(rng() % static_cast<unsigned>(2 * bound + 1)) - bound;
  });
}

std::vector<BlockNorm> enumerate_norms(const Matrix& X, const Vector& r, double floor) {
  Monitor monitor;
  const Problem problem(X, r, enumerate_patterns(X, {}, monitor), Formulation::relu);
  std::vector<BlockNorm> norms =
      blocks_above(problem.scaled(), problem.scaled().y(), floor, 1, monitor);
  for (BlockNorm& block : norms) block.norm *= problem.scaled().lam_unit();
  return norms;
}

double largest(const std::vector<BlockNorm>& norms) {
  double value = 0.0;
  for (const BlockNorm& block : norms) value = std::max(value, block.norm);
  return value;
}

Pricing price(const Matrix& X, const Vector& r, const PricingOptions& options) {
  Monitor monitor;
  return price_patterns(X, r, options, monitor);
}

struct Trial {
  Matrix X;
  Vector r;

  // Rounding of sums of r_k x_k.
  double room() const { return 1e-12 * r.cwiseAbs().dot(X.rowwise().norm()); }
};

// Random and tied problems, d = 2..6.
Trial draw(int trial, Random& rng) {
  const Index sizes[][2] = {{20, 2}, {15, 3}, {10, 4}, {9, 5}, {8, 6}};
  const auto& [n, d] = sizes[trial % 5];
  Trial drawn{trial % 3 ? integers(n, d, 1 + trial % 2, rng) : gaussian(n, d, rng),
              trial % 2 ? Vector(integers(n, 1, 2, rng)) : Vector(gaussian(n, 1, rng))};
  if (trial % 7 == 0) drawn.X.col(1) = drawn.X.col(0);
  if (trial % 11 == 0) drawn.X.row(3) = -2.0 * drawn.X.row(1);
  if (trial % 13 == 0) drawn.X.row(2).setZero();
  return drawn;
}

void equals_the_maximum_over_enumerated_patterns() {
  Random rng(1);
  Monitor monitor;
  for (int trial = 0; trial < 1000; ++trial) {
    const auto [X, r] = draw(trial, rng);
    const double truth = largest(enumerate_norms(X, r, 0.0)), room = Trial{X, r}.room();
    for (const double tol : {1e-3, 1e-9}) {
      PricingOptions options;
      options.tol = tol;
      const Pricing found = price(X, r, options);
      CHECK(found.is_exact);
      CHECK(found.upper_bound >= truth - room);
      CHECK(price_bound(X, r, monitor) >= found.value);
      CHECK(found.value <= truth * (1.0 + 1e-12) + room);
      CHECK(found.value * (1.0 + tol) >= truth * (1.0 - 1e-12) - room);
      CHECK(std::abs(found.direction.norm() - 1.0) < 1e-14);
      const double F = r.dot((X * found.direction).cwiseMax(0.0)) / static_cast<double>(r.size());
      CHECK(std::abs(found.sign * F - found.value) <= room);
    }
  }
}

void threshold_is_proven_or_refuted() {
  Random rng(2);
  for (int trial = 0; trial < 200; ++trial) {
    const auto [X, r] = draw(trial, rng);
    const double truth = largest(enumerate_norms(X, r, 0.0));
    if (truth < 1e-9) continue;
    PricingOptions options;
    options.tol = 1e-6;
    options.threshold = 1.1 * truth;
    CHECK(price(X, r, options).upper_bound <= (1.0 + 2e-6) * options.threshold);
    options.threshold = (1.0 - 1e-4) * truth;
    const Pricing found = price(X, r, options);
    CHECK(found.value > options.threshold && found.upper_bound >= truth);
  }
}

// Whatever the time, both bounds hold.
void stops_with_a_valid_bound() {
  Random rng(3);
  const Matrix X = gaussian(150, 5, rng);
  const Vector r = gaussian(150, 1, rng);
  PricingOptions options;
  options.tol = 1e-9;
  const Pricing exact = price(X, r, options);
  CHECK(exact.is_exact);
  for (const double limit : {0.0, 1e-3, 5e-3, 2e-2, 5e-2}) {
    Monitor monitor(limit);
    const Pricing found = price_patterns(X, r, options, monitor);
    CHECK(found.value > 0.0 && found.value <= exact.value * (1.0 + 1e-12));
    CHECK(found.upper_bound >= exact.value);
    CHECK(found.is_exact == (found.upper_bound <= (1.0 + 1e-8) * found.value));
  }
  // Rounds of work bring the bound down.
  double last = kInfinity;
  for (const int rounds : {1, 2, 4}) {
    int left = rounds;
    Monitor monitor(kInfinity, [&](const Progress& progress) {
      CHECK(progress.phase == std::string("price"));
      return --left == 0;
    });
    const Pricing found = price_patterns(X, r, options, monitor);
    CHECK(found.upper_bound >= exact.value && found.upper_bound <= last);
    last = found.upper_bound;
  }
}

void same_bits_for_every_number_of_threads() {
  Random rng(4);
  for (const Matrix& X : {gaussian(100, 5, rng), integers(60, 4, 2, rng), gaussian(20, 7, rng)}) {
    const Vector r = gaussian(X.rows(), 1, rng);
    PricingOptions options;
    options.tol = 1e-6;
    const Pricing one = price(X, r, options);
    for (const int n_threads : {2, 5}) {
      options.n_threads = n_threads;
      const Pricing many = price(X, r, options);
      CHECK(many.value == one.value && many.upper_bound == one.upper_bound);
      CHECK(many.direction == one.direction && many.n_cones == one.n_cones);
    }
  }
}

void order_and_multiplicity_of_rows_do_not_matter() {
  Random rng(5);
  PricingOptions options;
  options.tol = 1e-9;
  for (int trial = 0; trial < 50; ++trial) {
    const auto [X, r] = draw(trial, rng);
    const Index n = X.rows();
    const Pricing found = price(X, r, options);
    const double room = 2e-9 * found.value + Trial{X, r}.room();
    CHECK(std::abs(price(X.colwise().reverse(), r.reverse(), options).value - found.value) <= room);
    Matrix twice(2 * n, X.cols());
    twice << X, X;
    Vector halves(2 * n);
    halves << 1.5 * r, 0.5 * r;  // r_k in all, and twice as many rows
    CHECK(std::abs(price(twice, halves, options).value - found.value) <= room);
    CHECK(std::abs(price(1e120 * X, 1e-200 * r, options).value - 1e-80 * found.value) <=
          1e-80 * room);
  }
}

using Listed = std::vector<std::pair<std::vector<BitMatrix::Word>, int>>;

void listing_is_enumeration_filtered() {
  Random rng(6);
  for (int trial = 0; trial < 300; ++trial) {
    const auto [X, r] = draw(trial, rng);
    Monitor monitor;
    const Patterns all = enumerate_patterns(X, {}, monitor);
    const std::vector<BlockNorm> norms = enumerate_norms(X, r, 0.0);
    const double most = largest(norms), room = Trial{X, r}.room();
    if (most <= room) continue;
    for (const double ratio : {1.0 - 1e-9, 0.95, 0.3}) {
      const double threshold = ratio * most;
      const PricedCells cells = cells_above(X, r, threshold, 1e6, {}, monitor);
      CHECK(cells.blocks.size() == cells.norms.size());
      const auto key = [](const Patterns& patterns, Block block) {
        const BitMatrix& masks = patterns.masks();
        const BitMatrix::Word* words = masks.col(block.pattern);
        return std::make_pair(std::vector(words, words + masks.words_per_col()), block.sign);
      };
      std::map<Listed::value_type, double> found;
      for (std::size_t b = 0; b < cells.blocks.size(); ++b) {
        found[key(cells.patterns, cells.blocks[b])] = cells.norms[b];
        CHECK(cells.norms[b] >= threshold);
      }
      CHECK(found.size() == cells.blocks.size());
      std::size_t n_expected = 0;
      for (const BlockNorm& block : norms) {
        const auto match = found.find(key(all, block.block));
        if (match == found.end()) {
          CHECK(block.norm <= threshold + room);
        } else {
          CHECK(std::abs(match->second - block.norm) <= room + 1e-12 * block.norm);
          ++n_expected;
        }
      }
      CHECK(n_expected == found.size());
    }
  }
}

void listing_has_a_limit() {
  Random rng(7);
  const Matrix X = gaussian(20, 3, rng);
  const Vector r = gaussian(20, 1, rng);
  Monitor monitor;
  const double most = price(X, r, {}).value;
  const PricedCells some = cells_above(X, r, 0.5 * most, 1e6, {}, monitor);
  const double n = static_cast<double>(some.blocks.size());
  CHECK(cells_above(X, r, 0.5 * most, n, {}, monitor).blocks == some.blocks);
  bool is_refused = false;
  try {
    cells_above(X, r, 0.5 * most, n - 1.0, {}, monitor);
  } catch (const LimitExceeded&) {
    is_refused = true;
  }
  CHECK(is_refused);
  CHECK(cells_above(X, r, 2.0 * most, 10, {}, monitor).patterns.size() == 0);
}

void small_and_degenerate_data() {
  const Pricing zero = price(Matrix::Zero(4, 3), Vector::Ones(4), {});
  CHECK(zero.value == 0.0 && zero.upper_bound == 0.0 && zero.is_exact);
  CHECK(zero.direction.norm() == 1.0);
  const Pricing no_residual = price(Matrix::Ones(4, 3), Vector::Zero(4), {});
  CHECK(no_residual.value == 0.0 && no_residual.upper_bound == 0.0 && no_residual.is_exact);
  const Pricing one = price(Matrix::Constant(1, 1, 3.0), Vector::Constant(1, -2.0), {});
  CHECK(one.value == 6.0 && one.sign == -1 && one.is_exact && one.direction(0) == 1.0);
  Matrix line(3, 1);
  line << 1, -2, 3;
  const Pricing sides = price(line, Vector::Ones(3), {});  // max(1 + 3, 2) / 3
  CHECK(std::abs(sides.value - 4.0 / 3.0) < 1e-15 && sides.is_exact);
  Vector opposite(4);
  opposite << 1, -1, 2, -2;
  const Pricing cancelled = price(Matrix::Ones(4, 2), opposite, {});
  CHECK(cancelled.value == 0.0 && cancelled.upper_bound < 1e-9 && cancelled.is_exact);
}

// Far above the ranks that can be searched.
void high_dimensions_have_a_bound() {
  Random rng(8);
  for (const Index d : {15, 40, 200}) {
    const Matrix X = gaussian(60, d, rng);
    const Vector r = gaussian(60, 1, rng);
    Monitor monitor(0.2);
    const Pricing found = price_patterns(X, r, {}, monitor);
    CHECK(found.value > 0.0 && found.upper_bound >= found.value);
    CHECK(found.upper_bound < 3.0 * found.value);
  }
}

template <typename Work>
bool is_refused(const Work& work) {
  try {
    work();
  } catch (const std::invalid_argument&) {
    return true;
  }
  return false;
}

void bad_data_are_refused() {
  const Matrix X = Matrix::Ones(3, 2);
  const Vector r = Vector::Ones(3);
  Monitor monitor;
  CHECK(is_refused([&] { price(X, Vector::Ones(2), {}); }));
  CHECK(is_refused([&] { price(kNaN * X, r, {}); }));
  CHECK(is_refused([&] { price(X, kInfinity * r, {}); }));
  CHECK(is_refused([&] { cells_above(X, r, 0.0, 10, {}, monitor); }));
  CHECK(is_refused(
      [&] { cells_above(Matrix::Identity(30, 30), Vector::Ones(30), 0.1, 10, {}, monitor); }));
}

}  // namespace

int main() {
  RUN(equals_the_maximum_over_enumerated_patterns);
  RUN(threshold_is_proven_or_refuted);
  RUN(stops_with_a_valid_bound);
  RUN(same_bits_for_every_number_of_threads);
  RUN(order_and_multiplicity_of_rows_do_not_matter);
  RUN(listing_is_enumeration_filtered);
  RUN(listing_has_a_limit);
  RUN(small_and_degenerate_data);
  RUN(high_dimensions_have_a_bound);
  RUN(bad_data_are_refused);
  return failed_checks;
}
