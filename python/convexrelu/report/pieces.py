"""What a notebook shows of a value: a line that says what is known of it, and a small picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from convexrelu.report.html import escape
from convexrelu.report.svg import BLUE, COLOURS, GREY, RED, Plot, heat_map

if TYPE_CHECKING:
    from convexrelu._training import Training
    from convexrelu.global_path import GlobalPath
    from convexrelu.network import Network
    from convexrelu.optimal_set import OptimalSet
    from convexrelu.path import Path
    from convexrelu.solution import Solution
    from convexrelu.training_record import TrainingRecord

_ROUNDING = 1e-12  # what a relative gap can mean in float64
_SMALL, _LARGE = 1e-3, 1e-2  # a gap that is said to be none, and one that is said not to be
_POINTS = 500
_NEURONS = 20
_COLUMNS = 24
_LINES = 40


def piece(title: str, verdict: str, picture: str) -> str:
    """The frame of all."""
    return (
        '<div style="max-width:480px"><p style="margin:0"><b>'
        f"{escape(title)}</b><br>{escape(verdict)}</p>{picture}</div>"
    )


def of_solution(solution: Solution) -> str:
    """Fit against targets."""
    y, fitted = solution.problem.y, solution.fitted
    some = np.linspace(0, len(y) - 1, min(len(y), _POINTS)).astype(int)
    plot = Plot("fitted", "y", height=220)
    plot.points(fitted[some], y[some], BLUE)
    ends = [float(y.min()), float(y.max())]
    plot.line(ends, ends, GREY, dashed=True)
    scope = "over its patterns"
    gap, word = solution.gap, solution.status.replace("_", " ")
    text = f"{word}: objective {solution.objective:.6g}, at most {gap:.1e} above the best {scope}"
    if np.isfinite(solution.global_gap):
        text += f", at most {solution.global_gap:.1e} above that of any width"
    k = len(solution.active_set)
    return piece(f"Solution at λ = {solution.lam:.4g}, {k} neurons", text + ".", plot.show())


def of_network(network: Network) -> str:
    """The largest neurons, as a heat map."""
    weights = network.output[:, None] * network.hidden
    norms = np.linalg.norm(weights, axis=1)
    order = np.argsort(-norms, kind="stable")[:_NEURONS]
    shown = weights[order][:, :_COLUMNS]
    rows = [f"{'+' if network.output[j] > 0 else '−'} {norms[j]:.3g}" for j in order]
    columns = [f"x{j}" for j in range(shown.shape[1])]
    m = network.n_neurons
    text = f"{m} neurons on {network.n_features} features, sum of norms {norms.sum():.4g}"
    text += f"; the {len(order)} largest" if len(order) < m else ""
    picture = heat_map(shown, rows, columns, width=440) if len(order) else ""
    return piece(f"Network, {network.formulation}", text + ".", picture)


def of_path(path: Path) -> str:
    """The norms of the neurons."""
    top = path.lam_max if path.lam_max > path.lam_min else 2 * path.lam_min
    lams = np.geomspace(top, path.lam_min, 120)
    blocks, weights = path.coefficients(np.clip(lams, path.lam_min, path.lam_max))
    norms = np.linalg.norm(weights, axis=2)
    plot = Plot("λ, falling", "norm of each neuron", log_x=True, falling_x=True, height=240)
    for j in np.argsort(-norms.max(axis=0), kind="stable")[:_LINES]:
        plot.line(lams, norms[:, j], BLUE if blocks[j, 1] > 0 else RED)
    text = f"{path.status}: exact at every λ from {path.lam_max:.4g} to {path.lam_min:.4g}, "
    return piece("Path", f"{text}{len(path.breakpoints)} breakpoints.", plot.show())


def of_global_path(path: GlobalPath) -> str:
    """The number of neurons."""
    plot = Plot("λ, falling", "neurons", log_x=True, falling_x=True, height=220)
    if len(path):
        plot.line(path.lams, path.n_neurons)
        plot.points(path.lams, path.n_neurons)
    return piece("Path over all patterns", f"{path.status}, {len(path)} λ.", plot.show())


def of_optimal_set(optima: OptimalSet) -> str:
    """How large each neuron can be."""
    low, high = optima.norm_bounds()
    order = np.argsort(-high, kind="stable")[:_LINES]
    plot = Plot("neuron", "norm, from least to largest", height=220)
    places = np.arange(len(order))
    plot.stems(places, low[order], high[order], COLOURS[0])
    plot.points(places, low[order], COLOURS[0])
    plot.points(places, high[order], COLOURS[1])
    size = "one network" if optima.dimension == 0 else f"a set of dimension {optima.dimension}"
    scope = "all patterns" if optima.is_complete else "the patterns of the problem"
    text = (
        f"{size}: {int(optima.support.sum())} neurons can be active, "
        f"{int(optima.necessary.sum())} must be; over {scope}."
    )
    return piece(f"All optima at λ = {optima.lam:.4g}", text, plot.show())


def verdict_of(n_neurons: int, record: TrainingRecord | None) -> str:
    """What is known to be best, and then how much is proven, in a line."""
    size = "1 neuron" if n_neurons == 1 else f"{n_neurons} neurons"
    if record is None:
        return f"A two-layer ReLU network with {size}; nothing is known of its training."
    k = len(record.facts)
    gap = max(record.gap(j) for j in range(k))
    which = "the network" if k == 1 else "each network"
    accuracy = "to rounding" if gap <= _ROUNDING else f"to {gap:.0e}"
    lead = f"{size}: no better weights exist for the activation patterns of {which} "
    lead += f"(proven {accuracy})."
    if gap > _LARGE:
        lead = f"{size}, not certified: as far as is proven, the objective may be "
        lead += f"{100 * gap:.0f} % too large for the activation patterns of {which}."
    proven = [record.global_gap(j) for j in range(k)]
    if not np.isfinite(proven).all():
        return f"{lead} Of other patterns nothing is proven."
    worst = max(proven)
    if worst <= _SMALL:
        return f"{lead} Nor is there a better network of any width (proven to {worst:.0e})."
    searched = "The search over all patterns was not over"
    if record.facts[:, 5].all():
        searched = "A search over all patterns found nothing much better"
    return (
        f"{lead} {searched}; proven is that no network of any width has an objective more than "
        f"{100 * worst:.0f} % lower."
    )


def of_trainings(trainings: Sequence[Training], record: TrainingRecord) -> str:
    """Of an estimator: the verdict, and the curve of cross-validation or the neurons."""
    n_neurons = sum(each.network.n_neurons for each in trainings)
    text = verdict_of(n_neurons, record)
    curve = record.curve_of(0)
    if not len(curve):
        return piece("Certified network", text, "")
    _, lams, error, se, _ = curve.T
    plot = Plot("alpha, falling", "error on rows left out", log_x=True, falling_x=True, height=220)
    plot.band(lams, error - se, error + se)
    plot.line(lams, error)
    plot.upright(record.facts[0, 0], GREY, "chosen")
    return piece("Certified network", text, plot.show())
