"""Mask products beside the fastest matrix product: effective GFlop per second, 2 n d P a product.

    python -m bench.bench_mask_product [NxDxP ...]

norms32 is `correlation_norms` (all || X' D_i r || in float32, with a proven bound), corr64
`correlate`, forward and corr64-60 are `forward` and `correlate` on 60 of the patterns.
The other side is numpy's matrix product X' (D o r) in float32, where D o r is there already (sgemm;
also the price of (r o X)' D, which needs next to nothing to be formed) and where it is formed for
each r (D o r). The fastest of eight layouts counts. CPU time on one thread, the least of many; `x2`
is the wall time on one thread over that on two and says little on a busy machine. Every product is
checked against float64 before its time counts.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # the peer chooses its own kernels
    os.environ.pop(variable, None)

import numpy as np  # noqa: E402
from threadpoolctl import threadpool_info  # noqa: E402

from bench.compare.machine import gemm_rate, processor  # noqa: E402
from convexrelu import patterns_from_gates  # noqa: E402
from convexrelu._core import MaskProduct, level  # noqa: E402

SHAPES = ("442x11x2000", "1797x65x2000", "5000x50x1000", "300x4x200000", "11876x784x500")
BUDGET = 0.3  # seconds a figure
N_LISTED = 60


def least(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Seconds of one call."""
    work()
    best, spent = np.inf, 0.0
    while spent < BUDGET:
        start = clock()
        work()
        seconds = clock() - start
        best, spent = min(best, seconds), spent + seconds
    return best


def measure(n: int, d: int, count: int) -> str:
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((n, d)), rng.standard_normal(n)
    patterns = patterns_from_gates(X, rng.standard_normal((d, count)))
    product = MaskProduct(X, patterns._core)
    flops = 2e-9 * n * d
    listed = [i * count // N_LISTED for i in range(N_LISTED)]
    U = rng.standard_normal((d, N_LISTED))
    check(X, r, U, patterns.masks, listed, product)

    R = r[:, None]
    norms = least(lambda: product.correlation_norms(r))
    correlate = least(lambda: product.correlate(R))
    forward = least(lambda: product.forward(listed, U))
    few = MaskProduct(X, patterns_from_gates(X, patterns.gates[:, listed])._core)
    correlate_few = least(lambda: few.correlate(R))
    one = least(lambda: product.correlation_norms(r), time.perf_counter)
    two = least(lambda: product.correlation_norms(r, n_threads=2), time.perf_counter)

    ready, formed = peer(X, r, patterns.masks)
    rates = [flops * count / t for t in (norms, correlate)]
    rates += [flops * N_LISTED / t for t in (forward, correlate_few)]
    rates += [flops * count / t for t in (ready, formed)]
    return (
        f"{f'{n}x{d}x{count}':15}"
        + "".join(f"{rate:11.1f}" for rate in rates)
        + f"{ready / norms:9.2f}{formed / norms:9.2f}{one / two:6.2f}"
    )


def check(
    X: np.ndarray,
    r: np.ndarray,
    U: np.ndarray,
    masks: np.ndarray,
    listed: list[int],
    product: MaskProduct,
) -> None:
    chunk = slice(0, 2000)
    masked = np.where(masks[:, chunk], r[:, None], 0.0)
    expected = X.T @ masked
    scale = np.linalg.norm(X) * np.linalg.norm(r)
    norms, bound = product.correlation_norms(r)
    assert np.abs(norms[chunk] - np.linalg.norm(expected, axis=0)).max() <= bound <= 1e-4 * scale
    assert np.abs(product.correlate(r[:, None])[:, chunk] - expected).max() <= 1e-14 * scale
    fitted = (masks[:, listed] * (X @ U)).sum(axis=1)
    assert np.abs(product.forward(listed, U) - fitted).max() <= 1e-12 * np.abs(fitted).max()


def peer(X: np.ndarray, r: np.ndarray, masks: np.ndarray) -> tuple[float, float]:
    """Seconds of the fastest float32 product with D o r ready, and with it formed."""
    X32, r32 = X.astype(np.float32), r.astype(np.float32)
    exact = X[:, :1].T @ np.where(masks[:, :100], r[:, None], 0.0)
    ready, formed = [], []
    for order in "CF":
        D = np.asarray(masks, np.float32, order=order)
        masked = np.multiply(D, r32[:, None])
        for left in (np.ascontiguousarray(X32.T), np.asfortranarray(X32.T)):
            assert np.abs((left @ masked)[:1, :100] - exact).max() <= 1e-3 * len(r)
            ready.append(least(lambda left=left, masked=masked: left @ masked))
        for right in (np.ascontiguousarray(X32), np.asfortranarray(X32)):
            ready.append(least(lambda right=right, masked=masked: masked.T @ right))
        forming = least(lambda D=D, out=masked: np.multiply(D, r32[:, None], out=out))
        formed.append(min(ready[-4:]) + forming)
    return min(ready), min(formed)


def main() -> None:
    blas = ", ".join(f"{b['internal_api']} {b['architecture']}" for b in threadpool_info()[:1])
    print(
        f"{processor()}, level {level}, numpy {np.__version__} ({blas}), square gemm float64"
        f" {gemm_rate(np.float64)}, float32 {gemm_rate(np.float32)} GF/s"
    )
    columns = ("norms32", "corr64", "forward", "corr64-60", "sgemm", "D o r")
    print(f"{'':15}" + "".join(f"{c:>11}" for c in columns) + "  /sgemm  /D o r    x2")
    for shape in sys.argv[1:] or SHAPES:
        print(measure(*map(int, shape.split("x"))), flush=True)


if __name__ == "__main__":
    main()
