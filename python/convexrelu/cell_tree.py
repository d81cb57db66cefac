"""All activation patterns of a data set."""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import ArrayLike

from convexrelu import _core, _validate
from convexrelu.patterns import Patterns


def enumerate_patterns(
    X: ArrayLike,
    *,
    max_patterns: int = 10_000_000,
    tol: float = 1e-12,
    n_threads: int = 1,
    callback: Callable[[_core.Progress], bool | None] | None = None,
) -> Patterns:
    """Every activation pattern that the samples can have.

    The hyperplanes x_k . u = 0 cut R^d into cells, and a cell has one pattern. Any vector lies in
    the closure of a cell, so a problem over these patterns is the training problem of a ReLU
    network of any width. Ties, duplicates, 0/1 features, a bias column and rank loss need no care.

    Parameters
    ----------
    X : (n, d) array
        The data; a bias is a column of ones.
    max_patterns : int
        The most there may be. `max_pattern_count` bounds the number from above; on tied data
        there are often far fewer, and only those there are count here.
    tol : float
        Cells thinner than this may be missed. It is relative, in coordinates in which rank X of the
        hyperplanes are those of the axes. Above 1e-11 the patterns do not count as complete.
    n_threads : int
        Does not change the result.
    callback : callable, optional
        Called with a `Progress` whose ``iteration`` is the number of patterns found so far; a true
        answer ends the work with `LimitExceeded`.

    Returns
    -------
    Patterns
        Complete for this X (`Problem.is_complete`). The second half are the mirror images of the
        first, in the same order: the bits of non-zero rows complemented. A zero row has bit 1.
        ``gates`` are points inside the cells; they are computed, by a second walk, when first asked
        for.

    Raises
    ------
    LimitExceeded
        There are more than `max_patterns`. There are at least 2^r, r = rank X.
    MemoryError
        They do not fit the memory that is left.

    Notes
    -----
    Cost: millions of patterns per second where the rank is small; see
    docs/theory/arrangement/cell_tree.md.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import enumerate_patterns
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> enumerate_patterns(X)
    <Patterns: 14 of 7 samples in R^2, complete>
    """
    X = _validate.matrix(X, "X")
    max_patterns = _validate.integer(max_patterns, "max_patterns", low=1)
    tol = _validate.number(tol, "tol", low=0.0, high=1e-3)
    n_threads = _validate.n_threads(n_threads)
    return Patterns(
        _core.enumerate_patterns(
            X, max_patterns=max_patterns, tol=tol, n_threads=n_threads, callback=callback
        )
    )
