"""Removing neurons: exactly as long as that is possible, then the least harmful first."""

from __future__ import annotations

from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike

from convexrelu import _core, _validate
from convexrelu.network import Network
from convexrelu.problem import Problem
from convexrelu.solution import Solution

SCORES = ("residual", "magnitude", "activation", "gradient", "random")


class PruningStep(NamedTuple):
    """One neuron that went.

    Examples
    --------
    >>> from convexrelu import Network, prune
    >>> X = [[1.0, 2.0], [-1.0, 0.5], [0.5, -1.0]]
    >>> network = Network([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]], [1.0, 1.0, 0.5])
    >>> pruned = prune(network, X)
    >>> step = pruned.history[0]
    >>> step.n_neurons, step.is_exact
    (2, True)
    """

    removed: int
    """Which: a row of ``active_set`` or ``hidden`` of what was given."""
    n_neurons: int
    """How many are left."""
    objective: float
    """The objective then; nan for a network without y or lam."""
    is_exact: bool
    """Whether the fit stayed as it was."""


class PrunedSolution(Solution):
    """A `Solution` that was pruned, and how.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, prune, solve
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> pruned = prune(solve(problem, 0.1), n_neurons=1)
    >>> pruned.status, [step.is_exact for step in pruned.history]
    ('pruned', [False])
    """

    __slots__ = ("_history",)

    def __init__(
        self, core: _core.Solution, problem: Problem, history: tuple[PruningStep, ...]
    ) -> None:
        super().__init__(core, problem)
        self._history = history

    @property
    def history(self) -> tuple[PruningStep, ...]:
        """The steps, one for each neuron that went."""
        return self._history

    def __reduce__(self) -> tuple[Any, ...]:
        build, parts = super().__reduce__()
        return _restore, (build(*parts), self._history)


class PrunedNetwork(Network):
    """A `Network` that was pruned, and how.

    Examples
    --------
    >>> from convexrelu import Network, prune
    >>> X = [[1.0, 2.0], [-1.0, 0.5], [0.5, -1.0]]
    >>> network = Network([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]], [1.0, 1.0, 0.5])
    >>> pruned = prune(network, X)
    >>> pruned.n_neurons, len(pruned.history)
    (2, 1)
    """

    __slots__ = ("_history",)

    def __init__(self, core: _core.Network, history: tuple[PruningStep, ...]) -> None:
        self._core = core
        self._history = history

    @property
    def history(self) -> tuple[PruningStep, ...]:
        """The steps, one for each neuron that went."""
        return self._history

    def __reduce__(self) -> tuple[Any, ...]:
        build, parts = super().__reduce__()
        return _restore, (build(*parts), self._history)


def _restore(
    value: Solution | Network, history: tuple[PruningStep, ...]
) -> PrunedSolution | PrunedNetwork:
    if isinstance(value, Solution):
        return PrunedSolution(value._core, value.problem, history)
    return PrunedNetwork(value._core, history)


@overload
def prune(
    solution_or_network: Solution,
    X: None = ...,
    y: None = ...,
    lam: None = ...,
    *,
    n_neurons: int | None = ...,
    score: str = ...,
    correct: bool = ...,
    rng: _validate.Seed = ...,
    time_limit: float | None = ...,
) -> PrunedSolution: ...
@overload
def prune(
    solution_or_network: Network,
    X: ArrayLike,
    y: ArrayLike = ...,
    lam: float | None = ...,
    *,
    n_neurons: int | None = ...,
    score: str = ...,
    correct: bool = ...,
    rng: _validate.Seed = ...,
    time_limit: float | None = ...,
) -> PrunedNetwork: ...
def prune(
    solution_or_network: Solution | Network,
    X: ArrayLike | None = None,
    y: ArrayLike | None = None,
    lam: float | None = None,
    *,
    n_neurons: int | None = None,
    score: str = "residual",
    correct: bool = True,
    rng: _validate.Seed = None,
    time_limit: float | None = None,
) -> PrunedSolution | PrunedNetwork:
    """Fewer neurons: with the same fit first, then with the least change.

    Optimal pruning (Mishkin & Pilanci 2023, Algorithm 1): while the activations of neurons on
    the training rows depend on each other, they are rescaled along the dependency until one
    vanishes. The fit stays and the penalty does not rise; at an optimum the objective stays,
    and the result is a vertex of the optimal set. No more neurons than samples are left.

    Below that, with ``n_neurons``: the neuron with the lowest score is expressed by the others
    in least squares, the neurons are rescaled along these coefficients, and the one with the
    largest vanishes.

    Parameters
    ----------
    solution_or_network : Solution or Network
        Optimal or not; a network may come from anywhere.
    X : (n, d) array
        The training rows, for a Network; a Solution has its own.
    y : (n,) array, optional
        Targets, for a Network: for the gradient score and the objective in the history.
    lam : float, optional
        For a Network: for the objective in the history, in the 1/(2n) scaling.
    n_neurons : int, optional
        Stop as soon as no more than this many are left. By default only exact steps are taken,
        as many as there are.
    score : "residual", "magnitude", "activation", "gradient" or "random"
        What ranks neurons below the minimum: what the others leave of the activation in least
        squares; ``||w_b||``; the norm of the activation; ``||w_b * gradient||^2`` of the loss;
        chance.
    correct : bool
        False leaves out the neuron with the lowest score and changes no other, from the first
        on: what is usually done, to compare with. Needs n_neurons.
    rng : None, int or numpy.random.Generator
        Of the random score.
    time_limit : float, optional
        Seconds. What is left by then is no answer: `LimitExceeded`.

    Returns
    -------
    Solution or Network
        Of the kind given, with ``history``: a `PruningStep` for each neuron that went. A solution
        with an approximate step has the status "pruned".

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong and what would be right.
    LimitExceeded
        Where `time_limit` ended the work.

    Notes
    -----
    Cost: O(n k^2) for all exact steps of k neurons together, O(k^3) for an approximate one.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Network, prune
    >>> X = [[1.0, 2.0], [-1.0, 0.5], [0.5, -1.0]]
    >>> network = Network([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]], [1.0, 1.0, 0.5])
    >>> pruned = prune(network, X)
    >>> pruned.n_neurons, np.allclose(pruned.predict(X), network.predict(X))
    (2, True)
    """
    _validate.choice(score, "score", SCORES)
    correct = _validate.boolean(correct, "correct")
    if n_neurons is None and not correct:
        raise ValueError("n_neurons must be given with correct=False, which takes no exact steps")
    target = -1 if n_neurons is None else _validate.integer(n_neurons, "n_neurons")
    seed = int(_validate.rng(rng).integers(2**63)) if score == "random" else 0
    limit = _validate.time_limit(time_limit)
    how = (target, _core.PruningScore.__members__[score], correct, seed, limit)

    if isinstance(solution_or_network, Solution):
        solution = solution_or_network
        for name, value in (("X", X), ("y", y), ("lam", lam)):
            if value is not None:
                raise ValueError(f"{name} must not be given with a Solution, which has its own")
        core, steps = _core.prune_solution(solution._core, *how)
        return PrunedSolution(core, solution.problem, tuple(PruningStep(*step) for step in steps))
    if not isinstance(solution_or_network, Network):
        raise TypeError(
            "solution_or_network must be a Solution or a Network, "
            f"got {type(solution_or_network).__name__}"
        )

    network = solution_or_network
    if X is None:
        raise ValueError("X must be given with a Network: the rows on which its fit is to stay")
    X = _validate.matrix(X, "X", n_cols=network.n_features)
    if y is None:
        if score == "gradient":
            raise ValueError("y must be given with score='gradient'")
        y = np.empty(0)
    else:
        y = _validate.vector(y, "y", size=len(X))
    strength = np.nan if lam is None else _validate.number(lam, "lam", low=0.0)
    pruned, steps = _core.prune_network(network._core, X, y, strength, *how)
    return PrunedNetwork(pruned, tuple(PruningStep(*step) for step in steps))
