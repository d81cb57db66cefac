"""The picture of a path."""

from __future__ import annotations

from typing import Any

import numpy as np

from convexrelu import _validate
from convexrelu.path import Path

_COLORMAPS = {+1: "Blues", -1: "Reds"}
_LIGHT, _DARK = 0.4, 1.0  # of a colormap


def path(path: Path, ax: Any = None, *, n_points: int = 400) -> Any:
    """Draws the norms of the neurons against lam, with the events marked.

    A line is ``||w_b||`` of one block, blue where its output weight is positive, red where it
    is negative, pale where it enters early and dark where late. Triangles below the axis are
    blocks that enter (up) or leave (down), the ticks samples that meet or leave a kink.

    Parameters
    ----------
    path : Path
    ax : matplotlib Axes, optional
        Where to draw; a new figure of pyplot otherwise.
    n_points : int
        At how many lam the path is evaluated, besides its breakpoints.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ModuleNotFoundError
        Where matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from convexrelu import Problem, enumerate_patterns, plots, trace_path
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> regularisation_path = trace_path(Problem(X, np.abs(x), enumerate_patterns(X)), 0.01)
    >>> ax = plots.path(regularisation_path, Figure().add_subplot())
    >>> ax.get_xlabel()
    'λ (decreasing)'
    """
    n_points = _validate.integer(n_points, "n_points", low=2)
    import matplotlib as mpl
    from matplotlib.ticker import NullFormatter

    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    grid = np.geomspace(path.lam_max, path.lam_min, n_points)
    inner = (grid < path.lam_max) & (grid > path.lam_min)
    lams = np.unique([path.lam_max, path.lam_min, *grid[inner], *path.breakpoints])[::-1]
    blocks, weights = path.coefficients(lams)
    norms = np.linalg.norm(weights, axis=2)
    first = np.argmax(norms > 0, axis=0)

    colours: dict[tuple[int, int], Any] = {}
    order = np.argsort(first, kind="stable")
    for sign, name in _COLORMAPS.items():
        same = [j for j in order if blocks[j, 1] == sign]
        for shade, j in zip(np.linspace(_LIGHT, _DARK, max(len(same), 2)), same, strict=False):
            colours[int(blocks[j, 0]), sign] = mpl.colormaps[name](shade)
    for j in order:
        norm = np.where(norms[:, j] > 0, norms[:, j], np.nan)
        # A line begins and ends on the axis.
        used = np.concatenate([[False], norms[:, j] > 0, [False]])
        edge = ~used[1:-1] & (used[2:] | used[:-2])
        norm[edge] = 0.0
        colour = colours[int(blocks[j, 0]), int(blocks[j, 1])]
        ax.plot(lams, norm, color=colour, linewidth=1.3, solid_capstyle="round")

    top = float(np.nanmax(norms, initial=0.0)) or 1.0
    for event in path.events:
        if event.kind in {"enter", "leave"}:
            marker, height = ("^", -0.025) if event.kind == "enter" else ("v", -0.055)
            colour = colours.get((event.pattern, event.sign), "0.5")
            ax.plot(event.lam, height * top, marker, color=colour, markersize=4, clip_on=False)
        elif event.kind in {"bind", "release"}:
            ax.plot([event.lam] * 2, [-0.085 * top, -0.105 * top], color="0.35", linewidth=0.5)
    ax.set_xscale("log")
    margin = max((path.lam_max / path.lam_min) ** 0.01, 1.01)  # a path may be one point
    last = path.lam_min if path.lam_min < path.lam_max else path.lam_min / margin
    ax.set_xlim(path.lam_max * margin, last)
    ax.set_ylim(-0.12 * top, 1.05 * top)
    ax.axhline(0.0, color="0.7", linewidth=0.6, zorder=0)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("λ (decreasing)")
    ax.set_ylabel("norm of the neuron, ‖w‖")
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    n = path.n_active([path.lam_min])[0]
    ax.set_title(
        f"{len(path.breakpoints)} breakpoints, {n} active blocks at λ = {path.lam_min:.3g}",
        loc="left",
        fontsize=10,
        color="0.25",
    )
    return ax
