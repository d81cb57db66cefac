"""Small random problems through every product, judged by code that does not trust the solver.

`python -m bench.soak` goes on where this ends.
"""

from __future__ import annotations

import numpy as np
import pytest
from bench import soak
from tests.strategies import FORMULATIONS

from convexrelu import Problem, find_optimal_set, patterns_from_gates, solve, trace_path


@pytest.mark.parametrize(("kind", "count"), [("tiny", 250), ("tables", 20), ("ordinary", 8)])
def test_nothing_is_wrong_and_everything_ends(kind: str, count: int) -> None:
    """Within a budget of factorisations and rounds."""
    n_refused = 0
    for seed in range(count):
        case = soak.judged(kind, seed)
        assert not case.faults, (seed, str(case))
        n_refused += any(what.startswith("sets") for what in case.refused)
    assert kind != "tables" or n_refused == 0


class TestColumnsOfDistantUnits:
    """Paths that restarted for ever: rounding of p_b is all that is left of the equations."""

    @pytest.mark.parametrize("formulation", FORMULATIONS)
    def test_paths_get_through(self, formulation: str) -> None:
        for seed in range(12):
            rng = np.random.default_rng(seed)
            n, d = int(rng.integers(3, 30)), int(rng.integers(2, 5))
            X = rng.choice([-1.0, 1.0], (n, d)) + 1e-6 * rng.standard_normal((n, d))
            X *= 10.0 ** rng.uniform(-4, 4, d)
            gates = rng.standard_normal((d, 6)) / np.abs(X).max(axis=0)[:, None]
            y = rng.integers(-3, 4, n) + 0.1 * rng.standard_normal(n)
            problem = Problem(X, y, patterns_from_gates(X, gates), formulation=formulation)
            lam = 1e-5 * problem.lambda_max
            path = trace_path(problem, lam)
            assert path.status == "optimal" or solve(problem, lam, tol=1e-9).status != "optimal"
            assert path.n_restarts < 50


def test_traces_of_neurons_are_seen_by_vertices_and_support_alike() -> None:
    """A neuron may hold 1e-7 of the weight, less than the largest tie tolerance, where the fit needs it."""
    case = soak.draw_tiny(640)
    optima = find_optimal_set(solve(case.problem, case.lam))
    active = optima.vertices() > 0
    assert (active.any(axis=0) == optima.support).all()
    assert len(active) > 1
