"""Pieces of HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence


def escape(text: str) -> str:
    """A text within HTML."""
    return html.escape(text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, which scrolls where it is wider than the screen."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def figures(*pictures: str, small: bool = False) -> str:
    """Pictures beside each other, as many as there is room for."""
    inside = "".join(f"<figure>{picture}</figure>" for picture in pictures)
    return f'<div class="figures{" small" if small else ""}">{inside}</div>'


def key(names: Sequence[str], colours: Sequence[str]) -> str:
    """Which colour is what."""
    entries = "".join(
        f'<span style="color:{colour}">&#9632;</span> {escape(name)} &ensp;'
        for name, colour in zip(names, colours, strict=False)
    )
    return f"<p>{entries}</p>"
