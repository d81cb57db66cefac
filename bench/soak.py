"""Random problems through every product, judged by code that does not trust the solver.

    python -m bench.soak [--kind tiny] [--count 100000] [--first 0] [--seconds 3600] [--save FILE]

`tiny` problems have at most 6 samples and 3 features, small integers, bits, signs and products of
rank 1, with rows and columns that repeat, vanish or depend, ties broken by 1e-12 to 1e-6, rounding
to 6 to 12 decimals or float32, columns and targets of other units, sample weights, all patterns or
a few with gates on the hyperplanes, lam from above lambda_max to 1e-8 of it. `tables` are cubes,
parities, grids and lines that were rotated, stretched and rounded. `ordinary` ones have up to 150
samples, 8 features and 60 gates of the kinds that users bring.

What is asked: a status that is true (a gap recomputed here, by scipy's NNLS for the cones, or by
rational arithmetic where that does not settle it), paths whose points are optimal and which reach
wherever `solve` is optimal, points of an optimal set that fit and cost what they should, bounds on
the optimum over all networks that are none below it, derivatives that differences show, counts of
factorisations and rounds within a budget. What float64 cannot tell has to be refused by name;
refusals are counted. Seeds are counts, so that a line that is printed can be drawn again:

    python -m bench.soak --kind tiny --first SEED --count 1
"""

from __future__ import annotations

import argparse
import collections
import itertools
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from convexrelu import (
    AccuracyError,
    LimitExceeded,
    Network,
    OptimalSet,
    Problem,
    Progress,
    Solution,
    certify,
    check_network,
    choose_lam,
    descent_path,
    differentiate,
    enumerate_patterns,
    find_optimal_set,
    lambda_max,
    max_pattern_count,
    patterns_from_gates,
    price_patterns,
    prune,
    sample_patterns,
    solve,
    solve_global,
    to_network,
    trace_global_path,
    trace_path,
)

Array = NDArray[np.float64]

# What ends is allowed some ten times the most that was seen in 10^4 problems.
BUDGET = {
    "factorisations of solve": 30_000,
    "factorisations of a path": 100_000,
    "rounds of solve_global": 10_000,
}
# Where X'y leaves so much of lam in doubt, no more is asked than a status that says so.
EXHAUSTED = 1e-6
# A call that takes so much longer than all others does not end.
CPU_SECONDS = 60


# --- drawing


@dataclass
class Case:
    """A problem, lam, and how it was made."""

    problem: Problem
    lam: float
    ratio: float
    how: list[str]
    rng: np.random.Generator
    is_whole: bool  # the patterns are all there are
    faults: list[str] = field(default_factory=list)
    refused: collections.Counter[str] = field(default_factory=collections.Counter)
    work: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        problem = self.problem
        n, d = problem.X.shape
        return (
            f"{problem.formulation} {n} x {d}, {len(problem.patterns)} patterns, "
            f"lam {self.ratio:.1e} lambda_max, {' '.join(self.how)}"
        )


def small_design(rng: np.random.Generator, n: int, d: int, how: list[str]) -> Array:
    kind = rng.choice(
        ["integers", "bits", "signs", "reals", "rank 1"], p=[0.35, 0.2, 0.2, 0.15, 0.1]
    )
    how.append(str(kind))
    X = {
        "integers": lambda: rng.integers(-2, 3, (n, d)).astype(float),
        "bits": lambda: rng.integers(0, 2, (n, d)).astype(float),
        "signs": lambda: rng.choice([-1.0, 1.0], (n, d)),
        "reals": lambda: rng.standard_normal((n, d)),
        "rank 1": lambda: np.outer(rng.integers(-2, 3, n), rng.integers(-2, 3, d)).astype(float),
    }[str(kind)]()
    for _ in range(rng.integers(0, 3)):
        change = rng.choice(["row", "zero row", "column", "zero column", "ones"])
        how.append(str(change))
        if change == "row":
            X[rng.integers(n)] = rng.choice([1, -1, 2, -0.1, 1 / 3]) * X[rng.integers(n)]
        elif change == "zero row":
            X[rng.integers(n)] = 0.0
        elif change == "column":
            X[:, rng.integers(d)] = rng.choice([1.0, -1.0]) * X[:, rng.integers(d)]
        elif change == "zero column":
            X[:, rng.integers(d)] = 0.0
        else:
            X[:, rng.integers(d)] = 1.0
    return X


def untied(rng: np.random.Generator, X: Array, how: list[str]) -> Array:
    """Ties broken, or not."""
    near = rng.choice(["exact", "noise", "rounded", "float32"], p=[0.5, 0.25, 0.15, 0.1])
    if near == "noise":
        size = 10 ** rng.uniform(-12, -6)
        how.append(f"noise {size:.0e}")
        return X + size * rng.standard_normal(X.shape)
    if near in ("rounded", "float32"):
        rotation = np.linalg.qr(rng.standard_normal((X.shape[1],) * 2))[0]
        rotated = X @ rotation if rng.random() < 0.5 else X * rng.uniform(0.1, 3)
        if near == "float32":
            how.append("float32")
            return rotated.astype(np.float32).astype(float)
        decimals = int(rng.integers(6, 13))
        how.append(f"{decimals} decimals")
        return np.round(rotated, decimals)
    return X


def small_target(rng: np.random.Generator, X: Array) -> Array:
    n, d = X.shape
    kind = rng.integers(7)
    y = [
        lambda: rng.integers(-3, 4, n).astype(float),
        lambda: rng.integers(0, 2, n).astype(float),
        lambda: np.full(n, rng.choice([0.0, 1.0, -2.0])),
        lambda: rng.standard_normal(n),
        lambda: X @ rng.integers(-2, 3, d),
        lambda: np.maximum(X @ rng.integers(-2, 3, d), 0.0),
        lambda: rng.choice([-1.0, 1.0], n),
    ][kind]()
    if rng.random() < 0.15:
        y = y + 10 ** rng.uniform(-12, -6) * rng.standard_normal(n)
    return y


def draw_tiny(seed: int) -> Case:
    rng = np.random.default_rng([seed, 0])
    how: list[str] = []
    n, d = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    X = untied(rng, small_design(rng, n, d, how), how)
    y = small_target(rng, X)
    return finish(rng, X, y, how, small_ratio(rng))


def small_ratio(rng: np.random.Generator) -> float:
    if rng.random() < 0.2:
        return float(rng.choice([1 + 1e-12, 1.0, 1 - 1e-12, 1 - 1e-6, 1 - 1e-9]))
    return float(10 ** (rng.uniform(-8, -6) if rng.random() < 0.1 else rng.uniform(-6, 0)))


def draw_table(seed: int) -> Case:
    rng = np.random.default_rng([seed, 1])

    def grid(d: int, values: tuple[int, ...]) -> Array:
        return np.array(list(itertools.product(*[values] * d)), dtype=float)

    kind = str(rng.choice(["cube", "bits", "square", "chequers", "sums", "line", "table"]))
    how = [kind]
    if kind in ("cube", "bits"):
        X = grid(3, (-1, 1) if kind == "cube" else (0, 1))
        by_count = [rng.integers(-1, 2, 4), np.array((-1, 1, -1, 1))][rng.integers(2)]
        y = by_count[(X > 0).sum(axis=1)].astype(float)
    elif kind == "square":
        X = grid(2, (-1, 1))
        y = X.prod(axis=1)
    elif kind == "chequers":
        X = grid(2, (-1, 0, 1))
        y = np.where(np.abs(X).sum(axis=1) % 2 == 0, 1.0, -1.0)
    elif kind == "sums":
        X = grid(2, (0, 1, 2))
        y = rng.choice([-1.0, 0, 1], 5)[X.sum(axis=1).astype(int)]
    elif kind == "line":
        X = np.arange(rng.integers(4, 8), dtype=float)[:, None]
        y = rng.integers(-2, 3, len(X)).astype(float)
    else:
        X = rng.integers(0, 2, (rng.integers(5, 10), rng.integers(2, 4))).astype(float)
        y = rng.integers(-1, 2, len(X)).astype(float)
    y[0] += not y.any()
    X = untied(rng, X, how)
    if kind in ("line", "square", "chequers", "sums") or rng.random() < 0.5:
        X = np.column_stack([X, np.ones(len(X))])
    return finish(rng, X, y, how, 10 ** rng.uniform(-5, -0.3), units=False)


def draw_ordinary(seed: int) -> Case:
    rng = np.random.default_rng([seed, 2])
    n, d = int(rng.integers(8, 151)), int(rng.integers(1, 9))
    kind = str(rng.choice(["Gaussian", "skewed", "0/1", "rounded", "few values"]))
    how = [kind]
    X = rng.standard_normal((n, d))
    if kind == "skewed":
        X = np.exp(X)
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    elif kind == "0/1":
        X = rng.integers(0, 2, (n, d)).astype(float)
    elif kind == "rounded":
        X = X.round(1)
    elif kind == "few values":
        X = rng.integers(-1, 2, (n, d)).astype(float)
    if rng.random() < 0.5:
        X[:, -1] = 1.0
    X = untied(rng, X, how) if rng.random() < 0.3 else X
    y = (
        np.abs(X @ rng.standard_normal(d))
        + X[:, 0]
        + rng.choice([0.1, 1.0]) * rng.standard_normal(n)
    )
    return finish(rng, X, y, how, small_ratio(rng), whole=0.1)


def finish(
    rng: np.random.Generator,
    X: Array,
    y: Array,
    how: list[str],
    ratio: float,
    *,
    units: bool = True,
    whole: float = 0.6,
) -> Case:
    """Units, weights, patterns and lam."""
    n, d = X.shape
    if units and rng.random() < 0.25:
        span = rng.choice([2.0, 8.0])
        X = X * 10 ** rng.uniform(-span, span, d)
        how.append(f"columns 1e+-{span:.0f}")
    if units and rng.random() < 0.1:
        y = y * 10 ** rng.uniform(-8, 8)
        how.append("units of y")
    weights = None
    if rng.random() < 0.2:
        weights = rng.integers(0, 4, n).astype(float)
        weights[rng.integers(n)] += 1
        how.append("weights")
    is_whole = rng.random() < whole and max_pattern_count(n, d) <= 400
    if is_whole:
        patterns = enumerate_patterns(X)
    elif n > 10:
        patterns = sample_patterns(X, int(rng.integers(2, 61)), rng=rng)
    else:
        gates = rng.integers(-2, 3, (d, int(rng.integers(1, 9)))).astype(float)
        if rng.random() < 0.5:
            gates = np.hstack([gates, X[rng.integers(n, size=2)].T])
        patterns = patterns_from_gates(X, gates)
    formulation = "relu" if rng.random() < 0.65 else "gated"
    problem = Problem(X, y, patterns, formulation=formulation, sample_weight=weights)
    scale = problem.lambda_max
    if not scale > 1e-13 * np.abs(X).max() * np.abs(y).max():
        scale = np.abs(X).max() * np.abs(y).max() or 1.0
    return Case(problem, float(ratio * scale), ratio, how, rng, is_whole)


DRAW: dict[str, Callable[[int], Case]] = {
    "tiny": draw_tiny,
    "tables": draw_table,
    "ordinary": draw_ordinary,
}


# --- judging


def bounds(problem: Problem, lam: float, solution: Solution) -> tuple[float, float]:
    """The objective of the weights, and a lower bound on the optimum from a dual point: what any
    tau >= 0 gives is one, ||Proj_K c|| <= ||c + C'tau||, whoever found tau. In long double.
    """
    real = np.longdouble
    X, y = problem.X.astype(real), problem.y.astype(real)
    v = (
        np.ones(len(y), real)
        if problem.sample_weight is None
        else problem.sample_weight.astype(real)
    )
    v = v / v.sum()
    masks = problem.patterns.masks.astype(bool)
    is_relu = problem.formulation == "relu"

    fit = np.zeros(len(y), real)
    penalty = real(0)
    for (pattern, sign), w in zip(solution.active_set, solution.weights.astype(real), strict=True):
        along = X @ w
        fit += sign * (np.maximum(along, 0) if is_relu else along * masks[:, pattern])
        penalty += np.sqrt(w @ w)
    rest = y - fit
    objective = (v * rest) @ rest / 2 + lam * penalty

    used = np.asarray(v > 0)
    units = X / np.maximum(np.sqrt((X * X).sum(axis=1)), np.finfo(float).tiny)[:, None]

    def value(r: Any) -> Any:
        largest = real(0)
        for pattern in range(masks.shape[1]):
            c = (X * masks[:, pattern, None]).T @ (v * r)
            for sign in (1, -1) if is_relu else (1,):
                if not is_relu or np.sqrt(c @ c) <= lam:
                    largest = max(largest, np.sqrt(c @ c))
                    continue
                cone = np.where(masks[:, pattern], 1, -1)[:, None] * units
                largest = max(largest, cone_norm(cone[used], sign * c))
        limit = lam / largest if largest > lam else real(1)
        rr, yr = (v * r) @ r, (v * r) @ y
        kappa = min(limit, max(-limit, yr / rr)) if rr > 0 else real(0)
        return kappa * yr - kappa**2 * rr / 2

    # What the library says of a bound is the better of these two.
    lower = max(value(solution.dual.astype(real)), value(solution.residual.astype(real)))
    return float(objective), float(lower)


def cone_norm(cone: Any, c: Any) -> Any:
    """An upper bound on the norm of the projection of c onto {u : cone u >= 0}."""
    size = np.sqrt(c @ c)
    if not len(cone) or size == 0:
        return size
    # Twice: what the first leaves is projected again, which recovers digits.
    rest, total = c / size, np.zeros(len(cone), np.longdouble)
    for _ in range(2):
        try:
            tau, _ = nnls(cone.T.astype(float), -rest.astype(float))
        except RuntimeError:
            break
        better = c / size + cone.T @ (total + tau)
        if not better @ better < rest @ rest:
            break
        total, rest = total + tau, better
    active = np.flatnonzero(total > 0)
    if len(active) and len(active) <= len(c):  # the normals that hold, to the last digit
        normals = cone[active].T
        tau = solve_least_squares(normals, -(c / size))
        polished = c / size + normals @ np.maximum(tau, 0)
        if polished @ polished < rest @ rest:
            rest = polished
    return size * np.sqrt(rest @ rest)


def solve_least_squares(A: Any, b: Any) -> Any:
    """In long double, by refinement of float64's."""
    x = np.zeros(A.shape[1], np.longdouble)
    for _ in range(4):
        rest = b - A @ x
        x = x + np.linalg.lstsq(A.astype(float), rest.astype(float), rcond=1e-15)[0]
    return x


def exact_gap(problem: Problem, lam: float, solution: Solution) -> float:
    """In rational arithmetic, where the problem is small enough; else nan."""
    from tests.oracles import exact_bounds

    if len(problem.y) > 8 or problem.X.shape[1] > 4:
        return float("nan")
    upper, lower = max(
        (
            exact_bounds(problem, lam, solution.active_set, solution.weights, r)
            for r in (solution.dual, solution.residual)
        ),
        key=lambda pair: pair[1],
    )
    return float((upper - lower) / upper) if upper > 0 else 0.0


class Judge:
    """Runs the products on a case and notes what is wrong."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.problem, self.lam, self.rng = case.problem, case.lam, case.rng
        self.scale = float(np.abs(case.problem.y).max()) or 1.0
        self.network: Network | None = None

    def wrong(self, what: str) -> None:
        self.case.faults.append(what)

    def refuse(self, what: str) -> None:
        self.case.refused[what] += 1

    def spent(self, what: str, n: int) -> None:
        self.case.work[what] = n
        if n > BUDGET[what]:
            self.wrong(f"{what}: {n}, more than {BUDGET[what]}")

    def run(self) -> None:
        solution = self.cold()
        self.path()
        for product in (self.sets, self.pruning, self.derivatives, self.networks):
            try:
                product(solution)
            except AccuracyError as error:
                self.refuse(f"{product.__name__}: {str(error)[:40]}")
            except LimitExceeded:
                self.refuse(f"{product.__name__}: limit")

    def optimal(self, solution: Solution, tol: float, what: str) -> None:
        """That a solution which says so has a gap of tol."""
        upper, lower = bounds(self.problem, solution.lam, solution)
        gap = (upper - lower) / upper if upper > 0 else 0.0
        if gap > tol * 1.05 + 1e-13:
            exact = exact_gap(self.problem, solution.lam, solution)
            if not exact <= tol * 1.05 + 1e-13:
                self.wrong(f"{what}: gap {solution.gap:.1e} is {gap:.1e} (exactly {exact:.1e})")
        off = abs(solution.objective - upper)
        if off > (1e-9 + self.of_weights(solution)) * upper and off > 1e-14 * self.scale**2:
            self.wrong(f"{what}: objective {solution.objective:.6e} is {upper:.6e}")

    def cold(self) -> Solution:
        solution = solve(self.problem, self.lam)
        if solution.status == "optimal":
            self.optimal(solution, 1e-8, "solve")
        elif solution.status == "numerical_failure":
            self.refuse("solve: numerical_failure")
        elif solution.status == "stalled" and self.rounding(self.lam) > EXHAUSTED:
            self.refuse("solve: stalled where float64 is exhausted")
        else:
            self.wrong(f"solve: {solution.status}, gap {solution.gap:.1e}")
        self.spent("factorisations of solve", solution.n_iter)
        certificate = certify(solution)
        if certificate.gap > max(solution.gap, 1e-8) * 1.01:
            self.wrong(f"certify: gap {certificate.gap:.1e} of {solution.gap:.1e}")
        try:
            network = self.network = to_network(solution)
        except ValueError as error:
            # A gate within 1e-12 of a sample: the pattern, taken for a tie, has no gate of float64.
            if self.problem.formulation != "gated" or "the gate of pattern" not in str(error):
                raise
            self.refuse("to_network: a gate on a sample")
            return solution
        value = network.objective(
            self.problem.X, self.problem.y, self.lam, sample_weight=self.problem.sample_weight
        )
        room = 1e-9 + 10 * self.of_weights(solution)
        if abs(value - solution.objective) > room * value + 1e-14 * self.scale**2:
            self.wrong(f"to_network: objective {value:.6e}, not {solution.objective:.6e}")
        return solution

    def rounding(self, lam: float) -> float:
        """What X'y, rounded once, leaves of lam in doubt."""
        X, y = self.problem.X, self.problem.y
        return float(2e-16 * np.linalg.norm(X) * np.linalg.norm(y) / len(y) / lam)

    def of_weights(self, solution: Solution) -> float:
        """What an objective changes by, relatively, where X and the weights are rounded once."""
        lengths, r = np.linalg.norm(self.problem.X, axis=1), np.abs(solution.residual)
        fit = lengths * np.linalg.norm(solution.weights, axis=1).sum()
        return float(
            2e-16 * self.weights() @ (fit * (r + 1e-16 * fit)) / (solution.objective or 1.0)
        )

    def path(self) -> None:
        if self.case.ratio >= 1:
            return
        path = trace_path(self.problem, self.lam)
        if path.status == "stalled":
            if self.rounding(path.lam_min) > 10 * path.tol:
                self.refuse("path: stalled where float64 is exhausted")
            elif all(
                solve(self.problem, lam, tol=path.tol).status == "optimal"
                for lam in (self.lam, 0.9 * path.lam_min)
            ):
                at = path.lam_min / self.lam * self.case.ratio
                self.wrong(f"path: stalled at {at:.1e} lambda_max after {path.n_segments}")
        elif path.status != "optimal":
            self.refuse(f"path: {path.status}")
        self.spent("factorisations of a path", path.n_factorisations)
        if not path.n_segments:
            return
        ends = np.unique(np.append(path.segment_ends, path.lam_max))
        middles = np.sqrt(ends[1:] * ends[:-1])
        every = np.concatenate([ends, middles])
        for lam in self.rng.choice(every, min(6, len(every)), replace=False):
            if not path.lam_min <= lam <= path.lam_max:
                continue
            point = path(float(lam))
            if point.gap > 1e-9 + 10 * self.rounding(point.lam):
                self.wrong(f"path: gap {point.gap:.1e} at {lam / path.lam_max:.1e} lambda_max")
            elif point.status == "optimal":
                self.optimal(point, 1e-9, "path")

    def sets(self, solution: Solution) -> None:
        if solution.status != "optimal":
            return
        optima = find_optimal_set(solution)
        points = [optima.min_norm(), optima.minimize(self.rng.standard_normal(len(optima.blocks)))]
        points += list(optima.sample(2, rng=int(self.rng.integers(99))))
        fewest = optima.smallest(time_limit=CPU_SECONDS)
        points.append(fewest)
        try:
            vertices = optima.vertices(2000)
        except LimitExceeded:
            self.refuse("sets: more than 2000 vertices")
        else:
            points += list(vertices)
            least = (vertices > 0).sum(axis=1).min(initial=10**9)
            if len(vertices) and (fewest > 0).sum() != least:
                self.wrong(f"smallest: {(fewest > 0).sum()} neurons, a vertex has {least}")
            self.vertices_of(optima, vertices)
        low, high = optima.norm_bounds()
        for alpha in points:
            self.member(optima, alpha, solution, low, high)

    def member(
        self, optima: OptimalSet, alpha: Array, solution: Solution, low: Array, high: Array
    ) -> None:
        """alpha >= 0, the fit and the cost are those of the solution, by X and y alone."""
        problem = self.problem
        if not (
            np.isfinite(alpha).all() and (alpha >= -1e-12 * np.abs(alpha).max(initial=1)).all()
        ):
            self.wrong("set: a point is negative")
            return
        value = optima.solution(alpha)
        used = slice(None) if problem.sample_weight is None else problem.sample_weight > 0
        misfit = np.linalg.norm((value.fitted - solution.fitted)[used])
        upper, _ = bounds(problem, self.lam, value)
        # Neither knows the fit better than its gap says.
        v = self.weights()
        room = np.sqrt(2 * max(solution.gap, 0) * solution.objective / v[v > 0].min())
        if misfit > 2e-8 * np.linalg.norm(problem.y[used]) + 2 * room:
            self.wrong(f"set: a point misses the fit by {misfit / np.linalg.norm(problem.y):.1e}")
        if upper > solution.objective * (1 + 3e-8) + 1e-14 * self.scale**2:
            self.wrong(f"set: a point costs {upper / solution.objective - 1:.1e} more")
        norms = self.lam * alpha
        size = 1e-6 * norms.sum()
        if (norms < low - size).any() or (norms > high + size).any():
            self.wrong("norm_bounds: a point is outside")

    def weights(self) -> Array:
        v = self.problem.sample_weight
        v = np.ones(len(self.problem.y)) if v is None else v
        return v / v.sum()

    def vertices_of(self, optima: OptimalSet, vertices: Array) -> None:
        """Minimal supports, and all of them where the set is small enough to look for others."""
        active = vertices > 0
        for a, b in itertools.permutations(range(min(len(active), 40)), 2):
            if (active[a] <= active[b]).all():
                self.wrong("vertices: the support of one holds that of another")
                return
        if len(optima.blocks) and not (active.any(axis=0) == optima.support).all():
            self.wrong("vertices: they do not cover the support")

    def pruning(self, solution: Solution) -> None:
        if solution.status != "optimal":
            return
        pruned = prune(solution)
        allowed = solution.objective * (1 + 2e-8) + 1e-14 * self.scale**2
        if pruned.objective > allowed:
            self.wrong(f"prune: {pruned.objective / solution.objective - 1:.1e} above")
        if len(pruned.active_set) > min(len(solution.active_set), len(self.problem.y)):
            self.wrong("prune: more neurons than samples")
        if self.network is not None and self.network.n_neurons > 1:
            n = int(self.rng.integers(len(solution.active_set)))
            if len(prune(self.network, self.problem.X, n_neurons=n).output) > n:
                self.wrong("prune: more neurons than asked for")

    def derivatives(self, solution: Solution) -> None:
        if solution.status != "optimal":
            return
        sensitivity = differentiate(solution)
        if not sensitivity.fit_differentiable:
            return
        rate = np.asarray(sensitivity.d_fitted_d_lam)
        used = self.weights() > 0
        if not np.isfinite(rate[used]).all():
            self.wrong("derivatives: not finite")
            return
        is_far = abs(self.case.ratio - 1) > 1e-5
        if self.rng.random() < 0.8 or solution.gap > 1e-12 or not is_far:
            return
        errors = []
        for step in (1e-3, 1e-4, 1e-5, 1e-6):
            above, below = (
                solve(self.problem, self.lam * (1 + s * step), tol=1e-12, warm_start=solution)
                for s in (1, -1)
            )
            change = (above.fitted - below.fitted) / (2 * step)
            size = np.linalg.norm(change[used]) + np.linalg.norm(self.lam * rate[used])
            error = np.linalg.norm((change - self.lam * rate)[used])
            # Two fits are as exact as their gaps say.
            gap = max(above.gap, below.gap, 1e-15)
            room = np.sqrt(2 * gap * solution.objective / self.weights()[used].min()) / step
            errors.append(error / (size + room) if size else 0.0)
        if min(errors) > 0.05:
            self.wrong(f"derivatives: d_fitted_d_lam is off by {min(errors):.0e}")

    def networks(self, solution: Solution) -> None:
        """Over all networks: bounds that hold, values that agree with those of all patterns."""
        case, problem, rng = self.case, self.problem, self.rng
        X, y, v = problem.X, problem.y, problem.sample_weight
        if problem.formulation != "relu" or rng.random() > (0.5 if len(y) <= 10 else 0.1):
            return
        seed = int(rng.integers(99))
        rounds = 0

        def count(_: Progress) -> None:
            nonlocal rounds
            rounds += 1

        limits: dict[str, Any] = {"sample_weight": v, "time_limit": CPU_SECONDS}
        if len(y) > 10:
            limits["time_limit"] = 2.0
        found = solve_global(X, y, self.lam, rng=seed, callback=count, **limits)
        self.spent("rounds of solve_global", rounds)
        known = min(solution.objective, found.objective)
        floor = 1e-14 * self.scale**2
        if found.global_lower_bound > known * (1 + 1e-9) + floor:
            self.wrong(f"solve_global: bound {found.global_lower_bound / known - 1:.1e} above")
        if case.is_whole and solution.status == "optimal":
            if found.objective < solution.lower_bound * (1 - 1e-9) - floor:
                self.wrong("solve_global: below the optimum over all patterns")
            if found.is_global and found.objective > solution.objective * (1 + 2e-4) + floor:
                self.wrong(f"solve_global: {found.objective / solution.objective - 1:.1e} above")
        network = to_network(found)
        report = check_network(network, X, y, self.lam, rng=seed, **limits)
        if report.global_lower_bound > known * (1 + 1e-9) + floor:
            self.wrong(f"check_network: bound {report.global_lower_bound / known - 1:.1e} above")
        largest = lambda_max(X, y, sample_weight=v, rng=seed, time_limit=limits["time_limit"])
        room = 1e-3 if len(y) <= 10 else np.inf
        if case.is_whole and largest.upper_bound < problem.lambda_max * (1 - 1e-9) - floor:
            self.wrong("lambda_max: the bound is below that of all patterns")
        off = abs(largest.value - problem.lambda_max)
        if case.is_whole and largest.is_exact and off > room * problem.lambda_max + floor:
            self.wrong(f"lambda_max: {largest.value:.6e}, not {problem.lambda_max:.6e}")
        price = price_patterns(X, solution.dual, rng=seed, **limits)
        if price.value > price.upper_bound * (1 + 1e-12):
            self.wrong("price_patterns: value above its bound")
        if rng.random() < 0.2:
            steps = descent_path(network, X, y, self.lam, n_steps=3, rng=seed, **limits)
            values = [step.objective(X, y, self.lam, sample_weight=v) for step in steps]
            if any(
                b > a * (1 + 1e-9 + self.rounding(self.lam)) + floor
                for a, b in itertools.pairwise(values)
            ):
                self.wrong("descent_path: it rises")
        if rng.random() < 0.05 and problem.lambda_max > 0 and v is None:
            trace_global_path(X, y, n_lams=3, lam_min_ratio=1e-3, rng=seed, **limits)
            if len(y) >= 5:
                choose_lam(
                    X, y, cv=2, lams=[self.lam, 2 * self.lam], rng=seed, time_limit=CPU_SECONDS
                )


class NeverEnds(BaseException):
    pass


def judged(kind: str, seed: int) -> Case:
    """The case of a seed with what is wrong with it."""

    def give_up(*_: object) -> None:
        raise NeverEnds

    case = DRAW[kind](seed)
    signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        Judge(case).run()
    except NeverEnds:
        where = traceback.extract_tb(sys.exc_info()[2])
        lines = [line.name for line in where if line.filename.endswith("soak.py")]
        case.faults.append(f"no end: {' '.join(lines)}")
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        line = [line for line in where if line.filename.endswith("soak.py")][-1]
        case.faults.append(f"{type(error).__name__} {line.lineno}: {str(error)[:150]}")
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return case


def soak(kind: str, seeds: Iterator[int], seconds: float) -> collections.Counter[str]:
    """Prints what is wrong as it is found; what was seen, by kind."""
    seen: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + seconds
    for seed in seeds:
        if time.monotonic() > end:
            break
        case = judged(kind, seed)
        seen["problems"] += 1
        seen["refused"] += bool(case.refused)
        for what, n in case.refused.items():
            seen[f"refused, {what}"] += n
        if case.faults:
            seen["with a fault"] += 1
            print(f"{kind} {seed}: {'; '.join(dict.fromkeys(case.faults))} [{case}]", flush=True)
        for what in {fault.split(":")[0] for fault in case.faults}:
            seen[f"fault, {what}"] += 1
        for what, n in case.work.items():
            seen[f"most {what}"] = max(seen[f"most {what}"], n)
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=DRAW, default="tiny")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=np.inf)
    options = parser.parse_args()
    warnings.simplefilter("error")
    start = time.process_time()
    seeds = iter(range(options.first, options.first + options.count))
    seen = soak(options.kind, seeds, options.seconds)
    print(f"{options.kind} from seed {options.first}, {time.process_time() - start:.0f} s of CPU")
    for what, n in sorted(seen.items()):
        print(f"  {what}: {n}")


if __name__ == "__main__":
    main()
