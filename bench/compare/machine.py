"""What a measurement ran on: processor, system, commit, and how fast it multiplies matrices.

The rate is that of numpy's own matrix product at the threads asked for, so that seconds measured
elsewhere or on a busy day can be put in proportion. Run as a module it prints the facts as JSON.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.compare.race import ROOT, THREAD_VARIABLES

SIZE = 1000


def describe(threads: int) -> dict[str, Any]:
    """The facts, gathered by a fresh interpreter since the thread count is fixed at import."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    command = [sys.executable, "-m", "bench.compare.machine"]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    return {**json.loads(result.stdout), "threads": threads}


def headline(threads: int = 1) -> str:
    """What seconds beside it have to be read against, in a line."""
    facts = describe(threads)
    return (
        f"{facts['processor']}, {facts['cores']} cores, load {os.getloadavg()[0]:.1f}; "
        f"square matrix product {facts['gemm_float64_gflops']} GF/s (float64, {threads} thread)"
    )


def commit() -> str:
    """The commit checked out, marked where the tree differs from it."""
    try:
        git = ["git", "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
        return subprocess.run(
            git, cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _facts() -> dict[str, Any]:
    import numpy as np

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "gemm_float64_gflops": gemm_rate(np.float64),
        "gemm_float32_gflops": gemm_rate(np.float32),
    }


def gemm_rate(dtype: type) -> float:
    """GFlop per second of a square product, the best of ten: of CPU time on one thread."""
    import numpy as np

    is_one_thread = os.environ.get(THREAD_VARIABLES[0]) == "1"
    clock = time.process_time if is_one_thread else time.perf_counter
    rng = np.random.default_rng(0)
    a = rng.standard_normal((SIZE, SIZE)).astype(dtype)
    seconds = []
    for _ in range(10):
        start = clock()
        a @ a
        seconds.append(clock() - start)
    return round(2 * SIZE**3 / min(seconds) / 1e9, 1)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    print(json.dumps(_facts()))
