"""Pictures of sets of optimal networks, and of pruning."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from convexrelu import _validate
from convexrelu.optimal_set import OptimalSet
from convexrelu.plots._axes import BLUE, GREEN, GREY, RED, axes, finish
from convexrelu.pruning import PrunedNetwork, PrunedSolution


def polytope(optima: OptimalSet, ax: Any = None, *, size: int = 500, rng: Any = 0) -> Any:
    """Draws the norms of the two neurons that vary most, over all optimal networks.

    Dots are a uniform sample, the outline is the projection of the polytope.

    Parameters
    ----------
    optima : OptimalSet
        With at least two neurons.
    ax : matplotlib Axes, optional
        Where to draw; a new figure of pyplot otherwise.
    size : int
        Of the sample.
    rng : int, numpy Generator or None
        Of the sample.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from convexrelu import Problem, enumerate_patterns, find_optimal_set, plots, solve
    >>> X = np.array([[a, b, c, 1.0] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    >>> optima = find_optimal_set(solve(Problem(X, X.prod(axis=1), enumerate_patterns(X)), 0.02))
    >>> plots.polytope(optima, Figure().add_subplot(), size=50).get_title(loc="left")
    'a set of dimension 8'
    """
    low, high = optima.norm_bounds()
    if len(high) < 2:
        raise ValueError(f"optima must have two neurons at least, got {len(high)}")
    i, j = np.argsort(low - high, kind="stable")[:2]
    points = optima.sample(_validate.integer(size, "size", low=1), rng=rng)[:, [i, j]] * optima.lam
    ax = axes(ax)
    ax.plot(*points.T, ".", color=BLUE, markersize=3, alpha=0.5)
    # The outline: the extreme point in each of many directions.
    corners = []
    for angle in np.linspace(0.0, 2 * np.pi, 64, endpoint=False):
        cost = np.zeros(len(high))
        cost[[i, j]] = np.cos(angle), np.sin(angle)
        corners.append(optima.minimize(cost)[[i, j]] * optima.lam)
    outline = np.array([*corners, corners[0]])
    ax.plot(*outline.T, color=RED, linewidth=1.2)
    words = "one network" if optima.dimension == 0 else f"a set of dimension {optima.dimension}"
    return finish(ax, f"norm of neuron {i}", f"norm of neuron {j}", words)


def fan(
    optima: OptimalSet, X: ArrayLike, x: ArrayLike, ax: Any = None, *, size: int = 12, rng: Any = 0
) -> Any:
    """Draws what optimal networks predict along a line, and the range of all.

    Parameters
    ----------
    optima : OptimalSet
    X : (m, d) array
        Rows along the line, as the problem takes them.
    x : (m,) array
        Where they are drawn.
    ax : matplotlib Axes, optional
        Where to draw; a new figure of pyplot otherwise.
    size : int
        How many networks.
    rng : int, numpy Generator or None
        Which ones.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from convexrelu import Problem, enumerate_patterns, find_optimal_set, plots, solve
    >>> X = np.column_stack([[-2.0, -1.0, 1.0, 2.0], np.ones(4)])
    >>> optima = find_optimal_set(solve(Problem(X, X[:, 0] ** 2, enumerate_patterns(X)), 0.05))
    >>> x = np.linspace(-3, 3, 7)
    >>> rows = np.column_stack([x, np.ones(7)])
    >>> len(plots.fan(optima, rows, x, Figure().add_subplot(), size=3).lines)
    3
    """
    X = _validate.matrix(X, "X")
    x = _validate.vector(x, "x", size=len(X))
    size = _validate.integer(size, "size", low=1)
    low, high = optima.prediction_range(X)
    ax = axes(ax)
    ax.fill_between(x, low, high, color=GREEN, alpha=0.25, linewidth=0)
    for alpha in optima.sample(size, rng=rng):
        ax.plot(x, optima.network(alpha).predict(X), color=BLUE, linewidth=0.8)
    return finish(ax, "x", "prediction", f"{size} optimal networks and the range of all")


def pruning(pruned: PrunedSolution | PrunedNetwork, ax: Any = None) -> Any:
    """Draws the objective against the number of neurons as `prune` removed them.

    Parameters
    ----------
    pruned : PrunedSolution or PrunedNetwork
        A network with an objective: of `prune` with y and lam.
    ax : matplotlib Axes, optional
        Where to draw; a new figure of pyplot otherwise.

    Returns
    -------
    matplotlib Axes

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from convexrelu import Problem, enumerate_patterns, plots, prune, solve
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])
    >>> solution = solve(Problem(X, np.abs(x), enumerate_patterns(X)), 0.1)
    >>> ax = plots.pruning(prune(solution, n_neurons=1), Figure().add_subplot())
    >>> ax.get_xlabel()
    'neurons'
    """
    if not isinstance(pruned, (PrunedSolution, PrunedNetwork)):
        raise TypeError(
            f"pruned must be what prune returns, with its history, got {type(pruned).__name__}"
        )
    ax = axes(ax)
    for is_exact, colour, label in ((True, BLUE, "same fit"), (False, RED, "pruned further")):
        steps = [step for step in pruned.history if step.is_exact == is_exact]
        if steps:
            sizes, values = zip(*((s.n_neurons, s.objective) for s in steps), strict=True)
            ax.plot(sizes, values, "o-", color=colour, markersize=4, label=label)
    if ax.lines:
        ax.legend(frameon=False)
    else:
        ax.text(0.5, 0.5, "no neuron was removed", transform=ax.transAxes, color=GREY, ha="center")
    ax.invert_xaxis()
    return finish(ax, "neurons", "objective")
