#include "solver/interior_point.hpp"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/watched_for.hpp"
#include "convexrelu/numeric/cholesky.hpp"
#include "numeric/tiled_product.hpp"

namespace convexrelu {
inline namespace solver {

namespace {

// A step goes this part of the way to the boundary.
constexpr double kFraction = 0.99;
// Where it starts: t and the slacks are this multiple of the length that fits y. From 10 to 100 the counts
// are the same, at 1 they are a fifth larger.
constexpr double kFirstLength = 30.0;
// The start is dual feasible, this far inside.
constexpr double kInside = 0.5;
// So many iterations in a row that bring neither the equations nor the gap nearer by this are rounding.
constexpr int kMaxIdle = 4;
constexpr double kGain = 0.9;
// Flops between two looks at the monitor: some milliseconds.
constexpr double kStripe = 2e7;
// Rows that ask for an equality are held by a penalty of this, relative to the Hessian of their block.
constexpr double kEqualityPenalty = 1e6;

// A pair (t, w), (lam, -u) of points of the cone of the norm, and its scaling.
struct NormPair {
  // Of a vector (a_0, a): W a and W^-1 a, where W (lam, -u) = W^-1 (t, w) = point.
  double root_eta = 1.0, v0 = 1.0;
  Vector v;
  double point0 = 0.0;
  Vector point;

  bool scale(double t, const Vector& w, double lam, const Vector& u) {
    const double w_norm = w.norm(), u_norm = u.norm();
    const double x_root = std::sqrt((t - w_norm) * (t + w_norm));
    const double z_root = std::sqrt((lam - u_norm) * (lam + u_norm));
    if (!(x_root > 0.0 && z_root > 0.0)) return false;
    const double product = (t * lam - w.dot(u)) / (x_root * z_root);
    const double gamma = std::sqrt(0.5 * (1.0 + product));
    v0 = (t / x_root + lam / z_root) / (2.0 * gamma);
    v = (w / x_root + u / z_root) / (2.0 * gamma);
    root_eta = std::sqrt(x_root / z_root);
    point0 = lam;
    point = -u;
    apply(+1.0, point0, point);
    return std::isfinite(v0) && v.allFinite();
  }

  // a <- W a (side = +1) or W^-1 a (side = -1).
  void apply(double side, double& a0, Vector& a) const {
    const double dot = side * v.dot(a);
    const double along = side * (a0 + dot / (1.0 + v0));
    const double factor = side > 0.0 ? root_eta : 1.0 / root_eta;
    a0 = factor * (v0 * a0 + dot);
    a = factor * (a + along * v);
  }

  // a <- x with point o x = a.
  void divide(double& a0, Vector& a) const {
    const double length = point.norm();
    const double determinant = (point0 - length) * (point0 + length);
    const double x0 = (point0 * a0 - point.dot(a)) / determinant;
    a = (a - x0 * point) / point0;
    a0 = x0;
  }
};

// The largest step, infinity where there is none, that keeps (a0, a) + step (d0, d) in the cone of the norm.
double longest_step(double a0, const Vector& a, double d0, const Vector& d) {
  const double a_norm = a.norm();
  const double square = (a0 - a_norm) * (a0 + a_norm);  // > 0
  const double cross = a0 * d0 - a.dot(d);
  const double leading = d0 * d0 - d.squaredNorm();
  const double discriminant = cross * cross - leading * square;
  double step = kInfinity;
  if (discriminant >= 0.0) {
    const double q = -(cross + (cross >= 0.0 ? 1.0 : -1.0) * std::sqrt(discriminant));
    for (const double root : {q / leading, square / q}) {
      if (root > 0.0) step = std::min(step, root);
    }
  }
  return step;
}

class Iteration {
 public:
  Iteration(const ScaledProblem& problem, double lam, const std::vector<Block>& blocks,
            int n_threads, Monitor& monitor)
      : problem_(problem),
        lam_(lam),
        blocks_(blocks),
        n_threads_(n_threads),
        monitor_(monitor),
        n_(problem.n_samples()),
        d_(problem.n_features()),
        h_(problem.hyperplanes().size()),
        k_(static_cast<Index>(blocks.size())) {
    for (const Block& block : blocks) patterns_.push_back(block.pattern);
    std::sort(patterns_.begin(), patterns_.end());
    patterns_.erase(std::unique(patterns_.begin(), patterns_.end()), patterns_.end());
    p_ = static_cast<Index>(patterns_.size());
    by_samples_ = n_ <= p_ * d_;
    start();
  }

  InteriorPoint run(double tol, long max_iterations) {
    InteriorPoint best{Matrix::Zero(d_, k_), problem_.y(), 0};
    double least = kInfinity, least_defect = kInfinity;
    int n_idle = 0;
    for (;;) {
      const double measure = evaluate();
      if (!std::isfinite(measure)) break;
      const bool nearer = defect_ < kGain * least_defect, better = measure < kGain * least;
      n_idle = nearer || better ? 0 : n_idle + 1;
      least_defect = std::min(least_defect, defect_);
      if (measure < least) {
        least = measure;
        best.weights = weights_;
        best.r = r_;
      }
      if (measure <= tol || n_idle > kMaxIdle || best.n_iterations >= max_iterations) break;
      ++best.n_iterations;
      if (!factor() || !advance()) break;
    }
    return best;
  }

 private:
  // One block. Everything about rows runs over the hyperplanes (h).
  struct State {
    Index place;        // of its pattern in patterns_
    double sign;        // of the output
    Vector side, free;  // sigma_l, and 1 where it is not zero
    double t;
    Vector w, u;
    Vector s, rho;
    NormPair pair;
    Vector dual_defect;          // (d)
    Vector primal_defect;        // (h)
    Vector penalty;              // (h) rho/s
    Eigen::LLT<Matrix> hessian;  // (d, d)
    Matrix inverse;
    double curvature, bend;
    Vector axis;
    // The direction.
    double dt, target0;
    Vector target, rhs, dw, du, ds, drho;
    Vector target_rows;
  };

  void start() {
    const Vector& y = problem_.y();
    const double x_norm = problem_.X().norm();  // Frobenius: within sqrt(d) of the spectral one
    const double length =
        kFirstLength * y.norm() / std::max(x_norm, 1e-300) * std::sqrt(static_cast<double>(d_));
    std::vector<std::int8_t> sigma(static_cast<std::size_t>(h_));
    states_.resize(blocks_.size());
    weights_.setZero(d_, k_);
    for (Index b = 0; b < k_; ++b) {
      monitor_.check();
      State& state = states_[b];
      const Block block = blocks_[b];
      state.place =
          std::lower_bound(patterns_.begin(), patterns_.end(), block.pattern) - patterns_.begin();
      state.sign = block.sign;
      problem_.cone_signs(block.pattern, sigma.data());
      state.side.resize(h_);
      for (Index l = 0; l < h_; ++l) state.side(l) = sigma[l];
      state.free = state.side.cwiseAbs();
      state.t = length;
      state.w.setZero(d_);
      state.s.setConstant(h_, length);
      state.rho = (lam_ / std::sqrt(static_cast<double>(std::max<Index>(h_, 1)))) * state.free;
    }
    const double largest = correlate(y).colwise().norm().maxCoeff();
    r_ = y * std::min(1.0, kInside * lam_ / std::max(largest, 1e-300));
    const Matrix c = correlate(r_);
    for (Index b = 0; b < k_; ++b) {
      State& state = states_[b];
      state.u = gradient(state, c);
      const double norm = state.u.norm();
      if (norm > 0.9 * lam_) state.u *= 0.9 * lam_ / norm;
    }
    y_norm_ = y.norm();
    n_rows_ = 0.0;
    for (const State& state : states_) n_rows_ += 1.0 + state.free.sum();
  }

  // X'D_i r / n for the patterns of the list (d, p).
  Matrix correlate(const Vector& r) const {
    Matrix c(d_, p_);
    problem_.products().correlate(r, patterns_, c, n_threads_);
    return c / static_cast<double>(n_);
  }

  // sum_b A_b x_b, x (d) the member of every state that `get` returns.
  template <typename Get>
  Vector forward(const Get& get) const {
    Matrix sums = Matrix::Zero(d_, p_);
    for (const State& state : states_) sums.col(state.place) += state.sign * get(state);
    Vector result(n_);
    problem_.products().forward(patterns_, sums, result, n_threads_);
    return result;
  }

  // A_b' r/n + sum_l rho_l sigma_l n_l
  Vector gradient(const State& state, const Matrix& c) const {
    Vector result = state.sign * c.col(state.place);
    result.noalias() += problem_.hyperplanes().normals * state.side.cwiseProduct(state.rho);
    return result;
  }

  template <typename Work>
  void for_blocks(const Work& work) {
    watched_for(k_, n_threads_, monitor_,
                [&](Index b, const auto& keep_going) { work(states_[b], keep_going); });
  }

  // What the equations are off by. Returns the relative gap, as far as the cones are kept, plus how far
  // they are not.
  double evaluate() {
    const Matrix& normals = problem_.hyperplanes().normals;
    const Matrix c = correlate(r_);
    for_blocks([&](State& state, const auto&) {
      state.dual_defect = gradient(state, c) - state.u;
      state.primal_defect =
          state.side.cwiseProduct(normals.transpose() * state.w) - state.s.cwiseProduct(state.free);
    });
    fit_defect_ = problem_.y() - forward([](const State& s) -> const Vector& { return s.w; });
    const double primal_loss = fit_defect_.squaredNorm() / (2.0 * static_cast<double>(n_));
    fit_defect_ -= r_;
    defect_ = y_norm_ > 0.0 ? fit_defect_.norm() / y_norm_ : 0.0;
    double complementarity = 0.0, penalty = 0.0, largest = lam_, violation = 0.0, length = 0.0;
    Index b = 0;
    for (const State& state : states_) {
      complementarity += state.t * lam_ - state.w.dot(state.u) + state.s.dot(state.rho);
      penalty += lam_ * state.w.norm();
      length = std::max(length, state.w.norm());
      largest = std::max(largest, (state.dual_defect + state.u).norm());
      const Vector slack = (state.primal_defect + state.s.cwiseProduct(state.free));
      if (h_ > 0) violation = std::max(violation, -slack.minCoeff());
      weights_.col(b++) = state.w;
    }
    mu_ = complementarity / n_rows_;
    const double primal = primal_loss + penalty;
    const double dual = problem_.dual_value(r_, lam_, largest);
    if (!(mu_ > 0.0)) return kInfinity;
    return std::abs(primal - dual) / primal + (length > 0.0 ? violation / length : 0.0);
  }

  // The Hessians of the blocks and the system of the samples or of the patterns. False where rounding makes
  // one of them indefinite.
  bool factor() {
    const Matrix& normals = problem_.hyperplanes().normals;
    const Matrix identity = Matrix::Identity(d_, d_);
    const Index stripe = 1 + static_cast<Index>(kStripe / static_cast<double>(d_ * d_));
    for_blocks([&](State& state, const auto& keep_going) {
      if (!state.pair.scale(state.t, state.w, lam_, state.u)) {
        state.inverse.resize(0, 0);
        return;
      }
      const double v_norm = state.pair.v.norm();
      state.axis = v_norm > 0.0 ? Vector(state.pair.v / v_norm) : Vector(Vector::Zero(d_));
      state.curvature = 1.0 / (state.pair.root_eta * state.pair.root_eta);
      state.bend = 1.0 / (1.0 + 2.0 * v_norm * v_norm);
      state.penalty = state.rho.cwiseQuotient(state.s);
      Matrix hessian = state.curvature * identity;
      hessian.noalias() -=
          (state.curvature * (1.0 - state.bend)) * state.axis * state.axis.transpose();
      for (Index first = 0; first < h_; first += stripe) {
        if (!keep_going()) return;
        const Index width = std::min(stripe, h_ - first);
        const Vector roots = state.penalty.segment(first, width).cwiseSqrt();
        const Matrix rows = normals.middleCols(first, width) * roots.asDiagonal();
        hessian.selfadjointView<Eigen::Lower>().rankUpdate(rows);
      }
      if (state.free.size() > 0 && state.free.minCoeff() == 0.0) {
        const double stiff = kEqualityPenalty * hessian.diagonal().maxCoeff();
        for (Index l = 0; l < h_; ++l) {
          if (state.free(l) == 0.0) {
            hessian.selfadjointView<Eigen::Lower>().rankUpdate(normals.col(l), stiff);
          }
        }
      }
      state.hessian.compute(hessian);
      if (state.hessian.info() != Eigen::Success) {
        state.inverse.resize(0, 0);
        return;
      }
      state.inverse = state.hessian.solve(identity);
    });
    std::vector<Matrix> sums(static_cast<std::size_t>(p_), Matrix::Zero(d_, d_));
    for (const State& state : states_) {
      if (state.inverse.size() == 0) return false;
      sums[state.place] += state.inverse;
    }
    factors_.resize(d_, p_ * d_);
    for (Index i = 0; i < p_; ++i) {
      const Eigen::LLT<Matrix> cholesky(sums[i]);
      if (cholesky.info() != Eigen::Success) return false;
      factors_.middleCols(i * d_, d_) = cholesky.matrixL();
    }
    Matrix& Z = Z_;
    Z.resize(n_, p_ * d_);
    watched_for(p_, n_threads_, monitor_, [&](Index i, const auto&) {
      Z.middleCols(i * d_, d_).noalias() = problem_.X() * factors_.middleCols(i * d_, d_);
      problem_.apply_mask({patterns_[i], +1}, Z.middleCols(i * d_, d_));
    });
    const double scale = 1.0 / static_cast<double>(n_);
    const Index size = by_samples_ ? n_ : p_ * d_;
    system_.setIdentity(size, size);
    if (by_samples_) {
      add_outer_product(Z, scale, system_, n_threads_, monitor_);
    } else {
      add_outer_product(Z.transpose(), scale, system_, n_threads_, monitor_);
    }
    return factor_cholesky(system_, {n_threads_, &monitor_}) < 0;
  }

  // (I + Z Z'/n) x = v
  Vector solve_system(const Vector& v) {
    const double scale = 1.0 / static_cast<double>(n_);
    const auto once = [&](const Vector& right) -> Vector {
      if (by_samples_) {
        Vector x = right;
        solve_cholesky(system_, x);
        return x;
      }
      Vector inner = Z_.transpose() * right;
      solve_cholesky(system_, inner);
      return right - scale * (Z_ * inner);
    };
    Vector x = once(v);
    const Matrix c = correlate(x);
    for_blocks([&](State& state, const auto&) {
      state.dw = state.hessian.solve(state.sign * c.col(state.place));
    });
    const Vector defect = v - x - forward([](const State& s) -> const Vector& { return s.dw; });
    return x + once(defect);
  }

  // The direction to the targets of the pairs and rows that the states hold.
  bool find_direction() {
    const Matrix& normals = problem_.hyperplanes().normals;
    for_blocks([&](State& state, const auto&) {
      state.pair.divide(state.target0, state.target);
      state.pair.apply(-1.0, state.target0, state.target);
      const double slope = -2.0 * state.pair.v0 * state.bend;
      state.rhs = state.dual_defect + state.target - (slope * state.target0) * state.pair.v;
      const Vector rows = (state.target_rows - state.rho.cwiseProduct(state.primal_defect))
                              .cwiseQuotient(state.s)
                              .cwiseProduct(state.side);
      state.rhs.noalias() += normals * rows;
      state.dw = state.hessian.solve(state.rhs);
    });
    dr_ = solve_system(fit_defect_ - forward([](const State& s) -> const Vector& { return s.dw; }));
    if (!dr_.allFinite()) return false;
    const Matrix c = correlate(dr_);
    for_blocks([&](State& state, const auto&) {
      const NormPair& pair = state.pair;
      state.dw = state.hessian.solve(state.rhs + state.sign * c.col(state.place));
      state.ds = state.side.cwiseProduct(normals.transpose() * state.dw) +
                 state.primal_defect.cwiseProduct(state.free);
      state.drho = (state.target_rows - state.rho.cwiseProduct(state.ds))
                       .cwiseQuotient(state.s)
                       .cwiseProduct(state.free);
      const double eta = pair.root_eta * pair.root_eta;
      state.dt = state.bend * (state.target0 * eta + 2.0 * pair.v0 * pair.v.dot(state.dw));
      const double slope = -2.0 * pair.v0 * state.bend;
      state.du = slope * state.target0 * pair.v - state.target +
                 state.curvature *
                     (state.dw - ((1.0 - state.bend) * state.axis.dot(state.dw)) * state.axis);
    });
    return true;
  }

  // The longest step that stays inside.
  double step_length() const {
    double step = kInfinity;
    for (const State& state : states_) {
      step = std::min(step, longest_step(state.t, state.w, state.dt, state.dw));
      step = std::min(step, longest_step(lam_, state.u, 0.0, state.du));
      for (Index l = 0; l < h_; ++l) {
        if (state.ds(l) < 0.0) step = std::min(step, -state.s(l) / state.ds(l));
        if (state.drho(l) < 0.0) step = std::min(step, -state.rho(l) / state.drho(l));
      }
    }
    return step;
  }

  // Predictor and corrector. False where no step can be made.
  bool advance() {
    for_blocks([](State& state, const auto&) {
      const NormPair& pair = state.pair;
      state.target0 = -(pair.point0 * pair.point0 + pair.point.squaredNorm());
      state.target = -2.0 * pair.point0 * pair.point;
      state.target_rows = -state.rho.cwiseProduct(state.s);
    });
    if (!find_direction()) return false;
    double step = std::min(1.0, step_length());
    double predicted = 0.0;
    for (const State& state : states_) {
      predicted += (state.t + step * state.dt) * lam_ -
                   (state.w + step * state.dw).dot(state.u + step * state.du) +
                   (state.s + step * state.ds).dot(state.rho + step * state.drho);
    }
    const double ratio = std::clamp(predicted / (mu_ * n_rows_), 0.0, 1.0);
    const double centre = ratio * ratio * ratio * mu_;
    for_blocks([&](State& state, const auto&) {
      const NormPair& pair = state.pair;
      double x0 = state.dt, z0 = 0.0;
      Vector x = state.dw, z = -state.du;
      pair.apply(-1.0, x0, x);
      pair.apply(+1.0, z0, z);
      state.target0 =
          centre - (pair.point0 * pair.point0 + pair.point.squaredNorm()) - (x0 * z0 + x.dot(z));
      state.target = -2.0 * pair.point0 * pair.point - (x0 * z + z0 * x);
      state.target_rows = -state.rho.cwiseProduct(state.s) - state.ds.cwiseProduct(state.drho) +
                          centre * state.free;
    });
    if (!find_direction()) return false;
    step = std::min(1.0, kFraction * step_length());
    if (!(step > 1e-10)) return false;
    r_ += step * dr_;
    for_blocks([&](State& state, const auto&) {
      state.t += step * state.dt;
      state.w += step * state.dw;
      state.u += step * state.du;
      state.s += step * state.ds;
      state.rho += step * state.drho;
    });
    return true;
  }

  const ScaledProblem& problem_;
  const double lam_;
  const std::vector<Block>& blocks_;
  const int n_threads_;
  Monitor& monitor_;
  const Index n_, d_, h_, k_;
  Index p_ = 0;
  std::vector<Index> patterns_;  // of the blocks, ascending
  bool by_samples_ = true;
  std::vector<State> states_;
  double n_rows_ = 0.0, mu_ = 0.0, y_norm_ = 0.0, defect_ = 0.0;
  Vector r_, fit_defect_, dr_;
  Matrix weights_, factors_, Z_, system_;
};

}  // namespace

InteriorPoint find_interior_point(const ScaledProblem& problem, double lam,
                                  const std::vector<Block>& blocks, double tol, long max_iterations,
                                  int n_threads, Monitor& monitor) {
  if (blocks.empty()) return {Matrix(problem.n_features(), 0), problem.y(), 0};
  return Iteration(problem, lam, blocks, n_threads, monitor).run(tol, max_iterations);
}

double interior_point_memory(const ScaledProblem& problem, const std::vector<Block>& blocks) {
  const double n = static_cast<double>(problem.n_samples());
  const double h = static_cast<double>(problem.hyperplanes().size());
  const double d = static_cast<double>(problem.n_features()),
               k = static_cast<double>(blocks.size());
  const double size = std::min(n, k * d);
  return 8.0 * (n * k * d + size * size + 12.0 * k * h + 3.0 * k * d * d);
}

}  // namespace solver
}  // namespace convexrelu
