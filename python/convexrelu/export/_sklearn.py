"""A network as one of scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np

from convexrelu.class_network import ClassNetwork
from convexrelu.export._parts import feature_names, model_of, parts_of


def to_sklearn(model: Any) -> Any:
    """The network as scikit-learn's `MLPRegressor` or `MLPClassifier`, which predicts raw rows.

    What takes those takes it: skl2onnx, sklearn2pmml, hummingbird. Standardisation is folded into
    the weights.

    Parameters
    ----------
    model : StandardizedNetwork, ClassNetwork, TableNetwork, Network or fitted estimator
        For a table, rows hold the features of its preprocessor.

    Returns
    -------
    MLPRegressor or MLPClassifier
        Fitted.

    Raises
    ------
    ValueError, TypeError
        For a gated network, one without neurons, and more than two classes, whose probabilities
        scikit-learn makes in another way.

    Examples
    --------
    >>> from convexrelu import Network, export
    >>> export.to_sklearn(Network([[1.0, -1.0]], [2.0])).predict([[3.0, 1.0]])
    array([4.])
    """
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import LabelBinarizer

    of = model_of(model)
    is_class = isinstance(of, ClassNetwork)
    if isinstance(of, ClassNetwork) and len(of.classes) > 2:
        raise ValueError(
            f"model must have two classes, got {len(of.classes)}: scikit-learn would make other "
            "probabilities of the same scores"
        )
    parts = parts_of(model)
    d, m = parts.inner.shape
    if not m:
        raise ValueError("model must have a neuron, got one that predicts a constant")
    kind = MLPClassifier if is_class else MLPRegressor
    made = kind(hidden_layer_sizes=(m,), activation="relu")
    made.coefs_ = [parts.inner, parts.outer]
    made.intercepts_ = [parts.inner_bias, parts.outer_bias]
    made.n_layers_, made.n_outputs_, made.n_features_in_ = 3, 1, d
    made.out_activation_ = "logistic" if is_class else "identity"
    made.n_iter_, made.t_, made.loss_ = 1, 0, float("nan")
    names = feature_names(model)
    if names is not None:
        made.feature_names_in_ = np.array(names, dtype=object)
    if isinstance(of, ClassNetwork):
        made._label_binarizer = LabelBinarizer()
        made._label_binarizer.fit(np.array([0, 1]))
        made.classes_ = np.array(of.classes)
        made._label_binarizer.classes_ = made.classes_
    return made
