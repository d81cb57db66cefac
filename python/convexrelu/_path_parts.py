"""A path as plain arrays: how it is pickled and saved."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convexrelu import _core

KINDS = ("enter", "leave", "bind", "release", "restart")


class PathParts(NamedTuple):
    """The S segments of a path end to end, and its events."""

    segments: NDArray[np.float64]
    """(S, 4): lam at its begin and end, mu where it is expanded, gap at its end."""
    shapes: NDArray[np.int64]
    """(S, 3): numbers of members, Taylor coefficients, rows of all faces."""
    blocks: NDArray[np.int64]
    """(members, 2): pattern, sign."""
    face_sizes: NDArray[np.int64]
    face_rows: NDArray[np.int64]
    z: NDArray[np.float64]
    """Taylor coefficients, one after another."""
    alpha: NDArray[np.float64]
    events: NDArray[np.int64]
    """(E, 4): index of the kind, pattern, sign, sample."""
    event_lams: NDArray[np.float64]


def parts_of(core: _core.Path) -> PathParts:
    """The path as plain arrays."""
    parts = [segment.parts() for segment in core.segments]
    events = core.events
    return PathParts(
        np.array([(p[0], p[1], p[2], p[8]) for p in parts]).reshape(-1, 4),
        np.array([(len(p[3]), p[6].shape[1], len(p[5])) for p in parts], dtype=np.int64).reshape(
            -1, 3
        ),
        np.concatenate([np.empty((0, 2), np.int64), *(p[3] for p in parts)]),
        np.concatenate([np.empty(0, np.int64), *(p[4] for p in parts)]),
        np.concatenate([np.empty(0, np.int64), *(p[5] for p in parts)]),
        np.concatenate([np.empty(0), *(p[6].ravel(order="F") for p in parts)]),
        np.concatenate([np.empty(0), *(p[7].ravel(order="F") for p in parts)]),
        np.array(
            [(KINDS.index(kind), *block) for kind, _, *block in events],
            dtype=np.int64,
        ).reshape(-1, 4),
        np.array([event[1] for event in events]),
    )


def core_path(
    problem: _core.Problem,
    lam_max: float,
    tol: float,
    status: str,
    n_factorisations: int,
    parts: PathParts,
) -> _core.Path:
    """The inverse. ValueError where the parts do not fit together."""
    if (parts.shapes < 0).any():
        raise ValueError("shapes must not be negative")
    members, columns, rows = parts.shapes.T
    total = int(columns.sum())
    n = len(parts.z) // total if total else 0
    blocks = _split(parts.blocks, members)
    face_sizes = _split(parts.face_sizes, members)
    face_rows = _split(parts.face_rows, rows)
    z = _split(parts.z, n * columns)
    alpha = _split(parts.alpha, members * columns)
    segments = [
        _core.PathSegment(
            begin,
            end,
            centre,
            blocks[j],
            face_sizes[j],
            face_rows[j],
            z[j].reshape((n, columns[j]), order="F"),
            alpha[j].reshape((members[j], columns[j]), order="F"),
            gap,
        )
        for j, (begin, end, centre, gap) in enumerate(parts.segments)
    ]
    if not ((parts.events[:, 0] >= 0) & (parts.events[:, 0] < len(KINDS))).all():
        raise ValueError("events have kinds that there are not")
    events = [
        (KINDS[int(kind)], float(lam), int(pattern), int(sign), int(sample))
        for (kind, pattern, sign, sample), lam in zip(parts.events, parts.event_lams, strict=True)
    ]
    return _core.Path(
        problem,
        lam_max,
        tol,
        _core.Status.__members__[status],
        segments,
        events,
        n_factorisations,
    )


def _split(array: NDArray[Any], sizes: NDArray[np.int64]) -> list[NDArray[Any]]:
    """Consecutive pieces of the given sizes."""
    ends = np.cumsum(sizes)
    if len(array) != (ends[-1] if len(ends) else 0):
        raise ValueError("shapes must fit the arrays")
    return np.split(array, ends[:-1]) if len(ends) else []
