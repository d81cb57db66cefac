"""Regression."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, check_consistent_length

from convexrelu.estimators._base import ConvexReLU
from convexrelu.losses import Huber, Squared

Array = NDArray[np.float64]


class ConvexReLURegressor(RegressorMixin, ConvexReLU):
    """A two-layer ReLU network for regression, with a certificate of optimality.

    Columns and targets are standardised, ``alpha`` is chosen by cross-validation, the activation
    patterns grow as they are needed, and the convex program over them is solved exactly. Frames of
    pandas and polars may have texts and missing cells, and are predicted by the names of their
    columns, in any order.

    Parameters
    ----------
    alpha : "cv" or float
        The strength of the regularisation, lam in
        ``1/(2n) ||f(X) - y||^2 + lam/2 sum_j (||W_j||^2 + a_j^2)`` on standardised data. "cv":
        the one with which folds of the training rows predict best (`choose_lam`).
    alphas : (m,) array, optional
        Choose among these.
    cv : int, splitter or iterable of (training rows, test rows)
        The folds. A number of them is drawn by ``random_state``; equal rows share a fold.
    rule : "best" or "one_se"
        The least error, or the largest alpha within one standard error of it.
    patterns : "grow", int, "all" or Patterns
        Grown as they are needed (`solve_global`), those of so many random gates, all
        (`enumerate_patterns`: few columns and rows), or those of given gates over the
        standardised columns and the column of ones.
    formulation : "relu" or "gated"
        Gated networks have fixed gates, so patterns must be given.
    loss : "squared", "huber" or losses.Huber
        "huber" has its ``delta`` in standard deviations of the targets, and is solved over the
        patterns that the squared loss grows where none are given.
    fit_intercept : bool
        Whether neurons have a bias and the targets are centred.
    standardize : bool
        Whether columns and targets are scaled to unit variance; without it ``alpha`` depends on
        their units.
    tol : float
        The certified relative gap over the patterns of the network. Patterns grow until the gap
        over all patterns is estimated at 100 tol, but at most at 0.1.
    certify : bool
        Whether to look for a proof to tol over all patterns, which is within reach for some four
        columns; give a ``time_limit``.
    warm_start : bool
        Whether to begin with the network of the last fit, where ``alpha`` is a number.
    n_jobs : int, optional
        How many outputs or folds to train at once, by joblib.
    random_state : int, RandomState instance or None
        Of folds and searches.
    time_limit : float, optional
        Seconds for each output; half of it may go to the choice of alpha.
    verbose : int
        Whether progress is written to standard error.

    Attributes
    ----------
    network_ : StandardizedNetwork
        What predicts; a list where y has several columns, as all of the following.
    solution_ : Solution
        Of the convex program on the standardised, distinct rows.
    alpha_, alphas_, cv_results_ : float, (m,) array, dict or None
        The strength taken, those tried, and the errors of the folds: squares in the units of the
        target, with "huber" mean losses.
    gap_ : float
        The certified relative gap over the patterns of the network.
    global_lower_bound_, global_gap_ : float
        Proven of every network of any width, relative to ``objective_``; nan where nothing is.
    status_ : str
        "optimal" (proven to tol among networks of any width), "certified" (among those with its
        patterns), or why neither.
    n_neurons_, n_iter_ : int
        Size, and factorisations of the last program.
    n_features_in_, feature_names_in_ : int, (d,) array of str
        The columns.
    preprocessor_ : Preprocessor
        What is known of them.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import ConvexReLURegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(-1, 1, (80, 2))
    >>> y = np.abs(X[:, 0]) + 0.5 * X[:, 1] + 0.05 * rng.standard_normal(80)
    >>> model = ConvexReLURegressor(random_state=0).fit(X, y)
    >>> model.status_, bool(model.gap_ < 1e-3), model.score(X, y) > 0.95
    ('certified', True, True)
    >>> model.predict([[0.5, 0.0], [-0.5, 0.0]]).round(1)
    array([0.5, 0.5])
    >>> low, high = model.predict_range(X)  # of all optimal networks
    >>> bool((low <= high).all())
    True
    """

    _losses = (Squared, Huber)

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Any:
        """Trains.

        Parameters
        ----------
        X : (n, d) array or frame
            NaN and other missing cells are filled with medians, beside a column that says where.
        y : (n,) or (n, q) array
            Each column has a network of its own.
        sample_weight : (n,) array, optional
            Non-negative; a row of weight 2 counts as two equal rows.
        groups : (n,) array, optional
            For ``cv`` that keeps groups together.

        Returns
        -------
        self
        """
        features, weight = self._learn(X, y, sample_weight)
        y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
        if y.ndim > 2:
            raise ValueError(f"y must have one or two dimensions, got shape {y.shape}")
        check_consistent_length(features, y)
        self._is_single = y.ndim == 1
        targets = y.reshape(len(y), -1)
        folds = self._folds(targets, groups, None) if self._settings().alpha is None else None
        self._train(features, targets, weight, folds, None)
        return self

    def predict(self, X: Any, alpha: float | None = None) -> Array:
        """Predictions (n,) or (n, q).

        Parameters
        ----------
        X : (n, d) array or frame
        alpha : float, optional
            Those of the network at another alpha, which is grown on the training data from the next
            larger one known.
        """
        features = self._features(X)
        outputs = [network.predict(features) for network in self._networks_at(alpha)]
        return outputs[0] if self._is_single else np.column_stack(outputs)

    def predict_range(self, X: Any) -> tuple[Array, Array]:
        """The least and the largest prediction of any network that is optimal, over the patterns of
        the one fitted; both (n,) or (n, q).
        """
        low, high = self._ranges(X)
        return (low[:, 0], high[:, 0]) if self._is_single else (low, high)

    def _targets_of(self, y: Any) -> Array:
        targets: Array = np.asarray(y, dtype=np.float64).ravel()
        return targets

    def _codes(self) -> Array:
        targets: Array = self._rows.Y[:, 0]
        return targets

    def _model_network(self) -> Any:
        if not self._is_single:
            raise ValueError("a model or page has one target; fit one estimator for each")
        return self.network_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
