"""Pictures show the numbers they are of; the examples of docstrings draw the rest."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from convexrelu import (
    Network,
    Problem,
    StandardizedNetwork,
    Standardizer,
    enumerate_patterns,
    find_optimal_set,
    plots,
    prune,
    solve,
)

mpl.use("Agg")

PARITY = np.array([[a, b, c, 1.0] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])


def axes() -> Any:
    return Figure().add_subplot()


def drawn(ax: Any) -> bytes:
    """As a vector picture, which draws all there is."""
    file = io.BytesIO()
    ax.figure.savefig(file, format="svg")
    return file.getvalue()


@pytest.fixture(scope="module")
def solution() -> Any:
    return solve(Problem(PARITY, PARITY.prod(axis=1), enumerate_patterns(PARITY)), 0.02)


def test_neurons() -> None:
    network = Network([[1.0, 0.0], [0.0, -3.0]], [1.0, 1.0])
    ax = plots.neurons(network, axes())
    assert ax.images[0].get_array().tolist() == [[0.0, -3.0], [1.0, 0.0]]
    scaled = StandardizedNetwork(network, Standardizer([0.0], [1.0], 0.0, 1.0))
    labels = plots.neurons(scaled, axes(), names=["a"]).get_xticklabels()
    assert [label.get_text() for label in labels] == ["a", "bias"]
    with pytest.raises(ValueError, match="names must be 2, one for each feature, got 4"):
        plots.neurons(network, axes(), names="abcd")
    assert drawn(plots.neurons(Network(np.empty((0, 2)), []), axes()))


def test_dependence() -> None:
    X = np.random.default_rng(0).normal(size=(30, 2))
    ax = plots.dependence(lambda rows: np.abs(rows[:, 1]) + rows[:, 0], X, 1, axes())
    x, y = ax.lines[0].get_data()
    assert np.allclose(y, np.abs(x) + X[:, 0].mean())
    with pytest.raises(ValueError, match=r"feature must be below the number of columns \(2\)"):
        plots.dependence(np.sum, X, 2, axes())


def test_calibration() -> None:
    ax = plots.calibration(np.linspace(0, 1, 100), np.linspace(0, 1, 100) > 0.5, axes(), n_bins=4)
    assert np.allclose(ax.lines[1].get_ydata(), [0, 0, 1, 1])
    assert drawn(ax)


def test_cells_are_all_there() -> None:
    """Four lines in general position have eleven cells."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(4, 2)), rng.uniform(-0.3, 0.3, 4)])
    ax = plots.cells(X, axes(), half_width=30.0, n_points=700)
    assert ax.get_title(loc="left") == "11 patterns in sight"
    assert len(ax.lines) == 4
    assert drawn(plots.cells(X[:, :2], axes()))
    with pytest.raises(ValueError, match="X must have two or three columns, got 4"):
        plots.cells(PARITY, axes())


def test_gaps() -> None:
    history: list[Any] = []
    X = np.random.default_rng(0).normal(size=(30, 3))
    problem = Problem(X, X[:, 0] ** 2, enumerate_patterns(X))
    solve(problem, 0.01, callback=history.append)
    assert drawn(plots.gaps(history, axes()))
    assert drawn(plots.gaps([], axes()))


def test_optimal_set(solution: Any) -> None:
    optima = find_optimal_set(solution)
    ax = plots.polytope(optima, axes(), size=100)
    points, outline = (line.get_xydata() for line in ax.lines)
    for k in (0, 1):
        assert outline[:, k].min() <= points[:, k].min() + 1e-9
        assert points[:, k].max() <= outline[:, k].max() + 1e-9
    rows = np.column_stack([np.linspace(-2, 2, 9), *np.ones((3, 9))])
    fan = plots.fan(optima, rows, rows[:, 0], axes(), size=5)
    low, high = optima.prediction_range(rows)
    for line in fan.lines:
        assert (low - 1e-8 <= line.get_ydata()).all()
        assert (line.get_ydata() <= high + 1e-8).all()
    one = find_optimal_set(
        solve(
            Problem([[1.0], [-1.0]], [1.0, 0.0], enumerate_patterns(np.array([[1.0], [-1.0]]))), 0.1
        )
    )
    with pytest.raises(ValueError, match="optima must have two neurons at least, got 1"):
        plots.polytope(one, axes())


def test_pruning(solution: Any) -> None:
    optima = find_optimal_set(solution)
    pruned = prune(optima.solution(optima.min_norm()), n_neurons=2)
    ax = plots.pruning(pruned, axes())
    assert sum(len(line.get_xdata()) for line in ax.lines) == len(pruned.history)
    assert drawn(plots.pruning(prune(pruned), axes()))
    with pytest.raises(TypeError, match=r"pruned must be what prune returns, .* got Solution"):
        plots.pruning(solution, axes())
