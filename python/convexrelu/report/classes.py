"""The part of the page on predicted classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from convexrelu.class_network import ClassNetwork
from convexrelu.report.html import escape, figures, key, table
from convexrelu.report.svg import COLOURS, GREY, Plot

Array = NDArray[np.float64]
Rows = Mapping[str, tuple[Array, Array]]

_BINS = 10
_MAX_CLASSES = 12  # of a confusion table


def scores(model: ClassNetwork, rows: Rows) -> str:
    """Error rate and log loss beside those of the shares of the classes."""
    k = len(model.classes)
    _, codes = rows.get("training", next(iter(rows.values())))
    shares = np.bincount(codes.astype(int), minlength=k) / len(codes)

    def measures(p: Array, codes: Array) -> tuple[float, float]:
        own = p[np.arange(len(codes)), codes.astype(int)]
        wrong = float(np.mean(p.argmax(axis=1) != codes))
        return wrong, float(-np.log(np.maximum(own, 1e-15)).mean())

    head, network, constant = [""], ["network"], ["shares of the classes"]
    for kind, (X, y) in rows.items():
        head += [f"{kind} ({len(y)}): error", "log loss"]
        for row, p in ((network, model.probabilities(X)), (constant, np.tile(shares, (len(y), 1)))):
            error, loss = measures(p, y)
            row += [f"{100 * error:.1f} %", f"{loss:.4f}"]
    return table(head, [network, constant])


def pictures(model: ClassNetwork, rows: Rows) -> str:
    """Reliability, ROC and confusion, on the first kind of rows."""
    kind, (X, codes) = next(iter(rows.items()))
    p, true = model.probabilities(X), codes.astype(np.intp)
    k = len(model.classes)
    which = [1] if k == 2 else list(range(min(k, len(COLOURS))))
    reliability = Plot(f"predicted probability, {kind} rows", "share of rows")
    roc = Plot("share of the others accepted", "share of the class found")
    for plot in (reliability, roc):
        plot.line([0, 1], [0, 1], GREY, dashed=True)
    areas = []
    for c in which:
        own = true == c
        order = np.argsort(p[:, c], kind="stable")
        bins = [part for part in np.array_split(order, min(_BINS, len(order))) if len(part)]
        x = [p[part, c].mean() for part in bins]
        reliability.line(x, [own[part].mean() for part in bins], COLOURS[c if k > 2 else 0])
        if 0 < own.sum() < len(own):
            accepted, found = _roc(p[:, c], own)
            roc.line(accepted, found, COLOURS[c if k > 2 else 0])
            area = float(np.sum(np.diff(accepted) * (found[1:] + found[:-1]) / 2))
            areas.append(f"{escape(model.classes[c])} {area:.3f}")
    text = ""
    if k <= _MAX_CLASSES:
        counts = np.zeros((k, k), dtype=int)
        np.add.at(counts, (true, model.codes(X)), 1)
        head = [f"true \\ predicted, {kind} rows", *model.classes]
        body = [[name, *map(str, row)] for name, row in zip(model.classes, counts, strict=True)]
        text = table(head, body)
    if areas:
        text += f"<p>Area below the ROC curve: {', '.join(areas)}.</p>"
    if k > 2:
        text += key([model.classes[c] for c in which], COLOURS)
    return text + figures(reliability.show(), roc.show())


def _roc(score: Array, own: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Shares accepted at every distinct threshold."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    true = np.cumsum(own[order])[last] / own.sum()
    false = np.cumsum(~own[order])[last] / (~own).sum()
    zero = np.zeros(1)
    return np.concatenate([zero, false]), np.concatenate([zero, true])
