"""The problems of the comparison, each named and defined once.

A name says it all: formulation-data-patterns-ratio, with lam = ratio * lambda_max of that pattern
set; `gridR` in place of the ratio is a grid of 100 values, evenly spaced in log lam, from
lambda_max to R * lambda_max.
"""

from __future__ import annotations

import fnmatch
import re
from typing import NamedTuple

import numpy as np

from bench import data
from bench.compare.gap import Instance, lambda_max

GRID_SIZE = 100

# The small ones that the peers were first measured on, and those that claims are made about.
NAMES = (
    "gated-diabetes-100-0.1",
    "gated-diabetes-100-0.01",
    "gated-diabetes-100-0.001",
    "gated-diabetes-500-0.1",
    "gated-diabetes-500-0.01",
    "gated-diabetes-500-0.001",
    "gated-diabetes-2000-0.1",
    "gated-diabetes-2000-0.01",
    "gated-digits-even-odd-500-0.1",
    "gated-digits-even-odd-500-0.01",
    "gated-breast-cancer-wisconsin-500-0.1",
    "gated-breast-cancer-wisconsin-500-0.01",
    "gated-planted-1000x20-500-0.1",
    "gated-planted-1000x20-500-0.01",
    "gated-planted-5000x50-500-0.1",
    "gated-mnist-2-6-50-0.1",
    "gated-mnist-2-6-50-0.01",
    "gated-mnist-2-6-500-0.1",
    "gated-mnist-2-6-500-0.01",
    "gated-diabetes-500-grid0.01",
    "gated-breast-cancer-wisconsin-200-grid0.01",
    "gated-planted-1000x20-200-grid0.01",
    "relu-diabetes-50-0.1",
    "relu-diabetes-50-0.01",
    "relu-diabetes-200-0.1",
    "relu-diabetes-200-0.01",
    "relu-diabetes-500-0.1",
    "relu-diabetes-500-0.01",
    "relu-breast-cancer-wisconsin-50-0.1",
    "relu-breast-cancer-wisconsin-500-0.01",
)

# Training problems over all patterns, for the non-convex competitor: lam near 0.1 and 0.01 of the
# largest correlation that a local search found.
DESCENT_LAMS = {
    "diabetes": (0.061742, 0.006174),
    "concrete": (0.0566, 0.00566),
    "energy-heating": (0.0932, 0.00932),
    "pima": (0.0600, 0.0060),
    "ionosphere": (0.0938, 0.00938),
}
# And sets whose lam is taken from 500 random patterns.
DESCENT_SETS = (
    *DESCENT_LAMS,
    "yacht",
    "energy-cooling",
    "statlog-heart",
    "breast-cancer-wisconsin",
)


class Problem(NamedTuple):
    name: str
    instance: Instance
    gates: np.ndarray  # (d, P), the gates behind the masks
    lams: np.ndarray  # decreasing
    lambda_max: float


def matching(patterns: list[str]) -> list[str]:
    """The names that match any of the shell patterns; a full name need not be listed above."""
    names = [name for name in NAMES if any(fnmatch.fnmatch(name, p) for p in patterns)]
    unlisted = [p for p in patterns if p not in names and _parse(p)]
    unknown = [p for p in patterns if not _parse(p) and not fnmatch.filter(NAMES, p)]
    if unknown:
        raise ValueError(f"no problem named {', '.join(unknown)}; try one of {', '.join(NAMES)}")
    return names + unlisted


def build(name: str) -> Problem:
    """The problem `name`; raises data.MissingData where its data set is not on this machine."""
    parsed = _parse(name)
    if not parsed:
        raise ValueError(f"{name!r} is not formulation-data-patterns-ratio")
    X, y = _data(parsed["data"])
    gates, masks = draw_patterns(X, int(parsed["patterns"]))
    instance = Instance(X, y, masks, parsed["formulation"])
    top = lambda_max(instance)
    ratio = float(parsed["ratio"])
    ratios = np.geomspace(1.0, ratio, GRID_SIZE) if parsed["grid"] else np.array([ratio])
    return Problem(name, instance, gates, top * ratios, top)


def descent_lams(name: str) -> tuple[float, float]:
    """Those listed; else 0.1 and 0.01 of lambda_max over 500 patterns, to three digits."""
    if name in DESCENT_LAMS:
        return DESCENT_LAMS[name]
    X, y = _data(name)
    top = lambda_max(Instance(X, y, draw_patterns(X, 500)[1], "relu"))
    return float(f"{0.1 * top:.3g}"), float(f"{0.01 * top:.3g}")


def draw_patterns(X: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal gates (d, count) whose patterns (n, count) are distinct and non-zero."""
    rng = np.random.default_rng(seed)
    seen: set[bytes] = set()
    gates, masks = [], []
    for _ in range(100 * count + 1000):
        gate = rng.standard_normal(X.shape[1])
        mask = X @ gate >= 0
        if mask.any() and mask.tobytes() not in seen:
            seen.add(mask.tobytes())
            gates.append(gate)
            masks.append(mask)
        if len(masks) == count:
            return np.array(gates).T, np.array(masks).T
    raise ValueError(f"only {len(masks)} distinct patterns found of the {count} asked for")


def _parse(name: str) -> re.Match[str] | None:
    return re.fullmatch(
        r"(?P<formulation>gated|relu)-(?P<data>.+)-(?P<patterns>\d+)-(?P<grid>grid)?(?P<ratio>[\d.e-]+)",
        name,
    )


def _data(name: str) -> tuple[np.ndarray, np.ndarray]:
    planted = re.fullmatch(r"planted-(\d+)x(\d+)", name)
    dataset = data.planted(int(planted[1]), int(planted[2])) if planted else data.load(name)
    return dataset.X, dataset.y
