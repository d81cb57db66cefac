"""From rows to a certified network: what the estimators and the command line do in between.

One output at a time: choose lam where it is not given, follow growing networks down to it, solve
the convex program over the patterns of the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexrelu import _core
from convexrelu._deadline import Deadline
from convexrelu.cell_tree import enumerate_patterns
from convexrelu.class_network import fit_sigmoid
from convexrelu.global_path import GlobalPath, decreasing_lams, trace_global_path
from convexrelu.global_solver import solve_global
from convexrelu.lam_choice import LamChoice, choose_lam, growth_alone
from convexrelu.losses import Logistic, Loss, Squared
from convexrelu.network import Network, to_network
from convexrelu.path import Path, trace_path
from convexrelu.patterns import Patterns, patterns_from_gates, sample_patterns
from convexrelu.pricing import price_patterns
from convexrelu.problem import Problem
from convexrelu.solution import Solution, relative_gap
from convexrelu.solver import solve
from convexrelu.standardizer import StandardizedNetwork, Standardizer, is_constant
from convexrelu.training_record import TrainingRecord

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Folds = list[tuple[Rows, Rows]]
Callback = Callable[[_core.Progress], bool | None]

_STEP = 10.0**-0.25  # of lam on the way down, as in choose_lam
ON_THE_WAY_TOL = 0.5  # of growth there
# Of growth at the last lam: the objective is then within some thousandths of the best one known,
# and the error on new rows has long settled (docs/theory/global/global_path.md).
LAST_TOL = 0.1
_GROWTH_PER_TOL = 100.0  # growth asks for so many times the gap that the exact program does
# How growth ends that was not cut short; "callback" is that of growth that gains little.
_SEARCHED = ("optimal", "unproven", "stalled", "callback")
_PHASES = ("sample", "grow", "close")  # of solve_global, before it looks for a proof
_CHOICE_SHARE, _PATH_SHARE = 0.5, 0.5  # of a time limit, and of what is left then
USUAL_RATIO = 0.01  # share of lambda_max
# A largest price below this share of its own bound, ||t|| max ||z|| / n^(1/2), is rounding.
_NO_PRICE = 1e-12


@dataclass(frozen=True)
class DistinctRows:
    """Rows X (n, d) and targets Y (n, q) without repetition, in an order of their own, with how
    often each counts (None: all alike) and the folds in their terms.
    """

    X: Array
    Y: Array
    weight: Array | None
    folds: Folds | None


def distinct_rows(
    X: Array, Y: Array, weight: Array | None, folds: Sequence[tuple[Any, Any]] | None = None
) -> DistinctRows:
    """What rows are, whatever their order and whether they come with weights or several times.

    Rows of weight 0 do not count. Rows are one where they agree in X and Y and in the folds that
    they are in. So a fit to the result is the same to the last bit for weights and repetitions.
    """
    weight = np.ones(len(X)) if weight is None else weight.astype(np.float64)
    kept = np.flatnonzero(weight > 0)
    places = np.zeros((len(X), len(folds or ())))
    for k, (train, test) in enumerate(folds or ()):
        places[train, k] += 1
        places[test, k] += 2
    table = np.ascontiguousarray(np.column_stack([X, Y, places])[kept] + 0.0)  # -0.0 is 0.0
    texts = table.view(np.dtype((np.void, table.itemsize * table.shape[1]))).ravel()
    _, first, which = np.unique(texts, return_index=True, return_inverse=True)
    times = np.bincount(which.ravel(), weights=weight[kept]).astype(np.float64)
    rows = table[first]
    d, q = X.shape[1], Y.shape[1]
    inside = rows[:, d + q :]
    own = [(np.flatnonzero(np.isin(code, (1, 3))), np.flatnonzero(code >= 2)) for code in inside.T]
    return DistinctRows(
        np.asfortranarray(rows[:, :d]),
        rows[:, d : d + q],
        None if (times == times[0]).all() else times,
        None if folds is None else own,
    )


def draw_folds(
    n: int, n_folds: int, rng: np.random.Generator, codes: NDArray[np.intp] | None = None
) -> Folds:
    """(training rows, test rows) of folds of nearly equal size; with codes (n,) of classes each has
    nearly the same share of all.
    """
    n_folds = min(n_folds, n)
    order = rng.permutation(n)
    if codes is not None:
        order = order[np.argsort(codes[order], kind="stable")]  # class by class, dealt in turn
    fold = np.empty(n, dtype=np.intp)
    fold[order] = np.arange(n) % n_folds
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n_folds)]


def make_standardizer(
    X: Array, t: Array, weight: Array | None, *, standardize: bool, fit_intercept: bool
) -> Standardizer:
    """The maps under which a network is trained. Without an intercept nothing is centred, and
    scales are root mean squares; without standardising nothing is scaled.
    """
    full = Standardizer.fit(X, t, sample_weight=weight)
    if fit_intercept:
        x_mean, y_mean, x_scale, y_scale = full.x_mean, full.y_mean, full.x_scale, full.y_scale
    else:
        x_mean, y_mean = np.zeros(X.shape[1]), 0.0
        x_scale = _root_mean_squares(full.x_mean, full.x_scale, is_constant(X))
        of_y = _root_mean_squares(np.array([full.y_mean]), full.y_scale, is_constant(t[:, None]))
        y_scale = float(of_y[0])
    if not standardize:
        x_mean, x_scale, y_scale = np.zeros(X.shape[1]), np.ones(X.shape[1]), 1.0
    return Standardizer(x_mean, x_scale, y_mean, y_scale)


def _root_mean_squares(mean: Array, scale: Any, constant: NDArray[np.bool_]) -> Array:
    """From means and standard deviations; 1 where all is 0."""
    roots: Array = np.hypot(mean, np.where(constant, 0.0, scale))
    return np.where(roots > 0.0, roots, 1.0)


@dataclass(frozen=True)
class Settings:
    """How to train: the parameters of the estimators."""

    alpha: float | None = None  # None: chosen
    alphas: Any = None
    patterns: Any = "grow"
    formulation: str = "relu"
    loss: Loss = Squared()  # noqa: RUF009  (immutable)
    fit_intercept: bool = True
    standardize: bool = True
    rule: str = "best"
    tol: float = 1e-3
    certify: bool = False
    n_jobs: int | None = None
    time_limit: float | None = None
    callback: Callback | None = None

    @property
    def growth_tol(self) -> float:
        """How far patterns grow at the last lam."""
        return self.tol if self.certify else min(LAST_TOL, _GROWTH_PER_TOL * self.tol)


@dataclass(frozen=True)
class Training:
    """One output, trained: the solution on standardised rows, how it came about, and what was held
    out where folds were.
    """

    standardizer: Standardizer
    solution: Solution
    growth: Solution | None
    choice: LamChoice | None
    path: GlobalPath | None
    settings: Settings
    held_out: Array | None  # (n,), in the units of the target

    @property
    def has_ones(self) -> bool:
        """Whether the rows of the problem end with a one."""
        return self.settings.fit_intercept

    @property
    def error_scale(self) -> float:
        """By which the errors of the folds are in the units of the target, squared; 1 where they
        are mean losses.
        """
        return self.standardizer.y_scale**2 if self.settings.loss == Squared() else 1.0

    @property
    def global_lower_bound(self) -> float:
        """Proven of all networks of any width; nan where nothing is."""
        own = self.solution.global_lower_bound
        bounds = [own] if self.growth is None else [own, self.growth.global_lower_bound]
        known = [bound for bound in bounds if not np.isnan(bound)]
        return max(known) if known else float("nan")

    @property
    def global_gap(self) -> float:
        """The relative gap to that; nan where there is none."""
        return relative_gap(self.solution.objective, self.global_lower_bound)

    @property
    def network(self) -> StandardizedNetwork:
        """The network, over raw rows."""
        return self.wrap(to_network(self.solution).merge())

    def wrap(self, network: Network) -> StandardizedNetwork:
        """A network over the rows of the problem, as one over raw rows."""
        if not self.has_ones:
            nothing = np.zeros((network.n_neurons, 1))
            gates = network.gates
            network = Network(
                np.hstack([network.hidden, nothing]),
                network.output,
                None if gates is None else np.hstack([gates, nothing]),
                intercept=network.intercept,
            )
        return StandardizedNetwork(network, self.standardizer)

    def rows(self, X: Array) -> Array:
        """Raw rows as the problem takes them."""
        Z = self.standardizer.transform(X)
        return Z if self.has_ones else Z[:, :-1]

    def network_at(self, alpha: float) -> StandardizedNetwork:
        """The network at another lam: one of the path, or grown from the next above."""
        if alpha == self.solution.lam:
            return self.network
        problem = self.solution.problem
        if self.growth is None:
            return self.wrap(to_network(solve(problem, alpha, tol=self.settings.tol)).merge())
        known = {} if self.path is None else dict(zip(self.path.lams, self.path.networks))  # noqa: B905
        if alpha in known:
            return self.wrap(known[alpha])
        known[self.solution.lam] = to_network(self.solution)
        above = [lam for lam in known if lam > alpha]
        grown = solve_global(
            problem.X,
            problem.y,
            alpha,
            sample_weight=problem.sample_weight,
            tol=self.settings.growth_tol,
            certify=False,
            warm_start=known[min(above)] if above else None,
            rng=0,
            callback=growth_alone(self.settings.growth_tol),
        )
        return self.wrap(to_network(grown).merge())

    def trace(self, lam_min: float | None) -> GlobalPath | Path:
        """The path down to some lam (that of the solution)."""
        problem = self.solution.problem
        if self.growth is None:
            return trace_path(problem, lam_min or self.solution.lam)
        lams = [self.solution.lam] if self.path is None else list(self.path.lams)
        while lam_min is not None and lams[-1] * _STEP > lam_min * (1 + 1e-9):
            lams.append(lams[-1] * _STEP)
        if lam_min is not None and lam_min < lams[-1]:
            lams.append(lam_min)
        return trace_global_path(
            problem.X,
            problem.y,
            lams=lams,
            sample_weight=problem.sample_weight,
            tol=ON_THE_WAY_TOL,
            start=self.path,
            rng=0,
        )


def class_targets(codes: NDArray[np.intp], n_classes: int) -> Array:
    """+1 for rows of a class and -1 for others: of two classes the second, else each (n, q)."""
    kinds = [1] if n_classes == 2 else range(n_classes)
    return np.column_stack([np.where(codes == kind, 1.0, -1.0) for kind in kinds])


def fit_sigmoids(trainings: Sequence[Training], rows: DistinctRows) -> tuple[Array, Array]:
    """The slope and offset of each network's sigmoid, by what was predicted for rows held out.

    What the logistic loss makes of a row is its log-odds already.
    """
    if all(training.settings.loss == Logistic() for training in trainings):
        return np.ones(len(trainings)), np.zeros(len(trainings))
    weight = np.ones(len(rows.X)) if rows.weight is None else rows.weight
    sigmoids = []
    for k, training in enumerate(trainings):
        held_out = training.held_out
        if held_out is None:  # nothing can be learned: the share of the class
            held_out = np.zeros(len(rows.X))
        known = ~np.isnan(held_out)
        sigmoids.append(fit_sigmoid(held_out[known], rows.Y[known, k] > 0, weight[known]))
    slopes, offsets = (np.array(values) for values in zip(*sigmoids, strict=True))
    return slopes, offsets


def record_of(trainings: Sequence[Training]) -> TrainingRecord:
    """What is to be kept of trainings with their networks."""
    facts: list[tuple[float, ...]] = []
    curve: list[tuple[float, ...]] = []
    for k, each in enumerate(trainings):
        solution = each.solution
        bounds = (solution.lower_bound, each.global_lower_bound)
        n = len(solution.problem.y)
        growth = each.growth
        is_searched = growth is not None and growth.status in _SEARCHED
        facts.append((solution.lam, solution.objective, *bounds, n, float(is_searched)))
        if each.choice is not None:
            c, square = each.choice, each.error_scale
            curve += zip(
                np.full(len(c.lams), float(k)),
                c.lams,
                square * c.mean_errors,
                square * c.standard_errors,
                c.n_neurons,
                strict=True,
            )
    return TrainingRecord(facts, curve)


def train(
    X: Array,
    t: Array,
    weight: Array | None,
    folds: Folds | None,
    settings: Settings,
    seed: np.random.SeedSequence,
    start: Network | None = None,
) -> Training:
    """A network for raw rows X (n, d) and targets t (n,)."""
    standardizer = make_standardizer(
        X,
        t,
        weight,
        standardize=settings.standardize,
        fit_intercept=settings.fit_intercept,
    )
    if settings.loss == Logistic():
        # Targets are classes, which are not to be scaled: f is the log-odds.
        standardizer = Standardizer(standardizer.x_mean, standardizer.x_scale, 0.0, 1.0)
    Z = standardizer.transform(X)
    if not settings.fit_intercept:
        Z = np.asfortranarray(Z[:, :-1])
    work = _Work(Z, standardizer.transform_target(t), weight, folds, settings, seed, start)
    if settings.loss == Squared():
        solution, growth, choice, path = work.fixed() if work.has_patterns else work.grown()
    else:
        solution, growth, choice, path = work.of_loss()
    held_out = None
    if choice is not None:
        at = int(np.argmin(np.abs(choice.lams - solution.lam)))
        held_out = standardizer.y_mean + standardizer.y_scale * choice.held_out[at]
        choice = choice if settings.alpha is None else None
    return Training(standardizer, solution, growth, choice, path, settings, held_out)


class _Work:
    """One training."""

    def __init__(
        self,
        Z: Array,
        t: Array,
        weight: Array | None,
        folds: Folds | None,
        settings: Settings,
        seed: np.random.SeedSequence,
        start: Network | None,
    ) -> None:
        self._Z, self._t, self._weight = Z, t, weight
        self._folds = folds
        self._settings = settings
        self._rng = np.random.default_rng(seed)
        self._start = start
        self._deadline = Deadline(settings.time_limit)

    @property
    def has_patterns(self) -> bool:
        """Whether patterns are given, so that none grow."""
        return not (isinstance(self._settings.patterns, str) and self._settings.patterns == "grow")

    def of_loss(self) -> tuple[Solution, None, LamChoice | None, None]:
        """For a loss that growth does not know: over the patterns that it finds for the squared
        one, at a lam of its own, where none are given.
        """
        if self.has_patterns:
            return self.fixed()
        centred = self._t - np.average(self._t, weights=self._weight)
        scale = np.sqrt(np.average(centred**2, weights=self._weight)) or 1.0
        squares = replace(self._settings, loss=Squared(), alpha=None, certify=False)
        work = copy(self)
        work._settings, work._t = squares, centred / scale
        solution = work.grown()[0]
        if not len(solution.problem.patterns):
            return self.fixed(sample_patterns(self._Z, 1, rng=self._rng))
        return self.fixed(solution.problem.patterns)

    def fixed(
        self, patterns: Patterns | None = None
    ) -> tuple[Solution, None, LamChoice | None, None]:
        """Over given patterns, or all."""
        s = self._settings
        patterns = self._patterns() if patterns is None else patterns
        options: dict[str, Any] = {"formulation": s.formulation, "loss": s.loss}
        # With the squared loss the targets are centred.
        options["fit_intercept"] = s.fit_intercept and s.loss != Squared()
        problem = Problem(self._Z, self._t, patterns, sample_weight=self._weight, **options)
        largest = problem.lambda_max
        # Of the squared loss growth chooses over all patterns.
        grows = patterns.is_complete and s.loss == Squared() and s.formulation == "relu"
        options["gates"] = None if grows else patterns.gates
        choice = self._choice(largest, **({} if grows else options))
        lam = self._lam(largest, choice)
        solution = solve(
            problem, lam, tol=s.tol, time_limit=self._deadline.left(), callback=s.callback
        )
        return solution, None, choice, None

    def _patterns(self) -> Patterns:
        given = self._settings.patterns
        if isinstance(given, Patterns):
            if given.n_features != self._Z.shape[1]:
                raise ValueError(
                    f"patterns must have gates over {self._Z.shape[1]} features, those of the "
                    f"standardised rows and the ones, got {given.n_features}"
                )
            return patterns_from_gates(self._Z, given.gates)
        if isinstance(given, str):
            return enumerate_patterns(self._Z)
        return sample_patterns(self._Z, given, rng=self._rng)

    def grown(self) -> tuple[Solution, Solution, LamChoice | None, GlobalPath | None]:
        """Over patterns that grow."""
        s = self._settings
        largest = price_patterns(
            self._Z, self._t, sample_weight=self._weight, max_cones=0, rng=self._rng
        ).value
        choice = self._choice(largest)
        lam = self._lam(largest, choice)
        path = self._way_down(lam, largest, choice)
        start = path[-1] if path is not None and len(path) else self._start
        is_grown = growth_alone(s.growth_tol)

        def is_over(progress: _core.Progress) -> bool:
            """Once growth ends, or what else it takes for a tolerance that growth does not reach;
            the bound that is then known costs nothing more.
            """
            if s.callback is not None and s.callback(progress):
                return True
            if s.certify:
                return False
            if s.growth_tol < LAST_TOL:
                return progress.phase not in _PHASES
            return is_grown(progress)

        growth = solution = solve_global(
            self._Z,
            self._t,
            lam,
            sample_weight=self._weight,
            tol=s.growth_tol,
            warm_start=start,
            rng=self._rng,
            time_limit=self._deadline.left(),
            callback=is_over,
        )
        if solution.gap > s.tol:
            solution = solve(
                growth.problem,
                lam,
                tol=s.tol,
                warm_start=growth,
                time_limit=self._deadline.left(),
                callback=s.callback,
            )
        return solution, growth, choice, path

    def _way_down(self, lam: float, largest: float, choice: LamChoice | None) -> GlobalPath | None:
        s = self._settings
        if choice is not None and s.alpha is None:
            lams = choice.lams[choice.lams >= lam]
        elif self._start is None and lam < _STEP * largest:
            steps = int(np.ceil(np.log(largest / lam) / -np.log(_STEP) - 1e-9))
            lams = np.array([lam / _STEP**k for k in range(steps)])
        else:
            return None
        left = self._deadline.left()
        return trace_global_path(
            self._Z,
            self._t,
            lams=lams,
            sample_weight=self._weight,
            tol=ON_THE_WAY_TOL,
            rng=self._rng,
            time_limit=None if left is None else _PATH_SHARE * left,
            callback=s.callback,
        )

    def _choice(self, largest: float, **options: Any) -> LamChoice | None:
        """What the folds say, where they are asked and anything can be learned."""
        s = self._settings
        if self._folds is None or not self._is_learnable(largest):
            return None
        left = self._deadline.left()
        lams = s.alphas if s.alpha is None else [s.alpha]
        try:
            return choose_lam(
                self._Z,
                self._t,
                cv=self._folds,
                rule=s.rule,
                lams=None if lams is None else decreasing_lams(lams),
                sample_weight=self._weight,
                n_jobs=s.n_jobs,
                rng=self._rng,
                time_limit=None if left is None else _CHOICE_SHARE * left,
                callback=s.callback,
                **options,
            )
        except _core.LimitExceeded:
            return None

    def _is_learnable(self, largest: float) -> bool:
        """Whether anything but zero is optimal at any lam."""
        size = np.linalg.norm(self._t) * np.linalg.norm(self._Z, axis=1).max()
        return bool(largest > _NO_PRICE * size / np.sqrt(len(self._t)))

    def _lam(self, largest: float, choice: LamChoice | None) -> float:
        """The lam asked for, or chosen; where there was no time to choose, a usual one."""
        if self._settings.alpha is not None:
            return self._settings.alpha
        if choice is not None:
            return choice.lam
        return USUAL_RATIO * largest if self._is_learnable(largest) else 1.0
