"""The non-convex competitor: Adam on the network itself, full batch, float64, cosine schedule.

    minimise  1/(2n) ||(X W')_+ a - y||^2 + lam/2 (||W||^2 + ||a||^2),   200 neurons

What is reported is the value after balancing the two layers, with penalty lam sum |a_j| ||w_j||,
which is never above the objective that was descended. Runs in the environment that has torch, once
for every learning rate, seed and time budget, since the schedule depends on the budget; prints one
line of JSON a run, with the values that it passed on its way (the clock stands still while they are
computed).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from typing import Any

import numpy as np
import torch

from bench import data

WIDTH = 200
LEARNING_RATES = (1e-3, 3e-3, 1e-2)
SCHEDULE_EVERY = 20  # steps
CURVE_START, CURVE_GROWTH = 0.05, 1.25  # seconds of the first value noted, ratio of the times


def train(
    X: np.ndarray, y: np.ndarray, lam: float, *, seconds: float, learning_rate: float, seed: int
) -> dict[str, Any]:
    """The objective after `seconds` of CPU time, the steps made, and the curve (seconds, value)."""
    torch.manual_seed(seed)
    inputs, targets = torch.tensor(X), torch.tensor(y)
    n, d = X.shape
    hidden = (torch.randn(WIDTH, d, dtype=torch.float64) / math.sqrt(d)).requires_grad_()
    output = (torch.randn(WIDTH, dtype=torch.float64) / math.sqrt(WIDTH)).requires_grad_()
    optimiser = torch.optim.Adam([hidden, output], lr=learning_rate)
    curve: list[tuple[float, float]] = []
    steps, due = 0, CURVE_START
    start = time.process_time()
    while (spent := time.process_time() - start) < seconds:
        if spent >= due:
            curve.append((round(spent, 4), balanced_objective(X, y, lam, hidden, output)))
            due = spent * CURVE_GROWTH
            start = time.process_time() - spent
        if steps % SCHEDULE_EVERY == 0:
            for group in optimiser.param_groups:
                group["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * spent / seconds))
        optimiser.zero_grad()
        error = torch.relu(inputs @ hidden.T) @ output - targets
        penalty = (hidden**2).sum() + (output**2).sum()
        loss = (error**2).sum() / (2 * n) + lam / 2 * penalty
        loss.backward()
        optimiser.step()
        steps += 1
    value = balanced_objective(X, y, lam, hidden, output)
    return {"objective": value, "steps": steps, "curve": [*curve, (round(spent, 4), value)]}


def balanced_objective(
    X: np.ndarray, y: np.ndarray, lam: float, hidden: torch.Tensor, output: torch.Tensor
) -> float:
    W, a = hidden.detach().numpy(), output.detach().numpy()
    residual = y - np.maximum(X @ W.T, 0.0) @ a
    return float(residual @ residual / (2 * len(y)) + lam * np.abs(a) @ np.linalg.norm(W, axis=1))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("lam", type=float)
    parser.add_argument("--seconds", type=float, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    _, X, y, _ = data.load(args.dataset)
    train(X, y, args.lam, seconds=0.1, learning_rate=1e-3, seed=0)  # warm up
    for seconds in args.seconds:
        for learning_rate in LEARNING_RATES:
            for seed in args.seeds:
                run = {"seconds": seconds, "learning_rate": learning_rate, "seed": seed}
                print(json.dumps({**run, **train(X, y, args.lam, **run)}), flush=True)


if __name__ == "__main__":
    main()
