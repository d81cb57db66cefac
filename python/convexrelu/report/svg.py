"""Pictures in SVG, written by hand: a frame with axes, lines, bands and points.

Nothing is loaded from anywhere, and a thousand points take some 20 kB.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# The colours of Okabe and Ito (2008), which the colour-blind can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
BLUE, RED, GREEN = COLOURS[:3]
GREY = "#767676"

_PLAIN = 'font-family="system-ui,sans-serif" font-size="11" fill="#333"'
_GRID = 'stroke="#e4e4e0" fill="none"'
_AXIS = 'stroke="#888" fill="none"'
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 40


class Plot:
    """A picture with two axes, whose range is that of all that is drawn in it."""

    def __init__(
        self,
        x_label: str = "",
        y_label: str = "",
        *,
        width: int = 440,
        height: int = 280,
        log_x: bool = False,
        log_y: bool = False,
        falling_x: bool = False,
        title: str = "",
    ) -> None:
        self._labels = (x_label, y_label)
        self._size = (width, height)
        self._log = (log_x, log_y)
        self._falling = falling_x
        self._title = title
        self._items: list[tuple[str, Array, Array, dict[str, Any]]] = []
        self._range: list[list[float]] = [[], []]

    def _add(self, kind: str, x: ArrayLike, y: ArrayLike, **style: Any) -> None:
        xs, ys = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
        self._items.append((kind, xs, ys, style))
        for values, axis, is_log in zip((xs, ys), self._range, self._log, strict=True):
            good = values[np.isfinite(values) & ((values > 0) | (not is_log))]
            if kind not in {"across", "upright"} and good.size:
                axis += [float(good.min()), float(good.max())]

    def line(self, x: ArrayLike, y: ArrayLike, colour: str = BLUE, **style: Any) -> None:
        """A line through points."""
        self._add("line", x, y, colour=colour, **style)

    def band(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str = BLUE) -> None:
        """What is between two lines."""
        x, low, high = (np.asarray(v, float) for v in (x, low, high))
        both = np.concatenate([low, high[::-1]])
        self._add("area", np.concatenate([x, x[::-1]]), both, colour=colour)

    def points(self, x: ArrayLike, y: ArrayLike, colour: str = BLUE, *, size: float = 2.5) -> None:
        """Dots."""
        self._add("points", x, y, colour=colour, size=size)

    def stems(self, x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str = BLUE) -> None:
        """Upright strokes."""
        xs = np.repeat(np.asarray(x, float), 2)
        ys = np.column_stack([low, high]).ravel()
        self._add("stems", xs, ys, colour=colour)

    def across(self, y: float, colour: str = GREY, note: str = "") -> None:
        """A line from left to right."""
        if math.isfinite(y):
            self._range[1] += [y]
            self._add("across", 0.0, y, colour=colour, note=note)

    def upright(self, x: float, colour: str = GREY, note: str = "") -> None:
        """A line from bottom to top."""
        if math.isfinite(x):
            self._range[0] += [x]
            self._add("upright", x, 0.0, colour=colour, note=note)

    def show(self) -> str:
        """The picture."""
        width, height = self._size
        (x_to, x_ticks), (y_to, y_ticks) = self._axes()
        parts = [
            f'<svg viewBox="0 0 {width} {height}" {_PLAIN} role="img" '
            f'aria-label="{_text(self._title or " against ".join(reversed(self._labels)))}">'
        ]
        bottom, right = height - _BOTTOM, width - _RIGHT
        for value, label in y_ticks:
            y = y_to(value)
            parts.append(
                f'<path {_GRID} d="M{_LEFT} {y:.1f}H{right}"/><text x="{_LEFT - 5}" '
                f'y="{y + 3.5:.1f}" text-anchor="end">{label}</text>'
            )
        for value, label in x_ticks:
            x = x_to(value)
            parts.append(
                f'<path {_AXIS} d="M{x:.1f} {bottom}v4"/><text x="{x:.1f}" '
                f'y="{bottom + 16}" text-anchor="middle">{label}</text>'
            )
        parts.append(f'<path {_AXIS} d="M{_LEFT} {bottom}H{right}"/>')
        for item in self._items:
            parts.append(self._drawn(item, x_to, y_to))
        x_label, y_label = map(_text, self._labels)
        middle = (_LEFT + right) / 2
        parts.append(
            f'<text x="{middle:.0f}" y="{height - 6}" text-anchor="middle">{x_label}</text>'
            f'<text transform="translate(12 {(bottom + _TOP) / 2:.0f}) rotate(-90)" '
            f'text-anchor="middle">{y_label}</text>'
        )
        return "".join(parts) + "</svg>"

    def _axes(self) -> Any:
        width, height = self._size
        spans = ((_LEFT, width - _RIGHT), (height - _BOTTOM, _TOP))
        if self._falling:
            spans = ((width - _RIGHT, _LEFT), spans[1])
        return [
            _axis(values, span, is_log)
            for values, span, is_log in zip(self._range, spans, self._log, strict=True)
        ]

    def _drawn(self, item: Any, x_to: Any, y_to: Any) -> str:
        kind, xs, ys, style = item
        width, height = self._size
        colour = style["colour"]
        if kind == "across":
            y = y_to(ys[0])
            note = ""
            if style["note"]:
                note = f'<text x="{_LEFT + 4}" y="{y - 3:.1f}" fill="{colour}">'
                note += f"{_text(style['note'])}</text>"
            return f'<path d="M{_LEFT} {y:.1f}H{width - _RIGHT}" {_dash(colour)}/>{note}'
        if kind == "upright":
            x = x_to(xs[0])
            note = ""
            if style["note"]:
                right = x > width / 2
                note = (
                    f'<text x="{x - 3 if right else x + 3:.1f}" y="{_TOP + 4}" fill="{colour}" '
                    f'text-anchor="{"end" if right else "start"}">{_text(style["note"])}</text>'
                )
            return f'<path d="M{x:.1f} {_TOP}V{height - _BOTTOM}" {_dash(colour)}/>{note}'
        good = np.isfinite(xs) & np.isfinite(ys)
        for values, is_log in zip((xs, ys), self._log, strict=True):
            good &= (values > 0) | (not is_log)
        places = [(x_to(x), y_to(y)) for x, y in zip(xs[good], ys[good], strict=True)]
        if kind == "points":
            d = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)
            return (
                f'<path d="{d}" stroke="{colour}" stroke-width="{2 * style["size"]}" '
                'stroke-linecap="round" stroke-opacity=".55" fill="none"/>'
            )
        if kind == "stems":
            d = "".join(
                f"M{x:.1f} {a:.1f}V{b:.1f}"
                for (x, a), (_, b) in zip(places[::2], places[1::2], strict=True)
            )
            return f'<path d="{d}" stroke="{colour}" stroke-opacity=".6" fill="none"/>'
        d = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places) if places else "M0 0"
        if kind == "area":
            return f'<path d="{d}Z" fill="{colour}" fill-opacity=".18"/>'
        dash = ' stroke-dasharray="4 3"' if style.get("dashed") else ""
        return f'<path d="{d}" stroke="{colour}" stroke-width="1.8" fill="none"{dash}/>'


def heat_map(
    values: Array, rows: Sequence[str], columns: Sequence[str], *, width: int = 900
) -> str:
    """A table of numbers as colours, blue above zero and red below."""
    n, d = values.shape
    label_width = min(30 + 6 * max(map(len, rows), default=0), 260)
    cell = max(8.0, min(36.0, (width - label_width) / max(d, 1)))
    height_of_names = min(20 + 5 * max(map(len, columns), default=0), 170)
    row_height = 15
    full_width = label_width + cell * d + 60
    full_height = height_of_names + row_height * n + 6
    top = np.abs(values).max() or 1.0
    parts = [
        f'<svg viewBox="0 0 {full_width:.0f} {full_height:.0f}" {_PLAIN} role="img" '
        f'aria-label="weights of the neurons" width="{full_width:.0f}">'
    ]
    for j, name in enumerate(columns):
        x = label_width + cell * (j + 0.5)
        parts.append(
            f'<text transform="translate({x:.1f} {height_of_names - 5}) rotate(-45)">'
            f"{_text(_short(name))}</text>"
        )
    for i, name in enumerate(rows):
        y = height_of_names + row_height * i
        parts.append(f'<text x="{label_width - 5}" y="{y + 11}" text-anchor="end">')
        parts.append(f"{_text(_short(name, 36))}</text>")
        for j in range(d):
            share = values[i, j] / top
            colour = BLUE if share > 0 else RED
            parts.append(
                f'<rect x="{label_width + cell * j:.1f}" y="{y}" width="{cell - 1:.1f}" '
                f'height="{row_height - 1}" fill="{colour}" fill-opacity="{abs(share):.2f}">'
                f"<title>{_text(columns[j])}: {values[i, j]:.3g}</title></rect>"
            )
    return "".join(parts) + "</svg>"


def _axis(values: list[float], span: tuple[int, int], is_log: bool) -> Any:
    """The map from values to places, and the ticks."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if is_log:
        low, high = (max(low, 1e-300), max(high, 1e-300))
        a, b = math.log10(low), math.log10(high)
        if b - a < 1e-9:
            a, b = a - 0.5, b + 0.5
        step = max(1, math.ceil((b - a) / 6))
        ticks = [10.0**k for k in range(math.ceil(a - 1e-9), math.floor(b + 1e-9) + 1, step)]
        if len(ticks) < 2:
            ticks = [low, high]
    else:
        a, b = low, high
        if not b - a > 1e-12 * max(abs(a), abs(b)):
            pad = abs(a) / 10 or 0.5
            a, b = a - pad, b + pad
        ticks = _nice_ticks(a, b)
    a, b = a - 0.03 * (b - a), b + 0.03 * (b - a)
    start, end = span

    def place(value: float) -> float:
        where = math.log10(max(value, 1e-300)) if is_log else value
        return start + (end - start) * (where - a) / (b - a)

    return place, [(value, f"{value:.4g}") for value in ticks]


def _nice_ticks(a: float, b: float) -> list[float]:
    raw = (b - a) / 5
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw)
    first = math.ceil(a / step - 1e-9)
    count = math.floor(b / step + 1e-9) - first + 1
    return [round((first + k) * step, 12) for k in range(count)]


def _dash(colour: str) -> str:
    return f'stroke="{colour}" stroke-dasharray="4 3" fill="none"'


def _short(text: str, size: int = 26) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"


def _text(text: str) -> str:
    return html.escape(text)
