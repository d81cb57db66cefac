"""How well a network predicts, beside the two models that anybody would try first."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from convexrelu import StandardizedNetwork
from convexrelu.cli.data import Data

Array = NDArray[np.float64]
Scores = dict[str, dict[str, dict[str, float]]]


def score(data: Data, model: StandardizedNetwork) -> Scores:
    """The root mean squared error on test and training rows, in the units of the target.

    Of the network, of the least-squares linear model on the same features, and of the mean of the
    training targets. Where the target has two values also the accuracy: the share of predictions on
    the right side of the middle between them. No test rows, no test scores.
    """
    standardizer = model.standardizer
    coefficients = np.linalg.lstsq(
        standardizer.transform(data.X), standardizer.transform_target(data.y), rcond=None
    )[0]

    def predictions(X: Array) -> dict[str, Array]:
        linear = standardizer.transform(X) @ coefficients
        return {
            "network": model.predict(X),
            "linear": standardizer.y_mean + standardizer.y_scale * linear,
            "mean": np.full(len(X), standardizer.y_mean),
        }

    rows = {"test": (data.X_test, data.y_test), "training": (data.X, data.y)}
    return {
        kind: {
            name: _score(y, predicted, standardizer.y_scale, data.classes)
            for name, predicted in predictions(X).items()
        }
        for kind, (X, y) in rows.items()
        if len(y)
    }


def _score(
    y: Array, predicted: Array, scale: float, classes: tuple[float, float] | None
) -> dict[str, float]:
    with np.errstate(over="ignore"):  # an error of 1e200 scales may well be infinite
        scores = {"rmse": scale * float(np.sqrt(np.mean(((predicted - y) / scale) ** 2)))}
    if classes is not None:
        middle = classes[0] / 2 + classes[1] / 2
        scores["accuracy"] = float(np.mean((predicted > middle) == (y > middle)))
    return scores


def score_table(scores: Scores) -> list[tuple[str, str]]:
    """A line for each model, after one of titles; columns for RMSE and accuracy, test first."""
    columns: list[list[str]] = []
    for measure, title in (("rmse", "RMSE"), ("accuracy", "accuracy")):
        for kind, models in scores.items():
            if all(measure in model for model in models.values()):
                entries = [model[measure] for model in models.values()]
                texts = _percent(entries) if measure == "accuracy" else _aligned(entries)
                columns.append([f"{kind} {title}", *texts])
    widths = [max(map(len, column)) for column in columns]
    labels = ["", *next(iter(scores.values()))]
    return [
        (label, "   ".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=True)))
        for label, row in zip(labels, zip(*columns, strict=True), strict=True)
    ]


def _percent(values: list[float]) -> list[str]:
    return [f"{100 * value:.1f} %" for value in values]


def _aligned(values: list[float]) -> list[str]:
    """Three significant digits of the smallest value, the others to the same decimal."""
    if not all(math.isfinite(value) for value in values):
        return [f"{value:.3g}" for value in values]
    smallest = min((value for value in values if value > 0.0), default=1.0)
    decimals = 2 - math.floor(math.log10(smallest))
    if decimals > 6 or max(values) >= 1e7:
        return [f"{value:.2e}" for value in values]
    return [f"{value:.{max(decimals, 0)}f}" for value in values]
