"""The best networks of any width, at each of a decreasing sequence of lam."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convexrelu import _core, _validate
from convexrelu.global_solver import solve_global
from convexrelu.network import Network, to_network
from convexrelu.pricing import price_patterns
from convexrelu.solution import Solution

_STOPPED = ("time_limit", "callback")


class GlobalPath:
    """Networks of any width at decreasing lam, each with what is proven of it.

    Made by `trace_global_path`; immutable. ``path[k]`` is the network at ``path.lams[k]``.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import trace_global_path
    >>> X = np.column_stack([np.linspace(-1, 1, 20), np.ones(20)])
    >>> path = trace_global_path(X, np.abs(X[:, 0]), lams=[0.1, 0.01], rng=0)
    >>> path.status, path.lams.tolist(), path[1].n_features
    ('complete', [0.1, 0.01], 2)
    >>> bool((path.gaps <= 0.1).all())
    True
    """

    __slots__ = (
        "_global_lower_bounds",
        "_lams",
        "_lower_bounds",
        "_networks",
        "_objectives",
        "_statuses",
    )

    def __init__(
        self,
        lams: Any,
        networks: Sequence[Network],
        objectives: Any,
        lower_bounds: Any,
        global_lower_bounds: Any,
        statuses: Sequence[str],
    ) -> None:
        self._lams = _frozen(lams)
        self._networks = tuple(networks)
        self._objectives = _frozen(objectives)
        self._lower_bounds = _frozen(lower_bounds)
        self._global_lower_bounds = _frozen(global_lower_bounds)
        self._statuses = tuple(statuses)

    @property
    def lams(self) -> NDArray[np.float64]:
        """The lam (m,), decreasing, read-only."""
        return self._lams

    @property
    def networks(self) -> tuple[Network, ...]:
        """The network at each lam."""
        return self._networks

    @property
    def objectives(self) -> NDArray[np.float64]:
        """``1/(2n) ||f(X) - y||^2 + lam sum_b ||w_b||`` at each lam (m,), read-only."""
        return self._objectives

    @property
    def lower_bounds(self) -> NDArray[np.float64]:
        """A certified lower bound (m,) over all networks with the patterns of the one here."""
        return self._lower_bounds

    @property
    def gaps(self) -> NDArray[np.float64]:
        """``(objective - lower_bound) / objective`` at each lam (m,)."""
        return _relative_gaps(self._objectives, self._lower_bounds)

    @property
    def global_lower_bounds(self) -> NDArray[np.float64]:
        """A certified lower bound (m,) over all networks of any width; nan where there is none."""
        return self._global_lower_bounds

    @property
    def global_gaps(self) -> NDArray[np.float64]:
        """``(objective - global_lower_bound) / objective`` at each lam (m,); nan without one."""
        return _relative_gaps(self._objectives, self._global_lower_bounds)

    @property
    def statuses(self) -> tuple[str, ...]:
        """How `solve_global` ended at each lam. Where growth came to its end before tol was reached
        and no exact programs were asked for, or after max_rounds, it is "unproven".
        """
        return self._statuses

    @property
    def status(self) -> str:
        """The word "complete", or "time_limit" or "callback" where that ended the path."""
        last = self._statuses[-1] if self._statuses else "callback"
        return last if last in _STOPPED else "complete"

    @property
    def n_neurons(self) -> NDArray[np.int64]:
        """The number of neurons at each lam (m,)."""
        return np.array([network.n_neurons for network in self._networks], dtype=np.int64)

    def predict(self, X: Any, *, n_threads: int = 1) -> NDArray[np.float64]:
        """What each network says of rows X (r, d): (m, r). Cost 2 r d times all neurons."""
        X = _validate.matrix(X, "X")
        outputs = [network.predict(X, n_threads=n_threads) for network in self._networks]
        return np.array(outputs).reshape(len(outputs), len(X))

    def plot(self, ax: Any = None) -> Any:
        """Draws the number of neurons and the objective against lam. Needs matplotlib.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure otherwise.

        Returns
        -------
        matplotlib Axes
        """
        from convexrelu.plots._lam import draw_global_path

        return draw_global_path(self, ax)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the path to a file for `load`; the same as ``save(path_object, file)``."""
        from convexrelu.files.npz import save

        save(self, path)

    @property
    def hidden(self) -> NDArray[np.float64]:
        """The hidden weights of all networks, one after another (sum of `n_neurons`, d)."""
        return np.concatenate([np.empty((0, self._n_features)), *(n.hidden for n in self.networks)])

    @property
    def output(self) -> NDArray[np.float64]:
        """Their output weights."""
        return np.concatenate([np.empty(0), *(network.output for network in self.networks)])

    @property
    def status_codes(self) -> NDArray[np.int64]:
        """`statuses` as numbers, for files."""
        names = list(_core.Status.__members__)
        return np.array([names.index(status) for status in self._statuses], dtype=np.int64)

    @property
    def _n_features(self) -> int:
        return self._networks[0].n_features if self._networks else 0

    def __len__(self) -> int:
        return len(self._lams)

    def __getitem__(self, index: int) -> Network:
        return self._networks[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GlobalPath):
            return NotImplemented
        mine, theirs = self.__reduce__()[1], other.__reduce__()[1]
        return all(
            np.array_equal(a, b, equal_nan=True) if isinstance(a, np.ndarray) else a == b
            for a, b in zip(mine, theirs, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def _repr_html_(self) -> str:
        from convexrelu.report.pieces import of_global_path

        return of_global_path(self)

    def __repr__(self) -> str:
        if not len(self):
            return f"<GlobalPath: {self.status}, no lam>"
        return (
            f"<GlobalPath: {self.status}, {len(self)} lam from {self.lams[0]:.4g} to "
            f"{self.lams[-1]:.4g}, up to {self.n_neurons.max()} neurons>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            GlobalPath,
            (
                self.lams,
                self.networks,
                self.objectives,
                self.lower_bounds,
                self.global_lower_bounds,
                self.statuses,
            ),
        )


def trace_global_path(
    X: Any,
    y: Any,
    *,
    lams: Any = None,
    n_lams: int = 25,
    lam_min_ratio: float = 1e-5,
    sample_weight: Any = None,
    tol: float = 0.1,
    max_rounds: int | None = None,
    exact: bool = False,
    certify: bool = False,
    start: GlobalPath | None = None,
    time_limit: float | None = None,
    rng: Any = None,
    n_threads: int = 1,
    callback: Callable[[_core.Progress], bool | None] | None = None,
) -> GlobalPath:
    """The best two-layer ReLU network of any width at each of a decreasing sequence of lam.

    Each is grown from the one before (`solve_global` with ``warm_start``), which at small lam, with
    hundreds of neurons, takes a small part of the time that growing it from nothing takes.

    Parameters
    ----------
    X : (n, d) array
        The data; a bias is a column of ones.
    y : (n,) array
        The targets.
    lams : (m,) array, optional
        The lam, positive, in the 1/(2n) scaling, in any order.
    n_lams, lam_min_ratio : int, float
        Without ``lams``: so many in equal ratios, from the largest price of all patterns that a
        search finds (``price_patterns``: above it zero is optimal) down to this share of it.
    sample_weight : (n,) array, optional
        Non-negative weights v. The loss becomes ``1/(2 sum v) sum_k v_k (f(x_k) - y_k)^2``.
    tol : float
        As in `solve_global`, for each lam. With 0.1 objectives are typically within 1 % of the best
        ones known.
    max_rounds : int, optional
        At most so many rounds of growth at each lam: search, Newton's steps, amplitudes. With 2 a
        path to small lam predicts as well as one that is grown to the end, at a part of its cost.
    exact : bool
        Whether to go on with exact convex programs where growth alone does not reach tol.
    certify : bool
        Whether to look for bounds over all patterns, see `solve_global`. Those over the patterns of
        each network come anyhow.
    start : GlobalPath, optional
        A path of the same data that was stopped, or has other lam: its finished networks are
        kept at the lam that are asked for, and others begin with those they have before them.
    time_limit : float, optional
        Seconds of wall clock, for all.
    rng : int, numpy Generator, optional
        Of the starts of the local search.
    n_threads : int
        Without a time limit the result is the same to the last bit for any number of threads.
    callback : callable, optional
        Called with a `Progress`: its phase is ``"3/25 grow"``, iteration counts the calls; a true
        return value stops.

    Returns
    -------
    GlobalPath
        Where it was stopped, as far as it got: ``path.status`` says so, and ``start=path`` goes on.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong.
    KeyboardInterrupt
        On Ctrl-C, within a fraction of a second.

    Notes
    -----
    Cost: at each lam some rounds of `solve_global`. docs/theory/global/global_path.md

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import trace_global_path
    >>> X = np.column_stack([np.linspace(-1, 1, 20), np.ones(20)])
    >>> path = trace_global_path(X, np.abs(X[:, 0]), n_lams=5, lam_min_ratio=1e-3, rng=0)
    >>> path.status, len(path), path.predict(X).shape
    ('complete', 5, (5, 20))
    """
    began = perf_counter()
    X = _validate.matrix(X, "X")
    y = _validate.vector(y, "y", size=X.shape[0])
    tol = _validate.tol(tol)
    exact = _validate.boolean(exact, "exact")
    rounds = np.inf if max_rounds is None else _validate.integer(max_rounds, "max_rounds", low=1)
    if exact and max_rounds is not None:
        raise ValueError("max_rounds ends the work before exact programs: pass exact=False")
    time_limit = _validate.time_limit(time_limit)
    generator = _validate.rng(rng)
    weight = None if sample_weight is None else _validate.sample_weight(sample_weight, len(X))
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable or None, got {type(callback).__name__}")
    if lams is None:
        n_lams = _validate.integer(n_lams, "n_lams", low=1)
        ratio = _validate.number(lam_min_ratio, "lam_min_ratio", low=0.0, high=1.0, open_low=True)
        largest = largest_lam(X, y, weight, generator, n_threads)
        grid = largest * np.geomspace(1.0, ratio, n_lams)
    else:
        grid = decreasing_lams(lams)
    known = [] if start is None else _known(start, X, y, weight)

    n_calls = 0
    points: list[_Point] = []
    for k, lam in enumerate(grid):
        left = None if time_limit is None else max(0.0, time_limit - (perf_counter() - began))
        seed = int(generator.integers(2**63))  # drawn always, so that a resumed path goes on alike
        done = [point for point in known if point[0] == lam and point[5] not in _STOPPED]
        if done:
            points.append(done[0])
            continue
        if left == 0.0 and points:
            break
        asked, n_rounds = False, -1

        def report(progress: _core.Progress, place: str = f"{k + 1}/{len(grid)}") -> bool:
            nonlocal n_calls, asked, n_rounds
            n_calls += 1
            n_rounds += progress.phase == "grow"
            if callback is not None:
                seconds = perf_counter() - began
                asked = bool(
                    callback(
                        _core.Progress(
                            f"{place} {progress.phase}",
                            n_calls,
                            progress.objective,
                            progress.gap,
                            seconds,
                        )
                    )
                )
            return asked or n_rounds >= rounds or (not exact and progress.phase == "close")

        solution = solve_global(
            X,
            y,
            lam,
            sample_weight=weight,
            tol=tol,
            certify=certify,
            warm_start=_nearest([*points, *known], lam),
            time_limit=left,
            rng=seed,
            n_threads=n_threads,
            callback=report,
        )
        ended_growth = solution.status == "callback" and not asked
        points.append(_point(solution, "unproven" if ended_growth else solution.status))
        if points[-1][5] in _STOPPED:
            break
    return GlobalPath(*zip(*points, strict=True)) if points else GlobalPath([], [], [], [], [], [])


_Point = tuple[float, Network, float, float, float, str]


def _point(solution: Solution, status: str) -> _Point:
    return (
        solution.lam,
        to_network(solution).merge(),
        solution.objective,
        solution.lower_bound,
        solution.global_lower_bound,
        status,
    )


def _nearest(points: list[_Point], lam: float) -> Network | None:
    """The network with the smallest lam that is not below."""
    above = [point for point in points if point[0] >= lam]
    return min(above, key=lambda point: point[0])[1] if above else None


def _known(start: Any, X: NDArray[np.float64], y: NDArray[np.float64], weight: Any) -> list[_Point]:
    """The points of a path, if it is one of these data."""
    if not isinstance(start, GlobalPath):
        raise TypeError(f"start must be a GlobalPath, got {type(start).__name__}")
    columns = (start.lower_bounds, start.global_lower_bounds)
    points = [
        (float(lam), network, float(objective), float(low), float(lowest), status)
        for lam, network, objective, low, lowest, status in zip(
            start.lams, start.networks, start.objectives, *columns, start.statuses, strict=True
        )
    ]
    for lam, network, objective, *_ in points:
        fits = network.n_features == X.shape[1]
        if fits:
            value = network.objective(X, y, lam, sample_weight=weight)
            fits = abs(value - objective) <= 1e-8 * abs(objective)
        if not fits:
            raise ValueError("start must be a path of the same X, y and sample_weight")
    return points


def largest_lam(
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    weight: NDArray[np.float64] | None,
    rng: np.random.Generator,
    n_threads: int,
) -> float:
    """The largest price that a search finds at y; ValueError where it is zero."""
    price = price_patterns(X, y, sample_weight=weight, max_cones=0, rng=rng, n_threads=n_threads)
    if not price.value > 0.0:
        raise ValueError("the optimum is zero at every lam, as y or X is; pass lams")
    return price.value


def decreasing_lams(lams: Any) -> NDArray[np.float64]:
    """Positive values, each once, the largest first."""
    values = _validate.vector(np.atleast_1d(lams), "lams")
    if not len(values) or not (values > 0).all():
        least = f", got {values.min():g}" if len(values) else ", got none"
        raise ValueError(f"lams must be positive numbers, at least one{least}")
    return np.unique(values)[::-1]


def _relative_gaps(
    objectives: NDArray[np.float64], bounds: NDArray[np.float64]
) -> NDArray[np.float64]:
    positive = objectives > 0.0
    share = (objectives - bounds) / np.where(positive, objectives, 1.0)
    gaps: NDArray[np.float64] = np.where(positive, np.maximum(share, 0.0), 0.0 * bounds)
    return gaps


def _frozen(values: Any) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64).reshape(-1)
    array.flags.writeable = False
    return array


def _restore(
    lams: NDArray[np.float64],
    n_neurons: NDArray[np.int64],
    hidden: NDArray[np.float64],
    output: NDArray[np.float64],
    objectives: NDArray[np.float64],
    lower_bounds: NDArray[np.float64],
    global_lower_bounds: NDArray[np.float64],
    status_codes: NDArray[np.int64],
) -> GlobalPath:
    """A path from plain arrays. ValueError where they do not fit together."""
    m = len(lams)
    columns = (n_neurons, objectives, lower_bounds, global_lower_bounds, status_codes)
    if any(len(column) != m for column in columns):
        raise ValueError("a path has as many of everything as lam")
    if (n_neurons < 0).any() or len(hidden) != n_neurons.sum() or len(output) != len(hidden):
        raise ValueError("n_neurons must be those of hidden and output")
    if not (np.isfinite(lams).all() and (lams > 0).all() and (np.diff(lams) < 0).all()):
        raise ValueError("lams must be positive and decrease")
    names = list(_core.Status.__members__)
    if not ((status_codes >= 0) & (status_codes < len(names))).all():
        raise ValueError("a status is not known")
    if (lower_bounds > objectives * (1 + 1e-12)).any() or (
        global_lower_bounds > objectives * (1 + 1e-12)
    ).any():
        raise ValueError("a lower bound is above its objective")
    ends = np.cumsum(n_neurons)
    networks = [
        Network(hidden[end - s : end], output[end - s : end])
        for s, end in zip(n_neurons, ends, strict=True)
    ]
    return GlobalPath(
        lams,
        networks,
        objectives,
        lower_bounds,
        global_lower_bounds,
        [names[c] for c in status_codes],
    )
