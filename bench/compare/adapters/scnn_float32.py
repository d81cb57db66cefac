"""scnn at its own default precision: faster a step, and stuck sooner."""

from __future__ import annotations

from functools import partial

from bench.compare.adapters.scnn import solve
from bench.compare.protocol import run

if __name__ == "__main__":
    run(partial(solve, dtype="float32"), "pyscnn", "torch", "numpy")
