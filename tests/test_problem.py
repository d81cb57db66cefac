"""Problem: lambda_max, sample weights, what it takes and what it refuses, copies of it."""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from tests import oracles
from tests.strategies import Case, cases

from convexrelu import (
    Problem,
    Solution,
    differentiate,
    enumerate_patterns,
    find_optimal_set,
    load,
    patterns_from_gates,
    prune,
    sample_patterns,
    save,
    solve,
    to_network,
    trace_path,
)

GENERATOR = np.random.default_rng(0)
X = GENERATOR.integers(-2, 3, (7, 3)).astype(float)
Y = GENERATOR.standard_normal(7)
PATTERNS = sample_patterns(X, 20, rng=0)


class TestLambdaMax:
    @given(cases())
    def test_is_the_largest_projected_correlation(self, case: Case) -> None:
        problem = case.problem
        rounding = 1e-13 * np.abs(problem.X).max() * np.abs(problem.y).max()
        assert problem.lambda_max == pytest.approx(
            oracles.lambda_max(problem), rel=1e-12, abs=rounding
        )

    def test_of_the_gated_problem_needs_no_projection(self) -> None:
        problem = Problem(X, Y, PATTERNS, formulation="gated")
        correlations = [X.T @ (mask * Y) / len(Y) for mask in PATTERNS.masks.T]
        assert problem.lambda_max == pytest.approx(np.linalg.norm(correlations, axis=1).max())

    @pytest.mark.parametrize("formulation", ["relu", "gated"])
    @pytest.mark.parametrize(("a", "b"), [(1e150, 1e150), (1e-150, 1e-150), (1e150, 1e-150)])
    def test_scales_with_the_data(self, formulation: str, a: float, b: float) -> None:
        plain = Problem(X, Y, PATTERNS, formulation=formulation).lambda_max
        scaled = Problem(a * X, b * Y, PATTERNS, formulation=formulation).lambda_max
        assert scaled == pytest.approx(plain * (a * b), rel=1e-13)

    def test_is_zero_where_nothing_can_be_fitted(self) -> None:
        assert Problem(X, np.zeros(7), PATTERNS).lambda_max == 0.0
        zero = np.zeros((7, 3))
        assert Problem(zero, Y, sample_patterns(zero, 5, rng=0)).lambda_max == 0.0

    def test_without_any_pattern(self) -> None:
        one = np.ones((1, 1))
        none = next(p for s in range(9) if not len(p := sample_patterns(one, 1, rng=s)))
        problem = Problem(one, [1.0], none)
        assert problem.n_blocks == 0
        assert problem.lambda_max == 0.0
        assert solve(problem, 0.1).objective == 0.5


class TestSampleWeight:
    """v_k says how often row k is there."""

    @given(cases(ratios=(0.5, 0.1, 0.01)))
    def test_integers_repeat_rows(self, case: Case) -> None:
        if case.sample_weight is None:
            return
        v = np.round(case.sample_weight).astype(int)
        if not v.any():
            return
        rows = np.repeat(np.arange(len(v)), v)
        weighted = Case(case.X, case.y, case.gates, case.formulation, case.ratio, v)
        repeated = Case(case.X[rows], case.y[rows], case.gates, case.formulation, case.ratio)
        assert_same_optimum(weighted, repeated)
        np.testing.assert_allclose(
            solve(weighted.problem, weighted.lam).fitted[rows],
            solve(repeated.problem, weighted.lam).fitted,
            atol=1e-5 * (np.abs(case.y).max() or 1.0),
        )

    @given(cases(ratios=(0.5, 0.1, 0.01)))
    def test_zero_leaves_a_row_out(self, case: Case) -> None:
        if case.sample_weight is None:
            return
        used = case.sample_weight > 0
        v = case.sample_weight[used]
        without = Case(case.X[used], case.y[used], case.gates, case.formulation, case.ratio, v)
        assert_same_optimum(case, without)

    def test_zero_hides_what_the_row_holds(self) -> None:
        v = [0, 1, 2, 0, 1, 1, 1]
        other = X.copy()
        other[[0, 3]] = 1e9
        here, there = (Problem(Z, Y, PATTERNS, sample_weight=v) for Z in (X, other))
        assert here.lambda_max == pytest.approx(there.lambda_max, rel=1e-9)

    @given(cases(ratios=(0.5, 0.1, 0.01)))
    def test_fitted_is_what_the_network_predicts(self, case: Case) -> None:
        """On rows of weight 0 too, where no cone holds the neurons to their patterns."""
        self.check_fitted(case.problem, case.lam)

    @pytest.mark.parametrize("formulation", ["relu", "gated"])
    def test_a_fold_left_out(self, formulation: str) -> None:
        rng = np.random.default_rng(0)
        Z, t = rng.standard_normal((12, 2)), rng.standard_normal(12)
        fold = np.arange(12) < 4
        patterns = enumerate_patterns(Z)
        problem = Problem(Z, t, patterns, formulation=formulation, sample_weight=1.0 - fold)
        lam = 0.05 * problem.lambda_max
        solution = self.check_fitted(problem, lam)
        if formulation == "relu":  # the patterns say something else there: far more than rounding
            masks = patterns.masks[:, solution.active_set[:, 0]]
            by_pattern = (masks * (Z @ solution.weights.T)) @ solution.active_set[:, 1]
            assert np.abs(by_pattern - solution.fitted)[fold].max() > 1e-3

    def check_fitted(self, problem: Problem, lam: float) -> Solution:
        solution = solve(problem, lam)
        others = [trace_path(problem, lam)(lam), prune(solution)]
        if solution.status == "optimal" and lam > 0:
            optima = find_optimal_set(solution)
            alpha = optima.min_norm()
            others.append(optima.solution(alpha))
            np.testing.assert_allclose(
                optima.Q @ alpha, others[-1].fitted, atol=1e-8 * (np.abs(problem.y).max() or 1.0)
            )
        for each in (solution, *others, pickle.loads(pickle.dumps(solution))):
            size = 1.0 + (np.abs(problem.X) @ np.abs(each.weights).T).sum(axis=1).max()
            predicted = to_network(each).predict(problem.X)
            np.testing.assert_allclose(each.fitted, predicted, atol=1e-12 * size)
            np.testing.assert_array_equal(each.residual, problem.y - each.fitted)
        return solution

    def test_the_fit_of_a_row_left_out_moves_with_the_network(self) -> None:
        rng = np.random.default_rng(1)
        Z, t = rng.standard_normal((12, 2)), rng.standard_normal(12)
        fold = np.arange(12) < 4
        problem = Problem(Z, t, enumerate_patterns(Z), sample_weight=1.0 - fold)
        lam = 0.05 * problem.lambda_max
        sensitivity = differentiate(solve(problem, lam))
        assert sensitivity.fit_differentiable
        step = 1e-5 * lam
        after, before = (to_network(solve(problem, x)).predict(Z) for x in (lam + step, lam - step))
        rate = (after - before) / (2 * step)
        np.testing.assert_allclose(sensitivity.d_fitted_d_lam, rate, atol=1e-5 * np.abs(rate).max())

    def test_only_ratios_matter(self) -> None:
        v = np.array([1.0, 2.0, 3.0, 1.0, 0.5, 1.0, 7.0])
        plain = Problem(X, Y, PATTERNS, sample_weight=v)
        for factor in (1e-300, 3.0, 1e300):
            scaled = Problem(X, Y, PATTERNS, sample_weight=factor * v)
            assert scaled.lambda_max == pytest.approx(plain.lambda_max, rel=1e-14)


def assert_same_optimum(here: Case, there: Case) -> None:
    assert there.problem.lambda_max == pytest.approx(here.problem.lambda_max, rel=1e-12, abs=1e-13)
    lam = here.lam
    values = [solve(case.problem, lam).objective for case in (here, there)]
    assert values[1] == pytest.approx(values[0], rel=2e-8, abs=1e-300)


class TestCompleteness:
    """Of patterns for the very X they were enumerated from, and of nothing else."""

    EVERY = enumerate_patterns(X)

    def claims(self, problem: Problem) -> list[bool]:
        solution = solve(problem, 0.1 * problem.lambda_max)
        return [
            problem.is_complete,
            solution.is_global,
            not np.isnan(solution.global_lower_bound),
            not np.isnan(solution.global_gap),
            find_optimal_set(solution).is_complete,
        ]

    def test_of_the_same_data(self) -> None:
        for same in (X, X.copy(order="F"), X + 0.0, np.where(X == 0, -0.0, X), X.tolist()):
            assert all(self.claims(Problem(same, Y, self.EVERY)))
        assert all(self.claims(Problem(X, Y, self.EVERY, sample_weight=np.arange(7.0))))

    @pytest.mark.parametrize(
        "other",
        [
            X - X.mean(axis=0),
            X * [1.0, 2.0, 1.0],
            X * np.arange(1.0, 8.0)[:, None],
            X[::-1],
            X[:, ::-1],
            -X,
            np.nextafter(X, 9.0),
        ],
        ids=["centred", "columns", "rows", "order", "order of columns", "mirrored", "last digits"],
    )
    def test_of_other_data(self, other: NDArray[np.float64]) -> None:
        assert not any(self.claims(Problem(other, Y, self.EVERY)))

    def test_needs_a_fine_tolerance(self) -> None:
        assert enumerate_patterns(X, tol=1e-11).is_complete
        coarse = enumerate_patterns(X, tol=1.1e-11)
        assert not coarse.is_complete
        assert coarse.fingerprint is None
        assert not any(self.claims(Problem(X, Y, coarse)))

    def test_goes_with_copies_and_files(self, tmp_path: Path) -> None:
        problem = Problem(X, Y, self.EVERY)
        save(problem, tmp_path / "problem.npz")
        save(self.EVERY, tmp_path / "patterns.npz")
        again = pickle.loads(pickle.dumps(self.EVERY))
        assert again == self.EVERY
        assert again.fingerprint == self.EVERY.fingerprint == enumerate_patterns(X).fingerprint
        for patterns in (again, load(tmp_path / "patterns.npz"), copy.deepcopy(self.EVERY)):
            assert all(self.claims(Problem(X, Y, patterns)))
            assert not any(self.claims(Problem(2 * X, Y, patterns)))
        for copied in (load(tmp_path / "problem.npz"), pickle.loads(pickle.dumps(problem))):
            assert all(self.claims(copied))
        assert sample_patterns(X, 5, rng=0).fingerprint is None


class TestValue:
    """A problem is an immutable value: it holds copies and equals its own copies."""

    def test_shows_what_it_was_made_of(self) -> None:
        problem = Problem(X, Y, PATTERNS, sample_weight=np.arange(7))
        np.testing.assert_array_equal(problem.X, X)
        np.testing.assert_array_equal(problem.y, Y)
        np.testing.assert_array_equal(problem.sample_weight, np.arange(7))
        assert problem.patterns is PATTERNS
        assert problem.formulation == "relu"
        assert problem.n_blocks == 2 * len(PATTERNS)
        assert Problem(X, Y, PATTERNS, formulation="gated").n_blocks == len(PATTERNS)
        assert Problem(X, Y, PATTERNS).sample_weight is None
        assert repr(problem) == f"<Problem: relu, n=7, d=3, {len(PATTERNS)} patterns, weighted>"

    def test_arrays_are_read_only(self) -> None:
        problem = Problem(X, Y, PATTERNS, sample_weight=np.ones(7))
        for array in (problem.X, problem.y, problem.sample_weight):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1.0

    def test_arrays_outlive_the_problem(self) -> None:
        view = Problem(X, Y, PATTERNS).X
        others = [Problem(X + k, Y, PATTERNS) for k in range(50)]
        assert len(others) == 50
        np.testing.assert_array_equal(view, X)

    def test_later_changes_of_the_arguments_do_not_reach_it(self) -> None:
        own_X, own_y, own_v = X.copy(order="F"), Y.copy(), np.ones(7)
        problem = Problem(own_X, own_y, PATTERNS, sample_weight=own_v)
        before = problem.lambda_max
        own_X[:], own_y[:], own_v[:] = 9, 9, 9
        np.testing.assert_array_equal(problem.X, X)
        assert Problem(problem.X, problem.y, PATTERNS).lambda_max == before

    @pytest.mark.parametrize("formulation", ["relu", "gated"])
    @pytest.mark.parametrize("weight", [None, np.arange(7.0)])
    def test_copies_are_equal(self, formulation: str, weight: Any, tmp_path: Path) -> None:
        problem = Problem(X, Y, PATTERNS, formulation=formulation, sample_weight=weight)
        joblib.dump(problem, tmp_path / "problem")
        copies = [pickle.loads(pickle.dumps(problem, protocol)) for protocol in range(2, 6)]
        copies += [copy.copy(problem), copy.deepcopy(problem), joblib.load(tmp_path / "problem")]
        for other in copies:
            np.testing.assert_array_equal(other.X, problem.X)
            np.testing.assert_array_equal(other.y, problem.y)
            np.testing.assert_array_equal(other.sample_weight, problem.sample_weight)
            assert other.patterns == problem.patterns
            assert other.formulation == problem.formulation
            assert other.lambda_max == problem.lambda_max


def memmap(directory: Path, array: np.ndarray) -> np.ndarray:
    path = directory / "array.dat"
    stored = np.memmap(path, dtype=float, mode="w+", shape=array.shape)
    stored[:] = array
    stored.flush()
    return np.memmap(path, dtype=float, mode="r", shape=array.shape)


class Frame:
    """As pandas does it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.array, dtype=dtype)


class TestAccepts:
    """Any array of real numbers, with the same answer."""

    @pytest.mark.parametrize(
        "convert",
        [
            lambda a: a.tolist(),
            lambda a: a.astype(int),
            lambda a: a.astype(np.int8),
            lambda a: a.astype(np.float16),
            lambda a: a.astype(np.float32),
            lambda a: a.astype(np.longdouble),
            lambda a: a.astype(">f8"),
            lambda a: a.astype(">i4"),
            lambda a: a.astype(object),
            np.asfortranarray,
            lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=-1)[::2, ::3]
            if a.ndim == 2
            else np.repeat(a, 2)[::2],
            lambda a: a[::-1].copy()[::-1],
            lambda a: np.lib.stride_tricks.as_strided(a, a.shape, a.strides, writeable=False),
            lambda a: np.ma.masked_array(a),
            Frame,
        ],
        ids=[
            "list", "int", "int8", "float16", "float32", "longdouble", "big-endian",
            "big-endian int", "object", "Fortran", "strided", "reversed", "read-only", "unmasked",
            "frame",
        ],
    )  # fmt: skip
    def test_kinds_of_arrays(self, convert: Callable[[np.ndarray], Any]) -> None:
        y, v = np.array([1.0, -2, 0, 3, 1, 1, -1]), np.array([1.0, 2, 0, 1, 3, 1, 1])
        plain = Problem(X, y, PATTERNS, sample_weight=v)
        other = Problem(
            convert(X.copy()), convert(y.copy()), PATTERNS, sample_weight=convert(v.copy())
        )
        np.testing.assert_array_equal(other.X, plain.X)
        np.testing.assert_array_equal(other.y, plain.y)
        assert other.lambda_max == plain.lambda_max

    def test_booleans(self) -> None:
        plain = Problem((X > 0).astype(float), (Y > 0).astype(float), PATTERNS)
        assert Problem(X > 0, Y > 0, PATTERNS).lambda_max == plain.lambda_max

    def test_memory_maps(self, tmp_path: Path) -> None:
        other = Problem(memmap(tmp_path, X), Y, PATTERNS)
        assert other.lambda_max == Problem(X, Y, PATTERNS).lambda_max

    def test_a_column_as_target(self) -> None:
        assert Problem(X, Y[:, None], PATTERNS).lambda_max == Problem(X, Y, PATTERNS).lambda_max

    def test_a_target_that_is_a_column_of_the_data(self) -> None:
        data = X.copy()
        aliased, copied = Problem(data, data[:, 1], PATTERNS), Problem(X, X[:, 1].copy(), PATTERNS)
        assert aliased.lambda_max == copied.lambda_max
        np.testing.assert_array_equal(data, X)


def changed(array: np.ndarray, value: Any, dtype: Any = None) -> np.ndarray:
    result = array.astype(dtype or array.dtype)
    result.flat[1] = value
    return result


class Sparse:
    """As scipy.sparse does it."""

    nnz = 1

    def toarray(self) -> np.ndarray:
        return X


MASKED = np.ma.masked_array(Y, mask=np.arange(7) == 2)
BAD_X: list[tuple[Any, type[Exception], str]] = [
    (changed(X, np.nan), ValueError, r"X must be finite, but X\[0, 1\] is nan"),
    (changed(X, np.inf), ValueError, "X must be finite"),
    (changed(X, -np.inf), ValueError, "X must be finite"),
    (np.full((7, 3), 1e4000, dtype=np.longdouble), ValueError, "X must be finite"),
    (X + 1j, TypeError, "X must be real"),
    (X.astype(str), TypeError, "X must be an array of numbers"),
    ("data.csv", TypeError, "X must be an array of numbers"),
    (changed(X, "a", object), TypeError, r"X\[0, 1\] is 'a'"),
    (changed(X, None, object), TypeError, r"X\[0, 1\] is None"),
    (changed(X, 1j, object), TypeError, r"X\[0, 1\] is 1j"),
    (None, TypeError, "X must be"),
    (object(), TypeError, "X must be"),
    ({"a": 1}, TypeError, "X must be"),
    (np.ma.masked_array(X, mask=X > 1), ValueError, "X is a masked array"),
    ([[1.0, 2.0], [3.0]], ValueError, "X must be a rectangular array"),
    (np.zeros((0, 3)), ValueError, "X must have at least one row and one column"),
    (np.zeros((7, 0)), ValueError, "X must have at least one row and one column"),
    (X[:, 0], ValueError, "X must have two dimensions"),
    (X[None], ValueError, "X must have two dimensions"),
    (3.0, ValueError, "X must have two dimensions"),
    (X[:6], ValueError, "y must have as many entries as X has rows"),
    (X[:, :2], ValueError, "patterns are of 3 features, but X has 2"),
    (Sparse(), TypeError, r"X is a sparse matrix; pass a dense one: X.toarray\(\)"),
    (np.array(["2020-01-01"] * 21, dtype="datetime64[D]").reshape(7, 3), TypeError, "X must be"),
]
BAD_Y: list[tuple[Any, type[Exception], str]] = [
    (changed(Y, np.nan), ValueError, r"y must be finite, but y\[1\] is nan"),
    (changed(Y, np.inf), ValueError, "y must be finite"),
    (Y + 1j, TypeError, "y must be real"),
    (Y.astype(str), TypeError, "y must be an array of numbers"),
    (["yes"] * 7, TypeError, "y must be an array of numbers"),
    (changed(Y, "a", object), TypeError, r"y\[1\] is 'a'"),
    (None, TypeError, "y must be"),
    (MASKED, ValueError, "y is a masked array"),
    (Y[:6], ValueError, r"y must have as many entries as X has rows \(7\), got 6"),
    (np.zeros(0), ValueError, "y must have as many entries as X has rows"),
    (Y[None], ValueError, "y must have one dimension"),
    (np.stack([Y, Y], axis=1), ValueError, "y must have one dimension"),
    (Y[:, None, None], ValueError, "y must have one dimension"),
    (1.0, ValueError, "y must have one dimension"),
    (Sparse(), TypeError, "y is a sparse matrix"),
]
BAD_WEIGHTS: list[tuple[Any, type[Exception], str]] = [
    (changed(np.ones(7), -1.0), ValueError, r"sample_weight\[1\] is -1"),
    (changed(np.ones(7), np.nan), ValueError, "sample_weight must be finite"),
    (changed(np.ones(7), np.inf), ValueError, "sample_weight must be finite"),
    (np.zeros(7), ValueError, "sample_weight must have a positive entry"),
    (np.ones(6), ValueError, "sample_weight must have as many entries as X has rows"),
    (np.zeros(0), ValueError, "sample_weight must have as many entries as X has rows"),
    (1.0, ValueError, "sample_weight must have one dimension"),
    ("balanced", TypeError, "sample_weight must be an array of numbers"),
    (np.ones(7) * 1j, TypeError, "sample_weight must be real"),
    (MASKED, ValueError, "sample_weight is a masked array"),
]
BAD_OTHERS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"patterns": PATTERNS.masks}, TypeError, "patterns must be a Patterns, got ndarray"),
    ({"patterns": None}, TypeError, "patterns must be a Patterns, got NoneType"),
    ({"patterns": sample_patterns(X[:5], 9, rng=0)}, ValueError, "patterns are of 5 samples"),
    ({"patterns": sample_patterns(X[:, :2], 9, rng=0)}, ValueError, "patterns are of 2 features"),
    ({"formulation": "ReLU"}, ValueError, "formulation must be 'relu' or 'gated', got 'ReLU'"),
    ({"formulation": None}, ValueError, "formulation must be 'relu' or 'gated', got None"),
    ({"formulation": 1}, ValueError, "formulation must be 'relu' or 'gated', got 1"),
]
BAD = [({"X": bad}, *rest) for bad, *rest in BAD_X]
BAD += [({"y": bad}, *rest) for bad, *rest in BAD_Y]
BAD += [({"sample_weight": bad}, *rest) for bad, *rest in BAD_WEIGHTS]
BAD += BAD_OTHERS


class TestRefuses:
    @pytest.mark.parametrize(("arguments", "error", "message"), BAD)
    def test_bad_arguments(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        good = {"X": X, "y": Y, "patterns": PATTERNS}
        before = {name: copy.deepcopy(value) for name, value in arguments.items()}
        start = time.thread_time()
        with pytest.raises(error, match=message):
            Problem(**{**good, **arguments})
        assert time.thread_time() - start < 0.05
        for name, value in arguments.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, before[name])

    def test_the_error_is_one_of_python_not_of_the_core(self) -> None:
        with pytest.raises(TypeError, match="patterns"):
            Problem(X, Y)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            Problem(X, Y, PATTERNS, "gated")  # type: ignore[misc]


def test_patterns_of_other_data_are_taken_at_their_word() -> None:
    """Bits and features are checked, not where they came from: gates may be of a scaled X."""
    other = patterns_from_gates(X + 1, np.eye(3))
    assert Problem(X, Y, other).n_blocks == 6
