"""A model as two affine maps with a ReLU between."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convexrelu.class_network import ClassNetwork
from convexrelu.network import Network
from convexrelu.preprocessor import TableNetwork
from convexrelu.standardizer import StandardizedNetwork

Array = NDArray[np.float64]


class Parts(NamedTuple):
    """``(x @ inner + inner_bias)_+ @ outer + outer_bias`` for raw rows x."""

    inner: Array
    """(d, m)"""
    inner_bias: Array
    """(m,)"""
    outer: Array
    """(m, q): q is 1, or the number of classes where there are more than two."""
    outer_bias: Array
    """(q,)"""


def model_of(model: Any) -> StandardizedNetwork | ClassNetwork | Network:
    """What predicts numbers from numbers."""
    if isinstance(model, TableNetwork):
        model = model.network
    if hasattr(model, "to_model"):  # an estimator
        return model_of(model.to_model())
    if not isinstance(model, (StandardizedNetwork, ClassNetwork, Network)):
        raise TypeError(
            "model must be a Network, StandardizedNetwork, ClassNetwork, TableNetwork or a fitted "
            f"estimator, got {type(model).__name__}"
        )
    return model


def feature_names(model: Any) -> tuple[str, ...] | None:
    """The names of its inputs, where they have any."""
    if hasattr(model, "to_model"):
        model = model.to_model()
    return model.preprocessor.features if isinstance(model, TableNetwork) else None


def parts_of(model: Any) -> Parts:
    """Standardisation and sigmoids' slopes are folded in. ValueError for gated networks."""
    model = model_of(model)
    if isinstance(model, Network):
        _refuse_gates(model)
        zero = np.zeros(model.n_neurons)
        bias = np.array([model.intercept])
        return Parts(model.hidden.T.copy(), zero, model.output[:, None].copy(), bias)
    if isinstance(model, StandardizedNetwork):
        return _folded(model)
    parts = [_folded(network) for network in model.networks]
    outer = np.zeros((sum(p.inner.shape[1] for p in parts), len(parts)))
    first = 0
    for k, part in enumerate(parts):
        last = first + part.inner.shape[1]
        outer[first:last, k] = model.slopes[k] * part.outer[:, 0]
        first = last
    bias = model.slopes * np.concatenate([p.outer_bias for p in parts]) + model.offsets
    inner = np.concatenate([p.inner for p in parts], axis=1)
    return Parts(inner, np.concatenate([p.inner_bias for p in parts]), outer, bias)


def _folded(model: StandardizedNetwork) -> Parts:
    network, scale = model.network, model.standardizer
    _refuse_gates(network)
    inner = network.hidden[:, :-1] / scale.x_scale
    bias = network.hidden[:, -1] - inner @ scale.x_mean
    outer = scale.y_scale * network.output[:, None]
    constant = scale.y_mean + scale.y_scale * network.intercept
    return Parts(inner.T.copy(), bias, outer, np.array([constant]))


def _refuse_gates(network: Network) -> None:
    if network.gates is not None:
        raise ValueError("model must be a relu network, got a gated one, which others do not know")
