"""Patterns: bits by their definition, drawn as documented, values that cannot be changed."""

from __future__ import annotations

import copy
import gc
import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import designs, gate_sets

from convexrelu import (
    Patterns,
    enumerate_patterns,
    max_pattern_count,
    patterns_from_gates,
    sample_patterns,
)

X = np.random.default_rng(3).standard_normal((70, 4))


class TestFromGates:
    @given(st.data())
    def test_bits_by_definition(self, data: st.DataObject) -> None:
        """Integers: the signs are exact. All gates are kept, whatever their patterns are."""
        X = np.round(4 * data.draw(designs()))
        gates = np.round(4 * data.draw(gate_sets(X))).T
        patterns = patterns_from_gates(X, gates)
        assert len(patterns) == gates.shape[1]
        np.testing.assert_array_equal(patterns.masks, X @ gates >= 0)
        np.testing.assert_array_equal(patterns.gates, gates)
        assert not patterns.is_complete

    def test_a_tie_is_on(self) -> None:
        patterns = patterns_from_gates([[1, 1], [0, 0], [1, 0]], [[1, -1, 0], [-1, 0, 0]])
        np.testing.assert_array_equal(patterns.masks.T, [[1, 1, 1], [0, 1, 0], [1, 1, 1]])

    @pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e300])
    def test_of_any_scale(self, scale: float) -> None:
        gates = np.random.default_rng(0).standard_normal((4, 50))
        expected = patterns_from_gates(X, gates).packed
        np.testing.assert_array_equal(patterns_from_gates(scale * X, gates).packed, expected)
        np.testing.assert_array_equal(patterns_from_gates(X, scale * gates).packed, expected)


class TestSample:
    def test_the_draw_of_scnn(self) -> None:
        """default_rng(seed).standard_normal((d, m)); repeated and all-zero patterns dropped."""
        for seed in range(5):
            gates = np.random.default_rng(seed).standard_normal((4, 200))
            masks = X[:6] @ gates >= 0
            first = sorted(np.unique(masks, axis=1, return_index=True)[1])
            kept = [i for i in first if masks[:, i].any()]
            patterns = sample_patterns(X[:6], 200, rng=seed)
            np.testing.assert_array_equal(patterns.masks, masks[:, kept])
            np.testing.assert_array_equal(patterns.gates, gates[:, kept])

    @given(designs(), st.sampled_from(["gaussian", "ray"]), st.integers(0, 99))
    def test_distinct_cells_of_the_data(self, X: Any, method: str, seed: int) -> None:
        patterns = sample_patterns(X, 30, rng=seed, method=method)
        every = {mask.tobytes() for mask in enumerate_patterns(X)}
        drawn = [mask.tobytes() for mask in patterns]
        assert len(set(drawn)) == len(drawn) <= 30
        assert patterns.masks.any(axis=0).all()
        assert set(drawn) <= every

    @pytest.mark.parametrize("method", ["gaussian", "ray"])
    def test_sources_of_randomness(self, method: str) -> None:
        def draw(rng: Any) -> Patterns:
            return sample_patterns(X, 20, rng=rng, method=method)

        assert draw(1) == draw(1) == draw(np.random.default_rng(1)) == draw(np.int64(1))
        assert draw(1) != draw(2)
        assert draw(None) != draw(None)
        generator = np.random.default_rng(1)
        assert draw(generator) != draw(generator)
        state = np.random.get_state()[1].tolist()  # noqa: NPY002
        draw(None)
        assert np.random.get_state()[1].tolist() == state  # noqa: NPY002

    def test_rays_find_more_cells(self) -> None:
        X = np.random.default_rng(0).standard_normal((30, 3))
        n = max_pattern_count(30, 3)
        found = {m: len(sample_patterns(X, 3 * n, rng=0, method=m)) for m in ("gaussian", "ray")}
        assert found["ray"] > 1.2 * found["gaussian"]

    def test_nothing_to_find(self) -> None:
        assert len(sample_patterns(np.zeros((3, 2)), 10, rng=0, method="ray")) == 0
        np.testing.assert_array_equal(sample_patterns(np.zeros((3, 2)), 10, rng=0).masks, [[1]] * 3)


class TestCount:
    @pytest.mark.parametrize(
        ("n", "rank", "count"),
        [(1, 0, 1), (5, 0, 1), (1, 1, 2), (9, 1, 2), (4, 2, 8), (50, 4, 39300)],
    )
    def test_formula(self, n: int, rank: int, count: int) -> None:
        assert max_pattern_count(n, rank) == count

    def test_large(self) -> None:
        assert max_pattern_count(1000, 1000) == 2 * 2**999
        assert max_pattern_count(3, 100) == 8

    def test_recurrence(self) -> None:
        """A further hyperplane cuts as many cells as there are on it (Schlaefli)."""
        for n in range(1, 12):
            for r in range(2, 12):
                assert max_pattern_count(n + 1, r) == max_pattern_count(n, r) + (
                    max_pattern_count(n, r - 1)
                )

    @pytest.mark.parametrize(
        ("n", "rank", "error", "message"),
        [
            (0, 1, ValueError, "n must be at least 1, got 0"),
            (2.0, 1, TypeError, "n must be an integer, got 2.0"),
            (2, -1, ValueError, "rank must be at least 0, got -1"),
            (2, None, TypeError, "rank must be an integer, got None"),
        ],
    )
    def test_errors(self, n: Any, rank: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            max_pattern_count(n, rank)


class TestValue:
    PATTERNS = sample_patterns(X, 20, rng=0)

    def test_a_sequence_of_masks(self) -> None:
        masks = self.PATTERNS.masks
        assert masks.shape == (self.PATTERNS.n_samples, len(self.PATTERNS)) == (70, 20)
        assert masks.dtype == self.PATTERNS[0].dtype == bool
        np.testing.assert_array_equal(np.array(list(self.PATTERNS)).T, masks)
        np.testing.assert_array_equal(self.PATTERNS[-1], masks[:, -1])
        for i in (20, -21):
            with pytest.raises(IndexError, match=f"pattern {i} of 20"):
                self.PATTERNS[i]

    def test_packed_bits(self) -> None:
        packed = self.PATTERNS.packed
        assert packed.shape == (20, math.ceil(70 / 64))
        for k in range(70):
            bits = packed[:, k // 64] >> np.uint64(k % 64) & np.uint64(1)
            np.testing.assert_array_equal(bits, self.PATTERNS.masks[k])
        assert (packed[:, -1] >> np.uint64(70 % 64) == 0).all()

    def test_is_immutable(self) -> None:
        for array in (self.PATTERNS.packed, self.PATTERNS.gates):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
        with pytest.raises(AttributeError):
            self.PATTERNS.n_samples = 3  # type: ignore[misc]
        self.PATTERNS.masks[:] = False  # unpacked anew at each access
        assert self.PATTERNS.masks.any()

    def test_copies(self) -> None:
        for patterns in (self.PATTERNS, enumerate_patterns(X[:6])):
            again = pickle.loads(pickle.dumps(patterns))
            assert again == patterns
            assert again.is_complete == patterns.is_complete
            assert copy.deepcopy(patterns) is patterns is copy.copy(patterns)
        assert patterns_from_gates(X, self.PATTERNS.gates[:, ::-1]) != self.PATTERNS
        assert self.PATTERNS != 3

    def test_views_outlive_it(self) -> None:
        patterns = sample_patterns(X, 20, rng=0)
        packed, gates = patterns.packed, patterns.gates
        before = packed.copy(), gates.copy()
        del patterns
        gc.collect()
        np.testing.assert_array_equal(packed, before[0])
        np.testing.assert_array_equal(gates, before[1])

    def test_repr(self) -> None:
        assert repr(self.PATTERNS) == "<Patterns: 20 of 70 samples in R^4>"
        assert repr(enumerate_patterns(np.eye(2))) == "<Patterns: 4 of 2 samples in R^2, complete>"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sample_patterns(X, 0), ValueError, "n_gates must be at least 1, got 0"),
        (lambda: sample_patterns(X, 2.5), TypeError, "n_gates must be an integer, got 2.5"),
        (lambda: sample_patterns(X, True), TypeError, "n_gates must be an integer, got True"),
        (lambda: sample_patterns(X, 2**40), ValueError, "n_gates must be below 2"),
        (lambda: sample_patterns(X, 5, rng="x"), TypeError, "rng must be an integer, got 'x'"),
        (lambda: sample_patterns(X, 5, rng=-1), ValueError, "rng must be at least 0, got -1"),
        (
            lambda: sample_patterns(X, 5, method="cells"),
            ValueError,
            "method must be 'gaussian' or 'ray', got 'cells'",
        ),
        (lambda: patterns_from_gates(X, np.eye(3)), ValueError, "gates must have one row per"),
        (lambda: patterns_from_gates(X, np.ones(4)), ValueError, "gates must have two dimensions"),
        (lambda: patterns_from_gates(X, np.full((4, 1), np.nan)), ValueError, "gates must be fin"),
    ],
)  # fmt: skip
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
