"""Activation patterns: which samples a neuron is active on.

The pattern of a gate vector g (d,) on data X (n, d) is the 0/1 vector 1[Xg >= 0] (n,). Training a
two-layer ReLU network is a convex problem once the patterns of its neurons are given.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrelu import _core, _validate
from convexrelu._deadline import Deadline

_NUMBERS_AT_ONCE = 1_000_000  # ten milliseconds, in which numpy does not look for Ctrl-C


class Patterns:
    """An immutable list of activation patterns of one data set.

    Made by `sample_patterns`, `patterns_from_gates` or `enumerate_patterns`. ``len(patterns)`` is
    their number P, ``patterns[i]`` the i-th as a boolean vector (n,).

    Examples
    --------
    >>> from convexrelu import patterns_from_gates
    >>> patterns = patterns_from_gates([[1.0, 2.0], [-1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]])
    >>> len(patterns), patterns[0].tolist(), patterns[1].tolist()
    (2, [True, False], [True, True])
    """

    __slots__ = ("_core",)

    def __init__(self, core: _core.Patterns) -> None:
        self._core = core

    @property
    def n_samples(self) -> int:
        """Number of samples n."""
        return self._core.n_samples

    @property
    def n_features(self) -> int:
        """Number of features d."""
        return self._core.n_features

    @property
    def is_complete(self) -> bool:
        """Whether these are the patterns of all cells of the arrangement of the data that they were
        made from. A `Problem` on any other data is not complete with them: see
        `Problem.is_complete`.
        """
        return self._core.is_complete

    @property
    def fingerprint(self) -> int | None:
        """Where they are complete, a hash of the X (n, d) that they are the patterns of."""
        return self._core.complete_for

    @property
    def gates(self) -> NDArray[np.float64]:
        """A gate vector for each pattern (d, P), read-only."""
        return self._core.gates

    @property
    def packed(self) -> NDArray[np.uint64]:
        """The bits (P, ceil(n / 64)), a read-only view: sample k is bit k % 64 of word k // 64."""
        return self._core.packed

    @property
    def masks(self) -> NDArray[np.bool_]:
        """All patterns as booleans (n, P), unpacked at each access."""
        masks: NDArray[np.bool_] = self._unpack(self.packed).T
        return masks

    def _unpack(self, words: NDArray[np.uint64]) -> NDArray[np.bool_]:
        octets = words.astype("<u8", copy=False).view(np.uint8)
        return np.unpackbits(octets, axis=-1, count=self.n_samples, bitorder="little").view(bool)

    def __len__(self) -> int:
        return len(self._core)

    def __getitem__(self, i: int) -> NDArray[np.bool_]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"pattern {i} of {len(self)}")
        return self._unpack(self.packed[i])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Patterns):
            return NotImplemented
        if self._core is other._core:
            return True
        return (
            self.n_samples == other.n_samples
            and self.fingerprint == other.fingerprint
            and np.array_equal(self.packed, other.packed)
            and np.array_equal(self.gates, other.gates)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        complete = ", complete" if self.is_complete else ""
        return (
            f"<Patterns: {len(self)} of {self.n_samples} samples in R^{self.n_features}{complete}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy of the words: the view belongs to this object's memory.
        state = (self.packed.copy(), self.n_samples, self.gates.copy(order="F"))
        return (_restore, (*state, self.is_complete, self.fingerprint))

    def __copy__(self) -> Patterns:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Patterns:
        return self


def _restore(
    packed: NDArray[np.uint64],
    n_samples: int,
    gates: NDArray[np.float64],
    is_complete: bool,
    fingerprint: int | None = None,
) -> Patterns:
    """Patterns from their parts. Complete ones of which data is not known are not complete."""
    complete_for = fingerprint if is_complete else None
    return Patterns(_core.Patterns(packed, n_samples, gates, complete_for))


def sample_patterns(
    X: ArrayLike,
    n_gates: int,
    *,
    rng: _validate.Seed = None,
    method: str = "gaussian",
    time_limit: float | None = None,
    n_threads: int = 1,
) -> Patterns:
    """Patterns of random gates (Mishkin, Sahiner & Pilanci 2022).

    Parameters
    ----------
    X : (n, d) array
        The data; a bias is a column of ones.
    n_gates : int
        How many gates are drawn. Repeated patterns and the all-zero one are dropped, so that
        ``len(patterns) <= n_gates``.
    rng : None, int or numpy.random.Generator
        The source of randomness. ``rng=seed`` draws
        ``default_rng(seed).standard_normal((d, n_gates))``, the draw of the scnn package, whose
        patterns are then the same but for the treatment of exact zeros (1[0 >= 0] = 1 here).
    method : "gaussian" or "ray"
        How gates are drawn. Gaussian ones find a cell of the arrangement in proportion to its solid
        angle. A ray on which rank - 1 random samples vanish, moved to a random side of each, finds
        cells nearly uniformly: narrow ones too.
    time_limit : float, optional
        Seconds of wall clock.
    n_threads : int
        How many threads may work, -1 for all processors; does not change the result.

    Returns
    -------
    Patterns

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong and what would be right.
    LimitExceeded
        Where `time_limit` ended the work.

    Notes
    -----
    Cost: O(n d n_gates).

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import sample_patterns
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> sample_patterns(X, 10, rng=0)
    <Patterns: 4 of 7 samples in R^2>
    """
    deadline = Deadline(time_limit)
    X = _validate.matrix(X, "X")
    n_gates = _validate.integer(n_gates, "n_gates", low=1)
    _validate.choice(method, "method", ("gaussian", "ray"))
    rng = _validate.rng(rng)
    n_threads = _validate.n_threads(n_threads)
    if method == "ray":
        seed = int(rng.integers(2**63))
        gates = _core.sample_ray_gates(X, n_gates, seed=seed, time_limit=deadline.left())
    else:
        gates = _normal_gates(rng, X.shape[1], n_gates, deadline)
    core = _core.patterns_from_gates(
        X, gates, distinct=True, time_limit=deadline.left(), n_threads=n_threads
    )
    return Patterns(core)


def _normal_gates(
    rng: np.random.Generator, d: int, n_gates: int, deadline: Deadline
) -> NDArray[np.float64]:
    """``rng.standard_normal((d, n_gates))``, which numpy would draw in one piece."""
    gates = np.empty(
        (d, n_gates), order="F"
    )  # as the core reads them: a turn of all at once is deaf
    n_rows = max(1, _NUMBERS_AT_ONCE // n_gates)
    for first in range(0, d, n_rows):
        deadline.check()
        rows = gates[first : first + n_rows]
        rows[:] = rng.standard_normal(rows.shape)
    return gates


def patterns_from_gates(
    X: ArrayLike, gates: ArrayLike, *, time_limit: float | None = None, n_threads: int = 1
) -> Patterns:
    """The patterns 1[X g >= 0] of the given gates, kept as they are, repetitions included.

    Parameters
    ----------
    X : (n, d) array
    gates : (d, p) array
        One gate vector a column.
    time_limit : float, optional
        Seconds of wall clock.
    n_threads : int
        How many threads may work, -1 for all processors; does not change the result.

    Returns
    -------
    Patterns
        With ``len(patterns) == p``.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong and what would be right.
    LimitExceeded
        Where `time_limit` ended the work.

    Notes
    -----
    Cost: O(n d p).

    Examples
    --------
    >>> from convexrelu import patterns_from_gates
    >>> patterns_from_gates([[1.0, 2.0], [-1.0, 0.0]], [[1.0], [0.0]]).masks.tolist()
    [[True], [False]]
    """
    deadline = Deadline(time_limit)
    X = _validate.matrix(X, "X")
    gates = _validate.matrix(gates, "gates")
    if gates.shape[0] != X.shape[1]:
        raise ValueError(
            f"gates must have one row per column of X ({X.shape[1]}), got {gates.shape[0]}"
        )
    core = _core.patterns_from_gates(
        X,
        gates,
        distinct=False,
        time_limit=deadline.left(),
        n_threads=_validate.n_threads(n_threads),
    )
    return Patterns(core)


def max_pattern_count(n: int, rank: int) -> int:
    """The largest number of activation patterns that n samples of a given rank can have.

    ``2 * sum(comb(n - 1, k) for k in range(rank))`` (Cover 1965), attained in general position and
    an upper bound on tied data; 1 where the rank is 0.

    Parameters
    ----------
    n : int
        Number of samples.
    rank : int
        Of X.

    Returns
    -------
    int

    Examples
    --------
    >>> from convexrelu import max_pattern_count
    >>> max_pattern_count(100, 3)
    9902
    """
    n = _validate.integer(n, "n", low=1)
    rank = _validate.integer(rank, "rank")
    return 2 * sum(math.comb(n - 1, k) for k in range(rank)) if rank else 1
