"""Two-layer networks, as values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convexrelu import _core, _validate, losses
from convexrelu.losses import Loss
from convexrelu.solution import Solution


class Network:
    """The two-layer network ``f(x) = sum_j a_j (W_j . x)_+`` or, with gates,
    ``f(x) = sum_j a_j 1[g_j . x >= 0] (W_j . x)``, plus an intercept.

    Immutable: every method returns a new network, whose function f is the same.

    Parameters
    ----------
    hidden : (m, d) array
        Hidden weights W_j, one neuron a row. There may be none.
    output : (m,) array
        Output weights a_j.
    gates : (m, d) array, optional
        Gates g_j, which make it a gated network.
    intercept : float
        A number added to the output, without a penalty.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that is wrong and what would be right.

    Examples
    --------
    >>> from convexrelu import Network
    >>> network = Network([[1.0, -1.0], [-2.0, 0.0]], [3.0, 0.5])
    >>> network.predict([[2.0, 1.0], [-1.0, 5.0]])  # 3 (x1 - x2)+ + 0.5 (-2 x1)+
    array([3., 1.])
    >>> network.split(0, shares=3).merge().n_neurons
    2
    """

    __slots__ = ("_core",)

    def __init__(
        self,
        hidden: ArrayLike,
        output: ArrayLike,
        gates: ArrayLike | None = None,
        *,
        intercept: float = 0.0,
    ) -> None:
        hidden = _validate.matrix(hidden, "hidden", min_rows=0)
        output = _validate.vector(output, "output", size=hidden.shape[0], like="hidden has rows")
        if gates is not None:
            gates = _validate.matrix(gates, "gates", n_cols=hidden.shape[1], min_rows=0)
            if gates.shape != hidden.shape:
                raise ValueError(
                    f"gates must have as many rows as hidden ({hidden.shape[0]}), "
                    f"got {gates.shape[0]}"
                )
        intercept = _validate.number(intercept, "intercept")
        self._core = _core.Network(hidden, output, gates, intercept)

    @property
    def hidden(self) -> NDArray[np.float64]:
        """Hidden weights (m, d), read-only."""
        return self._core.hidden

    @property
    def output(self) -> NDArray[np.float64]:
        """Output weights (m,), read-only."""
        return self._core.output

    @property
    def gates(self) -> NDArray[np.float64] | None:
        """Gates (m, d), read-only, or None."""
        return self._core.gates

    @property
    def intercept(self) -> float:
        """What is added to the output."""
        return self._core.intercept

    @property
    def n_neurons(self) -> int:
        """Number of neurons m."""
        return len(self.hidden)

    @property
    def n_features(self) -> int:
        """Number of features d."""
        return len(self.hidden.T)

    @property
    def formulation(self) -> str:
        """The formulation of the training problem: "gated" if there are gates, else "relu"."""
        return "relu" if self.gates is None else "gated"

    def predict(self, X: ArrayLike, *, n_threads: int = 1) -> NDArray[np.float64]:
        """The outputs f(X) (n,) for rows X (n, d).

        The result is the same to the last bit for any ``n_threads``. Cost 2 n d m, gated 4 n d m.

        Raises
        ------
        ValueError
            Where X does not fit, or the outputs exceed the range of float64.
        """
        X = _validate.matrix(X, "X", n_cols=self.n_features)
        return self._core.predict(X, _validate.n_threads(n_threads))

    def objective(
        self,
        X: ArrayLike,
        y: ArrayLike,
        lam: float,
        *,
        sample_weight: ArrayLike | None = None,
        loss: str | Loss = "squared",
        offset: ArrayLike | None = None,
        n_threads: int = 1,
    ) -> float:
        """``1/(2n) ||f(X) - y||^2 + lam/2 sum_j (||W_j||^2 + a_j^2)``, lam >= 0.

        With weights v the loss is ``1/(2 sum v) sum_k v_k (f(x_k) - y_k)^2``; another ``loss`` and
        an offset (n,) are those of `Problem`. Infinite where float64 cannot hold it.
        """
        X = _validate.matrix(X, "X", n_cols=self.n_features)
        y = _validate.vector(y, "y", size=X.shape[0])
        lam = _validate.number(lam, "lam", low=0.0)
        weight = _validate.sample_weight(sample_weight, X.shape[0])
        return self._core.objective(
            X,
            y,
            lam,
            weight,
            _validate.n_threads(n_threads),
            losses._to_core(losses.as_loss(loss)),
            _validate.offset(offset, X.shape[0]),
        )

    def balance(self) -> Network:
        """The same function with ``||W_j|| = |a_j|``, which has the least objective of all
        rescalings of the neurons. Neurons with ``W_j = 0`` or ``a_j = 0`` become zero.
        """
        return _wrap(self._core.balance())

    def merge(self, tol: float = 1e-9) -> Network:
        """The same function with fewer neurons, and an objective that is no higher.

        Neurons that contribute nothing go. Those that add up to one neuron become that one,
        balanced, in the place of the first of them: neurons with output weights of one sign whose
        directions W_j / ||W_j|| agree within ``tol``; of a gated network, those with equal gates.

        The outputs change by no more than ``2 tol ||x|| sum_j |a_j| ||W_j||`` and rounding; those
        of a gated network by rounding only.
        """
        return _wrap(self._core.merge(_validate.tol(tol)))

    def split(self, neuron: int, shares: ArrayLike = 2) -> Network:
        """The same function and objective with one neuron replaced by several parallel ones.

        Parameters
        ----------
        neuron : int
            Which one; the parts take its place.
        shares : int or sequence of positive numbers
            How many parts, or the proportions in which they share its ``||W||^2 + a^2``.
        """
        neuron = _validate.integer(neuron, "neuron")
        if neuron >= self.n_neurons:
            raise ValueError(f"neuron must be below n_neurons ({self.n_neurons}), got {neuron}")
        if np.ndim(shares) == 0:
            shares = np.ones(_validate.integer(shares, "shares", low=1))
        shares = _validate.vector(shares, "shares")
        if shares.size == 0 or not (shares > 0).all():
            raise ValueError(f"shares must be positive numbers, at least one, got {shares}")
        return _wrap(self._core.split(neuron, shares))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        return (
            np.array_equal(self.hidden, other.hidden)
            and np.array_equal(self.output, other.output)
            and _equal(self.gates, other.gates)
            and self.intercept == other.intercept
        )

    __hash__ = None  # type: ignore[assignment]

    def _repr_html_(self) -> str:
        from convexrelu.report.pieces import of_network

        return of_network(self)

    def __repr__(self) -> str:
        neurons = "1 neuron" if self.n_neurons == 1 else f"{self.n_neurons} neurons"
        intercept = f", intercept {self.intercept:.6g}" if self.intercept else ""
        return f"<Network: {self.formulation}, {neurons} on R^{self.n_features}{intercept}>"

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies: the views belong to this object's memory.
        gates = None if self.gates is None else self.gates.copy(order="F")
        parts = (self.hidden.copy(order="F"), self.output.copy(), gates, self.intercept)
        return (_restore, parts)

    def __copy__(self) -> Network:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        return self


def _restore(
    hidden: ArrayLike, output: ArrayLike, gates: ArrayLike | None, intercept: float | None
) -> Network:
    """A network from its parts; files of earlier versions have no intercept."""
    return Network(hidden, output, gates, intercept=0.0 if intercept is None else intercept)


def _equal(a: NDArray[np.float64] | None, b: NDArray[np.float64] | None) -> bool:
    return a is b if a is None or b is None else np.array_equal(a, b)


def _wrap(core: _core.Network) -> Network:
    network = Network.__new__(Network)
    network._core = core
    return network


def to_network(solution: Solution) -> Network:
    """The network that a solution of the convex problem is: one neuron per active block, and its
    intercept.

    The weights w of block (i, s) become ``W = w / sqrt(||w||)``, ``a = s sqrt(||w||)``; the gate of
    a gated neuron is that of pattern i. Fit (less an offset) and objective are those of the
    solution, and the network is balanced. Blocks of neighbouring patterns may give the same neuron:
    `Network.merge` joins such.

    Parameters
    ----------
    solution : Solution

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        For a gated solution, where a gate does not give the pattern it stands for on the problem's
        X, so that no network with these gates has the solution's fit.

    Examples
    --------
    >>> import numpy as np
    >>> from convexrelu import Problem, enumerate_patterns, solve, to_network
    >>> x = np.arange(-3.0, 4.0)
    >>> X = np.column_stack([x, np.ones(7)])  # one feature and a bias
    >>> problem = Problem(X, np.abs(x), enumerate_patterns(X))
    >>> solution = solve(problem, 0.1)
    >>> network = to_network(solution)
    >>> np.allclose(network.predict(X), solution.fitted)
    True
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution, got {type(solution).__name__}")
    return _wrap(_core.to_network(solution._core))
