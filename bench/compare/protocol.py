"""What an adapter sees: the problem it reads, the clock it runs under, the points it writes.

An adapter is a module of bench.compare.adapters that ends with `run(solve)`, where

    solve(task: Task, recorder: Recorder) -> None

calls the peer at a ladder of tolerances, from coarse to fine, each time from scratch (`measure`),
or once with a callback (`trace`). It runs in its own interpreter and environment, which has numpy
and the peer. Each point is written as it is found, and the parent scores it before the run goes
on, so that nothing else computes while the clock runs. The parent says when a point is good
enough, and ends a run that exceeds its time limit: most peers react to no signal while they
compute, and a CPU timer in the process would make its CPU clock coarse.

The clock is the CPU time of the process (the wall clock beside it) around the peer's own solver.
What comes before, building matrices and models, is modelling and counted apart.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

REPEAT_UNTIL = 0.5  # seconds: a shorter run is repeated, and its least time counts
MAX_REPEATS = 7
FIRST_SNAPSHOT, SNAPSHOT_GROWTH = 0.005, 1.15  # seconds into a trace, ratio of successive times

Point = tuple[np.ndarray, np.ndarray]  # blocks (k, 2: pattern, sign) and weights (k, d)


class Skip(Exception):
    """The peer cannot take this problem; the message says why."""


class Enough(Exception):
    """Nothing more is to be learned from this peer on this problem."""


class Task(NamedTuple):
    X: np.ndarray  # (n, d), Fortran order
    y: np.ndarray
    masks: np.ndarray  # (n, P) bool, Fortran order
    gates: np.ndarray  # (d, P)
    lams: np.ndarray  # decreasing
    formulation: str
    threads: int
    memory_limit: float  # bytes
    time_limit: float  # seconds for one run, for peers that can keep it themselves

    @property
    def signs(self) -> tuple[int, ...]:
        return (1, -1) if self.formulation == "relu" else (1,)

    @property
    def blocks(self) -> np.ndarray:
        """All blocks (P * signs, 2): every pattern with sign +1, then every pattern with -1."""
        patterns = np.arange(self.masks.shape[1])
        columns = [np.column_stack([patterns, np.full_like(patterns, s)]) for s in self.signs]
        return np.vstack(columns)

    def require_memory(self, size: float, what: str) -> None:
        if size > self.memory_limit:
            raise Skip(f"{what} would take {size / 1e9:.0f} GB")

    def points(self, coefficients: np.ndarray) -> list[Point]:
        """Points from coefficients (n_lams, P * signs * d), each row all blocks in order."""
        dense = np.asarray(coefficients).reshape(len(self.lams), len(self.blocks), -1)
        nonzero = np.any(dense != 0, axis=2)
        return [(self.blocks[rows], w[rows]) for w, rows in zip(dense, nonzero, strict=True)]


class Recorder:
    """Runs the peer under the clock and hands the points it finds to the parent."""

    def __init__(self, folder: Path, time_limit: float, channel: Channel) -> None:
        self._folder = folder
        self._time_limit = time_limit
        self._channel = channel
        self._count = 0
        self._modelling = 0.0

    @contextlib.contextmanager
    def modelling(self) -> Iterator[None]:
        start = time.process_time()
        yield
        self._modelling += time.process_time() - start

    def ready(self) -> None:
        """Imports, modelling, compilation and warm-up are over."""
        startup = time.process_time() - self._modelling
        self._channel.ask(event="ready", startup=startup, modelling=self._modelling)

    def measure(
        self, label: str, solve: Callable[[], Any], points: Callable[[Any], list[Point]]
    ) -> None:
        """Times solve(), which must start from scratch, and records points(result), one per lam."""
        cpu = wall = np.inf
        spent, repeats = 0.0, 0
        while spent < REPEAT_UNTIL and repeats < MAX_REPEATS:
            clock = _Clock()
            result = solve()
            seconds, seconds_wall = clock.read()
            cpu, wall = min(cpu, seconds), min(wall, seconds_wall)
            spent, repeats = spent + seconds, repeats + 1
        self._record(label, cpu, wall, points(result), is_final=True)

    def trace(
        self,
        label: str,
        solve: Callable[[Callable[[Any], None]], Any],
        points: Callable[[Any], list[Point]],
    ) -> None:
        """Times solve(tick), which calls tick(state) as it goes; records points(state) at times.

        The clock stands still while a state is looked at.
        """
        clock = _Clock()
        due = FIRST_SNAPSHOT

        def tick(state: Any) -> None:
            nonlocal due
            cpu, wall = clock.read()
            if cpu < due:
                return
            with clock.stopped():
                self._record(label, cpu, wall, points(state), is_final=False)
            due = cpu * SNAPSHOT_GROWTH
            if cpu > self._time_limit:
                raise Enough

        state = solve(tick)
        self._record(label, *clock.read(), points(state), is_final=True)

    def _record(
        self, label: str, cpu: float, wall: float, points: list[Point], *, is_final: bool
    ) -> None:
        memory = peak_memory()
        path = self._folder / f"{self._count:05d}.npz"
        self._count += 1
        np.savez(
            path,
            lengths=[len(weights) for _, weights in points],
            blocks=np.vstack([blocks for blocks, _ in points]),
            weights=np.vstack([weights for _, weights in points]),
        )
        reply = self._channel.ask(
            event="point",
            path=str(path),
            label=label,
            cpu=cpu,
            wall=wall,
            peak_memory=memory,
            is_final=is_final,
        )
        if reply == "enough":
            raise Enough


class _Clock:
    """CPU and wall seconds since its making, but for the times when it was stopped."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def read(self) -> tuple[float, float]:
        return time.process_time() - self._cpu, time.perf_counter() - self._wall

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self._cpu += time.process_time() - cpu
        self._wall += time.perf_counter() - wall


class Channel:
    """Messages to the parent over what was standard output, answers over standard input.

    What the peer prints goes to standard error.
    """

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def tell(self, **message: Any) -> None:
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()

    def ask(self, **message: Any) -> str:
        self.tell(**message)
        answer = sys.stdin.readline().strip()
        if not answer:  # the parent is gone
            raise Enough
        return answer


def run(solve: Callable[[Task, Recorder], None], *packages: str) -> None:
    """The main function of an adapter; `packages` are those whose versions are reported."""
    parser = argparse.ArgumentParser()
    parser.add_argument("problem", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--time-limit", type=float, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-limit", type=float, default=8e9)
    arguments = parser.parse_args()
    with np.load(arguments.problem) as archive:
        task = Task(
            X=np.asfortranarray(archive["X"]),
            y=archive["y"],
            masks=np.asfortranarray(archive["masks"]),
            gates=archive["gates"],
            lams=archive["lams"],
            formulation=str(archive["formulation"]),
            threads=arguments.threads,
            memory_limit=arguments.memory_limit,
            time_limit=arguments.time_limit,
        )
    channel = Channel()
    channel.tell(
        event="start",
        versions={name: metadata.version(name) for name in packages},
        python=sys.version.split()[0],
        memory=peak_memory(),
    )
    status = "finished"
    try:
        solve(task, Recorder(arguments.folder, arguments.time_limit, channel))
    except Enough:
        pass
    except Skip as reason:
        status = f"skipped: {reason}"
    except MemoryError:
        status = "out of memory"
    except Exception as error:
        traceback.print_exc()
        status = f"error: {type(error).__name__}: {error}"
    channel.tell(event="end", status=status)


def peak_memory() -> int:
    """Bytes of resident memory this process has held at most; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
