"""Losses: what a problem charges for a fit f of a target y.

Each is convex in f and has the infimum 0, so that a relative gap means something. A `Problem` takes
one by its name ("logistic") or, where it has a parameter, as a value (``losses.Huber(delta=0.5)``).

Examples
--------
>>> from convexrelu import Problem, losses, sample_patterns
>>> X = [[1.0, 0.5], [1.0, 2.0], [1.0, 3.0]]
>>> problem = Problem(X, [0.0, 1.0, 9.0], sample_patterns(X, 4, rng=0), loss=losses.Huber(0.5))
>>> problem.loss
Huber(delta=0.5)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from convexrelu import _core, _validate


@dataclass(frozen=True)
class Loss:
    """What the losses have in common; not one itself.

    Examples
    --------
    >>> from convexrelu import losses
    >>> losses.Huber(delta=0.5).name
    'huber'
    """

    name: ClassVar[str] = ""
    """What `Problem` calls it."""


@dataclass(frozen=True)
class Squared(Loss):
    """``(f - y)^2 / 2``, y any number.

    Examples
    --------
    >>> from convexrelu import losses
    >>> losses.Squared()
    Squared()
    """

    name: ClassVar[str] = "squared"


@dataclass(frozen=True)
class Logistic(Loss):
    """``log(1 + e^f) - y f``, less its minimum over f; f is the log-odds of the class 1.

    y is 0 or 1, or a probability between. For y = 0 and 1 the minimum is 0.

    Examples
    --------
    >>> from convexrelu import losses
    >>> losses.Logistic().name
    'logistic'
    """

    name: ClassVar[str] = "logistic"


@dataclass(frozen=True)
class Poisson(Loss):
    """``e^f - y f + y log y - y``, half the deviance; e^f is the expected count, y >= 0.

    Examples
    --------
    >>> from convexrelu import losses
    >>> losses.Poisson().name
    'poisson'
    """

    name: ClassVar[str] = "poisson"


@dataclass(frozen=True)
class Huber(Loss):
    """``(f - y)^2 / 2`` where ``|f - y| <= delta``, ``delta |f - y| - delta^2 / 2`` beyond.

    Parameters
    ----------
    delta : float
        In the units of y, positive.

    Raises
    ------
    ValueError, TypeError
        Where delta is not a positive number.

    Examples
    --------
    >>> from convexrelu import losses
    >>> losses.Huber(0.5)
    Huber(delta=0.5)
    """

    name: ClassVar[str] = "huber"
    delta: float = 1.0
    """Where it turns into a straight line."""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "delta", _validate.number(self.delta, "delta", low=0.0, open_low=True)
        )


@dataclass(frozen=True)
class SquaredHinge(Loss):
    """``max(0, 1 - y f)^2 / 2``, y = -1 or +1; the sign of f is the class.

    Examples
    --------
    >>> from convexrelu import losses
    >>> losses.SquaredHinge().name
    'squared_hinge'
    """

    name: ClassVar[str] = "squared_hinge"


_BY_NAME: dict[str, type[Loss]] = {
    loss.name: loss for loss in (Squared, Logistic, Poisson, Huber, SquaredHinge)
}


def as_loss(value: object) -> Loss:
    """The loss that an argument `loss` means: a name or a value.

    Examples
    --------
    >>> from convexrelu import losses
    >>> losses.as_loss("huber")
    Huber(delta=1.0)
    """
    if isinstance(value, Loss) and value.name:
        return value
    if not isinstance(value, str):
        raise TypeError(
            f"loss must be a name or one of convexrelu.losses, got {type(value).__name__}"
        )
    if value not in _BY_NAME:
        raise ValueError(f"loss must be {' or '.join(map(repr, _BY_NAME))}, got {value!r:.60}")
    return _BY_NAME[value]()


def _to_core(loss: Loss) -> _core.LossChoice:
    delta = loss.delta if isinstance(loss, Huber) else 1.0
    return _core.LossChoice(_core.LossKind.__members__[loss.name], delta)


def _from_core(choice: _core.LossChoice) -> Loss:
    kind = _BY_NAME[choice.kind.name]
    return Huber(choice.delta) if kind is Huber else kind()
