"""Standardizer and StandardizedNetwork: maps of raw data, of any magnitude, there and back."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.strategies import Array, designs, reals, targets

from convexrelu import (
    Network,
    Problem,
    StandardizedNetwork,
    Standardizer,
    sample_patterns,
    solve,
    to_network,
)

RNG = np.random.default_rng(0)
X = np.column_stack([RNG.normal(7, 3, 50), RNG.normal(-1e4, 1e-2, 50), np.full(50, 0.1)])
Y = RNG.normal(2, 5, 50)
STANDARDIZER = Standardizer.fit(X, Y)


class TestFit:
    def test_means_and_standard_deviations(self) -> None:
        assert np.allclose(STANDARDIZER.x_mean, X.mean(axis=0), rtol=1e-14)
        assert np.allclose(STANDARDIZER.x_scale[:2], X[:, :2].std(axis=0), rtol=1e-9)
        assert STANDARDIZER.y_mean == pytest.approx(Y.mean(), rel=1e-14)
        assert STANDARDIZER.y_scale == pytest.approx(Y.std(), rel=1e-14)

    def test_weights_are_multiplicities(self) -> None:
        times = np.random.default_rng(1).integers(0, 4, 50)
        weighted = Standardizer.fit(X, Y, sample_weight=times)
        repeated = Standardizer.fit(X.repeat(times, axis=0), Y.repeat(times))
        assert np.allclose(weighted.x_mean, repeated.x_mean, rtol=1e-12)
        assert np.allclose(weighted.x_scale, repeated.x_scale, rtol=1e-6)
        assert weighted.y_mean == pytest.approx(repeated.y_mean, rel=1e-12)
        assert weighted.y_scale == pytest.approx(repeated.y_scale, rel=1e-12)
        alone = Standardizer.fit(X, Y, sample_weight=np.arange(50) < 1)  # the others do not count
        assert (alone.y_mean, alone.y_scale) == (Y[0], 1.0)

    def test_constant_columns_become_zero(self) -> None:
        """0.1 fifty times: a computed mean is not 0.1."""
        assert (STANDARDIZER.x_mean[2], STANDARDIZER.x_scale[2]) == (0.1, 1.0)
        assert not STANDARDIZER.transform(X)[:, 2].any()
        constant = Standardizer.fit(X, np.full(50, 0.3))
        assert (constant.y_mean, constant.y_scale) == (0.3, 1.0)

    def test_last_bits_are_no_spread(self) -> None:
        column = np.where(np.arange(50) % 2, 0.3, 0.1 + 0.2)
        assert np.ptp(column) > 0
        assert Standardizer.fit(column[:, None], Y).x_scale == [1.0]
        counted = 1e15 + np.arange(50.0)
        assert Standardizer.fit(counted[:, None], Y).x_scale == pytest.approx(np.arange(50).std())

    @given(designs(), st.sampled_from([1e-300, 1e-8, 1.0, 1e8, 1e300]), st.data())
    def test_standardised_data(self, rows: Array, scale: float, data: st.DataObject) -> None:
        y = data.draw(targets(rows))
        standardizer = Standardizer.fit(scale * rows, scale * y)
        Z, t = standardizer.transform(scale * rows), standardizer.transform_target(scale * y)
        assert Z.shape == (rows.shape[0], rows.shape[1] + 1)
        assert (Z[:, -1] == 1.0).all()
        columns = np.column_stack([Z[:, :-1], t])
        assert np.abs(columns.mean(axis=0)).max() < 1e-12
        spread = columns.std(axis=0)
        constant = np.ptp(np.column_stack([rows, y]), axis=0) <= 1e-15
        assert np.allclose(spread[~constant], 1.0, rtol=1e-12)
        assert (spread[constant] < 1e-15).all()

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_in_stripes(self, order: str, monkeypatch: pytest.MonkeyPatch) -> None:
        rows = np.asarray(np.random.default_rng(0).standard_normal((30, 50)), order=order)
        whole = Standardizer.fit(rows, rows[:, 0])
        monkeypatch.setattr("convexrelu.standardizer._STRIPE", 100)
        assert Standardizer.fit(rows, rows[:, 0]) == whole

    def test_extremes(self) -> None:
        standardizer = Standardizer.fit([[1.7e308], [-1.7e308]], [5e-324, 0.0])
        assert standardizer.transform([[1.7e308], [-1.7e308]])[:, 0].tolist() == [1.0, -1.0]
        assert standardizer.y_scale > 0


class TestMaps:
    @given(reals((5, 3)), reals(5))
    def test_by_definition(self, rows: Array, t: Array) -> None:
        s = STANDARDIZER
        assert np.array_equal(s.transform(rows)[:, :-1], (rows - s.x_mean) / s.x_scale)
        assert np.array_equal(s.inverse_transform_target(t), s.y_mean + s.y_scale * t)
        assert np.allclose(s.transform_target(s.inverse_transform_target(t)), t, atol=1e-14)

    def test_arguments_are_not_changed(self) -> None:
        before = X.copy()
        STANDARDIZER.transform(X)
        assert np.array_equal(X, before)


class TestStandardizedNetwork:
    @pytest.mark.parametrize("formulation", ["relu", "gated"])
    def test_predicts_raw_rows(self, formulation: str) -> None:
        Z, t = STANDARDIZER.transform(X), STANDARDIZER.transform_target(Y)
        problem = Problem(Z, t, sample_patterns(Z, 30, rng=0), formulation=formulation)
        solution = solve(problem, 0.05 * problem.lambda_max)
        model = StandardizedNetwork(to_network(solution), STANDARDIZER)
        fitted = STANDARDIZER.y_mean + STANDARDIZER.y_scale * solution.fitted
        assert np.allclose(model.predict(X), fitted, rtol=1e-12)
        # Scaled to raw units the loss is the certified one.
        loss = ((model.predict(X) - Y) ** 2).mean() / 2 / STANDARDIZER.y_scale**2
        penalty = solution.lam * np.linalg.norm(solution.weights, axis=1).sum()
        assert loss + penalty == pytest.approx(solution.objective, rel=1e-12)
        value = model.network.objective(Z, t, solution.lam)
        assert value == pytest.approx(solution.objective, rel=1e-13)
        assert np.array_equal(model.predict(X, n_threads=2), model.predict(X))

    def test_no_neurons_predict_the_mean(self) -> None:
        model = StandardizedNetwork(Network(np.empty((0, 4)), []), STANDARDIZER)
        assert (model.predict(X) == STANDARDIZER.y_mean).all()
        assert (model.n_neurons, model.n_features) == (0, 3)


MODEL = StandardizedNetwork(Network(np.ones((2, 4)), [1.0, -1.0]), STANDARDIZER)


class TestValues:
    @pytest.mark.parametrize("value", [STANDARDIZER, MODEL], ids=repr)
    def test_copies(self, value: Any) -> None:
        for again in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):
            assert again == value
            assert repr(again) == repr(value)

    def test_equality(self) -> None:
        other = Standardizer(STANDARDIZER.x_mean, STANDARDIZER.x_scale, 0.0, 1.0)
        assert other != STANDARDIZER
        assert StandardizedNetwork(MODEL.network, other) != MODEL
        assert STANDARDIZER != 1
        assert MODEL != 1

    def test_are_immutable(self) -> None:
        mean = np.zeros(1)
        standardizer = Standardizer(mean, [1.0], 0.0, 1.0)
        mean[0] = 5.0
        assert standardizer.x_mean.tolist() == [0.0]
        with pytest.raises(ValueError, match="read-only"):
            standardizer.x_mean[0] = 1.0
        with pytest.raises(AttributeError):
            standardizer.y_mean = 1.0

    def test_repr(self) -> None:
        assert repr(STANDARDIZER) == "<Standardizer: 3 features>"
        expected = "<StandardizedNetwork: <Network: relu, 2 neurons on R^4>, 3 raw features>"
        assert repr(MODEL) == expected


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: Standardizer([0.0], [1.0, 2.0], 0.0, 1.0),
            ValueError,
            "x_scale must have as many",
        ),
        (lambda: Standardizer([0.0], [0.0], 0.0, 1.0), ValueError, "x_scale must be positive"),
        (lambda: Standardizer([np.nan], [1.0], 0.0, 1.0), ValueError, "x_mean must be finite"),
        (lambda: Standardizer([0.0], [1.0], 0.0, 0.0), ValueError, "y_scale must be a finite"),
        (lambda: Standardizer.fit(X, Y[1:]), ValueError, "y must have as many entries"),
        (lambda: Standardizer.fit(X[:0], Y[:0]), ValueError, "X must have at least one row"),
        (lambda: STANDARDIZER.transform(X[:, 1:]), ValueError, "X must have 3 columns, got 2"),
        (
            lambda: STANDARDIZER.transform([[0.0, 1.7e308, 0.0]]),
            ValueError,
            "standardised, X exceeds the range",
        ),
        (lambda: STANDARDIZER.transform_target([np.inf]), ValueError, "y must be finite"),
        (
            lambda: STANDARDIZER.inverse_transform_target([1.7e308]),
            ValueError,
            "in the units of y, t exceeds",
        ),
        (lambda: MODEL.predict(X[:, :2]), ValueError, "X must have 3 columns"),
        (lambda: StandardizedNetwork(X, STANDARDIZER), TypeError, "network must be a Network"),
        (lambda: StandardizedNetwork(MODEL.network, X), TypeError, "must be a Standardizer"),
        (
            lambda: StandardizedNetwork(Network([[1.0]], [1.0]), STANDARDIZER),
            ValueError,
            "network must have 4 features",
        ),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
