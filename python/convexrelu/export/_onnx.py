"""A network in ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from convexrelu.class_network import ClassNetwork
from convexrelu.export._parts import model_of, parts_of

_OPSET, _IR = 17, 8  # of 2022: what any runtime of today reads


def to_onnx(model: Any, *, dtype: str = "float32") -> Any:
    """The network as a model of ONNX, for raw rows.

    Its input ``x`` is (n, d); its output ``prediction`` (n, 1), of classes ``probabilities``
    (n, classes). Weights are rounded once to ``dtype``; standardisation is an operation of its own
    ahead of them, so that large means cost no digits of the weights.

    Parameters
    ----------
    model : StandardizedNetwork, ClassNetwork, TableNetwork, Network or fitted estimator
        For a table, rows hold the features of its preprocessor.
    dtype : "float32" or "float64"
        With float32 predictions are typically off by 1e-6 of the spread of the targets, more where
        neurons cancel; some runtimes know nothing else.

    Returns
    -------
    onnx.ModelProto
        ``onnx.save(result, path)`` writes it.

    Raises
    ------
    ValueError, TypeError
        For a gated network or another dtype.

    Examples
    --------
    >>> from convexrelu import Network, export
    >>> made = export.to_onnx(Network([[1.0, -1.0]], [2.0]))  # doctest: +SKIP
    >>> made.graph.output[0].name  # doctest: +SKIP
    'prediction'
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    if dtype not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r:.60}")
    kind = TensorProto.FLOAT if dtype == "float32" else TensorProto.DOUBLE
    of = model_of(model)
    parts = parts_of(model)
    d = parts.inner.shape[0]
    centre, scale = np.zeros(d), np.ones(d)
    if not hasattr(of, "hidden"):
        first = of.networks[0] if isinstance(of, ClassNetwork) else of
        centre, scale = first.standardizer.x_mean, first.standardizer.x_scale
    values = {
        "centre": centre,
        "scale": scale,
        "inner": parts.inner * scale[:, None],
        "inner_bias": parts.inner_bias + centre @ parts.inner,
        "outer": parts.outer,
        "outer_bias": parts.outer_bias,
    }
    nodes = [
        helper.make_node("Sub", ["x", "centre"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["z"]),
        helper.make_node("MatMul", ["z", "inner"], ["product"]),
        helper.make_node("Add", ["product", "inner_bias"], ["before"]),
        helper.make_node("Relu", ["before"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "outer"], ["sum"]),
    ]
    name, width = "prediction", 1
    if isinstance(of, ClassNetwork):
        name, width = "probabilities", len(of.classes)
        nodes += [helper.make_node("Add", ["sum", "outer_bias"], ["logits"])]
        if width == 2:
            nodes += [
                helper.make_node("Neg", ["logits"], ["opposite"]),
                helper.make_node("Concat", ["opposite", "logits"], ["both"], axis=1),
                helper.make_node("Sigmoid", ["both"], [name]),
            ]
        else:
            values.update(zero=np.zeros(1), one=np.ones(1))
            nodes += [
                # Sigmoids over their sum, as the softmax of their logarithms.
                # log sigmoid(z) = min(z, 0) - log(1 + exp(-|z|)); few runtimes know Softplus.
                helper.make_node("Abs", ["logits"], ["size"]),
                helper.make_node("Neg", ["size"], ["falling"]),
                helper.make_node("Exp", ["falling"], ["small"]),
                helper.make_node("Add", ["small", "one"], ["above_one"]),
                helper.make_node("Log", ["above_one"], ["excess"]),
                helper.make_node("Min", ["logits", "zero"], ["negative"]),
                helper.make_node("Sub", ["negative", "excess"], ["logs"]),
                helper.make_node("Softmax", ["logs"], [name], axis=1),
            ]
    else:
        nodes += [helper.make_node("Add", ["sum", "outer_bias"], [name])]
    tensors = [numpy_helper.from_array(v.astype(dtype), key) for key, v in values.items()]
    graph = helper.make_graph(
        nodes,
        "convexrelu",
        [helper.make_tensor_value_info("x", kind, ["n", d])],
        [helper.make_tensor_value_info(name, kind, ["n", width])],
        tensors,
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="convexrelu"
    )
    made.ir_version = _IR
    checker.check_model(made)
    return made
