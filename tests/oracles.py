"""Slow and obvious computations of what the library computes fast.

Nothing here calls the library: a problem is asked for its X, y, masks, formulation and weights
only. Notation as in docs/notation.md: A_b = s D_i X, C_i = (2 D_i - I) X, K_i = {u : C_i u >= 0}.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, xlogy

from convexrelu import Problem

Array = NDArray[np.float64]


class Block(NamedTuple):
    pattern: int
    sign: int
    columns: Array  # A_b (n, d)
    cone: Array  # C_i (n, d); no rows where there is no cone


def weights_of(problem: Problem) -> Array:
    """v_k / sum v, the weight of each sample in the loss 1/2 sum_k v_k (f_k - y_k)^2 / sum v."""
    v = np.ones(len(problem.y)) if problem.sample_weight is None else problem.sample_weight
    return v / v.sum()


def blocks(problem: Problem) -> Iterator[Block]:
    """All blocks of the problem."""
    X, relu = problem.X, problem.formulation == "relu"
    used = weights_of(problem) > 0
    for i, mask in enumerate(problem.patterns.masks.T.astype(float)):
        cone = ((2 * mask - 1)[:, None] * X)[used] if relu else X[:0]
        for sign in (+1, -1) if relu else (+1,):
            yield Block(i, sign, sign * mask[:, None] * X, cone)


def dense_weights(problem: Problem, active_set: Array, weights: Array) -> Array:
    """Weights of all blocks (B, d), in the order of `blocks`."""
    position = {(b.pattern, b.sign): j for j, b in enumerate(blocks(problem))}
    dense = np.zeros((len(position), problem.X.shape[1]))
    for (pattern, sign), w in zip(active_set, weights, strict=True):
        dense[position[pattern, sign]] = w
    return dense


def fitted(problem: Problem, active_set: Array, weights: Array) -> Array:
    """sum_b A_b w_b; of relu neurons what they predict, on rows of weight 0."""
    dense = dense_weights(problem, active_set, weights)
    total = sum(
        (b.columns @ w for b, w in zip(blocks(problem), dense, strict=True)),
        np.zeros(len(problem.y)),
    )
    if problem.formulation == "relu" and problem.sample_weight is not None:
        unheld = problem.sample_weight == 0
        signs = np.asarray(active_set).reshape(-1, 2)[:, 1]
        total[unheld] = np.maximum(problem.X[unheld] @ np.asarray(weights).T, 0) @ signs
    return total


def kinks(problem: Problem, weights: Array) -> NDArray[np.bool_]:
    """(n, k): which relu neurons have their kinks on which rows of weight 0."""
    X, weights = problem.X, np.asarray(weights)
    if problem.formulation == "gated" or problem.sample_weight is None:
        return np.zeros((len(X), len(weights)), dtype=bool)
    sizes = np.outer(np.linalg.norm(X, axis=1), np.linalg.norm(weights, axis=1))
    return (problem.sample_weight == 0)[:, None] & (np.abs(X @ weights.T) <= 1e-9 * sizes)


def fitted_change(
    problem: Problem, active_set: Array, weights: Array, d_weights: Array, side: float = 1.0
) -> Array:
    """The derivative of `fitted` where the weights move by t d_weights; at kinks, on this side."""
    active = np.asarray(active_set).reshape(-1, 2)
    rates = problem.X @ np.asarray(d_weights).T
    is_on = problem.patterns.masks[:, active[:, 0]].astype(bool)
    if problem.formulation == "relu" and problem.sample_weight is not None:
        unheld = problem.sample_weight == 0
        is_on[unheld] = (problem.X @ np.asarray(weights).T)[unheld] > 0
        on_kink = kinks(problem, weights)
        is_on[on_kink] = (side * rates > 0)[on_kink]
    return (is_on * rates) @ active[:, 1]


def objective(problem: Problem, lam: float, active_set: Array, weights: Array) -> float:
    """The convex objective."""
    residual = problem.y - fitted(problem, active_set, weights)
    loss = (weights_of(problem) * residual**2).sum() / 2
    return loss + lam * np.linalg.norm(weights, axis=1).sum()


def cone_violation(problem: Problem, active_set: Array, weights: Array) -> float:
    """max of -(C_i w_b)_k / (||x_k|| ||w_b||), at least 0."""
    worst = 0.0
    dense = dense_weights(problem, active_set, weights)
    for b, w in zip(blocks(problem), dense, strict=True):
        scale = np.linalg.norm(b.cone, axis=1) * np.linalg.norm(w)
        slack = (b.cone @ w)[scale > 0] / scale[scale > 0]
        worst = max(worst, -slack.min(initial=0.0))
    return worst


def face_projectors(cone: Array) -> Array:
    """The projections (F, d, d) onto {u : C_F u = 0}, F any independent rows of the cone."""
    d = cone.shape[1]
    lengths = np.linalg.norm(cone, axis=1)
    units = np.unique(cone[lengths > 0] / lengths[lengths > 0, None], axis=0)
    projectors = [np.eye(d)[None]]
    for size in range(1, min(d, len(units)) + 1):
        faces = units[list(itertools.combinations(range(len(units)), size))]
        _, singular_values, basis = np.linalg.svd(faces, full_matrices=False)
        basis = basis[singular_values[:, -1] > 1e-9]
        projectors.append(np.eye(d) - basis.transpose(0, 2, 1) @ basis)
    return np.concatenate(projectors)


def project(cone: Array, c: Array, projectors: Array | None = None) -> Array:
    """Proj_K(c), K = {u : cone u >= 0}: of the projections onto faces, the nearest that is in K."""
    candidates = (face_projectors(cone) if projectors is None else projectors) @ c
    room = 2e-14 * np.linalg.norm(cone, axis=1) * np.linalg.norm(c)
    inside = candidates[(candidates @ cone.T >= -room).all(axis=1)]
    # ||c - q||^2 = ||c||^2 - ||q||^2
    return max(inside, key=np.linalg.norm, default=np.zeros_like(c))


def prox(cone: Array, x: Array, t: float) -> Array:
    """The minimiser of 1/2 ||w - x||^2 + t ||w|| over K."""
    q = project(cone, x)
    norm = np.linalg.norm(q)
    return max(0.0, 1 - t / norm) * q if norm > 0 else q


def directions(problem: Problem, residual: Array) -> Array:
    """q_b = Proj_{K_b}(A_b' r / n) of all blocks (B, d), in the order of `blocks`."""
    v = weights_of(problem)
    projectors = None
    if problem.formulation == "relu":
        projectors = face_projectors(problem.X[v > 0])
    q = [project(b.cone, b.columns.T @ (v * residual), projectors) for b in blocks(problem)]
    return np.array(q).reshape(-1, problem.X.shape[1])


def lambda_max(problem: Problem) -> float:
    """max_b ||q_b|| at r = y."""
    return np.linalg.norm(directions(problem, problem.y), axis=1).max(initial=0.0)


def dual_value(problem: Problem, lam: float, candidate: Array) -> float:
    """The best dual value of a feasible multiple of the candidate residual."""
    largest = np.linalg.norm(directions(problem, candidate), axis=1).max(initial=0.0)
    limit = min(1.0, lam / largest) if largest > 0 else 1.0
    v = weights_of(problem)
    rr, yr = (v * candidate**2).sum(), (v * problem.y * candidate).sum()
    kappa = np.clip(yr / rr, -limit, limit) if rr > 0 else 0.0
    return kappa * yr - kappa**2 * rr / 2


class Minimum(NamedTuple):
    value: float
    solved: bool  # to the tolerance asked for; otherwise the value is a little too high or too low


def minimise(problem: Problem, lam: float) -> Minimum:
    """The optimal value, by Clarabel's interior point method on the program as it is written."""
    terms, penalty, constraints = [], [], []
    for b in blocks(problem):
        w = cp.Variable(problem.X.shape[1])
        terms.append(b.columns @ w)
        penalty.append(cp.norm(w, 2))
        if len(b.cone):
            constraints.append(b.cone @ w >= 0)
    residual = sum(terms) - problem.y
    loss = cp.sum_squares(cp.multiply(np.sqrt(weights_of(problem)), residual)) / 2
    program = cp.Problem(cp.Minimize(loss + lam * sum(penalty)), constraints)
    tight = {f"tol_{name}": 1e-10 for name in ("gap_abs", "gap_rel", "feas")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it stops at less, `solved` says so
        program.solve(solver=cp.CLARABEL, **tight)
    return Minimum(float(program.value), program.status == cp.OPTIMAL)


# Any loss, an intercept and an offset. The formulas are the textbook ones, of all samples at once.


def entropy(y: Array) -> Array:
    """-y log y - (1 - y) log(1 - y)."""
    return -xlogy(y, y) - xlogy(1 - y, 1 - y)


def loss_values(problem: Problem, f: Array) -> Array:
    """l(f_k, y_k) (n,)."""
    y, loss = problem.y, problem.loss
    if loss.name == "squared":
        return (f - y) ** 2 / 2
    if loss.name == "logistic":
        sign = np.where(y > 0.5, -1.0, 1.0)  # log(1 + e^f) - f = log(1 + e^-f)
        return np.logaddexp(0, sign * f) + (sign < 0) * f - y * f - entropy(y)
    if loss.name == "poisson":
        return np.exp(f) - y * f + xlogy(y, y) - y
    if loss.name == "huber":
        error = np.abs(f - y)
        return np.where(error <= loss.delta, error**2 / 2, loss.delta * (error - loss.delta / 2))
    assert loss.name == "squared_hinge"
    return np.maximum(0, 1 - y * f) ** 2 / 2


def loss_descents(problem: Problem, f: Array) -> Array:
    """-l'(f_k, y_k) (n,), what is called the residual."""
    y, loss = problem.y, problem.loss
    if loss.name == "squared":
        return y - f
    if loss.name == "logistic":
        return y * expit(-f) - (1 - y) * expit(f)
    if loss.name == "poisson":
        return y - np.exp(f)
    if loss.name == "huber":
        return np.clip(y - f, -loss.delta, loss.delta)
    return y * np.maximum(0, 1 - y * f)


def loss_domain(problem: Problem) -> tuple[Array, Array]:
    """Where the conjugate is finite: [low, high] (n,) of -l'."""
    y, loss = problem.y, problem.loss
    unbounded = np.full(len(y), np.inf)
    if loss.name == "logistic":
        return y - 1, y
    if loss.name == "poisson":
        return -unbounded, y
    if loss.name == "huber":
        return np.full(len(y), -loss.delta), np.full(len(y), loss.delta)
    if loss.name == "squared_hinge":
        return np.where(y > 0, 0.0, -np.inf), np.where(y > 0, np.inf, 0.0)
    return -unbounded, unbounded


def loss_conjugates(problem: Problem, t: Array) -> Array:
    """sup_f -t_k f - l(f, y_k) (n,), t in the domain."""
    y, loss = problem.y, problem.loss
    if loss.name == "logistic":
        # s = y - t is the probability fitted: y log(1/s) + (1 - y) log(1/(1 - s)) less its entropy.
        return entropy(y) - entropy(y - t)
    if loss.name == "poisson":
        return xlogy(y - t, y - t) - (y - t) - xlogy(y, y) + y
    return t**2 / 2 - t * y


def fitted_with(problem: Problem, active_set: Array, weights: Array, intercept: float) -> Array:
    """offset + intercept + sum_b A_b w_b."""
    offset = 0.0 if problem.offset is None else problem.offset
    return fitted(problem, active_set, weights) + intercept + offset


class Bounds(NamedTuple):
    primal: float
    dual: float


def bounds(
    problem: Problem,
    lam: float,
    active_set: Array,
    weights: Array,
    intercept: float,
    candidates: tuple[Array, ...] = (),
) -> Bounds:
    """The objective, and the best lower bound that -l' at the fit or a candidate proves."""
    v = weights_of(problem)
    f = fitted_with(problem, active_set, weights, intercept)
    used = v > 0
    primal = (v * loss_values(problem, f))[used].sum()
    primal += lam * np.linalg.norm(weights, axis=1).sum()
    offset = np.zeros(len(v)) if problem.offset is None else problem.offset
    best = 0.0
    for candidate in (loss_descents(problem, f), *candidates):
        t = np.clip(candidate, *loss_domain(problem))
        if problem.fit_intercept:  # the heavier sign is made lighter
            above, below = (v * t)[t > 0].sum(), -(v * t)[t < 0].sum()
            lighter = min(above, below)
            t = np.where(t > 0, t * (lighter / (above or 1)), t * (lighter / (below or 1)))
        largest = np.linalg.norm(directions(problem, t), axis=1).max(initial=0.0)
        t = t * min(1.0, lam / (largest * (1 + 1e-14) or lam))
        value = -(v * (loss_conjugates(problem, t) + offset * t))[used].sum()
        best = max(best, value)
    return Bounds(float(primal), float(best))


def minimise_loss(problem: Problem, lam: float) -> Minimum:
    """As `minimise`, of any loss."""
    f: Any = np.zeros(len(problem.y)) if problem.offset is None else problem.offset
    penalty: list[Any] = []
    constraints = []
    if problem.fit_intercept:
        f = f + cp.Variable()
    for b in blocks(problem):
        w = cp.Variable(problem.X.shape[1])
        f = f + b.columns @ w
        penalty.append(cp.norm(w, 2))
        if len(b.cone):
            constraints.append(b.cone @ w >= 0)
    y, name = problem.y, problem.loss.name
    if name == "squared":
        terms = cp.square(f - y) / 2
    elif name == "logistic":
        terms = cp.logistic(f) - cp.multiply(y, f) - entropy(y)
    elif name == "poisson":
        terms = cp.exp(f) - cp.multiply(y, f) + xlogy(y, y) - y
    elif name == "huber":
        terms = cp.huber(f - y, problem.loss.delta) / 2
    else:
        terms = cp.square(cp.pos(1 - cp.multiply(y, f))) / 2
    loss = cp.sum(cp.multiply(weights_of(problem), terms))
    program = cp.Problem(cp.Minimize(loss + lam * sum(penalty)), constraints)
    tight = {f"tol_{kind}": 1e-10 for kind in ("gap_abs", "gap_rel", "feas")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            program.solve(solver=cp.CLARABEL, **tight)
        except cp.error.SolverError:
            return Minimum(math.nan, False)
    value = math.nan if program.value is None else float(program.value)
    return Minimum(value, program.status == cp.OPTIMAL)


def network_objective(
    X: Array, y: Array, lam: float, hidden: Array, output: Array, gates: Array | None = None
) -> float:
    """1/(2n) ||f(X) - y||^2 + lam/2 sum_j (||W_j||^2 + a_j^2), the network's own problem."""
    inner = X @ hidden.T
    active = inner >= 0 if gates is None else X @ gates >= 0
    f = (active * inner) @ output
    return ((f - y) ** 2).mean() / 2 + lam / 2 * ((hidden**2).sum() + (output**2).sum())


# The certificate in rational arithmetic: no rounding anywhere. Square roots are bounded to 1e-60.

Rational = list[Fraction]


def rational(values: Any) -> Any:
    """Floats as the fractions they are, in nested lists."""
    if isinstance(values, np.ndarray) and values.ndim:
        return [rational(v) for v in values]
    return Fraction(float(values))


def sqrt_below(q: Fraction) -> Fraction:
    scale = 10**60
    return Fraction(math.isqrt(q.numerator * scale**2 // q.denominator), scale)


def sqrt_above(q: Fraction) -> Fraction:
    return sqrt_below(q) + Fraction(1, 10**60)


def dot(u: Rational, v: Rational) -> Fraction:
    return sum((a * b for a, b in zip(u, v, strict=True)), Fraction(0))


def orthogonalise(rows: list[Rational]) -> list[Rational] | None:
    """An orthogonal basis of the span (Gram-Schmidt); None where the rows are dependent."""
    basis: list[Rational] = []
    for row in rows:
        rest = row
        for e in basis:
            coefficient = dot(row, e) / dot(e, e)
            rest = [a - coefficient * b for a, b in zip(rest, e, strict=True)]
        if not any(rest):
            return None
        basis.append(rest)
    return basis


def exact_squared_norm(cone: list[Rational], c: Rational) -> Fraction:
    """||Proj_K(c)||^2."""
    rows = [row for row in cone if any(row)]
    largest = Fraction(0)
    for size in range(len(c) + 1):
        for face in itertools.combinations(rows, size):
            basis = orthogonalise(list(face))
            if basis is None:
                continue
            q = c
            for e in basis:
                coefficient = dot(q, e) / dot(e, e)
                q = [a - coefficient * b for a, b in zip(q, e, strict=True)]
            if all(dot(row, q) >= 0 for row in rows):
                largest = max(largest, dot(q, q))
    return largest


def exact_bounds(
    problem: Problem, lam: float, active_set: Array, weights: Array, candidate: Array
) -> tuple[Fraction, Fraction]:
    """An upper bound on the objective and a lower bound on the optimum, both to 1e-50 relative."""
    v = rational(
        np.ones(len(problem.y)) if problem.sample_weight is None else problem.sample_weight
    )
    total = sum(v)
    v = [a / total for a in v]
    y, r, lam_ = rational(problem.y), rational(candidate), Fraction(lam)

    residual = list(y)
    largest = Fraction(0)
    dense = rational(dense_weights(problem, active_set, weights))
    penalty = Fraction(0)
    for b, w in zip(blocks(problem), dense, strict=True):
        columns = rational(b.columns)
        residual = [a - dot(row, w) for a, row in zip(residual, columns, strict=True)]
        penalty += sqrt_above(dot(w, w)) if any(w) else 0
        c = [
            dot([row[j] for row in columns], [a * s for a, s in zip(v, r, strict=True)])
            for j in range(len(w))
        ]
        largest = max(
            largest, exact_squared_norm(rational(b.cone), c) if len(b.cone) else dot(c, c)
        )
    primal = dot([a * b for a, b in zip(v, residual, strict=True)], residual) / 2 + lam_ * penalty

    limit = min(Fraction(1), lam_ / sqrt_above(largest)) if largest else Fraction(1)
    weighted = [a * b for a, b in zip(v, r, strict=True)]
    rr, yr = dot(weighted, r), dot(weighted, y)
    kappa = max(-limit, min(limit, yr / rr)) if rr else Fraction(0)
    return primal, kappa * yr - kappa**2 * rr / 2


def largest_price_squared(X: Any, r: Any) -> Fraction:
    """max (n F(u) / ||u||)^2, F(u) = r'(Xu)_+ / n, in rational arithmetic.

    At a maximum u lies on a flat, the intersection of some of the hyperplanes x_k . u = 0, and is
    the projection onto it of the gradient of F or -F in its cell. So the largest value over the
    projections of all sums of r_k x_k, whether they are gradients there or not, is the maximum.
    """
    rows = [[Fraction(float(x)) for x in row] for row in X]
    weights = [Fraction(float(x)) for x in r]
    n, d = len(rows), len(rows[0])

    def dot(a: list[Fraction], b: list[Fraction]) -> Fraction:
        return sum((x * y for x, y in zip(a, b, strict=True)), Fraction(0))

    def without(v: list[Fraction], basis: list[list[Fraction]]) -> list[Fraction]:
        for b in basis:
            share = dot(v, b) / dot(b, b)
            v = [x - share * y for x, y in zip(v, b, strict=True)]
        return v

    best = Fraction(0)
    for k in range(d):
        for flat in itertools.combinations(range(n), k):
            basis: list[list[Fraction]] = []
            for i in flat:
                rest = without(rows[i], basis)
                if any(rest):
                    basis.append(rest)
            parts = [
                [weights[i] * x for x in without(rows[i], basis)] for i in range(n) if i not in flat
            ]
            for chosen in itertools.product([0, 1], repeat=len(parts)):
                gradient = [
                    sum((p[j] for p, c in zip(parts, chosen, strict=True) if c), Fraction(0))
                    for j in range(d)
                ]
                for u in (gradient, [-x for x in gradient]):
                    if any(u):
                        products = (
                            w * max(dot(x, u), 0) for w, x in zip(weights, rows, strict=True)
                        )
                        best = max(best, sum(products, Fraction(0)) ** 2 / dot(u, u))
    return best
