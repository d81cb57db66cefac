"""The part of the page on predicted numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexrelu.report.html import figures, key, table
from convexrelu.report.svg import BLUE, GREEN, GREY, Plot
from convexrelu.standardizer import StandardizedNetwork

Array = NDArray[np.float64]
Rows = Mapping[str, tuple[Array, Array]]

_MAX_POINTS = 1000


def scores(model: StandardizedNetwork, rows: Rows) -> str:
    """Errors beside those of the mean of the targets and of a linear model.

    Both are of the training rows; of the rows at hand where those are not there.
    """
    X, y = rows.get("training", next(iter(rows.values())))
    ones = model.standardizer.transform(X)
    coefficients = np.linalg.lstsq(ones, y - y.mean(), rcond=None)[0]

    def linear(X: Array) -> Array:
        predicted: Array = y.mean() + model.standardizer.transform(X) @ coefficients
        return predicted

    entries: list[tuple[str, Callable[[Array], Any]]] = [
        ("network", model.predict),
        ("linear model", linear),
        ("mean", lambda X: np.full(len(X), y.mean())),
    ]
    head = ["root mean squared error", *(f"{kind} ({len(t)})" for kind, (_, t) in rows.items())]
    body = [
        [name, *(f"{np.sqrt(np.mean((predict(X) - t) ** 2)):.4g}" for X, t in rows.values())]
        for name, predict in entries
    ]
    note = "" if "training" in rows else "<p>Linear model and mean are fitted to these rows.</p>"
    return table(head, body) + note


def pictures(
    model: StandardizedNetwork,
    rows: Rows,
    target: str,
    ranges: Callable[[Array], tuple[Array, Array]] | None,
) -> str:
    """Predictions against truth, and residuals; with what other optimal networks predict."""
    kind, (X, y) = next(iter(rows.items()))
    some = np.linspace(0, len(y) - 1, min(len(y), _MAX_POINTS)).astype(int)
    X, y = X[some], y[some]
    predicted = model.predict(X)
    against = Plot(f"predicted {target}, {kind} rows", f"true {target}")
    legend = ""
    if ranges is not None:
        low, high = ranges(X)
        wide = high - low > 1e-6 * (np.ptp(y) or 1.0)
        if wide.any():
            against.points(low[wide], y[wide], GREEN, size=1)
            against.points(high[wide], y[wide], GREEN, size=1)
            names = ("predicted", "ends of the range over all optimal networks")
            legend = key(names, (BLUE, GREEN))
    against.points(predicted, y, BLUE)
    ends = [min(predicted.min(), y.min()), max(predicted.max(), y.max())]
    against.line(ends, ends, GREY, dashed=True)
    residuals = Plot(f"predicted {target}", "true − predicted")
    residuals.points(predicted, y - predicted, BLUE)
    residuals.across(0.0)
    return legend + figures(against.show(), residuals.show())
