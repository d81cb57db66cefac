"""Networks to and from torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from convexrelu.export._parts import parts_of
from convexrelu.network import Network
from convexrelu.standardizer import StandardizedNetwork, Standardizer


def to_torch(model: Any) -> Any:
    """The network as ``torch.nn.Sequential(Linear, ReLU, Linear)`` in double precision.

    Standardisation is folded into the weights; of a `ClassNetwork` the outputs are logits.

    Parameters
    ----------
    model : StandardizedNetwork, ClassNetwork, TableNetwork, Network or fitted estimator
        For a table, rows hold the features of its preprocessor.

    Returns
    -------
    torch.nn.Sequential
        Maps (n, d) to (n, 1), or (n, classes) for more than two classes.

    Raises
    ------
    ValueError, TypeError
        For a gated network.

    Examples
    --------
    >>> from convexrelu import Network, export
    >>> export.to_torch(Network([[1.0, -1.0]], [2.0]))  # doctest: +SKIP
    Sequential(
      (0): Linear(in_features=2, out_features=1, bias=True)
      (1): ReLU()
      (2): Linear(in_features=1, out_features=1, bias=True)
    )
    """
    import torch

    parts = parts_of(model)
    d, m = parts.inner.shape
    q = parts.outer.shape[1]
    made = torch.nn.Sequential(
        torch.nn.Linear(d, m), torch.nn.ReLU(), torch.nn.Linear(m, q)
    ).double()
    values = (parts.inner.T, parts.inner_bias, parts.outer.T, parts.outer_bias)
    with torch.no_grad():
        for parameter, value in zip(made.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return made


def from_torch(module: Any) -> StandardizedNetwork:
    """The network that a ``torch.nn.Sequential(Linear, ReLU, Linear)`` with one output is.

    Parameters
    ----------
    module : torch.nn.Sequential
        Linear layers with or without biases.

    Returns
    -------
    StandardizedNetwork
        Whose rows are raw: means 0 and scales 1. ``.network`` has the bias as last feature, as
        `check_network` takes it beside a column of ones.

    Raises
    ------
    ValueError
        Where the module is anything else.

    Examples
    --------
    >>> from convexrelu import Network, export
    >>> export.from_torch(export.to_torch(Network([[1.0, -1.0]], [2.0])))  # doctest: +SKIP
    <StandardizedNetwork: <Network: relu, 1 neuron on R^3>, 2 raw features>
    """
    layers = [type(layer).__name__ for layer in module]
    if layers != ["Linear", "ReLU", "Linear"] or module[2].weight.shape[0] != 1:
        raise ValueError(
            f"module must be Sequential(Linear, ReLU, Linear) with one output, got {layers}"
        )
    inner = module[0].weight.detach().double().cpu().numpy()
    bias = np.zeros(len(inner))
    if module[0].bias is not None:
        bias = module[0].bias.detach().double().cpu().numpy()
    output = module[2].weight.detach().double().cpu().numpy()[0]
    mean = 0.0 if module[2].bias is None else float(module[2].bias.detach().item())
    d = inner.shape[1]
    scale = Standardizer(np.zeros(d), np.ones(d), mean, 1.0)
    return StandardizedNetwork(Network(np.column_stack([inner, bias]), output), scale)
