"""Networks that tell classes, and the sigmoid fit."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from convexrelu import (
    ClassNetwork,
    Network,
    StandardizedNetwork,
    Standardizer,
    TableNetwork,
    load,
    make_preprocessor,
    save,
)
from convexrelu.class_network import fit_sigmoid, probabilities, sigmoid

Array = NDArray[np.float64]


def network(seed: int, gated: bool = False, d: int = 2) -> StandardizedNetwork:
    rng = np.random.default_rng(seed)
    gates = rng.normal(size=(3 + seed, d + 1)) if gated else None
    hidden, output = rng.normal(size=(3 + seed, d + 1)), rng.normal(size=3 + seed)
    inner = Network(hidden, output, gates, intercept=0.3 * seed)
    scale = Standardizer(rng.normal(size=d), rng.uniform(1, 2, d), rng.normal(), 2.0)
    return StandardizedNetwork(inner, scale)


def model(k: int, gated: bool = False) -> ClassNetwork:
    m = 1 if k == 2 else k
    names = ["a", "b c", "ü", "d"][:k]
    networks = [network(j, gated) for j in range(m)]
    return ClassNetwork(networks, np.linspace(0, 2, m), np.linspace(-1, 1, m), names)


X = np.random.default_rng(0).normal(size=(20, 2))


@pytest.mark.parametrize("k", [2, 3, 4])
class TestClassNetwork:
    def test_probabilities_and_classes(self, k: int) -> None:
        p = model(k).probabilities(X)
        assert p.shape == (20, k)
        assert np.allclose(p.sum(axis=1), 1.0, rtol=1e-15)
        codes = model(k).codes(X)
        assert (p[np.arange(20), codes] == p.max(axis=1)).all()
        assert model(k).predict(X).tolist() == [model(k).classes[code] for code in codes]

    @pytest.mark.parametrize("gated", [False, True])
    def test_copies_and_files(self, k: int, gated: bool, tmp_path: Path) -> None:
        value = model(k, gated)
        save(value, tmp_path / "m.npz")
        for again in (
            load(tmp_path / "m.npz"),
            pickle.loads(pickle.dumps(value)),
            copy.deepcopy(value),
        ):
            assert again == value
            assert repr(again) == repr(value)
            assert np.array_equal(again.logits(X), value.logits(X))
        assert value != model(5 - k if k < 4 else 3, gated)

    def test_of_tables(self, k: int, tmp_path: Path) -> None:
        preprocessor = make_preprocessor({"u": X[:, 0], "v": X[:, 1]})
        value = TableNetwork(model(k), preprocessor, "kind")
        rows = {"v": X[:, 1], "w": X[:, 1], "u": X[:, 0]}
        assert np.array_equal(value.predict(rows), model(k).predict(X))
        assert np.array_equal(value.probabilities(rows), model(k).probabilities(X))
        save(value, tmp_path / "t.npz")
        assert load(tmp_path / "t.npz") == value
        numbers = TableNetwork(network(0), preprocessor, "y")
        with pytest.raises(TypeError, match="probabilities are those of a ClassNetwork"):
            numbers.probabilities(rows)


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3), min_size=1))
def test_extreme_logits(rows: list[list[float]]) -> None:
    logits = np.array(rows)
    p = probabilities(logits)
    assert np.isfinite(p).all()
    assert np.allclose(p.sum(axis=1), 1.0)
    assert (p[np.arange(len(p)), logits.argmax(axis=1)] == p.max(axis=1)).all()
    two = probabilities(logits[:, 0])
    assert np.allclose(two.sum(axis=1), 1.0)


class TestSigmoid:
    def test_finds_the_one_that_made_the_labels(self) -> None:
        rng = np.random.default_rng(0)
        scores = rng.normal(3, 2, 20_000)
        labels = rng.random(20_000) < sigmoid(1.5 * scores - 4)
        slope, offset = fit_sigmoid(scores, labels)
        assert slope == pytest.approx(1.5, abs=0.1)
        assert offset == pytest.approx(-4, abs=0.3)

    @settings(max_examples=50)
    @given(st.data())
    def test_is_stationary_and_weights_are_repetitions(self, data: st.DataObject) -> None:
        n = data.draw(st.integers(2, 12))
        values = st.integers(-3, 3) | st.floats(-1e6, 1e6)
        scores = np.array(data.draw(st.lists(values, min_size=n, max_size=n)), float)
        labels = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        times = np.array(data.draw(st.lists(st.integers(1, 3), min_size=n, max_size=n)))
        slope, offset = fit_sigmoid(scores, labels, times.astype(float))
        assert slope >= 0
        again = fit_sigmoid(scores.repeat(times), labels.repeat(times))
        assert np.allclose(
            sigmoid(slope * scores + offset), sigmoid(again[0] * scores + again[1]), atol=1e-6
        )
        positive, negative = times[labels].sum(), times[~labels].sum()
        targets = np.where(labels, (positive + 1) / (positive + 2), 1 / (negative + 2))
        excess = times * (sigmoid(slope * scores + offset) - targets)
        assert abs(excess.sum()) <= 1e-6 * times.sum()
        spread = np.abs(scores).max() + 1
        if slope > 0:
            assert abs(excess @ scores) <= 1e-6 * times.sum() * spread
        else:  # scores would speak against the class
            assert excess @ scores >= -1e-6 * times.sum() * spread

    def test_scores_that_say_nothing(self) -> None:
        labels = np.arange(10) < 3
        for scores in (np.zeros(10), -labels.astype(float)):
            slope, offset = fit_sigmoid(scores, labels)
            assert slope == 0.0
            assert sigmoid(np.array(offset)) == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ClassNetwork([network(0)], [1], [0], ["a"]), ValueError, "two or more different"),
        (lambda: ClassNetwork([network(0)], [1], [0], ["a", "a"]), ValueError, "two or more diff"),
        (lambda: ClassNetwork([network(0)], [1], [0], ["a", 1]), TypeError, "must be texts"),
        (lambda: ClassNetwork([1], [1], [0], ["a", "b"]), TypeError, "StandardizedNetwork, got in"),
        (lambda: ClassNetwork([network(0)], [1], [0], "abc"), ValueError, "networks must be 3 for"),
        (
            lambda: ClassNetwork(
                [network(0), network(1), network(2, d=3)], [1] * 3, [0] * 3, "abc"
            ),
            ValueError,
            "networks must have the same features",
        ),
        (lambda: ClassNetwork([network(0)], [1, 2], [0], "ab"), ValueError, "slopes must have as"),
        (lambda: ClassNetwork([network(0)], [1], [], "ab"), ValueError, "offsets must have as"),
        (lambda: ClassNetwork([network(0)], [-1], [0], "ab"), ValueError, "slopes must not be neg"),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
