"""Runs one peer on one problem: starts it, scores what it finds, ends it in time."""

from __future__ import annotations

import json
import math
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from bench.compare import gap
from bench.compare.environments import PEERS, interpreter
from bench.compare.problems import Problem

ROOT = Path(__file__).resolve().parent.parent.parent
GOOD_ENOUGH = 1e-9  # relative gap at which a peer has nothing more to show
PATIENCE = 6  # runs in a row without a better gap after which a ladder ends
TRACE_PATIENCE = 20  # snapshots in a row without a better gap after which a trace ends
LADDER_LIMIT = 6.0  # time limits that all runs of a ladder may take together
STARTUP_LIMIT = 600.0  # seconds to import, model and compile
POLL = 0.05
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


def race(
    peer: str,
    problem: Problem,
    *,
    threads: int,
    time_limit: float,
    memory_limit: float,
    on_point: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """What `peer` reached on `problem`: status, versions, and every point with time and gap.

    on_point sees each point as it is scored.
    """
    instance = problem.instance
    record: dict[str, Any] = {"problem": problem.name, "peer": peer, "time_limit": time_limit}
    record["points"] = []
    with tempfile.TemporaryDirectory(prefix="convexrelu-bench-") as name:
        folder = Path(name)
        np.savez(
            folder / "problem.npz",
            X=instance.X,
            y=instance.y,
            masks=instance.masks,
            gates=problem.gates,
            lams=problem.lams,
            formulation=instance.formulation,
        )
        command = [
            str(interpreter(PEERS[peer].environment)),
            *("-m", f"bench.compare.adapters.{peer}"),
            *(str(folder / "problem.npz"), name),
            *("--time-limit", str(time_limit), "--threads", str(threads)),
            *("--memory-limit", str(memory_limit)),
        ]
        with open(folder / "log", "w+") as log:
            child = _Child(command, threads, log)
            try:
                _converse(child, problem, record, time_limit, on_point)
            finally:
                exit_code = child.end()
            if "status" not in record:
                log.seek(0)
                record["status"] = f"died ({exit_code}): {' '.join(log.read().split()[-20:])}"
    return record


def _converse(
    child: _Child,
    problem: Problem,
    record: dict[str, Any],
    time_limit: float,
    on_point: Callable[[dict[str, Any]], None],
) -> None:
    """Takes the child's messages into `record` until it ends or runs out of time."""
    limit, ladder, trace = STARTUP_LIMIT, _Progress(PATIENCE), _Progress(TRACE_PATIENCE)
    spent = 0.0
    try:
        while message := child.receive(limit):
            event = message.pop("event")
            if event == "point":
                point = _scored(problem, message)
                record["points"].append(point)
                on_point(point)
                if point["is_final"]:
                    spent += point["cpu"]
                    ladder.add(point["gap"])
                    trace = _Progress(TRACE_PATIENCE)
                else:
                    trace.add(point["gap"])
            else:
                record.update(message)
            if event in ("ready", "point"):
                limit = time_limit
                is_over = ladder.is_over or trace.is_over or spent > LADDER_LIMIT * time_limit
                child.answer("enough" if is_over else "continue")
    except TimeoutError:
        record["status"] = "time limit"


def _scored(problem: Problem, message: dict[str, Any]) -> dict[str, Any]:
    path = Path(message.pop("path"))
    with np.load(path) as archive:
        lengths, blocks, weights = archive["lengths"], archive["blocks"], archive["weights"]
    path.unlink()
    ends = np.cumsum(lengths)
    scores = [
        gap.score(problem.instance, lam, blocks[end - length : end], weights[end - length : end])
        for lam, length, end in zip(problem.lams, lengths, ends, strict=True)
    ]
    return {
        **message,
        "gap": max(score.gap for score in scores),
        "violation": max(score.violation for score in scores),
        "n_active": max(score.n_active for score in scores),
        "primal": [score.primal for score in scores],
        "dual": [score.dual for score in scores],
    }


class _Progress:
    """Gaps one after another: over once one is good enough, or when they no longer get better."""

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._best, self._unimproved = math.inf, 0

    def add(self, value: float) -> None:
        self._unimproved = 0 if value < self._best else self._unimproved + 1
        self._best = min(self._best, value)

    @property
    def is_over(self) -> bool:
        return self._best <= GOOD_ENOUGH or self._unimproved >= self._patience


class _Child:
    """An adapter's process: one JSON message a line from it, one word a line back."""

    def __init__(self, command: list[str], threads: int, log: IO[str]) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        self._unread = b""
        self._has_closed = False

    def receive(self, limit: float) -> dict[str, Any] | None:
        """The next message; None when the child has ended; TimeoutError after `limit` seconds."""
        start = self._cpu_seconds()
        while b"\n" not in self._unread:
            if select.select([self._process.stdout], [], [], POLL)[0]:
                data = os.read(self._process.stdout.fileno(), 1 << 16)
                if not data:
                    self._has_closed = True
                    return None
                self._unread += data
            elif self._cpu_seconds() - start > limit:
                raise TimeoutError
        line, self._unread = self._unread.split(b"\n", 1)
        return json.loads(line)

    def answer(self, word: str) -> None:
        self._process.stdin.write(word.encode() + b"\n")
        self._process.stdin.flush()

    def end(self) -> int:
        """The exit code; a child that does not leave by itself in a moment is killed."""
        self._process.stdin.close()
        try:
            return self._process.wait(5.0 if self._has_closed else 0.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
        finally:
            self._process.stdout.close()

    def _cpu_seconds(self) -> float:
        """CPU time the child has used; the wall clock where the system does not say."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return time.monotonic()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
