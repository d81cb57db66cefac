"""Pictures of networks and their predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrelu import _core, _validate
from convexrelu.network import Network
from convexrelu.plots._axes import BLUE, GREY, RED, axes, finish
from convexrelu.standardizer import StandardizedNetwork

Array = NDArray[np.float64]

_MAX_NEURONS = 40


def neurons(
    network: Network | StandardizedNetwork, ax: Any = None, *, names: Sequence[str] | None = None
) -> Any:
    """Draws the weights ``a_j W_j`` of the neurons as a heat map, the largest first.

    Parameters
    ----------
    network : Network or StandardizedNetwork
        Of the latter, the weights of standardised columns.
    ax : matplotlib Axes, optional
        Where to draw; a new figure of pyplot otherwise.
    names : sequence of str, optional
        Of the features.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from convexrelu import Network, plots
    >>> ax = plots.neurons(Network([[1.0, 2.0]], [1.0]), Figure().add_subplot(), names=["a", "b"])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['a', 'b']
    """
    inner = network.network if isinstance(network, StandardizedNetwork) else network
    weights = inner.output[:, None] * inner.hidden
    order = np.argsort(-np.linalg.norm(weights, axis=1), kind="stable")[:_MAX_NEURONS]
    shown = weights[order]
    top = float(np.abs(shown).max(initial=0.0)) or 1.0
    ax = axes(ax)
    if not len(shown):
        return finish(ax, "", "neuron", "no neuron")
    picture = ax.imshow(shown, cmap="RdBu", vmin=-top, vmax=top, aspect="auto")
    d = shown.shape[1]
    labels = [f"x{j}" for j in range(d)] if names is None else list(names)
    if len(labels) == d - 1:
        labels.append("bias")
    if len(labels) != d:
        raise ValueError(f"names must be {d}, one for each feature, got {len(labels)}")
    ax.set_xticks(range(d), labels, rotation=45 if d > 4 else 0, ha="right" if d > 4 else "center")
    ax.figure.colorbar(picture, ax=ax, label="weight a W")
    return finish(ax, "", "neuron", f"{len(order)} of {inner.n_neurons} neurons")


def dependence(
    predict: Any, X: ArrayLike, feature: int, ax: Any = None, *, n_points: int = 80
) -> Any:
    """Draws the mean prediction if one column had the same value in every row.

    Piecewise linear for a network. For the range over all optimal networks see the page that
    ``estimator.report`` writes.

    Parameters
    ----------
    predict : callable, or anything with a method predict
        Rows (n, d) to predictions (n,).
    X : (n, d) array
        The rows.
    feature : int
        Which column.
    ax : matplotlib Axes, optional
        Where to draw; a new figure of pyplot otherwise.
    n_points : int
        How many values between the least and the largest.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from convexrelu import Network, plots
    >>> rows = [[-1.0, 1.0], [2.0, 1.0]]
    >>> ax = plots.dependence(Network([[1.0, 0.0]], [2.0]), rows, 0, Figure().add_subplot())
    >>> x, y = ax.lines[0].get_data()
    >>> float(x[-1]), float(y[-1])
    (2.0, 4.0)
    """
    X = _validate.matrix(X, "X")
    feature = _validate.integer(feature, "feature")
    if feature >= X.shape[1]:
        raise ValueError(
            f"feature must be below the number of columns ({X.shape[1]}), got {feature}"
        )
    call = getattr(predict, "predict", predict)
    grid = np.linspace(X[:, feature].min(), X[:, feature].max(), n_points)
    means = []
    for value in grid:
        rows = X.copy()
        rows[:, feature] = value
        means.append(float(np.mean(call(rows))))
    ax = axes(ax)
    ax.plot(grid, means, color=BLUE)
    ticks = X[:, feature]
    bottom = ax.get_ylim()[0]
    ax.plot(ticks, np.full(len(ticks), bottom), "|", color=GREY, markersize=6, clip_on=False)
    return finish(ax, f"x{feature}", "mean prediction")


def calibration(
    probabilities: ArrayLike, is_positive: ArrayLike, ax: Any = None, *, n_bins: int = 10
) -> Any:
    """Draws how often a class occurs against the probability that was predicted for it.

    Parameters
    ----------
    probabilities : (n,) array
        Predicted.
    is_positive : (n,) array of bool
        Whether each row is of the class.
    ax : matplotlib Axes, optional
        Where to draw; a new figure of pyplot otherwise.
    n_bins : int
        Of equal numbers of rows.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from convexrelu import plots
    >>> ax = plots.calibration([0.1, 0.3, 0.9, 0.7], [0, 0, 1, 1], Figure().add_subplot(), n_bins=2)
    >>> ax.lines[1].get_xydata().round(1).tolist()
    [[0.2, 0.0], [0.8, 1.0]]
    """
    p = _validate.vector(probabilities, "probabilities")
    own = _validate.vector(is_positive, "is_positive", size=len(p), like="probabilities")
    n_bins = _validate.integer(n_bins, "n_bins", low=1)
    parts = np.array_split(np.argsort(p, kind="stable"), min(n_bins, len(p)))
    ax = axes(ax)
    ax.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
    x = [p[part].mean() for part in parts]
    y = np.array([own[part].mean() for part in parts])
    ax.plot(x, y, "o-", color=BLUE)
    error = np.array(
        [np.sqrt(max(v * (1 - v), 0.0) / len(q)) for v, q in zip(y, parts, strict=True)]
    )
    ax.vlines(x, y - error, y + error, color=BLUE, linewidth=0.8)
    return finish(ax, "predicted probability", "share of rows")


def gaps(progress: Sequence[_core.Progress], ax: Any = None) -> Any:
    """Draws how objective and relative gap fell with time.

    Parameters
    ----------
    progress : sequence of Progress
        What a ``callback`` was called with, as ``callback=history.append`` collects it.
    ax : matplotlib Axes, optional
        Where to draw; a new figure of pyplot otherwise.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from convexrelu import Problem, enumerate_patterns, plots, solve
    >>> X = np.column_stack([np.arange(-3.0, 4.0), np.ones(7)])
    >>> history = []
    >>> problem = Problem(X, np.abs(X[:, 0]), enumerate_patterns(X))
    >>> solution = solve(problem, 0.1, callback=history.append)
    >>> plots.gaps(history, Figure().add_subplot()).get_ylabel()
    'relative'
    """
    seconds = np.array([p.seconds for p in progress])
    objective = np.array([p.objective for p in progress], dtype=float)
    gap = np.array([p.gap for p in progress], dtype=float)
    ax = axes(ax)
    if len(objective):
        best = np.nanmin(objective)
        above = (objective - best) / (abs(best) or 1.0)
        for values, colour, label in (
            (above, GREY, "objective above the last"),
            (gap, BLUE, "gap that is proven"),
        ):
            good = np.isfinite(values) & (values > 0)
            if good.any():
                ax.plot(seconds[good], values[good], ".-", color=colour, label=label)
        if ax.lines:
            ax.set_yscale("log")
            ax.legend(frameon=False)
    return finish(ax, "seconds", "relative")


def cells(X: ArrayLike, ax: Any = None, *, half_width: float = 3.0, n_points: int = 300) -> Any:
    """Draws the activation patterns of data in two or three columns: cells of an arrangement.

    A gate g is a point of the plane (of three columns the last entry of g is 1), a sample the line
    of gates with ``x . g = 0``. Within a cell the pattern is the same; the darker, the more
    samples are active.

    Parameters
    ----------
    X : (n, 2) or (n, 3) array
        The data; mostly the last of three columns is ones.
    ax : matplotlib Axes, optional
        Where to draw; a new figure of pyplot otherwise.
    half_width : float
        How much of the plane is shown.
    n_points : int
        Of the shades, along each axis.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from convexrelu import plots
    >>> ax = plots.cells([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], Figure().add_subplot())
    >>> ax.get_title(loc="left")
    '4 patterns in sight'
    """
    X = _validate.matrix(X, "X")
    if X.shape[1] not in (2, 3):
        raise ValueError(f"X must have two or three columns, got {X.shape[1]}")
    half_width = _validate.number(half_width, "half_width", low=0.0, open_low=True)
    n_points = _validate.integer(n_points, "n_points", low=2)
    constant = X[:, 2] if X.shape[1] == 3 else np.zeros(len(X))
    side = np.linspace(-half_width, half_width, n_points)
    a, b = np.meshgrid(side, side)
    places = np.column_stack([a.ravel(), b.ravel()])
    masks = places @ X[:, :2].T + constant >= 0
    count = masks.sum(axis=1).reshape(n_points, n_points)
    ax = axes(ax)
    extent = (-half_width, half_width, -half_width, half_width)
    ax.imshow(count, origin="lower", extent=extent, cmap="Blues", vmin=0, vmax=1.6 * len(X))
    for (u, v), w in zip(X[:, :2], constant, strict=True):
        if abs(v) >= abs(u) and v:
            ax.plot(side, -(w + u * side) / v, color=RED, linewidth=0.8)
        elif u:
            ax.plot(-(w + v * side) / u, side, color=RED, linewidth=0.8)
    ax.set_xlim(extent[:2])
    ax.set_ylim(extent[2:])
    ax.set_aspect("equal")
    n_seen = len(np.unique(np.packbits(masks, axis=1), axis=0))
    return finish(ax, "g₁", "g₂", f"{n_seen} patterns in sight")
