"""Small random problems through every product, judged by code that does not trust the solver.

`python -m bench.soak` goes on where this ends.
"""

from __future__ import annotations

import numpy as np
import pytest
from bench import soak
from tests.strategies import FORMULATIONS

from convexrelu import (
    Problem,
    find_optimal_set,
    patterns_from_gates,
    solve,
    to_network,
    trace_path,
)


@pytest.mark.parametrize(("kind", "count"), [("tiny", 250), ("tables", 20), ("ordinary", 8)])
def test_nothing_is_wrong_and_everything_ends(kind: str, count: int) -> None:
    """Within a budget of factorisations and rounds."""
    n_refused = 0
    for seed in range(count):
        case = soak.judged(kind, seed)
        assert not case.faults, (seed, str(case))
        n_refused += any(what.startswith("sets") for what in case.refused)
    assert kind != "tables" or n_refused == 0


@pytest.mark.parametrize("formulation", FORMULATIONS)
def test_paths_of_columns_of_distant_units_get_through(formulation: str) -> None:
    """They restarted for ever: rounding of p_b is what is left of the equations."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n, d = int(rng.integers(3, 16)), int(rng.integers(2, 4))
        X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-3, 3, d)
        gates = rng.standard_normal((d, 6)) / np.abs(X).max(axis=0)[:, None]
        y = rng.integers(-3, 4, n) + 0.1 * rng.standard_normal(n)
        problem = Problem(X, y, patterns_from_gates(X, gates), formulation=formulation)
        lam = 1e-5 * problem.lambda_max
        path = trace_path(problem, lam)
        assert path.status == "optimal" or solve(problem, lam, tol=1e-9).status != "optimal"


def test_what_weights_outside_their_cones_predict_is_certified() -> None:
    """A row that differs by 8e-9 from another: the path takes them for one, which the fit shows."""
    X = np.array([[1.4172922535, 1.0812131799e-08], [1.4172922535, 0.0], [0.0, 1.0812131799e-08]])
    gates = np.array([[3.8e-9, 1.0], [1.1e-8, -1.0], [-3.8e-9, 1.0], [-1.1e-8, 1.0]]).T
    problem = Problem(X, [0.0, 0.0, 1.0], patterns_from_gates(X, gates))
    path = trace_path(problem, 0.01 * problem.lambda_max)
    for lam in np.geomspace(path.lam_max, path.lam_min, 50):
        solution = path(max(float(lam), path.lam_min))
        if solution.status != "optimal":
            continue
        value = to_network(solution).objective(X, problem.y, solution.lam)
        assert value == pytest.approx(solution.objective, rel=1e-12)


def test_traces_of_neurons_are_seen_by_vertices_and_support_alike() -> None:
    """A neuron may hold 1e-7 of the weight, below a tie tolerance, where the fit needs it."""
    case = soak.draw_tiny(640)
    optima = find_optimal_set(solve(case.problem, case.lam))
    active = optima.vertices() > 0
    assert (active.any(axis=0) == optima.support).all()
    assert len(active) > 1
