"""The pictures of what changes with lam: a path over all patterns, a choice of lam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from convexrelu.global_path import GlobalPath
    from convexrelu.lam_choice import LamChoice


def draw_global_path(path: GlobalPath, ax: Any) -> Any:
    """See `GlobalPath.plot`."""
    ax = _axes(ax)
    ax.plot(path.lams, path.n_neurons, "o-", color="C0", markersize=4, linewidth=1.3)
    ax.set_ylabel("neurons", color="C0")
    right = ax.twinx()
    right.plot(path.lams, path.objectives, color="0.35", linewidth=1.3)
    right.set_yscale("log")
    right.set_ylabel("objective", color="0.35")
    _lam_axis(ax)
    ax.set_title(f"{len(path)} λ, {path.status}", loc="left", fontsize=10, color="0.25")
    return ax


def draw_lam_choice(choice: LamChoice, ax: Any) -> Any:
    """See `LamChoice.plot`."""
    ax = _axes(ax)
    ax.errorbar(
        choice.lams,
        choice.mean_errors,
        yerr=np.nan_to_num(choice.standard_errors),
        color="C0",
        marker="o",
        markersize=4,
        linewidth=1.3,
        elinewidth=0.8,
        capsize=2,
    )
    ax.axvline(choice.lam, color="C3", linewidth=1.0)
    ax.set_ylabel("mean squared error of the rows left out")
    _lam_axis(ax)
    folds = len(choice.fold_errors)
    ax.set_title(
        f"λ = {choice.lam:.3g} by {folds} folds, rule {choice.rule}",
        loc="left",
        fontsize=10,
        color="0.25",
    )
    return ax


def _axes(ax: Any) -> Any:
    if ax is None:
        from matplotlib import pyplot

        _, ax = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    return ax


def _lam_axis(ax: Any) -> None:
    from matplotlib.ticker import NullFormatter

    ax.set_xscale("log")
    ax.invert_xaxis()
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("λ (decreasing)")
    ax.spines["top"].set_visible(False)
