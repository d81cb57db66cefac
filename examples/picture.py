"""Draws docs/picture.svg: `python examples/picture.py`.

40 points of one variable. Left: how far gradient descent (30 neurons, 20 random starts) stays above
the lower bound, proven by the exact solution, on the objective of any network. Right: the networks
that minimise the training problem for four strengths of regularisation.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from convexrelu import Problem, enumerate_patterns, solve, to_network

OUT = Path(__file__).parents[1] / "docs" / "picture.svg"
N_STARTS, WIDTH, N_STEPS, RATE = 20, 30, 5_000, 1e-2


def make_data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-1, 1, 40))
    y = np.sin(5 * x) + np.abs(x - 0.3) + 0.15 * rng.standard_normal(40)
    return x, y - y.mean()


def with_bias(x: np.ndarray) -> np.ndarray:
    return np.column_stack([x, np.ones_like(x)])


def adam(X: np.ndarray, y: np.ndarray, lam: float, seed: int) -> np.ndarray:
    """The objectives of 1/(2n) ||f(X) - y||^2 + lam/2 sum_j (||W_j||^2 + a_j^2) on the way."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((WIDTH, 2)) / np.sqrt(2)
    a = rng.standard_normal(WIDTH) / np.sqrt(WIDTH)
    moments = [[np.zeros_like(p), np.zeros_like(p)] for p in (W, a)]
    values = np.empty(N_STEPS)
    for t in range(1, N_STEPS + 1):
        inner = X @ W.T
        hidden = np.maximum(inner, 0)
        residual = hidden @ a - y
        values[t - 1] = (residual**2).mean() / 2 + lam / 2 * ((W**2).sum() + (a**2).sum())
        back = residual / len(y)
        gradients = (((inner > 0) * np.outer(back, a)).T @ X + lam * W, hidden.T @ back + lam * a)
        rate = RATE * (1 + np.cos(np.pi * t / N_STEPS)) / 2
        for p, (m, v), g in zip((W, a), moments, gradients, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g**2 - v)
            p -= rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-12)
    return values


def main() -> None:
    x, y = make_data()
    X = with_bias(x)
    problem = Problem(X, y, enumerate_patterns(X))  # all patterns: the optimum of any width
    optima = {ratio: solve(problem, ratio * problem.lambda_max) for ratio in (0.3, 0.1, 0.01, 1e-3)}

    mpl.rcParams.update({"svg.hashsalt": "convexrelu", "svg.fonttype": "path", "font.size": 9})
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")

    best = optima[0.01]
    steps = np.unique(np.geomspace(1, N_STEPS, 120).astype(int))
    for seed in range(N_STARTS):
        values = adam(X, y, best.lam, seed)
        excess = values / best.lower_bound - 1
        left.plot(steps, excess[steps - 1], color="0.6", linewidth=0.7)
    left.set(xscale="log", yscale="log", xlabel="steps of Adam", ylabel="above the proven bound")
    text = f"{N_STARTS} random starts\nexact solution: {best.gap:.0e}"
    left.text(0.03, 0.06, text, transform=left.transAxes)

    grid = np.linspace(-1.1, 1.1, 500)
    right.plot(x, y, ".", color="0.5", markersize=5)
    for (ratio, solution), color in zip(optima.items(), ("C0", "C2", "C3", "C1"), strict=True):
        network = to_network(solution).merge()
        label = f"λ = {ratio:g} λ$_{{max}}$, {network.n_neurons} neurons"
        curve = network.predict(with_bias(grid))
        right.plot(grid, curve, color=color, linewidth=1.2, label=label)
    right.set(xlabel="x", ylabel="y")
    right.legend(frameon=False, loc="upper right")

    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(OUT, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    OUT.write_text("".join(line.rstrip() + "\n" for line in OUT.read_text().splitlines()))


if __name__ == "__main__":
    main()
