"""The claims of speed, as data: what a set of results must show before it may be said."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from bench.compare.report import Results, by_problem, markdown, seconds, time_to_gap

OURS = "convexrelu"


class Claim(NamedTuple):
    """On `problem` this library has gap `gap` within `factor` of the fastest of `peers` to its."""

    problem: str
    gap: float
    factor: float
    peers: tuple[str, ...]
    peer_gap: float | None  # None: the best gap the peer reaches at all


ANY = ("adelie", "skglm", "celer", "scnn", "scnn_float32", "clarabel", "scs")

CLAIMS = (
    *(Claim(f"gated-diabetes-{p}-0.01", 1e-8, 1 / 10, ("skglm",), 1e-6) for p in (500, 2000)),
    *(Claim(f"gated-diabetes-{p}-0.1", 1e-8, 1 / 2, ANY, 1e-8) for p in (100, 500, 2000)),
    *(
        Claim(f"gated-diabetes-100-{ratio}", 1e-8, 1 / 5, (peer,), 1e-8)
        for ratio in ("0.01", "0.001")
        for peer in ("clarabel", "scs")
    ),
    Claim("gated-digits-even-odd-500-0.01", 1e-8, 1 / 5, ("celer",), 1e-4),
    Claim("gated-planted-5000x50-500-0.1", 1e-8, 1 / 3, ANY, 1e-4),
    *(
        claim
        for ratio in ("0.1", "0.01")
        for claim in (
            Claim(f"relu-diabetes-200-{ratio}", 1e-8, 1 / 50, ("clarabel",), 1e-8),
            Claim(f"relu-diabetes-200-{ratio}", 1e-8, 1.0, ("adelie",), 4e-5),
        )
    ),
    Claim("relu-diabetes-500-0.01", 1e-8, 1.0, ("adelie",), None),
    Claim("relu-breast-cancer-wisconsin-500-0.01", 1e-8, 1.0, ("adelie",), None),
    Claim("gated-mnist-2-6-50-0.1", 1e-6, 1 / 2, ("adelie",), 1e-4),
    Claim("gated-diabetes-500-grid0.01", 3e-6, 1 / 2, ("skglm",), 3e-6),
)

# Problems on which the peak of resident memory is at most that of a peer, or so many bytes.
MEMORY_CLAIMS: tuple[tuple[str, str | float], ...] = (
    ("gated-planted-5000x50-500-0.1", "adelie"),
    *((f"gated-mnist-2-6-{p}-{ratio}", 2e9) for p in (50, 500) for ratio in ("0.1", "0.01")),
)

# Gaps to be reached where no peer does: what the peers have by the same time is shown beside it.
REACHED = tuple(
    (f"gated-mnist-2-6-{p}-{ratio}", 1e-6)
    for p, ratio in ((50, "0.1"), (50, "0.01"), (500, "0.1"), (500, "0.01"))
)


def claims(results: list[Results], clock: str = "cpu") -> str:
    """Which claims of speed, of memory and of gaps the results bear out."""
    runs = {name: {run["peer"]: run for run in entered} for name, _, entered in by_problem(results)}
    measured = [claim for claim in CLAIMS if OURS in runs.get(claim.problem, ())]
    header = ["problem", "gap", "seconds", "peer", "its gap", "its seconds", "ratio", "claim", ""]
    lines = markdown(header, [_row(claim, runs[claim.problem], clock) for claim in measured])
    rows = [
        _memory_row(problem, limit, runs[problem])
        for problem, limit in MEMORY_CLAIMS
        if runs.get(problem, {}).get(OURS, {}).get("points")
    ]
    if rows:
        lines += ["", *markdown(["problem", "peak MB", "at most", "MB", ""], rows)]
    rows = [
        _reached_row(*reached, runs[reached[0]], clock)
        for reached in REACHED
        if OURS in runs.get(reached[0], ())
    ]
    if rows:
        lines += ["", *markdown(["problem", "gap", "seconds", "", "peers by then, at best"], rows)]
    return "\n".join(lines)


def _reached_row(
    problem: str, gap: float, runs: dict[str, dict[str, Any]], clock: str
) -> list[str]:
    ours = time_to_gap(runs[OURS], gap, clock)
    peers = [f"{peer} {gap_at(run, ours, clock):.0e}" for peer, run in runs.items() if peer != OURS]
    holds = "holds" if math.isfinite(ours) else "FAILS"
    return [problem, f"{gap:.0e}", seconds(ours), holds, ", ".join(peers) or "not measured"]


def gap_at(run: dict[str, Any], limit: float, clock: str) -> float:
    """The best gap of a run that took at most so many seconds; 1 (that of zero weights) without."""
    return min([1.0, *(point["gap"] for point in run["points"] if point[clock] <= limit)])


def _memory_row(problem: str, limit: str | float, runs: dict[str, dict[str, Any]]) -> list[str]:
    ours = _peak(runs[OURS])
    row = [problem, f"{ours / 1e6:.0f}"]
    if isinstance(limit, float):
        return [*row, "", f"{limit / 1e6:.0f}", "holds" if ours <= limit else "FAILS"]
    if not runs.get(limit, {}).get("points"):
        return [*row, limit, "-", "not measured"]
    theirs = _peak(runs[limit])
    return [*row, limit, f"{theirs / 1e6:.0f}", "holds" if ours <= theirs else "FAILS"]


def _peak(run: dict[str, Any]) -> int:
    return max(point["peak_memory"] for point in run["points"])


class _Time(NamedTuple):
    """Seconds of a peer to a gap; where it ran out of time, those that it had."""

    seconds: float
    is_exact: bool
    peer: str
    gap: float

    def __str__(self) -> str:
        return ("" if self.is_exact else "> ") + seconds(self.seconds)


def _row(claim: Claim, runs: dict[str, dict[str, Any]], clock: str) -> list[str]:
    ours = time_to_gap(runs[OURS], claim.gap, clock)
    row = [claim.problem, f"{claim.gap:.0e}", seconds(ours)]
    times = [_time(runs[peer], claim.peer_gap, clock) for peer in claim.peers if peer in runs]
    if not times:
        return [*row, *4 * ["-"], f"{claim.factor:.2g}", "not measured"]
    fastest = min(times)
    ratio = ours / fastest.seconds
    return [
        *row,
        fastest.peer,
        f"{fastest.gap:.0e}",
        str(fastest),
        f"{ratio:.2g}",
        f"{claim.factor:.2g}",
        "holds" if ratio <= claim.factor else "FAILS",
    ]


def _time(run: dict[str, Any], gap: float | None, clock: str) -> _Time:
    if gap is None:
        gap = min((point["gap"] for point in run["points"]), default=math.inf)
    taken = time_to_gap(run, gap, clock)
    if math.isinf(taken) and run["status"] == "time limit":
        return _Time(run["time_limit"], False, run["peer"], gap)
    return _Time(taken, True, run["peer"], gap)
