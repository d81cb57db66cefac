"""Draws docs/path.png, the path of the guide: python examples/path.py [FILE]. Needs matplotlib."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from convexrelu import Problem, Standardizer, sample_patterns, trace_path


def main() -> None:
    rng = np.random.default_rng(0)
    rows = rng.uniform(10, 90, (200, 4))
    prices = np.maximum(rows[:, 0] - 50, 0) + rows[:, 1] / 2
    standardizer = Standardizer.fit(rows, prices)
    X, y = standardizer.transform(rows), standardizer.transform_target(prices)
    problem = Problem(X, y, sample_patterns(X, 300, rng=0))
    path = trace_path(problem, 0.01 * problem.lambda_max)
    figure, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
    path.plot(ax)
    default = Path(__file__).resolve().parents[1] / "docs" / "path.png"
    figure.savefig(sys.argv[1] if len(sys.argv) > 1 else default, dpi=110)


if __name__ == "__main__":
    main()
