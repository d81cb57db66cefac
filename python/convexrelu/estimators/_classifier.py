"""Classification."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_consistent_length, column_or_1d

from convexrelu._training import class_targets, fit_sigmoids
from convexrelu.class_network import ClassNetwork, probabilities
from convexrelu.estimators._base import ConvexReLU
from convexrelu.losses import Logistic, Squared

Array = NDArray[np.float64]


class ConvexReLUClassifier(ClassifierMixin, ConvexReLU):
    """Two-layer ReLU networks that tell classes, with a certificate of optimality.

    There is one network for two classes, and one for each class against all others where there are
    more. By default each is trained with the **squared** loss on targets +1 and -1, and
    probabilities come from a sigmoid of the score that is fitted to predictions for rows that the
    networks had not seen (those of the folds that choose ``alpha``). That gives honest
    probabilities, but is not the same as training with the logistic loss, for which see ``loss``.

    Parameters
    ----------
    alpha : "cv" or float
        The strength of the regularisation, lam in
        ``1/(2n) ||f(X) - t||^2 + lam/2 sum_j (||W_j||^2 + a_j^2)`` on standardised data. "cv":
        for each network the one with which folds of the training rows predict best.
    alphas : (m,) array, optional
        Choose among these.
    cv : int, splitter or iterable of (training rows, test rows)
        The folds, of ``alpha`` and of the sigmoid. A number of them is drawn by ``random_state``,
        with nearly the same share of every class in each; equal rows share a fold.
    rule : "best" or "one_se"
        The least error, or the largest alpha within one standard error of it.
    patterns : "grow", int, "all" or Patterns
        As in `ConvexReLURegressor`.
    formulation : "relu" or "gated"
        Gated networks have fixed gates, so patterns must be given.
    loss : "squared" or "logistic"
        With "logistic" the scores are log-odds and there are no sigmoids. Growth does not know it:
        where no patterns are given they are those that the squared loss grows, over which the
        logistic problem is then solved, at an ``alpha`` of its own.
    fit_intercept : bool
        Whether neurons have a bias and the targets are centred.
    standardize : bool
        Whether columns and targets are scaled to unit variance.
    class_weight : dict, "balanced" or None
        Factors of the weights of rows, by class.
    tol : float
        The certified relative gap over the patterns of each network.
    certify : bool
        Whether to look for a proof over all patterns.
    warm_start : bool
        Whether to begin with the networks of the last fit, where ``alpha`` is a number.
    n_jobs : int, optional
        How many networks or folds to train at once, by joblib.
    random_state : int, RandomState instance or None
        Of folds and searches.
    time_limit : float, optional
        Seconds for each network; half of it may go to the choice of alpha.
    verbose : int
        Whether progress is written to standard error.

    Attributes
    ----------
    classes_ : (k,) array
        The classes, in order.
    network_, solution_, alpha_, alphas_, cv_results_, gap_, global_lower_bound_, global_gap_, \
status_, n_neurons_, n_iter_
        As those of `ConvexReLURegressor`; lists or arrays where there are more than two classes.
    slopes_, offsets_ : (1,) or (k,) arrays
        Of the sigmoids.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import ConvexReLUClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (100, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "opposite")
    >>> model = ConvexReLUClassifier(random_state=0).fit(X, y)
    >>> model.classes_.tolist(), model.status_
    (['opposite', 'same'], 'certified')
    >>> model.predict([[0.5, 0.5], [-0.5, 0.5]]).tolist()
    ['same', 'opposite']
    >>> bool((model.predict_proba(X).sum(axis=1).round(12) == 1).all())
    True
    """

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
        class_weight: Any = None,
        tol: float = 1e-3,
        certify: bool = False,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        time_limit: float | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            alpha,
            alphas=alphas,
            cv=cv,
            rule=rule,
            patterns=patterns,
            formulation=formulation,
            loss=loss,
            fit_intercept=fit_intercept,
            standardize=standardize,
            tol=tol,
            certify=certify,
            warm_start=warm_start,
            n_jobs=n_jobs,
            random_state=random_state,
            time_limit=time_limit,
            verbose=verbose,
        )
        self.class_weight = class_weight

    _losses = (Squared, Logistic)

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Any:
        """Trains.

        Parameters
        ----------
        X : (n, d) array or frame
            NaN and other missing cells are filled with medians, beside a column that says where.
        y : (n,) array
            Classes: numbers, texts or booleans, two different ones at least.
        sample_weight : (n,) array, optional
            Non-negative; a row of weight 2 counts as two equal rows.
        groups : (n,) array, optional
            For ``cv`` that keeps groups together.

        Returns
        -------
        self
        """
        features, weight = self._learn(X, y, sample_weight)
        y = column_or_1d(y, warn=True)
        y = check_array(y, ensure_2d=False, dtype=None, input_name="y")
        check_classification_targets(y)
        check_consistent_length(features, y)
        counted = np.full(len(y), True) if weight is None else weight > 0
        self.classes_ = np.unique(y[counted])
        if len(self.classes_) < 2:
            raise ValueError(
                "y must have two classes at least, got the class "
                f"{self.classes_.tolist()[0]!r} alone"
            )
        features, y = features[counted], y[counted]
        weight = None if weight is None else weight[counted]
        codes = np.searchsorted(self.classes_, y)
        self._is_single = len(self.classes_) == 2
        folds = self._folds_of_counted(counted, codes, groups)
        if self.class_weight is not None:
            factors = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
            if self.class_weight == "balanced" and weight is not None:
                shares = np.bincount(codes, weights=weight)
                factors = shares.sum() / (len(shares) * shares)
            weight = (1.0 if weight is None else weight) * factors[codes]
            if not (weight > 0).all():
                raise ValueError("class_weight must be positive")
        targets = class_targets(codes, len(self.classes_))
        if self._settings().loss == Logistic():
            targets = (targets + 1) / 2
        rows = self._train(features, targets, weight, folds, codes)
        self.slopes_, self.offsets_ = fit_sigmoids(self._trainings, rows)
        return self

    def _folds_of_counted(self, counted: Any, codes: Any, groups: Any) -> Any:
        """The folds, in terms of the rows that count."""
        every = np.zeros(len(counted), dtype=np.intp)
        every[counted] = codes
        folds = self._folds(every, groups, every)
        if isinstance(folds, int) or counted.all():
            return folds
        place = np.cumsum(counted) - 1
        return [tuple(place[part][counted[part]] for part in pair) for pair in folds]

    def decision_function(self, X: Any, alpha: float | None = None) -> Array:
        """The logit of each class (n, k); of two that of the second (n,)."""
        features = self._features(X)
        scores = [network.predict(features) for network in self._networks_at(alpha)]
        logits: Array = np.column_stack(scores) * self.slopes_ + self.offsets_
        return logits[:, 0] if self._is_single else logits

    def predict_proba(self, X: Any, alpha: float | None = None) -> Array:
        """The probability of each class (n, k)."""
        return probabilities(self.decision_function(X, alpha))

    def predict(self, X: Any, alpha: float | None = None) -> NDArray[Any]:
        """The most probable class (n,).

        Parameters
        ----------
        X : (n, d) array or frame
        alpha : float, optional
            That of the networks at another alpha; the sigmoids stay.
        """
        logits = self.decision_function(X, alpha)
        codes = (logits > 0).astype(np.intp) if self._is_single else np.argmax(logits, axis=1)
        found: NDArray[Any] = self.classes_[codes]
        return found

    def predict_range(self, X: Any) -> tuple[Array, Array]:
        """The least and the largest logit of any networks that are optimal, over the patterns of
        those fitted; in the shape of `decision_function`.
        """
        low, high = (part * self.slopes_ + self.offsets_ for part in self._ranges(X))
        return (low[:, 0], high[:, 0]) if self._is_single else (low, high)

    def _targets_of(self, y: Any) -> Array:
        y = np.asarray(y).ravel()
        if not np.isin(y, self.classes_).all():
            raise ValueError("y must have classes of the training rows only")
        codes: Array = np.searchsorted(self.classes_, y).astype(np.float64)
        return codes

    def _codes(self) -> Array:
        targets = self._rows.Y
        codes = targets[:, 0] == 1 if self._is_single else np.argmax(targets, axis=1)
        as_numbers: Array = codes.astype(np.float64)
        return as_numbers

    def _model_network(self) -> Any:
        names = [str(name) for name in self.classes_.tolist()]
        return ClassNetwork(self._networks, self.slopes_, self.offsets_, names)
