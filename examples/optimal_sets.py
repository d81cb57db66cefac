"""Draws docs/optimal_sets/*.png: python examples/optimal_sets.py [FOLDER]. Needs matplotlib.

polytope.png   a set of optimal networks as a polytope of weights, and curved, as networks
fan.png        optimal functions of one variable, and the range of their predictions
pruning.png    the objective by number of neurons, for different ways to prune
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, Delaunay

from convexrelu import (
    OptimalSet,
    Problem,
    enumerate_patterns,
    find_optimal_set,
    patterns_from_gates,
    prune,
    sample_patterns,
    solve,
)

Array = NDArray[np.float64]

BLUE, ORANGE, GREY = "#1f5fa8", "#d95f02", "#777777"


def with_ones(X: Array) -> Array:
    return np.column_stack([X, np.ones(len(X))])


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def polytope(folder: Path) -> None:
    """The setting of Figure 1 of Mishkin & Pilanci (2023): four samples of two features."""
    for seed in range(1000):  # the first data whose set has dimension 2
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((4, 2)), rng.standard_normal(4)
        problem = Problem(X, y, sample_patterns(X, 20, rng=seed), formulation="gated")
        optima = find_optimal_set(solve(problem, min(0.01, 0.5 * problem.lambda_max)))
        if optima.dimension == 2:
            break
    low, high = optima.norm_bounds()
    shown = np.argsort(low - high)[:3]  # the three neurons whose norms vary most
    vertices = optima.vertices()[:, shown] * optima.lam
    # Edges and inside in the plane of the polygon, where it is cut into triangles.
    centre = vertices.mean(axis=0)
    plane = np.linalg.svd(vertices - centre)[2][:2].T
    corners = ConvexHull((vertices - centre) @ plane).vertices
    share = np.linspace(0, 1, 60)[:, None]
    edges = [
        vertices[i] + share * (vertices[j] - vertices[i])
        for i, j in zip(corners, np.roll(corners, -1), strict=True)
    ]
    points = np.vstack([*edges, optima.sample(1500, rng=0)[:, shown] * optima.lam])
    triangles = Delaunay((points - centre) @ plane).simplices
    figure = plt.figure(figsize=(9, 4.2))
    for k, (title, shape) in enumerate(
        [("of the convex weights: a polytope", lambda z: z), ("of the network: curved", np.sqrt)]
    ):
        axes = figure.add_subplot(1, 2, k + 1, projection="3d")
        axes.plot_trisurf(*shape(points).T, triangles=triangles, color=BLUE, alpha=0.6, lw=0)
        for edge in edges:
            axes.plot(*shape(edge).T, color=ORANGE, lw=1.5, zorder=5)
        axes.scatter(*shape(vertices).T, s=25, color=ORANGE, depthshade=False, zorder=6)
        axes.set_title(f"norms {title}", y=0.98)
        axes.set(xlabel="neuron 1", ylabel="neuron 2", zlabel="neuron 3")
        axes.view_init(25, 60)
        axes.set_box_aspect((1, 1, 0.9), zoom=0.92)
    figure.subplots_adjust(left=0, right=0.96, bottom=0.02, top=0.94, wspace=0.08)
    save(figure, folder / "polytope.png")


def gated_line() -> tuple[OptimalSet, Array, Array]:
    """Few samples on a line and gates fixed every tenth."""
    x = np.array([-2.0, -1.0, 1.0, 2.0])
    y = np.array([1.0, -1.0, -1.0, 1.0])
    kinks = np.linspace(-2.8, 2.8, 57)
    gates = np.column_stack([np.r_[np.ones(57), -np.ones(57)], np.r_[-kinks, kinks]])
    X = with_ones(x[:, None])
    problem = Problem(X, y, patterns_from_gates(X, gates.T), formulation="gated")
    optima = find_optimal_set(solve(problem, 0.02 * problem.lambda_max))
    return optima, x, optima.fitted


def relu_cube() -> tuple[OptimalSet, Array, Array]:
    """All networks for the parity of the corners of a cube; two of them are on its diagonal."""
    X = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))
    y = X.prod(axis=1)
    X = with_ones(X)
    problem = Problem(X, y, enumerate_patterns(X))
    optima = find_optimal_set(solve(problem, 0.3 * problem.lambda_max))
    return optima, np.array([-1.0, 1.0]), optima.fitted[[0, -1]]


def fan(folder: Path) -> None:
    """Optimal functions agree at the samples and nowhere else."""
    line = np.linspace(-3, 3, 601)
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axes, title, make, rows in (
        (panels[0], "gated, on a line", gated_line, line[:, None]),
        (panels[1], "ReLU, on a diagonal of a cube", relu_cube, line[:, None] * np.ones(3)),
    ):
        optima, x, fitted = make()
        rows = with_ones(rows)
        low, high = optima.prediction_range(rows)
        axes.fill_between(line, low, high, color=BLUE, alpha=0.15, lw=0, label="all optima")
        for alpha in optima.sample(30, rng=0):
            axes.plot(line, optima.network(alpha).predict(rows), color=BLUE, lw=0.5)
        axes.plot(x, fitted, "o", color=ORANGE, label="at samples", zorder=3)
        axes.set_title(f"{title}: dimension {optima.dimension}")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, loc="upper center")
    save(figure, folder / "fan.png")


def pruning(folder: Path) -> None:
    """From an optimum down to nothing, with and without correction."""
    rng = np.random.default_rng(0)
    X = with_ones(rng.standard_normal((60, 5)))
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
    problem = Problem(X, y, sample_patterns(X, 300, rng=0))
    solution = solve(problem, 0.01 * problem.lambda_max)
    figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for label, color, how in (
        ("least squares for the rest", BLUE, {"score": "residual"}),
        ("smallest norm left out", ORANGE, {"score": "magnitude", "correct": False}),
        ("smallest gradient left out", GREY, {"score": "gradient", "correct": False}),
    ):
        history = prune(solution, n_neurons=0, **how).history
        curve = [(len(solution.active_set), solution.objective)]
        curve += [(step.n_neurons, step.objective) for step in history]
        axes.plot(*np.transpose(curve), color=color, label=label)
    axes.set(xlabel="neurons", ylabel="objective", yscale="log")
    axes.invert_xaxis()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    save(figure, folder / "pruning.png")


if __name__ == "__main__":
    docs = Path(__file__).parents[1] / "docs"
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else docs / "optimal_sets"
    target.mkdir(parents=True, exist_ok=True)
    for draw in (polytope, fan, pruning):
        draw(target)
