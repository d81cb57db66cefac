"""Small training problems, of the kind that break solvers: integers, ties, rank loss, zeros.

`cases()` is the strategy; a `Case` is what it draws, with a `repr` that can be pasted into a test.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from convexrelu import Problem, patterns_from_gates

Array = NDArray[np.float64]

FORMULATIONS = ("relu", "gated")
# lam / lambda_max, down to where the last digits of the data decide.
RATIOS = (1 + 1e-12, 1.0, 1 - 1e-12, 1 - 1e-6, 0.9, 0.5, 0.1, 0.03, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def cube(d: int) -> Array:
    """The corners (2^d, d) of a cube around zero."""
    return np.array(list(itertools.product([-1.0, 1.0], repeat=d)))


def bits(d: int) -> Array:
    """The corners (2^d, d) with entries 0 and 1."""
    return (cube(d) + 1) / 2


def with_ones(X: Any) -> Array:
    """A column of ones after the others."""
    return np.column_stack([X, np.ones(len(X))]).astype(float)


def _literal(value: Any) -> str:
    return repr(value.tolist() if isinstance(value, np.ndarray) else value)


@dataclass(frozen=True, repr=False)
class Case:
    """A problem and lam / lambda_max. gates (p, d): one a row."""

    X: Any
    y: Any
    gates: Any
    formulation: str = "relu"
    ratio: float = 0.1
    sample_weight: Any = None
    made: list[Problem] = field(default_factory=list, compare=False)

    @property
    def problem(self) -> Problem:
        if not self.made:
            X = np.array(self.X, dtype=float)
            patterns = patterns_from_gates(X, np.array(self.gates, dtype=float).T)
            self.made.append(
                Problem(
                    X,
                    self.y,
                    patterns,
                    formulation=self.formulation,
                    sample_weight=self.sample_weight,
                )
            )
        return self.made[0]

    @property
    def lam(self) -> float:
        """ratio lambda_max; where zero is optimal for every lam, 0.1 is as good as any."""
        scale = float(np.abs(self.problem.X).max() * np.abs(self.problem.y).max())
        lambda_max = self.problem.lambda_max
        return self.ratio * lambda_max if lambda_max > 1e-12 * scale else 0.1 * (scale or 1.0)

    def __repr__(self) -> str:
        names = ("X", "y", "gates", "formulation", "ratio", "sample_weight")
        return f"Case({', '.join(f'{n}={_literal(getattr(self, n))}' for n in names)})"


def reals(shape: int | tuple[int, ...]) -> st.SearchStrategy[Array]:
    """Entries of no special value, N(0, 1)."""
    return st.integers(0, 2**32 - 1).map(
        lambda seed: np.random.default_rng(seed).standard_normal(shape)
    )


def integers(shape: int | tuple[int, ...], low: int, high: int) -> st.SearchStrategy[Array]:
    return arrays(np.int64, shape, elements=st.integers(low, high)).map(lambda a: a.astype(float))


@st.composite
def designs(draw: st.DrawFn, max_n: int = 8, max_d: int = 4) -> Array:
    """X (n, d): integers, bits, signs or reals; n < d, n = 1 and d = 1 as often as others."""
    n, d = draw(st.integers(1, max_n)), draw(st.integers(1, max_d))
    X = draw(
        st.one_of(
            integers((n, d), -2, 2),
            integers((n, d), 0, 1),
            integers((n, d), 0, 1).map(lambda bits: 2 * bits - 1),
            reals((n, d)),
            st.tuples(reals((n, 1)), reals((1, d))).map(lambda factors: factors[0] @ factors[1]),
        )
    )
    row, column = st.integers(0, n - 1), st.integers(0, d - 1)
    for kind in draw(
        st.lists(st.sampled_from(["copy", "zero", "columns", "constant"]), max_size=3)
    ):
        if kind == "copy":  # duplicate, antiparallel and proportional rows
            factor = draw(st.sampled_from([1.0, -1.0, 2.0, -0.1, 1 / 3]))
            X[draw(row)] = factor * X[draw(row)]
        elif kind == "zero":
            X[draw(row)] = 0.0
        elif kind == "columns":
            X[:, draw(column)] = draw(st.sampled_from([1.0, -1.0, 0.0])) * X[:, draw(column)]
        else:  # a bias
            X[:, draw(column)] = 1.0
    return X


@st.composite
def targets(draw: st.DrawFn, X: Array) -> Array:
    """y (n,): integers, constants, zero, bits, reals, and what one neuron or none can fit."""
    n, d = X.shape
    return draw(
        st.one_of(
            integers(n, -3, 3),
            integers(n, 0, 1),
            st.sampled_from([0.0, 1.0, -2.0]).map(lambda value: np.full(n, value)),
            reals(n),
            integers(d, -2, 2).map(lambda w: X @ w),
            integers(d, -2, 2).map(lambda w: np.maximum(X @ w, 0.0)),
        )
    )


@st.composite
def gate_sets(draw: st.DrawFn, X: Array, max_gates: int = 8) -> Array:
    """Gates (p, d), one a row: integers and rows of X lie on the rows' hyperplanes; repetitions and
    opposites are common."""
    d = X.shape[1]
    p = draw(st.integers(1, max_gates))
    gates = draw(st.one_of(integers((p, d), -2, 2), reals((p, d))))
    extra = st.tuples(
        st.sampled_from(["sample", "gate"]), st.integers(0, 99), st.sampled_from([1, -1])
    )
    for source, index, sign in draw(st.lists(extra, max_size=3)):
        rows = X if source == "sample" else gates
        gates = np.vstack([gates, sign * rows[index % len(rows)]])
    return gates


@st.composite
def sample_weights(draw: st.DrawFn, n: int) -> Array | None:
    """None, or weights with zeros, at least one positive."""
    if draw(st.booleans()):
        return None
    v = draw(st.one_of(integers(n, 0, 3), reals(n).map(np.exp)))
    if not v.any():
        v[draw(st.integers(0, n - 1))] = 1.0
    return v


@st.composite
def cases(
    draw: st.DrawFn,
    max_n: int = 8,
    max_d: int = 4,
    max_gates: int = 8,
    formulations: tuple[str, ...] = FORMULATIONS,
    ratios: tuple[float, ...] = RATIOS,
) -> Case:
    X = draw(designs(max_n, max_d))
    return Case(
        X=X,
        y=draw(targets(X)),
        gates=draw(gate_sets(X, max_gates)),
        formulation=draw(st.sampled_from(formulations)),
        ratio=draw(st.sampled_from(ratios)),
        sample_weight=draw(sample_weights(len(X))),
    )
