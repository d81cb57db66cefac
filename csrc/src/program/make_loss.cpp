#include "convexrelu/program/make_loss.hpp"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "convexrelu/base/error.hpp"
#include "program/clipped_quadratic.hpp"
#include "program/logistic_loss.hpp"
#include "program/poisson_loss.hpp"
#include "program/sampled_loss.hpp"
#include "program/squared_loss.hpp"

namespace convexrelu {
inline namespace program {

namespace {

template <typename Sample>
void require_allowed(const Vector& y, const char* rule) {
  for (Index k = 0; k < y.size(); ++k) {
    if (!Sample::allows(y(k))) {
      throw_invalid(std::string("y must ") + rule + ", but y[" + std::to_string(k) + "] is " +
                    std::to_string(y(k)));
    }
  }
}

template <typename Sample, typename Make>
std::unique_ptr<Loss> sampled(const Vector& y, Vector nu, const Make& make) {
  std::vector<Sample> samples;
  samples.reserve(static_cast<std::size_t>(y.size()));
  for (const double target : y) samples.push_back(make(target));
  return std::make_unique<SampledLoss<Sample>>(std::move(samples), std::move(nu));
}

}  // namespace

void require_targets(LossChoice choice, const Vector& y) {
  switch (choice.kind) {
    case LossKind::squared:
      return;
    case LossKind::huber:
      if (!(choice.delta > 0.0 && std::isfinite(choice.delta))) {
        throw_invalid("delta must be a finite number > 0, got " + std::to_string(choice.delta));
      }
      return;
    case LossKind::logistic:
      return require_allowed<LogisticSample>(
          y, "be in [0, 1] for loss='logistic' (labels 0 and 1, or probabilities)");
    case LossKind::poisson:
      return require_allowed<PoissonSample>(y, "be >= 0 for loss='poisson' (counts or rates)");
    case LossKind::squared_hinge:
      return require_allowed<HingeSample>(y, "be -1 or +1 for loss='squared_hinge'");
  }
}

std::unique_ptr<Loss> make_loss(LossChoice choice, Vector y, Vector nu) {
  if (choice.kind == LossKind::squared) return std::make_unique<SquaredLoss>(std::move(y));
  if (nu.size() == 0) nu.setOnes(y.size());
  switch (choice.kind) {
    case LossKind::logistic:
      return sampled<LogisticSample>(y, std::move(nu), [](double t) { return LogisticSample{t}; });
    case LossKind::poisson:
      return sampled<PoissonSample>(y, std::move(nu), [](double t) { return PoissonSample{t}; });
    case LossKind::huber:
      return sampled<HuberSample>(y, std::move(nu), [&](double t) {
        return HuberSample{{t, choice.delta}};
      });
    default:
      return sampled<HingeSample>(y, std::move(nu), [](double t) { return HingeSample{{t}}; });
  }
}

}  // namespace program
}  // namespace convexrelu
