"""What the estimators have in common."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state, estimator_html_repr
from sklearn.utils.validation import check_is_fitted, validate_data

from convexrelu import _core, _validate
from convexrelu._training import (
    DistinctRows,
    Folds,
    Settings,
    Training,
    distinct_rows,
    draw_folds,
    record_of,
)
from convexrelu._training import train as train_output
from convexrelu.global_path import GlobalPath
from convexrelu.lam_choice import RULES, parallel
from convexrelu.losses import Loss, Squared, as_loss
from convexrelu.optimal_set import OptimalSet, find_optimal_set
from convexrelu.path import Path
from convexrelu.patterns import Patterns
from convexrelu.preprocessor import (
    Column,
    Preprocessor,
    TableNetwork,
    make_preprocessor,
    names_of,
)
from convexrelu.standardizer import StandardizedNetwork

Array = NDArray[np.float64]


class ConvexReLU(BaseEstimator):
    """Parameters, tables, folds and training; the subclasses say what y is."""

    def __init__(
        self,
        alpha: float | str = "cv",
        *,
        alphas: Any = None,
        cv: Any = 5,
        rule: str = "best",
        patterns: Any = "grow",
        formulation: str = "relu",
        loss: str = "squared",
        fit_intercept: bool = True,
        standardize: bool = True,
        tol: float = 1e-3,
        certify: bool = False,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        time_limit: float | None = None,
        verbose: int = 0,
    ) -> None:
        self.alpha = alpha
        self.alphas = alphas
        self.cv = cv
        self.rule = rule
        self.patterns = patterns
        self.formulation = formulation
        self.loss = loss
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.tol = tol
        self.certify = certify
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.time_limit = time_limit
        self.verbose = verbose

    # What is known after fit and not by the names below: one of each output.
    _trainings: list[Training]
    _is_single: bool  # whether there is one output, so that attributes are no arrays
    preprocessor_: Preprocessor
    _losses: tuple[type[Loss], ...] = (Squared,)  # that it takes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def optimal_set(self, **options: Any) -> OptimalSet | list[OptimalSet]:
        """All networks that are optimal over the patterns of the one fitted.

        Parameters
        ----------
        **options
            Those of `find_optimal_set`; ``all_patterns=True`` for the optima over all patterns.

        Returns
        -------
        OptimalSet
            Over standardised rows; a list where there are several outputs.
        """
        check_is_fitted(self)
        sets = [find_optimal_set(each.solution, **options) for each in self._trainings]
        return sets[0] if self._is_single else sets

    def path(self, alpha_min: float | None = None) -> Any:
        """The networks from large alpha down.

        Parameters
        ----------
        alpha_min : float, optional
            How far; to ``alpha_`` by default.

        Returns
        -------
        GlobalPath or Path
            Over standardised rows: a `GlobalPath` where patterns grow, else the exact `Path`; a
            list where there are several outputs.
        """
        check_is_fitted(self)
        low = None if alpha_min is None else _validate.lam(alpha_min, "alpha_min")
        paths: list[GlobalPath | Path] = [each.trace(low) for each in self._trainings]
        return paths[0] if self._is_single else paths

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes what predicts, with the names of the columns, to a file without pickle.

        ``convexrelu.load(path)`` gives a `TableNetwork`, and ``convexrelu predict`` takes it. A
        model that was fitted to an array finds its columns by place: `StandardizedNetwork` or
        `ClassNetwork`.
        """
        from convexrelu.files import save

        save(self.to_model(), path)

    def to_model(self) -> Any:
        """What predicts, without scikit-learn: see `save`."""
        check_is_fitted(self)
        network = self._model_network()
        if self._has_names or any(c.has_missing for c in self.preprocessor_.columns):
            record = record_of(self._trainings)
            return TableNetwork(network, self.preprocessor_, self.target_name_, record)
        return network

    def report(self, path: str | os.PathLike[str], X: Any = None, y: Any = None) -> None:
        """Writes a page about the network: one HTML file, with nothing loaded from elsewhere.

        Parameters
        ----------
        path : str or path
        X, y : rows to test, optional
            Their errors and predictions come first; without them those of the training rows are
            shown.
        """
        from convexrelu.files.replacing import replacing
        from convexrelu.report import make_page

        page = make_page(self._subject(X, y))
        with replacing(path) as file:
            file.write(page.encode())

    def _subject(self, X: Any, y: Any) -> Any:
        from convexrelu.report import Subject

        check_is_fitted(self)
        rows = {}
        if X is not None:
            rows["test"] = (self._features(X), self._targets_of(y))
        rows["training"] = (self._rows.X, self._codes())
        return Subject(
            model=self._model_network(),
            preprocessor=self.preprocessor_,
            target=self.target_name_,
            rows=rows,
            record=record_of(self._trainings),
            trainings=self._trainings,
            command=f"{type(self).__name__}(...).fit(X, y).report({os.fspath('page.html')!r})",
        )

    def _html_repr(self) -> str:
        text: str = estimator_html_repr(self)
        if not hasattr(self, "_trainings"):
            return text
        from convexrelu.report.pieces import of_trainings

        return text + of_trainings(self._trainings, record_of(self._trainings))

    def _targets_of(self, y: Any) -> Array:
        """The targets of a page: of classes their codes."""
        raise NotImplementedError

    def _codes(self) -> Array:
        """Those of the training rows."""
        raise NotImplementedError

    def _model_network(self) -> Any:
        raise NotImplementedError

    # Fitting

    def _settings(self) -> Settings:
        alpha = None
        if not (isinstance(self.alpha, str) and self.alpha == "cv"):
            if isinstance(self.alpha, str):
                raise ValueError(f"alpha must be 'cv' or a positive number, got {self.alpha!r:.60}")
            alpha = _validate.lam(self.alpha, "alpha")
        loss = self.loss if isinstance(self.loss, self._losses) else as_loss(self.loss)
        if not isinstance(loss, self._losses):
            names = " or ".join(repr(kind.name) for kind in self._losses)
            raise ValueError(f"loss must be {names}, got {self.loss!r:.60}")
        _validate.choice(self.rule, "rule", RULES)
        formulation = _validate.choice(self.formulation, "formulation", _validate.FORMULATIONS)
        patterns = self.patterns
        if isinstance(patterns, str):
            _validate.choice(patterns, "patterns", ("grow", "all"))
            if patterns == "grow" and formulation == "gated":
                raise ValueError(
                    "patterns must be a number of gates, 'all' or Patterns where formulation is "
                    "'gated', got 'grow'"
                )
        elif not isinstance(patterns, Patterns):
            patterns = _validate.integer(patterns, "patterns", low=1)
        return Settings(
            alpha=alpha,
            alphas=self.alphas,
            patterns=patterns,
            formulation=formulation,
            loss=loss,
            fit_intercept=_validate.boolean(self.fit_intercept, "fit_intercept"),
            standardize=_validate.boolean(self.standardize, "standardize"),
            rule=self.rule,
            tol=_validate.tol(self.tol),
            certify=_validate.boolean(self.certify, "certify"),
            n_jobs=self.n_jobs,
            time_limit=_validate.time_limit(self.time_limit),
            callback=_tell if self.verbose else None,
        )

    def _learn(self, X: Any, y: Any, sample_weight: Any) -> tuple[Array, Array | None]:
        """What every fit begins with: that there are targets, their name, and the table."""
        if y is None:
            name = type(self).__name__
            raise ValueError(f"This {name} requires y to be passed, but the target y is None.")
        learned = self._learn_table(X, sample_weight)
        self.target_name_ = str(getattr(y, "name", None) or "target")
        return learned

    def _learn_table(self, X: Any, sample_weight: Any) -> tuple[Array, Array | None]:
        """The features that a training table has (n, p), and the weights of its rows."""
        self._has_names = has_names(X)
        if self._has_names:
            n = len(X)
            if n < 2:
                raise ValueError(f"X must have at least 2 rows, got {n}")
            # Sets feature_names_in_ and n_features_in_, and looks at nothing else.
            validate_data(self, X, skip_check_array=True)
            weight = _weight(sample_weight, n)
            self.preprocessor_ = make_preprocessor(X, sample_weight=weight)
        else:
            X = validate_data(
                self, X, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=2
            )
            weight = _weight(sample_weight, len(X))
            names = [f"x{j}" for j in range(X.shape[1])]
            table = {name: X[:, j] for j, name in enumerate(names)}
            if not np.isnan(X).any() and np.isfinite(X).all() and weight is None:
                medians = np.median(X, axis=0).tolist()
                columns = [Column(a, None, m, False) for a, m in zip(names, medians, strict=True)]
                self.preprocessor_ = Preprocessor(columns)
            else:
                self.preprocessor_ = make_preprocessor(table, sample_weight=weight)
        return self.preprocessor_.transform(X), weight

    def _features(self, X: Any) -> Array:
        """The features of rows to predict (n, p)."""
        check_is_fitted(self)
        if not has_names(X) or not self._has_names:
            X = validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite="allow-nan")
        return self.preprocessor_.transform(X)

    def _folds(
        self, y: Any, groups: Any, codes: NDArray[np.intp] | None
    ) -> Sequence[tuple[Any, Any]] | int:
        """Those of a splitter or of pairs of arrays; or a number, to be drawn."""
        if isinstance(self.cv, (int, np.integer)) and not isinstance(self.cv, bool):
            return _validate.integer(self.cv, "cv", low=2)
        target = y if codes is None else codes
        splitter = check_cv(self.cv, target, classifier=codes is not None)
        splits = list(splitter.split(np.zeros((len(target), 1)), target, groups))
        if len(splits) < 2:
            raise ValueError(f"cv must have at least 2 folds, got {len(splits)}")
        return splits

    def _train(
        self,
        features: Array,
        targets: Array,
        weight: Array | None,
        folds: Sequence[tuple[Any, Any]] | int | None,
        codes: NDArray[np.intp] | None,
    ) -> DistinctRows:
        """Trains all outputs, targets (n, q), and sets what is to be known of them. ``codes`` say
        of which class rows are.
        """
        settings = self._settings()
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        seeds = np.random.SeedSequence(seed).spawn(targets.shape[1] + 1)
        labels = targets if codes is None else codes[:, None].astype(float)
        splits = None if folds is None or isinstance(folds, int) else folds
        rows = distinct_rows(features, np.column_stack([targets, labels]), weight, splits)
        own: Folds | None = rows.folds
        q = targets.shape[1]
        if isinstance(folds, int):
            classes = None if codes is None else rows.Y[:, q].astype(np.intp)
            if len(rows.X) > 1:
                own = draw_folds(len(rows.X), folds, np.random.default_rng(seeds[-1]), classes)
        starts = self._starts(q, rows.X.shape[1])
        side_by_side = q > 1 and settings.n_jobs not in (None, 1)
        if side_by_side:  # outputs at once, and folds one after another
            settings = _serial(settings)
        arguments = [
            (rows.X, rows.Y[:, k], rows.weight, own, settings, seeds[k], starts[k])
            for k in range(q)
        ]
        self._trainings = parallel(self.n_jobs if side_by_side else None)(train_output, arguments)
        self._rows = DistinctRows(rows.X, rows.Y[:, :q], rows.weight, own)
        self._set_attributes()
        return self._rows

    def _starts(self, q: int, n_features: int) -> list[Any]:
        known = getattr(self, "_trainings", [])
        fits = len(known) == q and all(
            each.solution.problem.X.shape[1] == n_features + self.fit_intercept
            and each.solution.problem.formulation == "relu"
            for each in known
        )
        if not (self.warm_start and fits):
            return [None] * q
        from convexrelu.network import to_network

        return [to_network(each.solution).merge() for each in known]

    def _set_attributes(self) -> None:
        trainings = self._trainings

        def each(values: list[Any]) -> Any:
            return values[0] if self._is_single else np.array(values)

        def listed(values: list[Any]) -> Any:
            return values[0] if self._is_single else values

        self.network_ = listed([t.network for t in trainings])
        self.solution_ = listed([t.solution for t in trainings])
        self.alpha_ = each([t.solution.lam for t in trainings])
        choices = [t.choice for t in trainings]
        self.alphas_ = listed(
            [
                np.array([t.solution.lam]) if t.choice is None else t.choice.lams.copy()
                for t in trainings
            ]
        )
        self.cv_results_ = listed(
            [_results(c, t.error_scale) for c, t in zip(choices, trainings, strict=True)]
        )
        self.gap_ = each([t.solution.gap for t in trainings])
        self.objective_ = each([t.solution.objective for t in trainings])
        self.global_lower_bound_ = each([t.global_lower_bound for t in trainings])
        self.global_gap_ = each([t.global_gap for t in trainings])
        self.n_neurons_ = each([t.network.n_neurons for t in trainings])
        self.n_iter_ = each([max(1, t.solution.n_iter) for t in trainings])
        self.status_ = listed([_status(t) for t in trainings])
        worst = max(t.solution.gap for t in trainings)
        if not worst <= self.tol:
            warnings.warn(
                f"the network is not certified to tol = {self.tol:g}: as far as is proven, its "
                f"objective may be {100 * worst:.2g} % too large for its patterns (gap_); more "
                "time_limit or a larger alpha helps",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _networks_at(self, alpha: Any) -> list[StandardizedNetwork]:
        """The network of each output, at its own alpha or at one given."""
        if alpha is None:
            return self._networks
        alpha = _validate.lam(alpha, "alpha")
        return [each.network_at(alpha) for each in self._trainings]

    @property
    def _networks(self) -> list[StandardizedNetwork]:
        return [self.network_] if self._is_single else self.network_

    def _ranges(self, X: Any) -> tuple[Array, Array]:
        """Of each output (n, q), over all optimal networks."""
        features = self._features(X)
        found = []
        for training in self._trainings:
            optima = find_optimal_set(training.solution)
            of_y = training.standardizer.inverse_transform_target
            low, high = optima.prediction_range(training.rows(features))
            found.append((of_y(low), of_y(high)))
        low, high = (np.column_stack(columns) for columns in zip(*found, strict=True))
        return low, high


def has_names(X: Any) -> bool:
    """Whether X is a table with columns that have names."""
    if isinstance(X, np.ndarray) and X.dtype.names is None:
        return False
    try:
        return names_of(X) is not None
    except TypeError:  # names that are no texts, as those that pandas gives
        return False


def _weight(sample_weight: Any, n: int) -> Array | None:
    return None if sample_weight is None else _validate.sample_weight(sample_weight, n)


def _serial(settings: Settings) -> Settings:
    from dataclasses import replace

    return replace(settings, n_jobs=None)


def _status(training: Training) -> str:
    """How it ended: proven to tol over all patterns, over those of the network, or why neither."""
    tol = training.settings.tol
    if training.global_gap <= tol:
        return "optimal"
    return "certified" if training.solution.gap <= tol else training.solution.status


def _results(choice: Any, scale: float) -> dict[str, Array] | None:
    """The curve of cross-validation: squared errors in the units of the target, or mean losses."""
    if choice is None:
        return None
    return {
        "alpha": choice.lams.copy(),
        "mean_error": scale * choice.mean_errors,
        "standard_error": scale * choice.standard_errors,
        "fold_errors": scale * choice.fold_errors.T,
        "n_neurons": choice.n_neurons.copy(),
    }


def _tell(progress: _core.Progress) -> None:
    """What ``verbose`` asks for."""
    sys.stderr.write(
        f"{progress.phase} {progress.iteration}  objective {progress.objective:.6g}  "
        f"{progress.seconds:.1f} s\n"
    )
