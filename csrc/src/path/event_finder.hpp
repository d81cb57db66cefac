// What happens first along a segment: the roots of polynomials in h. See docs/theory/path/path.md.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "convexrelu/base/monitor.hpp"
#include "convexrelu/program/problem.hpp"
#include "numeric/first_root.hpp"
#include "path/active_system.hpp"
#include "program/outside_blocks.hpp"

namespace convexrelu {
inline namespace path {

struct Event {
  enum Kind { none, leave, bind, release, enter, exchange } kind = none;
  double h = 0.0;
  Index member = -1;   // leave, bind, release
  Index row = -1;      // hyperplane, of bind and release
  Block block{-1, 0};  // enter, exchange
};

class EventFinder {
 public:
  EventFinder(const ScaledProblem& problem, const ActiveSystem& at, int n_threads,
              Monitor& monitor);

  // Blocks outside with f close to 1 at the present point, as the last scan() found them, in order.
  std::vector<OutsideBlocks::Near>& near() { return near_; }
  OutsideBlocks& outside() { return outside_; }

  // Blocks that could rise above 1 within the next step and fall below it again start close to 1.
  void scan() { near_ = outside_.scan(at_.z(), 1.0 - margin_, at_.blocks(), monitor_); }

  // The first event with h in [0, reach], or none.
  Event first(const Series& s, double reach);

  // The first with which the weights would cease to be allowed, by more than what is tight: a block leaves, or a
  // row binds.
  Event first_of_weights(const Series& s, double reach);

 private:
  const std::vector<std::int8_t>& sides_of(Index pattern);

  struct Earliest {
    Event event;
    double x = 1.0;  // h / reach

    void note(Event::Kind kind, double root, double reach, Index member, Index row) {
      if (root >= x) return;
      x = root;
      event = {kind, root * reach, member, row, {-1, 0}};
    }
  };

  static Vector powers_of(double reach, Index order);

  // Where some alpha falls below -room, relative to the largest.
  void leaves(const Series& s, double reach, const Vector& powers, double room, Earliest& earliest);

  // Where some slack of member b falls below -room.
  void binds(const Series& s, Index b, double reach, const Vector& powers, double room,
             Earliest& earliest);

  void releases(const Series& s, Index b, double reach, const Vector& powers, Earliest& earliest);

  // Where a polynomial that is not negative at 0 becomes so, in units of the step. One that starts
  // at zero is divided by its variable; or, given room, has to fall below -room.
  double root_of(const Vector& c, double room = 0.0);

  // The earliest block outside that reaches f = 1 before x. f is convex along chords, so between
  // two points it exceeds its larger end by no more than ||A_b||/n times the distance of z from
  // the chord.
  void enter_event(const Series& s, double reach, const Vector& powers, double& x, Event& event);

  // Gated: where ||c||^2 exceeds 1.
  double crossing(const Matrix& c);

  // C-ReLU: where f = ||Proj c|| exceeds 1, in [0, x]; f is continuously differentiable.
  double crossing(Block block, const Matrix& c, double x);

  // A block outside with f = 1 all along (the same neuron, seen from a neighbouring pattern) stays
  // as long as its multipliers are not negative. Where one vanishes, while f is still 1, it is
  // time to exchange: f itself would only show it quadratically late.
  double exchange(Block block, const Matrix& c, double x);

  bool is_relu() const { return problem_.formulation() == Formulation::relu; }

  const ScaledProblem& problem_;
  const ActiveSystem& at_;
  const int n_threads_;
  Monitor& monitor_;
  const double n_;
  const Index d_;
  const double x_norm_;
  ConeProjector cones_;
  const Matrix transposed_normals_;
  std::unordered_map<Index, std::vector<std::int8_t>> sides_;  // by pattern, as they are needed
  OutsideBlocks outside_;
  FirstRoot roots_;
  std::vector<OutsideBlocks::Near> near_;
  double margin_ = kSmallestMargin;
};

}  // namespace path
}  // namespace convexrelu
