"""Products with masked data, against plain numpy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from convexrelu import patterns_from_gates
from convexrelu._core import MaskProduct

Array = NDArray[np.float64]


class Case(NamedTuple):
    X: Array  # (n, d) small integers: sums of them are exact, whatever the order
    D: Array  # (n, P) the masks as numbers
    product: MaskProduct
    rng: np.random.Generator

    def integers(self, *shape: int) -> Array:
        return self.rng.integers(-3, 4, shape).astype(float)


@st.composite
def cases(draw: Any) -> Case:
    """Sizes on both sides of a word, a slab and the 128 sums from which larger tables pay."""
    n, d = draw(st.integers(1, 140)), draw(st.integers(1, 20))
    count = draw(st.sampled_from([1, 2, 5, 127, 128, 150]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = rng.integers(-3, 4, (n, d)).astype(float)
    patterns = patterns_from_gates(X, rng.integers(-3, 4, (d, count)))
    return Case(X, patterns.masks.astype(float), MaskProduct(X, patterns._core), rng)


@given(cases(), st.integers(1, 3))
def test_correlations_are_exact_on_integers(case, m):
    X, D, product, _ = case
    R = case.integers(len(X), m)
    expected = np.vstack([X.T @ (r[:, None] * D) for r in R.T])
    np.testing.assert_array_equal(product.correlate(R), expected)
    np.testing.assert_array_equal(product.correlate(R, n_threads=2), expected)


@given(cases(), st.sampled_from([1e-300, 1e-20, 1.0, 1e20, 1e300]))
def test_norms_are_within_the_bound_at_every_scale(case, scale):
    X, D, product, rng = case
    r = rng.standard_normal(len(X))
    expected = np.linalg.norm(X.T @ (r[:, None] * D), axis=0)
    norms, bound = product.correlation_norms(scale * r)
    size = np.linalg.norm(X) * np.linalg.norm(r)
    assert (np.abs(norms / scale - expected) <= bound / scale + 1e-14 * size).all()
    assert bound <= (2e-6 * size + 1e-40) * scale
    np.testing.assert_array_equal(product.correlation_norms(scale * r, n_threads=2)[0], norms)


@given(cases(), st.integers(0, 70))
def test_forward_is_exact_on_integers(case, k):
    X, D, product, rng = case
    listed = rng.integers(0, D.shape[1], k)
    U = case.integers(X.shape[1], k)
    expected = (D[:, listed] * (X @ U)).sum(axis=1)
    np.testing.assert_array_equal(product.forward(listed.tolist(), U), expected)
    np.testing.assert_array_equal(product.forward(listed.tolist(), U, n_threads=2), expected)


def test_what_a_mask_hides_is_not_read():
    X = np.array([[1.0, 2.0], [-1.0, -1.0], [3.0, 1.0]])
    product = MaskProduct(X, patterns_from_gates(X, np.array([[1.0], [0.0]]))._core)
    np.testing.assert_array_equal(
        product.correlate(np.array([[1.0], [np.nan], [2.0]])), [[7.0], [4.0]]
    )
    norms, bound = product.correlation_norms(np.array([1.0, np.nan, 2.0]))
    assert bound == np.inf
    assert norms.shape == (1,)


def test_wrong_shapes_are_refused():
    X = np.ones((3, 2))
    patterns = patterns_from_gates(X, np.ones((2, 1)))._core
    product = MaskProduct(X, patterns)
    with pytest.raises(ValueError, match="masks must have a row per row of X"):
        MaskProduct(np.ones((4, 2)), patterns)
    with pytest.raises(ValueError, match="R must have one row per sample"):
        product.correlate(np.ones((4, 1)))
    with pytest.raises(ValueError, match="r must have one entry per sample"):
        product.correlation_norms(np.ones(2))
    with pytest.raises(ValueError, match="patterns must list columns"):
        product.forward([1], np.ones((2, 1)))
    with pytest.raises(ValueError, match="U must have one row per feature"):
        product.forward([0], np.ones((3, 1)))
