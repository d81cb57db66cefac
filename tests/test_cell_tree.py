"""enumerate_patterns: every cell, once, on data of any kind."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.strategies import Array, designs
from tests.test_monitor import seconds_from_ctrl_c

from convexrelu import (
    LimitExceeded,
    Patterns,
    Progress,
    _core,
    enumerate_patterns,
    max_pattern_count,
    patterns_from_gates,
    sample_patterns,
)


def distinct_hyperplanes(X: Array) -> Array:
    """One row of each direction, exact for small integers."""
    rows: list[Array] = []
    for x in X[X.any(axis=1)]:
        if not any(np.linalg.matrix_rank(np.array([x, row])) == 1 for row in rows):
            rows.append(x)
    return np.array(rows).reshape(-1, X.shape[1])


def count_cells(X: Array) -> int:
    """The sum over all sets S of hyperplanes of (-1)^(|S| - rank S) (Winder 1966)."""
    rows = distinct_hyperplanes(X)
    return sum(
        (-1) ** (size - int(np.linalg.matrix_rank(rows[list(chosen)])) if size else 0)
        for size in range(len(rows) + 1)
        for chosen in itertools.combinations(range(len(rows)), size)
    )


def check_cells(X: Array, patterns: Patterns) -> None:
    """Distinct patterns, each attained by its gate strictly inside its cell."""
    masks, gates = patterns.masks, patterns.gates
    assert patterns.is_complete
    assert gates.shape == (X.shape[1], len(patterns))
    assert len(np.unique(patterns.packed, axis=0)) == len(patterns)
    np.testing.assert_array_equal(patterns_from_gates(X, gates).masks, masks)
    lengths = np.linalg.norm(X, axis=1)
    rows = X[lengths > 0] / lengths[lengths > 0, None]
    assert (np.abs(rows @ gates) > 1e-9).all()


class TestCells:
    @given(designs(max_n=7).map(np.round))
    @settings(max_examples=60)
    def test_all_of_them(self, X: Array) -> None:
        """As many as a formula of another kind counts, all different and all there."""
        patterns = enumerate_patterns(X)
        check_cells(X, patterns)
        assert len(patterns) == count_cells(X) <= max_pattern_count(*X.shape)

    def test_thousands_of_integer_matrices(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(3_000):
            shape = rng.integers(1, 6), rng.integers(1, 5)
            X = rng.integers(-rng.integers(1, 3), 2, shape).astype(float)
            assert len(enumerate_patterns(X)) == count_cells(X)

    @pytest.mark.parametrize(
        ("n", "d"), [(1, 1), (1, 4), (3, 7), (12, 2), (15, 3), (11, 4), (10, 5), (9, 6), (9, 8)]
    )
    def test_general_position_attains_the_formula(self, n: int, d: int) -> None:
        X = np.random.default_rng(n).standard_normal((n, d))
        patterns = enumerate_patterns(X)
        check_cells(X, patterns)
        assert len(patterns) == max_pattern_count(n, min(n, d))

    # "Resonance": all non-zero 0/1 rows (Kamiya, Takemura & Terao 2011). "Threshold": rows
    # (1, +-1, ..., +-1), whose cells are the threshold functions (OEIS A000609). "B": the
    # reflections of the cube, d! 2^d cells.
    @pytest.mark.parametrize(
        ("name", "d", "count"),
        [
            ("resonance", 3, 32), ("resonance", 4, 370), ("resonance", 5, 11_292),
            ("resonance", 6, 1_066_044),
            ("threshold", 4, 104), ("threshold", 5, 1_882), ("threshold", 6, 94_572),
            ("threshold", 7, 15_028_134),
            ("B", 4, 384), ("B", 5, 3_840), ("B", 6, 46_080),
        ],
    )  # fmt: skip
    def test_known_arrangements(self, name: str, d: int, count: int) -> None:
        if name == "resonance":
            rows = list(itertools.product([0, 1], repeat=d))[1:]
        elif name == "threshold":
            rows = [(1, *signs) for signs in itertools.product([-1, 1], repeat=d - 1)]
        else:
            unit = np.eye(d)
            pairs = list(itertools.combinations(unit, 2))
            rows = [*unit, *(a + b for a, b in pairs), *(a - b for a, b in pairs)]
        X = np.array(rows, dtype=float)
        assert len(enumerate_patterns(X, max_patterns=20_000_000)) == count

    @given(designs())
    def test_the_second_half_mirrors_the_first(self, X: Array) -> None:
        masks = enumerate_patterns(X).masks
        half = masks.shape[1] // 2
        zero = ~X.any(axis=1)
        assert masks[zero].all()
        if X.any():
            np.testing.assert_array_equal(masks[~zero, half:], ~masks[~zero, :half])
        else:
            assert masks.shape[1] == 1

    @given(designs(), st.integers(0, 2**32 - 1))
    def test_every_vector_is_in_the_closure_of_a_cell(self, X: Array, seed: int) -> None:
        """Also on hyperplanes: D Xw = (Xw)_+ for one of the patterns, so none is missing."""
        rng = np.random.default_rng(seed)
        masks = enumerate_patterns(X).masks
        for w in [*rng.standard_normal((3, X.shape[1])), *rng.integers(-1, 2, (5, X.shape[1]))]:
            inner = X @ w
            inner[np.abs(inner) <= 1e-12 * np.linalg.norm(X, axis=1) * np.linalg.norm(w)] = 0
            signs = np.sign(inner)[:, None]
            assert ((2 * masks - 1) * signs >= 0).all(axis=0).any()


class TestSameAnswer:
    @pytest.mark.parametrize("kind", ["reals", "integers"])
    def test_bits_do_not_depend_on_threads_or_runs(self, kind: str) -> None:
        rng = np.random.default_rng(6)
        X = rng.standard_normal((80, 3)) if kind == "reals" else rng.integers(-1, 2, (40, 5))
        one = enumerate_patterns(X)
        for n_threads in (1, 2, 5):
            other = enumerate_patterns(X, n_threads=n_threads)
            np.testing.assert_array_equal(other.packed, one.packed)
            assert other.gates.tobytes() == one.gates.tobytes()

    @pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e300])
    def test_of_any_scale(self, scale: float) -> None:
        X = np.random.default_rng(6).integers(-2, 3, (10, 4)).astype(float)
        expected = {mask.tobytes() for mask in enumerate_patterns(X)}
        for factor in (scale, np.geomspace(1, scale, 10)[:, None], np.geomspace(scale, 1, 4)):
            patterns = enumerate_patterns(X * factor)
            assert {mask.tobytes() for mask in patterns} == expected
            np.testing.assert_array_equal(
                patterns_from_gates(X * factor, patterns.gates).masks, patterns.masks
            )


class TestLimits:
    X = np.random.default_rng(0).standard_normal((30, 3))

    def test_of_the_number_of_patterns(self) -> None:
        n = max_pattern_count(30, 3)
        assert len(enumerate_patterns(self.X, max_patterns=n)) == n
        for limit in (1, n - 1):
            with pytest.raises(LimitExceeded, match=f"more than max_patterns = {limit} "):
                enumerate_patterns(self.X, max_patterns=limit)

    def test_far_too_many_are_refused_at_once(self) -> None:
        with pytest.raises(LimitExceeded, match="max_patterns"):
            enumerate_patterns(np.random.default_rng(0).standard_normal((300, 60)))

    @pytest.mark.parametrize("rank", [63, 65, 66, 100])
    def test_rank_beyond_what_is_counted(self, rank: int) -> None:
        """2^rank patterns at least: no limit lets them through, whatever 64 bits make of it."""

        def enumerate_up_to(max_patterns: float) -> None:
            _core.enumerate_patterns(
                np.eye(rank), max_patterns=max_patterns, tol=1e-12, n_threads=1, callback=None
            )

        for limit in (2.0**rank, 1e40, np.inf):
            with pytest.raises(
                LimitExceeded, match=rf"X of rank {rank} has 2\^{rank} .* 62 at most"
            ):
                enumerate_up_to(limit)
        with pytest.raises(LimitExceeded, match=f"more than max_patterns = {2 ** (rank - 1)} "):
            enumerate_up_to(2.0 ** (rank - 1))

    def test_callback(self) -> None:
        seen: list[Progress] = []
        X = np.random.default_rng(0).standard_normal((150, 4))
        patterns = enumerate_patterns(X, callback=seen.append)
        found = [progress.iteration for progress in seen]
        assert found == sorted(found)
        assert found[-1] == len(patterns)
        with pytest.raises(LimitExceeded, match="callback"):
            enumerate_patterns(X, callback=lambda _: True)
        with pytest.raises(ZeroDivisionError):
            enumerate_patterns(X, callback=lambda _: 1 / 0)
        with pytest.raises(TypeError, match="callback must be None or a callable"):
            enumerate_patterns(X, callback=3)  # type: ignore[arg-type]

    @pytest.mark.timing
    @pytest.mark.parametrize("n_threads", [1, 2])
    def test_ctrl_c(self, n_threads: int) -> None:
        X = np.random.default_rng(0).standard_normal((400, 5))  # 2 billion cells

        def work() -> None:
            enumerate_patterns(X, max_patterns=2**31 - 1, n_threads=n_threads)

        assert seconds_from_ctrl_c(work) < 0.2
        assert threading.active_count() < 10
        assert len(enumerate_patterns(X[:5])) == 32

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"max_patterns": 0}, ValueError, "max_patterns must be at least 1, got 0"),
            ({"max_patterns": 1e6}, TypeError, "max_patterns must be an integer, got 1000000.0"),
            ({"tol": -1e-9}, ValueError, "tol must be a finite number >= 0"),
            ({"tol": np.nan}, ValueError, "tol must be a finite number"),
            ({"tol": "small"}, TypeError, "tol must be a real number, got 'small'"),
            ({"n_threads": 0}, ValueError, "n_threads must be at least 1, or -1 for .* got 0"),
            ({"n_threads": 1.5}, TypeError, "n_threads must be an integer, got 1.5"),
        ],
    )  # fmt: skip
    def test_errors(self, arguments: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            enumerate_patterns(self.X, **arguments)


def test_sampled_patterns_are_cells() -> None:
    X = np.random.default_rng(0).integers(0, 2, (20, 4)).astype(float)
    every = {mask.tobytes() for mask in enumerate_patterns(X)}
    for method in ("gaussian", "ray"):
        drawn = sample_patterns(X, 5_000, rng=0, method=method)
        assert {mask.tobytes() for mask in drawn} <= every
