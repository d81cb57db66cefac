"""The estimators: scikit-learn's own checks, and what they promise beyond these."""

from __future__ import annotations

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
    GlobalPath,
    OptimalSet,
    StandardizedNetwork,
    TableNetwork,
    export,
    load,
    losses,
    patterns_from_gates,
)
from convexrelu import Path as ExactPath
from convexrelu._training import distinct_rows, draw_folds

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    TimeSeriesSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from convexrelu import ConvexReLUClassifier, ConvexReLURegressor

Array = NDArray[np.float64]

# Fewer lam than by default, for the sake of time. No check is expected to fail.
BRIEF: dict[str, Any] = {"alphas": (0.1, 0.01), "cv": 3}
CHECKS = [
    *estimator_checks_generator(ConvexReLURegressor(**BRIEF)),
    *estimator_checks_generator(ConvexReLUClassifier(**BRIEF)),
]


def name_of(value: Any) -> str:
    return getattr(getattr(value, "func", value), "__name__", type(value).__name__)


@pytest.mark.filterwarnings("ignore")  # those that a check is not about
@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=name_of)
def test_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", [ConvexReLURegressor, ConvexReLUClassifier])
def test_weights_and_repetitions_with_all_defaults(model: Any) -> None:
    for estimator, check in estimator_checks_generator(model()):
        if name_of(check) == "check_sample_weight_equivalence_on_dense_data":
            check(estimator)


def regression(n: int = 60, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 3))
    return X, 10 * np.abs(X[:, 0]) + X[:, 1] + 0.3 * rng.standard_normal(n) + 100


def classes(n: int = 60, k: int = 2, seed: int = 0) -> tuple[Array, Any]:
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 3))
    names = np.array(["low", "middle", "high"][:k])
    cuts = np.quantile(np.abs(X[:, 0]), np.linspace(0, 1, k + 1)[1:-1])
    return X, names[np.digitize(np.abs(X[:, 0]) + 0.05 * rng.standard_normal(n), cuts)]


def regressor(**parameters: Any) -> Any:
    return ConvexReLURegressor(**{"alpha": 0.01, "random_state": 0, **parameters})


def classifier(**parameters: Any) -> Any:
    return ConvexReLUClassifier(**{"alpha": 0.05, "random_state": 0, **parameters})


class TestRows:
    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_order_and_repetition_are_nothing(self, data: st.DataObject) -> None:
        n = data.draw(st.integers(1, 8))
        small = st.integers(-1, 1)
        X = np.array(data.draw(st.lists(st.tuples(small, small), min_size=n, max_size=n)), float)
        Y = np.array(data.draw(st.lists(small, min_size=n, max_size=n)), float)[:, None]
        times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
        if not times.any():
            return
        order = np.array(data.draw(st.permutations(range(n))))
        test = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        place = np.repeat(np.arange(n), times)
        one = distinct_rows(
            X[order],
            Y[order],
            times[order].astype(float),
            [(np.flatnonzero(~test[order]), np.flatnonzero(test[order]))],
        )
        two = distinct_rows(
            X[place], Y[place], None, [(np.flatnonzero(~test[place]), np.flatnonzero(test[place]))]
        )
        assert np.array_equal(one.X, two.X)
        assert np.array_equal(one.Y, two.Y)
        assert (one.weight is None) == (two.weight is None)
        assert one.weight is None or np.array_equal(one.weight, two.weight)
        assert one.folds is not None
        assert two.folds is not None
        for mine, theirs in zip(one.folds[0], two.folds[0], strict=True):
            assert np.array_equal(mine, theirs)
        weight = np.ones(len(one.X)) if one.weight is None else one.weight
        assert weight.sum() == times.sum() or one.weight is None
        assert np.allclose(np.average(one.X, axis=0, weights=weight), X[place].mean(axis=0))

    @pytest.mark.parametrize("codes", [None, np.arange(50) % 7 % 3])
    def test_folds(self, codes: Any) -> None:
        folds = draw_folds(50, 4, np.random.default_rng(0), codes)
        assert sorted(np.concatenate([test for _, test in folds])) == list(range(50))
        for train, test in folds:
            assert sorted([*train, *test]) == list(range(50))
            assert len(test) in (12, 13)
            if codes is not None:
                shares = np.bincount(codes[test]) - np.bincount(codes) / 4
                assert np.abs(shares).max() <= 1


class TestRegressor:
    def test_attributes(self) -> None:
        X, y = regression()
        model = ConvexReLURegressor(alphas=[0.1, 0.01, 0.001], random_state=0).fit(X, y)
        assert model.alphas_.tolist() == [0.1, 0.01, 0.001]
        assert model.alpha_ in model.alphas_
        errors = model.cv_results_["mean_error"]
        assert model.alphas_[errors.argmin()] == model.alpha_
        assert 0.05 < errors.min() < 1.0  # the noise has a variance of .09, y one of 8
        assert model.cv_results_["fold_errors"].shape == (3, 5)
        assert isinstance(model.network_, StandardizedNetwork)
        assert model.n_neurons_ == model.network_.n_neurons
        assert model.gap_ <= 1e-3
        assert (model.status_ == "optimal") == (model.global_gap_ <= 1e-3)
        assert model.global_lower_bound_ <= model.objective_
        assert model.score(X, y) > 0.95
        assert np.array_equal(model.predict(X), model.network_.predict(X))

    def test_objective_is_that_of_the_network(self) -> None:
        X, y = regression()
        model = regressor().fit(X, y)
        of = model.network_.standardizer
        value = model.network_.network.objective(of.transform(X), of.transform_target(y), 0.01)
        assert value == pytest.approx(model.objective_, rel=1e-9)

    def test_order_of_rows_is_nothing(self) -> None:
        X, y = regression()
        order = np.random.default_rng(1).permutation(len(y))
        one, two = (ConvexReLURegressor(**BRIEF, random_state=0) for _ in range(2))
        assert np.array_equal(one.fit(X, y).predict(X), two.fit(X[order], y[order]).predict(X))

    @pytest.mark.parametrize("make", [regressor, classifier])
    @pytest.mark.parametrize("patterns", ["grow", 20])
    def test_weights_are_repetitions_under_drawn_folds(self, make: Any, patterns: Any) -> None:
        X, y = (regression if make is regressor else classes)(40)
        times = np.random.default_rng(3).integers(0, 4, 40)
        given_nan = X.copy()
        given_nan[::9, 1] = np.nan
        models = [make(alpha="cv", **BRIEF, patterns=patterns) for _ in range(2)]
        models[0].fit(given_nan, y, sample_weight=times)
        models[1].fit(given_nan.repeat(times, axis=0), y.repeat(times))
        method = "predict" if make is regressor else "predict_proba"
        one, two = (getattr(model, method)(given_nan) for model in models)
        assert np.array_equal(one, two)

    def test_several_targets_are_several_networks(self) -> None:
        X, y = regression()
        targets = np.column_stack([y, -3 * y + 1, X[:, 2]])
        model = regressor(tol=1e-6).fit(X, targets)
        assert model.predict(X).shape == (60, 3)
        assert len(model.network_) == 3
        assert model.alpha_.tolist() == [0.01] * 3
        assert model.gap_.shape == (3,)
        alone = regressor(tol=1e-6).fit(X, targets[:, 2])
        assert np.allclose(alone.predict(X), model.predict(X)[:, 2], atol=0.01)
        low, _ = model.predict_range(X)
        assert low.shape == (60, 3)
        assert len(model.optimal_set()) == len(model.path()) == 3
        with pytest.raises(ValueError, match="a model or page has one target"):
            model.to_model()

    def test_jobs_change_nothing(self) -> None:
        X, y = regression(40)
        for targets in (y, np.column_stack([y, X[:, 2]])):
            one, two = (
                ConvexReLURegressor(**BRIEF, random_state=0, n_jobs=jobs).fit(X, targets)
                for jobs in (None, 2)
            )
            assert np.array_equal(one.predict(X), two.predict(X))

    def test_at_another_alpha(self) -> None:
        X, y = regression()
        model = regressor().fit(X, y)
        assert np.array_equal(model.predict(X, alpha=0.01), model.predict(X))
        for alpha in (0.3, 0.05, 0.002):  # on the way, between, and below
            other = regressor(alpha=alpha).fit(X, y)
            assert np.allclose(model.predict(X, alpha=alpha), other.predict(X), atol=0.25)
        assert np.ptp(model.predict(X, alpha=10.0)) < 1e-9
        path = model.path()
        assert isinstance(path, GlobalPath)
        below = path.lams[len(path) // 2]
        assert np.array_equal(
            model.predict(X, alpha=below),
            StandardizedNetwork(path[len(path) // 2], model.network_.standardizer).predict(X),
        )
        longer = model.path(0.001)
        assert longer.lams[-1] == 0.001
        assert longer.networks[: len(path)] == path.networks

    @pytest.mark.parametrize("formulation", ["relu", "gated"])
    @pytest.mark.parametrize("kind", ["number", "gates"])
    def test_given_patterns(self, formulation: str, kind: str) -> None:
        X, y = regression()
        gates = np.random.default_rng(0).standard_normal((4, 30))
        patterns: Any = 30
        if kind == "gates":
            patterns = patterns_from_gates(np.random.default_rng(1).normal(size=(5, 4)), gates)
        model = regressor(patterns=patterns, formulation=formulation, alpha="cv").fit(X, y)
        assert model.gap_ <= 1e-3
        assert model.score(X, y) > 0.8
        path = model.path()
        assert isinstance(path, ExactPath)
        assert path.lam_min == model.alpha_
        assert np.ptp(model.predict(X, alpha=0.5)) < np.ptp(model.predict(X))

    def test_all_patterns(self) -> None:
        X, y = regression(25)
        model = regressor(patterns="all").fit(X[:, :2], y)
        assert model.status_ == "optimal"
        assert model.global_gap_ <= 1e-3
        optima = model.optimal_set()
        assert isinstance(optima, OptimalSet)
        assert optima.is_complete
        low, high = model.predict_range(X[:, :2])
        predicted = model.predict(X[:, :2])
        assert (low <= predicted + 1e-4).all()
        assert (predicted <= high + 1e-4).all()

    def test_a_proof(self) -> None:
        X, y = regression(40)
        model = regressor(certify=True, time_limit=60).fit(X[:, :1], y)
        assert model.status_ == "optimal"
        assert model.global_gap_ <= 1e-3

    def test_without_intercept(self) -> None:
        X, y = regression()
        model = regressor(fit_intercept=False, alpha=0.001).fit(X, y)
        assert model.predict(np.zeros((1, 3)))[0] == 0.0
        assert np.allclose(model.predict(2 * X), 2 * model.predict(X), rtol=1e-9)
        for path in (model.path(), model.optimal_set()):
            assert path is not None
        far = regressor(fit_intercept=False).fit(X + np.array([1e6, 0, 0]), y)
        assert np.abs(far.solution_.problem.X).max() < 10
        assert far.gap_ <= 1e-3

    def test_without_standardising(self) -> None:
        X, y = regression()
        model = regressor(standardize=False, alpha=0.01).fit(X, y)
        assert model.network_.standardizer.x_scale.tolist() == [1.0] * 3
        assert model.score(X, y) > 0.9

    @pytest.mark.parametrize("make", [regressor, classifier])
    @pytest.mark.parametrize("alpha", ["cv", 0.01])
    def test_nothing_to_learn(self, make: Any, alpha: Any) -> None:
        y = np.array([1.0, 2.0, 1.0, 2.0] * 5)
        flat = make(alpha=alpha).fit(np.full((20, 2), 3.7), y)
        expected = 1.5 if make is regressor else 1.0
        assert np.allclose(flat.predict([[3.7, 3.7], [5.0, -1.0]]), expected)
        if make is regressor:
            constant = make(alpha=alpha).fit(y[:, None], np.full(20, 0.3))
            assert np.allclose(constant.predict([[1.0], [9.0]]), 0.3)

    def test_warm_start_is_never_worse(self) -> None:
        X, y = regression()
        model = regressor(warm_start=True, tol=0.1).fit(X, y)
        before = model.objective_
        assert model.fit(X, y).objective_ <= before * (1 + 1e-9)

    def test_no_time_is_said(self) -> None:
        X, y = regression()
        with pytest.warns(ConvergenceWarning, match=r"not certified to tol = 0.001.* % too large"):
            model = regressor(alpha="cv", time_limit=0).fit(X, y)
        assert model.status_ == "time_limit"
        assert model.gap_ > 1e-3

    def test_splitters(self) -> None:
        X, y = regression(40)
        brief = {"alpha": "cv", "alphas": (0.1, 0.01)}
        for cv in (KFold(3), TimeSeriesSplit(3), list(KFold(3).split(X))):
            assert regressor(cv=cv, **brief).fit(X, y).score(X, y) > 0.8
        groups = np.arange(40) % 4
        grouped = regressor(cv=GroupKFold(4), **brief).fit(X, y, groups=groups)
        given = regressor(cv=list(GroupKFold(4).split(X, groups=groups)), **brief).fit(X, y)
        assert np.array_equal(grouped.predict(X), given.predict(X))

    @pytest.mark.parametrize("patterns", ["grow", 30])
    @pytest.mark.parametrize("alpha", ["cv", 0.01])
    def test_huber(self, patterns: Any, alpha: Any) -> None:
        """Some targets are far off, which the squared loss follows."""
        X, y = regression(80)
        wild = y + np.where(np.arange(80) % 10 == 0, 60.0, 0.0)
        model = regressor(loss="huber", patterns=patterns, alpha=alpha).fit(X, wild)
        squares = regressor(patterns=patterns, alpha=alpha).fit(X, wild)
        assert model.gap_ <= 1e-3
        assert model.status_ == "certified"
        calm = np.arange(80) % 10 > 0
        errors = [np.abs(m.predict(X)[calm] - y[calm]).mean() for m in (model, squares)]
        assert errors[0] < errors[1]
        of = model.network_.standardizer
        value = model.network_.network.objective(
            of.transform(X), of.transform_target(wild), model.alpha_, loss="huber"
        )
        assert value == pytest.approx(model.objective_, rel=1e-6)
        assert np.ptp(model.predict(X, alpha=10.0)) < 1e-6
        with_parameter = regressor(loss=losses.Huber(0.1), alpha=0.01).fit(X, wild)
        assert with_parameter.solution_.problem.loss == losses.Huber(0.1)

    def test_verbose(self, capfd: pytest.CaptureFixture[str]) -> None:
        X, y = regression(20)
        regressor().fit(X, y)
        assert capfd.readouterr() == ("", "")
        regressor(verbose=1).fit(X, y)
        out, err = capfd.readouterr()
        assert not out
        assert "objective" in err


class TestClassifier:
    @pytest.mark.parametrize("k", [2, 3])
    def test_probabilities(self, k: int) -> None:
        X, y = classes(300, k)
        train, test = slice(200), slice(200, 300)
        model = classifier(alpha="cv", **BRIEF).fit(X[train], y[train])
        assert model.classes_.tolist() == sorted(set(y))
        p = model.predict_proba(X[test])
        assert np.allclose(p.sum(axis=1), 1.0)
        assert (model.classes_[p.argmax(axis=1)] == model.predict(X[test])).all()
        assert model.score(X[test], y[test]) > 0.8
        codes = np.searchsorted(model.classes_, y[test])
        loss = -np.log(p[np.arange(100), codes]).mean()
        assert loss < 0.5 * np.log(k)
        assert model.decision_function(X).shape == ((300,) if k == 2 else (300, 3))
        low, high = model.predict_range(X[:5])
        assert (low <= model.decision_function(X[:5]) + 1e-6).all()
        assert (high >= model.decision_function(X[:5]) - 1e-6).all()

    @pytest.mark.parametrize("k", [2, 3])
    @pytest.mark.parametrize("patterns", ["grow", 30])
    def test_logistic(self, k: int, patterns: Any, tmp_path: Path) -> None:
        X, y = classes(200, k)
        model = classifier(loss="logistic", alpha="cv", **BRIEF, patterns=patterns)
        model.fit(X[:140], y[:140])
        assert model.score(X[140:], y[140:]) > 0.75
        assert np.all(model.gap_ <= 1e-3)
        logits = model.decision_function(X)
        p = model.predict_proba(X)
        if k == 2:
            assert np.allclose(p[:, 1], 1 / (1 + np.exp(-logits)))
            problem = model.solution_.problem
            assert problem.loss == losses.Logistic()
            # The mean of the probabilities is the share of the class: the intercept is free.
            assert p[:140, 1].mean() == pytest.approx((y[:140] == "middle").mean(), abs=1e-3)
        codes = np.searchsorted(model.classes_, y[140:])
        assert -np.log(p[140:][np.arange(60), codes]).mean() < 0.7 * np.log(k)
        model.save(tmp_path / "m.npz")
        assert np.allclose(load(tmp_path / "m.npz").probabilities(X), p)
        assert "double" in export.to_c(model)
        model.report(tmp_path / "page.html", X[140:], y[140:])

    def test_logistic_with_a_class_of_one(self) -> None:
        """Which some folds have not."""
        X, _ = classes(20)
        y = np.array(["a"] * 10 + ["b"] * 9 + ["c"])
        model = classifier(loss="logistic", alpha="cv", **BRIEF, patterns=10).fit(X, y)
        assert np.isfinite(model.predict_proba(X)).all()

    def test_classes_of_any_kind(self) -> None:
        X, y = classes()
        by_text = classifier().fit(X, y)
        for low, high in ((False, True), (3, 7), (-1.0, 1.0)):
            model = classifier().fit(X, np.where(y == "low", high, low))
            assert np.array_equal(model.predict(X) == high, by_text.predict(X) == "low")
            assert model.predict(X).dtype == np.array([low]).dtype

    def test_class_weight(self) -> None:
        X, y = classes(100)
        shares = [
            (
                classifier(class_weight={"low": w, "middle": 1.0}).fit(X, y).predict(X) == "low"
            ).mean()
            for w in (0.01, 1.0, 100.0)
        ]
        assert shares[0] < shares[1] < shares[2]
        balanced = classifier(class_weight="balanced").fit(X, y)
        again = classifier(class_weight="balanced").fit(X, y, sample_weight=np.full(100, 2.0))
        assert np.array_equal(balanced.predict(X), again.predict(X))

    def test_one_class(self) -> None:
        X, _ = classes()
        with pytest.raises(ValueError, match="y must have two classes at least, got the class 'a'"):
            classifier().fit(X, ["a"] * 60)
        with pytest.raises(ValueError, match="class"):
            classifier().fit(X, ["a"] * 59 + ["b"], sample_weight=[1.0] * 59 + [0.0])

    def test_splitter_and_rows_that_do_not_count(self) -> None:
        X, y = classes()
        weight = np.arange(60) % 3 > 0
        kept = np.flatnonzero(weight)
        folds = list(KFold(3).split(X))
        own = [tuple(np.flatnonzero(np.isin(kept, part)) for part in fold) for fold in folds]
        one = classifier(cv=folds).fit(X, y, sample_weight=weight)
        two = classifier(cv=own).fit(X[kept], y[kept])
        assert np.array_equal(one.predict_proba(X), two.predict_proba(X))


class TestScikitLearn:
    def test_pipeline_search_and_scores(self) -> None:
        X, y = regression(40)
        pipeline = make_pipeline(StandardScaler().set_output(transform="pandas"), regressor())
        search = GridSearchCV(pipeline, {"convexreluregressor__alpha": [1.0, 0.01]}, cv=3)
        search.fit(X, y)
        assert search.best_params_["convexreluregressor__alpha"] == 0.01
        scores = cross_val_score(regressor(), X, y, cv=3, n_jobs=2)
        assert np.array_equal(scores, cross_val_score(regressor(), X, y, cv=3))

    @pytest.mark.parametrize("make", [regressor, classifier])
    def test_clone_and_pickle(self, make: Any) -> None:
        X, y = (regression if make is regressor else classes)()
        model = make().fit(X, y)
        assert np.array_equal(clone(model).fit(X, y).predict(X), model.predict(X))
        again = pickle.loads(pickle.dumps(model))
        assert np.array_equal(again.predict(X), model.predict(X))
        assert np.array_equal(again.predict(X, alpha=0.2), model.predict(X, alpha=0.2))
        assert again.optimal_set().dimension == model.optimal_set().dimension


def table(n: int = 80) -> tuple[dict[str, list[Any]], list[Any]]:
    rng = np.random.default_rng(0)
    size = rng.uniform(20, 90, n)
    kind = rng.choice(["flat", "house"], n)
    age = np.where(rng.random(n) < 0.1, np.nan, rng.uniform(0, 50, n))
    price = np.maximum(size - 50, 0) + np.where(kind == "house", 30, 0)
    columns = {
        "size": size.tolist(),
        "kind": kind.tolist(),
        "age": [None if a != a else a for a in age.tolist()],
    }
    return columns, (price + rng.standard_normal(n)).tolist()


class TestFrames:
    @pytest.mark.parametrize("library", ["pandas", "polars"])
    @pytest.mark.parametrize("make", [regressor, classifier])
    def test_columns_by_name(self, library: str, make: Any, tmp_path: Path) -> None:
        frames = pytest.importorskip(library)
        columns, prices = table()
        y: Any = prices if make is regressor else np.where(np.array(prices) > 30, "dear", "cheap")
        frame = frames.DataFrame(columns)
        model = make().fit(frame, frames.Series(y, name="price") if library == "pandas" else y)
        assert model.feature_names_in_.tolist() == ["size", "kind", "age"]
        assert model.n_features_in_ == 3
        assert model.preprocessor_.features == (
            "size", "kind=flat", "kind=house", "age", "age is missing"
        )  # fmt: skip
        other = frames.DataFrame({"colour": ["red"] * 80, **dict(reversed(columns.items()))})
        assert np.array_equal(model.predict(other), model.predict(frame))
        with pytest.raises(ValueError, match="the table lacks 'kind', which the training data had"):
            model.predict(frames.DataFrame({k: v for k, v in columns.items() if k != "kind"}))
        model.save(tmp_path / "model.npz")
        saved = load(tmp_path / "model.npz")
        assert isinstance(saved, TableNetwork)
        assert saved.target == ("price" if library == "pandas" else "target")
        assert np.array_equal(saved.predict(other), model.predict(frame))
        if make is classifier:
            assert np.array_equal(saved.probabilities(other), model.predict_proba(frame))

    def test_a_frame_of_numbers_is_its_array(self) -> None:
        pandas = pytest.importorskip("pandas")
        X, y = regression()
        of_frame = regressor().fit(pandas.DataFrame(X, columns=["a", "b", "c"]), y)
        of_array = regressor().fit(X, y)
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            assert np.array_equal(of_frame.predict(X), of_array.predict(X))
        nameless = regressor().fit(pandas.DataFrame(X), y)  # 0, 1, 2 are no names
        assert np.array_equal(nameless.predict(X), of_array.predict(X))

    def test_missing_numbers_of_arrays(self) -> None:
        X, y = regression()
        X[::7, 2] = np.nan
        model = regressor().fit(X, y)
        filled = X.copy()
        filled[::7, 2] = np.nanmedian(X[:, 2])
        with_flag = regressor().fit(np.column_stack([filled, np.isnan(X[:, 2])]), y)
        expected = with_flag.predict(np.column_stack([filled, np.isnan(X[:, 2])]))
        assert np.array_equal(model.predict(X), expected)

    def test_models_of_arrays(self, tmp_path: Path) -> None:
        X, y = regression()
        regressor().fit(X, y).save(tmp_path / "r.npz")
        assert isinstance(load(tmp_path / "r.npz"), StandardizedNetwork)
        X, y = classes(k=3)
        model = classifier().fit(X, y)
        model.save(tmp_path / "c.npz")
        saved = load(tmp_path / "c.npz")
        assert isinstance(saved, ClassNetwork)
        assert (saved.predict(X) == model.predict(X)).all()


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"alpha": "aic"}, ValueError, "alpha must be 'cv' or a positive number, got 'aic'"),
        ({"alpha": 0.0}, ValueError, "alpha must be a finite number > 0, got 0"),
        ({"alpha": None}, TypeError, "alpha must be a real number, got None"),
        ({"alpha": "cv", "alphas": [-1.0]}, ValueError, "lams must be positive numbers"),
        ({"alpha": "cv", "cv": 1}, ValueError, "cv must be at least 2, got 1"),
        ({"alpha": "cv", "cv": [([0, 1], [2])]}, ValueError, "cv must have at least 2 folds"),
        ({"rule": "worst"}, ValueError, "rule must be 'best' or 'one_se', got 'worst'"),
        ({"patterns": "few"}, ValueError, "patterns must be 'grow' or 'all', got 'few'"),
        ({"patterns": 0}, ValueError, "patterns must be at least 1, got 0"),
        ({"patterns": 2.5}, TypeError, "patterns must be an integer, got 2.5"),
        ({"formulation": "gated"}, ValueError, "patterns must be a number .* 'gated', got 'grow'"),
        ({"formulation": "max"}, ValueError, "formulation must be 'relu' or 'gated'"),
        ({"loss": "logistic"}, ValueError, "loss must be 'squared' or 'huber', got 'logistic'"),
        ({"fit_intercept": 1}, TypeError, "fit_intercept must be True or False, got 1"),
        ({"standardize": None}, TypeError, "standardize must be True or False, got None"),
        ({"tol": 2.0}, ValueError, r"tol must be a finite number > 0 and <= 1, got 2"),
        ({"time_limit": -1}, ValueError, "time_limit must be a finite number >= 0, got -1"),
    ],
)
def test_errors_of_parameters(
    parameters: dict[str, Any], error: type[Exception], message: str
) -> None:
    X, y = regression(20)
    with pytest.raises(error, match=message):
        regressor(**parameters).fit(X, y)


def test_patterns_of_other_features() -> None:
    X, y = regression(20)
    patterns = patterns_from_gates(X, np.eye(3))
    with pytest.raises(ValueError, match=r"patterns must have gates over 4 features, .* got 3"):
        regressor(patterns=patterns).fit(X, y)
