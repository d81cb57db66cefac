"""Axes: those given, or new ones."""

from __future__ import annotations

from typing import Any

BLUE, RED, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.45"  # Okabe and Ito (2008)


def axes(ax: Any) -> Any:
    """Those given, or those of a new figure of pyplot."""
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(6, 4), layout="constrained")
    return ax


def finish(ax: Any, x_label: str, y_label: str, title: str = "") -> Any:
    """Labels, and no frame above and at the right."""
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if title:
        ax.set_title(title, loc="left", fontsize=10, color="0.25")
    return ax
