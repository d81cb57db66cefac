"""Pictures of optimal sets: python examples/optimal_sets.py [FOLDER]. Needs matplotlib.

polytope.png   a set of optimal networks as a polytope of weights, and curved, as networks
fan.png        optimal functions of one variable, and the range of their predictions
pruning.png    the objective by number of neurons, for different ways to prune
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from convexrelu import (
    Problem,
    find_optimal_set,
    patterns_from_gates,
    prune,
    sample_patterns,
    solve,
)

Array = NDArray[np.float64]

BLUE, ORANGE, GREY = "#1f5fa8", "#d95f02", "#777777"


def with_ones(x: Array) -> Array:
    return np.column_stack([x, np.ones(len(x))])


def polytope(folder: Path) -> None:
    """The setting of Figure 1 of Mishkin & Pilanci (2023): four samples of two features."""
    for seed in range(1000):  # the first data whose set has dimension 2 or more
        rng = np.random.default_rng(seed)
        X, y = rng.standard_normal((4, 2)), rng.standard_normal(4)
        problem = Problem(X, y, sample_patterns(X, 20, rng=seed), formulation="gated")
        optima = find_optimal_set(solve(problem, min(0.01, 0.5 * problem.lambda_max)))
        if optima.dimension >= 2:
            break
    low, high = optima.norm_bounds()
    shown = np.argsort(low - high)[:3]  # the three neurons whose norms vary most
    vertices = optima.vertices()[:, shown] * optima.lam
    points = optima.sample(4000, rng=0)[:, shown] * optima.lam
    figure = plt.figure(figsize=(9, 4))
    for k, (title, shape) in enumerate(
        [("convex weights: a polytope", lambda z: z), ("network weights: curved", np.sqrt)]
    ):
        axes = figure.add_subplot(1, 2, k + 1, projection="3d")
        axes.scatter(*shape(points).T, s=1, color=BLUE, alpha=0.25)
        axes.scatter(*shape(vertices).T, s=40, color=ORANGE, depthshade=False)
        axes.set_title(title)
        axes.set(xlabel="neuron 1", ylabel="neuron 2", zlabel="neuron 3")
        axes.view_init(25, 50)
    figure.suptitle(f"dimension {optima.dimension}, {len(vertices)} vertices, one objective")
    figure.savefig(folder / "polytope.png", dpi=120)


def fan(folder: Path) -> None:
    """Few samples and fixed gates: optimal functions agree at the samples and nowhere else."""
    x = np.array([-2.0, -1.0, 1.0, 2.0])
    X, y = with_ones(x), np.array([1.0, -1.0, -1.0, 1.0])
    kinks = np.linspace(-2.8, 2.8, 57)
    gates = np.column_stack([np.r_[np.ones(57), -np.ones(57)], np.r_[-kinks, kinks]])
    problem = Problem(X, y, patterns_from_gates(X, gates.T), formulation="gated")
    optima = find_optimal_set(solve(problem, 0.02 * problem.lambda_max))
    line = np.linspace(-3, 3, 601)
    low, high = optima.prediction_range(with_ones(line))
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.fill_between(line, low, high, color=BLUE, alpha=0.15, label="range of all optima")
    for alpha in optima.sample(30, rng=0):
        axes.plot(line, optima.network(alpha).predict(with_ones(line)), color=BLUE, lw=0.5)
    axes.plot(x, y, "o", color=ORANGE, label="samples")
    axes.legend()
    axes.set_title(f"optimal networks, a set of dimension {optima.dimension}")
    figure.savefig(folder / "fan.png", dpi=120)


def pruning(folder: Path) -> None:
    """From an optimum down to nothing, with and without correction."""
    rng = np.random.default_rng(0)
    X = with_ones(rng.standard_normal((60, 5)))
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2]
    problem = Problem(X, y, sample_patterns(X, 300, rng=0))
    solution = solve(problem, 0.01 * problem.lambda_max)
    figure, axes = plt.subplots(figsize=(7, 4))
    for label, color, how in (
        ("least squares, residual score", BLUE, {"score": "residual"}),
        ("magnitude", ORANGE, {"score": "magnitude", "correct": False}),
        ("gradient", GREY, {"score": "gradient", "correct": False}),
    ):
        history = prune(solution, n_neurons=0, **how).history
        curve = [(len(solution.active_set), solution.objective)]
        curve += [(step.n_neurons, step.objective) for step in history]
        axes.plot(*np.transpose(curve), color=color, label=label)
    axes.set(xlabel="neurons", ylabel="objective", yscale="log")
    axes.invert_xaxis()
    axes.legend()
    figure.savefig(folder / "pruning.png", dpi=120)


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    target.mkdir(parents=True, exist_ok=True)
    for draw in (polytope, fan, pruning):
        draw(target)
