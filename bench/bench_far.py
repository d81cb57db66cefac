"""Cold solves of relu problems at small lam: how many factorisations, and whether all arrive.

    python -m bench.bench_far [--count 2000] [--many-gates 500] [--grid 100] [--clarabel 30]

Problems are drawn as users bring them: 40 to 500 samples, 2 to 13 features that are Gaussian,
skewed, 0/1 or rounded, 2 to 40 gates (`--many-gates`: so many problems more with 100 to 500), lam
between 1e-2 and 1e-6 lambda_max. The first of each are solved again along a warm grid of lam, and
those that are small by Clarabel, and it is shown by how much the objectives differ. Seeds are
counts, so that a line that is printed can be drawn again.
"""

from __future__ import annotations

import argparse
import time

import cvxpy as cp
import numpy as np

from convexrelu import Problem, sample_patterns, solve

KINDS = ("Gaussian", "skewed", "0/1", "rounded")
# Samples times gates that Clarabel takes a second or two for.
SMALL = 3000


def draw(seed: int, *, many_gates: bool = False) -> tuple[Problem, float]:
    """A problem and lam."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(40, 501)), int(rng.integers(2, 14))
    X = rng.standard_normal((n, d))
    kind = KINDS[seed % len(KINDS)]
    if kind == "skewed":
        X = np.exp(X)
        X = (X - X.mean(axis=0)) / X.std(axis=0)
    elif kind == "0/1":
        X = rng.integers(0, 2, (n, d)).astype(float)
    elif kind == "rounded":
        X = X.round(1)
    if rng.random() < 0.5:
        X[:, -1] = 1.0
    y = (
        np.abs(X @ rng.standard_normal(d))
        + X[:, 0]
        + rng.choice([0.1, 1.0]) * rng.standard_normal(n)
    )
    n_gates = int(rng.integers(100, 501) if many_gates else rng.integers(2, 41))
    problem = Problem(X, y, sample_patterns(X, n_gates, rng=seed))
    return problem, problem.lambda_max * 10 ** rng.uniform(-6, -2)


def along_a_grid(problem: Problem, lam: float) -> float:
    """The objective that warm solves down from .1 lambda_max reach."""
    warm = None
    for step in np.geomspace(0.1 * problem.lambda_max, lam, 17):
        warm = solve(problem, float(step), warm_start=warm)
    assert warm is not None
    return warm.objective


def by_clarabel(problem: Problem, lam: float) -> float | None:
    """The objective that Clarabel finds, if it calls it optimal."""
    X, y, n = problem.X, problem.y, len(problem.y)
    blocks, fitted, constraints = [], 0.0, []
    for mask in problem.patterns.masks.T:
        rows = np.where(mask, 1.0, -1.0)[:, None] * X
        for sign in (1.0, -1.0):
            w = cp.Variable(X.shape[1])
            fitted = fitted + sign * ((mask[:, None] * X) @ w)
            constraints.append(rows @ w >= 0)
            blocks.append(w)
    loss = cp.sum_squares(fitted - y) / (2 * n)
    program = cp.Problem(cp.Minimize(loss + lam * sum(map(cp.norm, blocks))), constraints)
    try:
        program.solve(solver=cp.CLARABEL)
    except cp.SolverError:
        return None
    return float(program.value) if program.status == cp.OPTIMAL else None


def measure(count: int, *, many_gates: bool, n_grid: int, n_clarabel: int) -> None:
    counts: dict[int, list[int]] = {}
    n_failed, worst_grid, differences = 0, -np.inf, []
    start = time.process_time()
    solver_seconds = 0.0
    for seed in range(count):
        problem, lam = draw(seed, many_gates=many_gates)
        if not lam > 0:
            continue
        begun = time.process_time()
        solution = solve(problem, lam)
        solver_seconds += time.process_time() - begun
        counts.setdefault(round(np.log10(lam / problem.lambda_max)), []).append(solution.n_iter)
        if solution.status != "optimal":
            n_failed += 1
            at = f"at {lam / problem.lambda_max:.1e} lambda_max of {problem}"
            print(f"seed {seed}: {solution.status}, gap {solution.gap:.1e} {at}")
        if seed < n_grid:
            excess = solution.objective / along_a_grid(problem, lam) - 1
            worst_grid = max(worst_grid, excess)
        is_small = len(problem.y) * problem.patterns.masks.shape[1] <= SMALL
        if is_small and len(differences) < n_clarabel:
            peer = by_clarabel(problem, lam)
            if peer is not None:
                differences.append(solution.objective / peer - 1)
    print(f"{count} problems, {n_failed} not optimal, {solver_seconds:.0f} s of CPU in solve")
    for power in sorted(counts, reverse=True):
        some = counts[power]
        print(
            f"  lam about 1e{power} lambda_max: {len(some)} problems, factorisations: median "
            f"{np.median(some):.0f}, nine in ten {np.quantile(some, 0.9):.0f}, most {max(some)}"
        )
    if n_grid and count:
        print(f"  above a warm grid by at most {worst_grid:.1e} ({min(n_grid, count)} problems)")
    if differences:
        print(
            f"  above Clarabel by at most {max(differences):.1e}, below by {-min(differences):.1e} "
            f"({len(differences)} that it calls optimal)"
        )
    print(f"  {time.process_time() - start:.0f} s in all")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--many-gates", type=int, default=500)
    parser.add_argument("--grid", type=int, default=100)
    parser.add_argument("--clarabel", type=int, default=30)
    options = parser.parse_args()
    if options.count:
        measure(options.count, many_gates=False, n_grid=options.grid, n_clarabel=options.clarabel)
    if options.many_gates:
        measure(options.many_gates, many_gates=True, n_grid=options.grid, n_clarabel=0)


if __name__ == "__main__":
    main()
