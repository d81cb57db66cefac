"""choose_lam: the curve is that of its folds, the rules are what they say."""

from __future__ import annotations

import pickle
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from convexrelu import (
    LamChoice,
    LimitExceeded,
    Problem,
    Progress,
    choose_lam,
    patterns_from_gates,
    price_patterns,
    solve,
    solve_global,
    to_network,
)

mpl.use("Agg")

Array = np.ndarray


def data(n: int = 90, noise: float = 0.3) -> tuple[Array, Array]:
    rng = np.random.default_rng(n)
    X = np.column_stack([rng.uniform(-1, 1, (n, 2)), np.ones(n)])
    return X, np.abs(X[:, 0]) + X[:, 1] ** 2 + noise * rng.standard_normal(n)


class TestCurve:
    def test_errors_are_those_of_the_folds(self) -> None:
        X, y = data()
        rows = np.random.default_rng(1).permutation(len(y))
        folds = [(rows[30:], rows[:30]), (rows[:60], rows[60:])]
        choice = choose_lam(X, y, cv=folds, lams=[0.1, 0.01], tol=1e-3, rng=0)
        assert choice.lams.tolist() == [0.1, 0.01]
        for k, (train, test) in enumerate(folds):
            for j, lam in enumerate(choice.lams):
                s = solve_global(X[train], y[train], lam, tol=1e-3, certify=False, rng=0)
                error = np.mean((to_network(s).predict(X[test]) - y[test]) ** 2)
                assert choice.fold_errors[k, j] == pytest.approx(error, rel=0.02)
        assert choice.mean_errors == pytest.approx(choice.fold_errors.mean(axis=0))
        spread = np.abs(choice.fold_errors[0] - choice.fold_errors[1]) / 2
        assert choice.standard_errors == pytest.approx(spread)

    def test_held_out_predictions_give_the_errors(self) -> None:
        X, y = data(60)
        rows = np.random.default_rng(1).permutation(60)
        folds = [(rows[20:], rows[:20]), (rows[:40], rows[45:])]  # five rows are in neither
        choice = choose_lam(X, y, cv=folds, lams=[0.1, 0.01], rng=0)
        assert choice.held_out.shape == (2, 60)
        for errors, (_, test) in zip(choice.fold_errors, folds, strict=True):
            squares = (choice.held_out[:, test] - y[test]) ** 2
            assert squares.mean(axis=1) == pytest.approx(errors, rel=1e-12)
        assert np.isnan(choice.held_out[:, rows[40:45]]).all()

    @pytest.mark.parametrize("noise", [0.05, 1.0])
    def test_finds_the_least(self, noise: float) -> None:
        """As a full grid does, with no more than half a power of ten of it left out."""
        X, y = data(noise=noise)
        choice = choose_lam(X, y, rng=0)
        largest = price_patterns(X, y, max_cones=0, rng=0).value
        grid = choose_lam(X, y, lams=largest * np.geomspace(1, 1e-5, 21), rng=0)
        assert choice.status == "complete"
        assert choice.mean_errors.min() <= grid.mean_errors.min() * 1.03
        assert choice.lam == choice.lam_best

    def test_noise_asks_for_more(self) -> None:
        quiet, loud = (choose_lam(*data(noise=noise), rng=0).lam for noise in (0.05, 1.0))
        assert quiet < loud

    def test_weights(self) -> None:
        X, y = data()
        v = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
        rows = np.arange(len(y))
        folds = [(rows[30:], rows[:30]), (rows[:60], rows[60:])]
        weighted = choose_lam(X, y, cv=folds, lams=[0.01], sample_weight=v, rng=0)
        times = v.astype(int)
        place = np.repeat(rows, times)
        repeated_folds = [
            (np.flatnonzero(np.isin(place, a)), np.flatnonzero(np.isin(place, b))) for a, b in folds
        ]
        repeated = choose_lam(X[place], y[place], cv=repeated_folds, lams=[0.01], rng=0)
        assert weighted.mean_errors == pytest.approx(repeated.mean_errors, rel=1e-6)

    @pytest.mark.parametrize("formulation", ["relu", "gated"])
    def test_of_given_gates(self, formulation: str) -> None:
        X, y = data(60)
        gates = np.random.default_rng(2).standard_normal((3, 15))
        rows = np.random.default_rng(1).permutation(60)
        folds = [(rows[20:], rows[:20]), (rows[:40], rows[40:])]
        choice = choose_lam(X, y, cv=folds, lams=[0.02], gates=gates, formulation=formulation)
        for error, (train, test) in zip(choice.fold_errors[:, 0], folds, strict=True):
            patterns = patterns_from_gates(X[train], gates)
            problem = Problem(X[train], y[train], patterns, formulation=formulation)
            predicted = solve(problem, 0.02).predict(X[test])
            assert error == pytest.approx(np.mean((predicted - y[test]) ** 2), rel=0.02)
        largest = Problem(X, y, patterns_from_gates(X, gates), formulation=formulation).lambda_max
        explored = choose_lam(X, y, gates=gates, formulation=formulation, rng=0)
        assert explored.lams[0] == pytest.approx(largest * 10**-0.25)

    def test_of_another_loss(self) -> None:
        """The errors are mean losses of rows left out, intercept included; one class alone has a
        network too.
        """
        X, y = data(60)
        y = (y > np.median(y)).astype(float)
        gates = np.random.default_rng(2).standard_normal((3, 15))
        rows = np.arange(60)
        alone = np.flatnonzero(y == 1.0)[:10]
        folds = [(rows[20:], rows[:20]), (alone, rows[40:])]
        options = {"loss": "logistic", "fit_intercept": True}
        choice = choose_lam(X, y, cv=folds, lams=[0.02], gates=gates, **options)
        train, test = folds[0]
        problem = Problem(X[train], y[train], patterns_from_gates(X[train], gates), **options)
        f = solve(problem, 0.02).predict(X[test])
        loss = np.logaddexp(0, f) - y[test] * f
        assert choice.fold_errors[0, 0] == pytest.approx(loss.mean(), rel=0.02)
        assert np.allclose(choice.held_out[0, test], f, atol=0.1)
        assert np.isfinite(choice.fold_errors).all()

    def test_jobs_change_nothing(self) -> None:
        X, y = data(60)
        one, two = (choose_lam(X, y, cv=3, lams=[0.1, 0.01], rng=0, n_jobs=n) for n in (None, 2))
        assert np.array_equal(one.fold_errors, two.fold_errors)

    def test_same_seed_same_choice(self) -> None:
        X, y = data(60)
        one, two = (choose_lam(X, y, rng=3) for _ in range(2))
        assert np.array_equal(one.fold_errors, two.fold_errors)


class TestRules:
    CHOICE = LamChoice(
        [1.0, 0.1, 0.01, 0.001],
        [[9.0, 2.0, 1.0, 1.5], [9.0, 2.4, 2.0, 2.5], [9.0, 2.2, 3.0, 3.5]],
        [0.0, 1.0, 2.0, 3.0],
        "best",
        "complete",
    )

    def test_best(self) -> None:
        assert self.CHOICE.lam == self.CHOICE.lam_best == 0.01

    def test_one_standard_error(self) -> None:
        """2.2 is within 2 + 1/sqrt(3)."""
        assert self.CHOICE.lam_one_se == 0.1
        X, y = data()
        choice = choose_lam(X, y, rule="one_se", rng=0)
        assert choice.lam == choice.lam_one_se >= choice.lam_best


class TestStopping:
    def test_callback(self) -> None:
        X, y = data(60)
        seen: list[Progress] = []

        def stop(progress: Progress) -> bool:
            seen.append(progress)
            return len(seen) == 3

        choice = choose_lam(X, y, rng=0, callback=stop)
        assert choice.status == "callback"
        assert [p.objective for p in seen] == choice.mean_errors.tolist()
        assert [p.iteration for p in seen] == [1, 2, 3]

    def test_no_time(self) -> None:
        with pytest.raises(LimitExceeded, match="before any lam was tried"):
            choose_lam(*data(), time_limit=0)


class TestValue:
    def test_pickle_plot_repr(self) -> None:
        choice = TestRules.CHOICE
        again = pickle.loads(pickle.dumps(choice))
        assert np.array_equal(again.fold_errors, choice.fold_errors)
        assert again.lam == choice.lam
        assert choice.plot().get_ylabel()
        assert "4 lam tried on 3 folds" in repr(choice)
        mpl.pyplot.close("all")


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"cv": 1}, ValueError, "cv must be at least 2, got 1"),
            ({"cv": 4}, ValueError, r"cv must be at most the number of rows \(3\), got 4"),
            ({"cv": "5"}, TypeError, "cv must be an integer"),
            ({"cv": [([0], [1])]}, ValueError, "cv must have at least 2 folds, got 1"),
            ({"cv": [([0], [1]), ([0], [3])]}, ValueError, "below the number of rows"),
            ({"cv": [([0], [1]), ([0], [])]}, ValueError, "non-empty arrays of row indices"),
            ({"rule": "least"}, ValueError, "rule must be 'best' or 'one_se', got 'least'"),
            ({"lams": [0.0]}, ValueError, "lams must be positive numbers"),
            ({"y": np.zeros(3)}, ValueError, "the optimum is zero at every lam"),
            ({"n_jobs": 0}, ValueError, "n_jobs must be at least 1"),
            ({"callback": 1}, TypeError, "callback must be callable or None"),
            ({"formulation": "gated"}, ValueError, "gates must be given where formulation is"),
            ({"loss": "huber"}, ValueError, "gates must be given where .* the loss is not squared"),
            ({"fit_intercept": True}, ValueError, "gates must be given where"),
            ({"tol": 2}, ValueError, "tol must be a finite number"),
        ],
    )
    def test_bad_ones(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        good: dict[str, Any] = {"X": np.eye(3), "y": np.ones(3), "cv": 3, "rng": 0}
        with pytest.raises(error, match=message):
            choose_lam(**{**good, **arguments})
