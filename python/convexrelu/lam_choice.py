"""Choosing lam from the data, by cross-validation along paths of growing networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import inf, nan
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexrelu import _core, _validate
from convexrelu.global_path import decreasing_lams, largest_lam
from convexrelu.global_solver import solve_global
from convexrelu.losses import Logistic, Loss, Squared, as_loss
from convexrelu.network import Network, to_network
from convexrelu.patterns import patterns_from_gates
from convexrelu.problem import Problem
from convexrelu.solver import solve

Array = NDArray[np.float64]

RULES = ("best", "one_se")

# The ratio of one lam to the next, and of the smallest to the largest. Networks follow small steps:
# on concrete, growth in steps of 10^(1/2) took a third more Newton steps in all.
_STEP = 10.0**-0.25
_SMALLEST = 1e-5
# So many lam in a row that are worse than the best, by more than the standard error of the
# difference over the folds, end the search.
_RISES = 3
# Rounds of growth at each lam, and the share of tol, relative to the objective, below which the
# gain of a round ends growth: smaller lam need no better start, and errors settle before objectives
# do (docs/theory/global/global_path.md).
ROUNDS = 2
_IDLE = 0.005
# The gap to which a convex program of a fold is solved: its error needs no more.
_SOLVED = 1e-3


class LamChoice:
    """The errors of cross-validation at every lam tried, and the lam chosen.

    Made by `choose_lam`; immutable.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import choose_lam
    >>> x = np.linspace(-1, 1, 30)
    >>> X, y = np.column_stack([x, np.ones(30)]), np.abs(x) + 0.1 * np.cos(40 * x)
    >>> choice = choose_lam(X, y, lams=[1, 0.1, 0.01], rng=0)
    >>> choice.lams.tolist(), choice.fold_errors.shape
    ([1.0, 0.1, 0.01], (5, 3))
    >>> bool(choice.lam == choice.lams[choice.mean_errors.argmin()])
    True
    """

    __slots__ = ("_errors", "_held_out", "_lams", "_n_neurons", "_rule", "_status")

    def __init__(
        self, lams: Any, errors: Any, n_neurons: Any, rule: str, status: str, held_out: Any = ()
    ) -> None:
        self._lams = _frozen(lams)
        self._errors = _frozen(errors)
        self._n_neurons = _frozen(n_neurons)
        self._rule = rule
        self._status = status
        self._held_out = _frozen(held_out)

    @property
    def lams(self) -> Array:
        """The lam tried (m,), decreasing, read-only."""
        return self._lams

    @property
    def fold_errors(self) -> Array:
        """The mean squared error on the rows left out (folds, m), read-only."""
        return self._errors

    @property
    def mean_errors(self) -> Array:
        """The mean of `fold_errors` over the folds (m,)."""
        mean: Array = self._errors.mean(axis=0)
        return mean

    @property
    def standard_errors(self) -> Array:
        """The standard error of that mean (m,): standard deviation of the folds over the root of
        their number.
        """
        folds = len(self._errors)
        with np.errstate(over="ignore"):  # squares of errors that float64 just holds
            error: Array = self._errors.std(axis=0, ddof=1) / np.sqrt(folds)
        return error

    @property
    def n_neurons(self) -> Array:
        """The mean number of neurons of the folds' networks (m,), read-only."""
        return self._n_neurons

    @property
    def held_out(self) -> Array:
        """What is predicted for each row at each lam by the network of a fold that has not seen it
        (m, n), read-only; nan for rows that no fold leaves out, the last fold's where several do.
        """
        return self._held_out

    @property
    def rule(self) -> str:
        """The rule by which `lam` was chosen."""
        return self._rule

    @property
    def lam(self) -> float:
        """The lam chosen."""
        return self.lam_one_se if self._rule == "one_se" else self.lam_best

    @property
    def lam_best(self) -> float:
        """The lam with the least mean error."""
        return float(self._lams[np.argmin(self.mean_errors)])

    @property
    def lam_one_se(self) -> float:
        """The largest lam whose mean error is within one standard error of the least."""
        mean = self.mean_errors
        best = int(np.argmin(mean))
        within = mean <= mean[best] + self.standard_errors[best]
        return float(self._lams[np.argmax(within)])

    @property
    def status(self) -> str:
        """The word "complete", or "time_limit" or "callback" where that ended the search."""
        return self._status

    def plot(self, ax: Any = None) -> Any:
        """Draws the mean error with its standard error against lam. Needs matplotlib.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure otherwise.

        Returns
        -------
        matplotlib Axes
        """
        from convexrelu.plots._lam import draw_lam_choice

        return draw_lam_choice(self, ax)

    def __repr__(self) -> str:
        return (
            f"<LamChoice: lam {self.lam:.4g} ({self.rule}), {len(self.lams)} lam tried on "
            f"{len(self.fold_errors)} folds, {self.status}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        curve = (self._lams, self._errors, self._n_neurons)
        return (LamChoice, (*curve, self._rule, self._status, self._held_out))


def choose_lam(
    X: Any,
    y: Any,
    *,
    cv: int | Iterable[tuple[Any, Any]] = 5,
    rule: str = "best",
    lams: Any = None,
    sample_weight: Any = None,
    gates: Any = None,
    formulation: str = "relu",
    loss: str | Loss = "squared",
    fit_intercept: bool = False,
    tol: float = 0.5,
    n_jobs: int | None = None,
    rng: Any = None,
    time_limit: float | None = None,
    callback: Callable[[_core.Progress], bool | None] | None = None,
) -> LamChoice:
    """The lam at which networks of any width predict best, by cross-validation.

    On the training rows of each fold a network is grown at a large lam and carried on to smaller
    ones (`solve_global` with ``warm_start``, growth alone). Lam fall by quarter powers of ten from
    the largest price of all patterns until the error has risen for good, or to 1e-5 of it.

    Parameters
    ----------
    X : (n, d) array
        The data, as `solve_global` takes them: standardised, with a column of ones as a bias
        (`Standardizer`).
    y : (n,) array
        The targets.
    cv : int or iterable of (training rows, test rows)
        How many folds, drawn by ``rng``; or the index arrays of each, as a splitter of
        scikit-learn yields them.
    rule : "best" or "one_se"
        The least mean error, or the largest lam within one standard error of it.
    lams : (m,) array, optional
        Try just these, all of them.
    sample_weight : (n,) array, optional
        Non-negative weights, of the training loss and of the errors.
    gates : (d, p) array, optional
        For networks whose patterns are those of these gates, in the place of any: the problems of
        `solve`.
    formulation, loss, fit_intercept
        Of these problems, as in `Problem`; without gates the loss is squared. With another one the
        errors are mean losses.
    tol : float
        How far each network is grown, as in `solve_global`; without ``lams``, in steps that are
        small, by two rounds of growth at the most. More choose nearly the same lam:
        docs/theory/global/global_path.md.
    n_jobs : int, optional
        How many folds to run at once, as joblib understands it. Without joblib, or with None, one
        after another. The result does not depend on it unless time is limited.
    rng : int, numpy Generator, optional
        Of the folds and of the local searches.
    time_limit : float, optional
        Seconds of wall clock. The lam tried by all folds till then decide.
    callback : callable, optional
        Called with a `Progress` after every lam: its objective is the mean error, iteration counts
        the lam; a true return value stops.

    Returns
    -------
    LamChoice
        ``.lam``, the curve (``.lams .mean_errors .standard_errors .fold_errors``), ``.held_out``,
        ``.plot()``.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong.
    LimitExceeded
        If time is over before any lam was tried.

    Notes
    -----
    Cost: for each fold a path over some 10 to 20 lam; seconds for a thousand rows.
    docs/theory/global/global_path.md

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import choose_lam
    >>> rng = np.random.default_rng(0)
    >>> X = np.column_stack([rng.uniform(-1, 1, 60), np.ones(60)])
    >>> y = np.abs(X[:, 0]) + 0.1 * rng.standard_normal(60)
    >>> choice = choose_lam(X, y, rng=0)
    >>> bool(choice.lam == choice.lams[choice.mean_errors.argmin()])
    True
    """
    began = perf_counter()
    X = _validate.matrix(X, "X", min_rows=2)
    y = _validate.vector(y, "y", size=X.shape[0])
    _validate.choice(rule, "rule", RULES)
    tol = _validate.tol(tol)
    weight = None if sample_weight is None else _validate.sample_weight(sample_weight, len(X))
    limit = _validate.time_limit(time_limit)
    if n_jobs is not None:
        n_jobs = _validate_jobs(n_jobs)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable or None, got {type(callback).__name__}")
    generator = _validate.rng(rng)
    folds = [
        _Fold(X, y, weight, train, test, int(generator.integers(2**63)))
        for train, test in _splits(cv, len(X), generator)
    ]
    _validate.choice(formulation, "formulation", _validate.FORMULATIONS)
    fit: _Fit = partial(_grown, max_rounds=ROUNDS if lams is None else inf)
    largest = partial(largest_lam, X, y, weight, generator, 1)
    loss = as_loss(loss)
    fit_intercept = _validate.boolean(fit_intercept, "fit_intercept")
    if gates is not None:
        options = {"formulation": formulation, "loss": loss, "fit_intercept": fit_intercept}
        fit = partial(_solved, gates=gates, options=options)
        largest = partial(_largest_lam_of_gates, X, y, weight, gates, options)
    elif formulation == "gated" or fit_intercept or loss != Squared():
        raise ValueError(
            "gates must be given where formulation is 'gated', the loss is not squared or there "
            "is an intercept"
        )
    for fold in folds:
        fold.loss = loss
    search = _Search(folds, len(X), tol, n_jobs, limit, began, callback, fit)
    if lams is None:
        search.explore(largest())
    else:
        search.go(decreasing_lams(lams))
    return search.choice(rule)


class _Fold:
    """The rows of a fold, and its networks at the lam tried."""

    def __init__(
        self, X: Array, y: Array, weight: Array | None, train: Any, test: Any, seed: int
    ) -> None:
        self.rows = test
        self.train = (X[train], y[train], None if weight is None else weight[train])
        self.test = (X[test], y[test], None if weight is None else weight[test])
        if weight is not None and not (weight[train].any() and weight[test].any()):
            raise ValueError("each fold of cv must have training and test rows of positive weight")
        self.seed = seed
        self.loss: Loss = Squared()
        self.networks: dict[float, Network] = {}

    def start(self, lam: float) -> Network | None:
        """The network at the next larger lam."""
        above = [other for other in self.networks if other > lam]
        return self.networks[min(above)] if above else None

    def test_network(self, network: Network) -> tuple[float, Array]:
        """The mean error on the rows left out, and what is predicted for them."""
        X, y, weight = self.test
        predictions = network.predict(X)
        if self.loss == Squared():
            error = float(np.average((predictions - y) ** 2, weights=weight))
        else:
            error = network.objective(X, y, 0.0, sample_weight=weight, loss=self.loss)
        return error, predictions


def growth_alone(tol: float, max_rounds: float = inf) -> Callable[[_core.Progress], bool]:
    """A callback that ends `solve_global` with growth, after an idle round of it, or after some."""
    last, rounds = inf, -1

    def is_over(progress: _core.Progress) -> bool:
        nonlocal last, rounds
        if progress.phase == "sample":
            return False
        gain, last = last - progress.objective, progress.objective
        rounds += 1
        return progress.phase != "grow" or rounds >= max_rounds or gain < _IDLE * tol * last

    return is_over


def _grown(
    data: tuple[Array, Array, Array | None],
    lam: float,
    tol: float,
    start: Network | None,
    seed: int,
    seconds: float | None,
    *,
    max_rounds: float,
) -> tuple[Network, bool]:
    """The network of a fold at one lam, and whether there was time for it."""
    X, y, weight = data
    solution = solve_global(
        X,
        y,
        lam,
        sample_weight=weight,
        tol=tol,
        certify=False,
        warm_start=start,
        rng=seed,
        time_limit=seconds,
        callback=growth_alone(tol, max_rounds),
    )
    return to_network(solution).merge(), solution.status != "time_limit"


def _solved(
    data: tuple[Array, Array, Array | None],
    lam: float,
    tol: float,
    start: Network | None,
    seed: int,
    seconds: float | None,
    *,
    gates: Any,
    options: dict[str, Any],
) -> tuple[Network, bool]:
    """The same over the patterns of given gates."""
    del start, seed  # the optimum depends on neither
    X, y, weight = data
    if options["loss"] == Logistic() and options["fit_intercept"] and np.ptp(y) == 0:
        # One class alone has no finite intercept; it is taken as if one of each had been there too.
        y = (y * len(y) + 1) / (len(y) + 2)
    problem = Problem(X, y, patterns_from_gates(X, gates), sample_weight=weight, **options)
    solution = solve(problem, lam, tol=min(tol, _SOLVED), time_limit=seconds)
    return to_network(solution), solution.status != "time_limit"


def _largest_lam_of_gates(
    X: Array, y: Array, weight: Array | None, gates: Any, options: dict[str, Any]
) -> float:
    problem = Problem(X, y, patterns_from_gates(X, gates), sample_weight=weight, **options)
    if not problem.lambda_max > 0.0:
        raise ValueError("the optimum is zero at every lam, as y, X or the patterns are; pass lams")
    return problem.lambda_max


_Fit = Callable[
    [tuple[Array, Array, Array | None], float, float, Network | None, int, float | None],
    tuple[Network, bool],
]


class _Search:
    """Tries lam on all folds."""

    def __init__(
        self,
        folds: list[_Fold],
        n: int,
        tol: float,
        n_jobs: int | None,
        limit: float | None,
        began: float,
        callback: Callable[[_core.Progress], bool | None] | None,
        fit: _Fit,
    ) -> None:
        self._fit = fit
        self._folds = folds
        self._n = n
        self._tol = tol
        self._limit = limit
        self._began = began
        self._callback = callback
        self._errors: dict[float, list[float]] = {}
        self._sizes: dict[float, float] = {}
        self._held_out: dict[float, Array] = {}
        self._status = "complete"
        self._parallel = parallel(n_jobs)

    def explore(self, largest: float) -> None:
        """Falling lam, to where the error rises for good."""
        lam = _STEP * largest
        while lam >= _SMALLEST * largest * (1 - 1e-9) and not self._rises():
            if not self.go([lam]):
                return
            lam *= _STEP

    def go(self, lams: Any) -> bool:
        """Tries some, the largest first; False if it was stopped."""
        return all(self._try(float(lam)) for lam in lams)

    def _try(self, lam: float) -> bool:
        left = None
        if self._limit is not None:
            left = self._limit - (perf_counter() - self._began)
            if left <= 0.0:
                self._status = "time_limit"
                return False
        arguments = [
            (fold.train, lam, self._tol, fold.start(lam), fold.seed, left) for fold in self._folds
        ]
        grown = self._parallel(self._fit, arguments)
        if not all(in_time for _, in_time in grown):
            self._status = "time_limit"
            return False
        for fold, (network, _) in zip(self._folds, grown, strict=True):
            fold.networks[lam] = network
        tests = [fold.test_network(fold.networks[lam]) for fold in self._folds]
        self._errors[lam] = [error for error, _ in tests]
        held_out = self._held_out[lam] = np.full(self._n, nan)
        for fold, (_, predictions) in zip(self._folds, tests, strict=True):
            held_out[fold.rows] = predictions
        self._sizes[lam] = float(np.mean([fold.networks[lam].n_neurons for fold in self._folds]))
        if self._callback is not None:
            seconds = perf_counter() - self._began
            at = _core.Progress("cv", len(self._errors), self._mean(lam), nan, seconds)
            if self._callback(at):
                self._status = "callback"
                return False
        return True

    def _mean(self, lam: float) -> float:
        return float(np.mean(self._errors[lam]))

    def _rises(self) -> bool:
        """Whether the last lam are all worse than the best, beyond the noise of the differences."""
        if len(self._errors) <= _RISES:
            return False
        best = np.array(self._errors[min(self._errors, key=self._mean)])
        rises = [np.array(self._errors[lam]) - best for lam in sorted(self._errors)[:_RISES]]
        root = np.sqrt(len(self._folds))
        with np.errstate(over="ignore"):
            return all(rise.mean() > rise.std(ddof=1) / root for rise in rises)

    def choice(self, rule: str) -> LamChoice:
        """What was found."""
        if not self._errors:
            raise _core.LimitExceeded(
                f"time_limit of {self._limit:g} s was over before any lam was tried on all folds"
            )
        lams = sorted(self._errors, reverse=True)
        errors = np.array([self._errors[lam] for lam in lams]).T
        sizes = [self._sizes[lam] for lam in lams]
        held_out = [self._held_out[lam] for lam in lams]
        return LamChoice(lams, errors, sizes, rule, self._status, held_out)


def parallel(n_jobs: int | None) -> Callable[[Any, list[Any]], list[Any]]:
    """A map over lists of arguments."""
    if n_jobs not in (None, 1):
        try:
            from joblib import Parallel, delayed  # type: ignore[import-untyped]
        except ImportError:
            pass
        else:
            pool = Parallel(n_jobs=n_jobs)
            return lambda work, arguments: list(pool(delayed(work)(*each) for each in arguments))
    return lambda work, arguments: [work(*each) for each in arguments]


def _validate_jobs(n_jobs: Any) -> int:
    if isinstance(n_jobs, (int, np.integer)) and not isinstance(n_jobs, bool) and n_jobs < 0:
        return int(n_jobs)
    return _validate.integer(n_jobs, "n_jobs", low=1)


def _splits(cv: Any, n: int, rng: np.random.Generator) -> list[tuple[Any, Any]]:
    """(training rows, test rows) of each fold."""
    if isinstance(cv, Iterable) and not isinstance(cv, (str, bytes)):
        splits = [(_rows(train, n), _rows(test, n)) for train, test in cv]
        if len(splits) < 2:
            raise ValueError(f"cv must have at least 2 folds, got {len(splits)}")
        return splits
    n_folds = _validate.integer(cv, "cv", low=2)
    if n_folds > n:
        raise ValueError(f"cv must be at most the number of rows ({n}), got {n_folds}")
    parts = np.array_split(rng.permutation(n), n_folds)
    return [
        (np.sort(np.concatenate(parts[:k] + parts[k + 1 :])), np.sort(parts[k]))
        for k in range(n_folds)
    ]


def _rows(indices: Any, n: int) -> NDArray[np.int64]:
    rows = np.asarray(indices)
    if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
        raise ValueError("cv must yield pairs of non-empty arrays of row indices")
    if (rows < -n).any() or (rows >= n).any():
        raise ValueError(f"cv must yield row indices below the number of rows ({n})")
    return rows


def _frozen(values: Any) -> Array:
    array = np.array(values, dtype=np.float64)
    array.flags.writeable = False
    return array
