// The tolerances of the path, and the order in which they must stand.
//
// Quantities: a residual is that of the equations of the path, relative to mu ||y||. f_b = ||Proj_{K_b}(A_b'z/n)||
// is 1 on the path. Alpha, slacks and multipliers (of unit normals) are relative to the largest of their kind;
// columns and normals have unit length. Where rounding of the data is more than a threshold, it takes its place
// (ActiveSystem::visible).
#pragma once

namespace convexrelu {
inline namespace path {

// Newton's method at a point. Below kConverged, eight roundings, it has converged; below kAccepted the point is
// of use. Above kSettled, and below kTooFar, it is tried kMaxPatience times to get on with another factorisation.
constexpr double kConverged = 2e-15, kSettled = 1e-13, kAccepted = 1e-10, kTooFar = 1e-5;
constexpr int kMaxPatience = 8;
static_assert(kConverged < kSettled && kSettled < kAccepted && kAccepted < kTooFar);

// A series is cut where its terms, relative to z and alpha, are kTruncation: less than what a point is accepted
// with. It is of use where it leaves less of the equations than kFits; or than rounding of the fit, up to
// kFitsRounded: its square is what the objective sees.
constexpr double kTruncation = 1e-13, kFits = 5e-11, kFitsRounded = 1e-7;
static_assert(kTruncation < kFits && kFits < kAccepted && kAccepted < kFitsRounded);

// Its order grows in these steps until the next event, or the end, is within reach; h is at most kLongestStep.
// kMaxCuts steps in a row may be cut short because it does not fit.
constexpr int kFirstOrder = 8, kOrderStep = 4, kMaxCuts = 20;
constexpr double kLongestStep = 3.0;

// Events. Polynomials below kNoise over the whole step are zero, and f_b beyond 1 by kViolated a violation; two
// polynomials, and two points by their mu, are one within kIdentical and kSamePoint; what is closer than kTight
// to its bound is on it, and larger than what Newton's method leaves.
constexpr double kNoise = 1e-13, kViolated = 2e-12, kIdentical = 1e-11, kSamePoint = 1e-11,
                 kTight = 1e-10;
static_assert(kSettled <= kNoise && kNoise < kViolated && kViolated < kIdentical &&
              kIdentical <= kSamePoint && kSamePoint < kTight && kAccepted <= kTight);
// How close to 1 f_b is close, at least and at most: those blocks are looked at with care.
constexpr double kSmallestMargin = 1e-6, kLargestMargin = 0.1;
static_assert(kTight < kSmallestMargin && kSmallestMargin < kLargestMargin);
constexpr int kMaxEventsAtPoint = 12;

// What comes next at an event. A rate of alpha below kStill, and f' below kRising, are zero: they are derivatives
// of what is known to kTight. Blocks and faces change in kMaxRounds rounds at most.
constexpr double kStill = 1e-10, kRising = 1e-9;
static_assert(kTight <= kStill && kStill < kRising);
constexpr int kMaxRounds = 80;

// Dependence, by the remainder of a unit column or normal: of a normal, of the columns of a system, of a column
// that is to enter, of the columns where a system turned out singular, of those that a restart begins with.
constexpr double kDependentRow = 1e-9, kDependentColumns = 1e-9, kDependentEntering = 1e-7;
constexpr double kNearlyDependent = 1e-6, kApart = 1e-6;
static_assert(kDependentColumns < kDependentEntering && kDependentEntering < kNearlyDependent &&
              kNearlyDependent <= kApart);

// Accuracies to ask of the linear system: the first where an alpha is below kSmallAlpha of the largest.
constexpr double kRefined = 1e-12, kNotRefined = 1.0, kSmallAlpha = 1e-3;

// A restart solves anew so far beyond the present point, and is led to by points with a gap of at most kBridged; or
// of tol, where nothing else leads on. More than kMaxRestarts while mu doubles are rounding. (At 1 % a step the
// longest bridges take 70. Of 35,000 tiny problems with near ties 37 paths ended where `solve` does not when this
// was 50, most of them for this.)
constexpr double kRestartSteps[] = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2};
constexpr double kBridged = 1e-10;
constexpr int kMaxRestarts = 100;
static_assert(kSamePoint < kRestartSteps[0]);

// Memory of segments, which are small and many, is asked for in portions of so many bytes.
constexpr double kRoom = 64e6;

}  // namespace path
}  // namespace convexrelu
