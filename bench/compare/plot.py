"""The picture of a set of results: the relative gap each peer has reached by the CPU time spent."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from bench.compare.report import Results, by_problem

COLUMNS = 4
PANEL = (2.9, 2.3)  # inches
FLOOR = 1e-10  # a smaller gap is drawn here
COLOURS = {
    "convexrelu": "#000000",
    "adelie": "#0072b2",
    "skglm": "#d55e00",
    "celer": "#e69f00",
    "scnn": "#009e73",
    "scnn_float32": "#7fcfb5",
    "clarabel": "#cc79a7",
    "scs": "#8f8f8f",
}


def plot(results: list[Results], path: Path, clock: str = "cpu") -> None:
    """Writes one panel per problem that several entered to `path`, whose suffix says the format."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "convexrelu", "svg.fonttype": "none", "font.size": 8}
    )
    import matplotlib.pyplot as plt

    panels = [(name, runs) for name, _, runs in by_problem(results) if len(runs) > 1]
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, axes = plt.subplots(
        *(rows, columns),
        squeeze=False,
        sharex=True,
        sharey=True,
        figsize=(PANEL[0] * columns, PANEL[1] * rows + 0.5),
    )
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    handles: dict[str, Any] = {}
    for axis, (name, runs) in zip(axes.flat, panels, strict=False):
        for run in runs:
            seconds, gaps = front(run, clock)
            if seconds:
                is_ours = run["peer"] == "convexrelu"
                (handles[run["peer"]],) = axis.step(
                    *(seconds, gaps),
                    where="post",
                    color=COLOURS[run["peer"]],
                    linewidth=2.0 if is_ours else 1.2,
                    marker="o",
                    markersize=4 if is_ours else 2.5,
                    zorder=3 if is_ours else 2,
                )
        axis.set(xscale="log", yscale="log", ylim=(FLOOR / 3, 1.0))
        axis.set_title(name, fontsize=8)
        axis.grid(True, linewidth=0.3)
        axis.tick_params(labelbottom=True)
    for axis in axes[-1]:
        axis.set_xlabel(f"{clock.upper() if clock == 'cpu' else clock} seconds")
    for row in axes:
        row[0].set_ylabel("relative gap")
    order = [peer for peer in COLOURS if peer in handles]
    figure.legend(
        [handles[peer] for peer in order], order, loc="lower center", ncol=len(order), frameon=False
    )
    figure.tight_layout(rect=(0, 0.45 / figure.get_figheight(), 1, 1))
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def front(run: dict[str, Any], clock: str) -> tuple[list[float], list[float]]:
    """Seconds and gaps of the points that no earlier point has bettered."""
    seconds: list[float] = []
    gaps: list[float] = []
    for point in sorted(run["points"], key=lambda point: point[clock]):
        gap = max(point["gap"], FLOOR)
        if math.isfinite(gap) and (not gaps or gap < gaps[-1]):
            seconds.append(point[clock])
            gaps.append(gap)
    return seconds, gaps
