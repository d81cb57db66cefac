"""A network as a function in C."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from convexrelu.class_network import ClassNetwork
from convexrelu.export._parts import feature_names, model_of, parts_of


def to_c(model: Any, *, name: str = "predict") -> str:
    """The source of one function in C that predicts a row.

    It needs no library but that of C (``math.h`` for classes) and allocates nothing. Of numbers it
    is ``double predict(const double x[d])``; of classes ``int predict(const double x[d],
    double p[k])``, which fills in the probabilities and returns the place of the largest.

    Parameters
    ----------
    model : StandardizedNetwork, ClassNetwork, TableNetwork, Network or fitted estimator
        For a table, x holds the features of its preprocessor, which a comment lists.
    name : str
        Of the function.

    Returns
    -------
    str
        C99 in ASCII, weights to their last digit.

    Raises
    ------
    ValueError, TypeError
        For a gated network, or a name that C does not take.

    Examples
    --------
    >>> from convexrelu import Network, export
    >>> print(export.to_c(Network([[1.0, -1.0]], [2.0])))
    /* x[2] -> prediction, a two-layer ReLU network with 1 neuron */
    double predict(const double x[2])
    {
        static const double inner[1][3] = {
            {1.0, -1.0, 0.0},
        };
        static const double outer[1][1] = {
            {2.0},
        };
        double y = 0.0;
        for (int j = 0; j < 1; ++j) {
            double z = inner[j][2];
            for (int i = 0; i < 2; ++i) z += inner[j][i] * x[i];
            if (z > 0.0) y += outer[j][0] * z;
        }
        return y;
    }
    <BLANKLINE>
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        raise ValueError(f"name must be one that C takes, got {name!r:.60}")
    parts = parts_of(model)
    d, m = parts.inner.shape
    q = parts.outer.shape[1]
    inner = np.vstack([parts.inner, parts.inner_bias]).T
    of = model_of(model)
    comment = _comment(model, d, m)
    tables = [_table("inner", inner, d + 1), _table("outer", parts.outer, q)] if m else []
    loop = [
        f"    for (int j = 0; j < {m}; ++j) {{",
        f"        double z = inner[j][{d}];",
        f"        for (int i = 0; i < {d}; ++i) z += inner[j][i] * x[i];",
    ]
    if not isinstance(of, ClassNetwork):
        body = [
            *tables,
            f"    double y = {_number(parts.outer_bias[0])};",
            *([*loop, "        if (z > 0.0) y += outer[j][0] * z;", "    }"] if m else []),
            *([] if m else ["    (void)x;"]),
            "    return y;",
        ]
        head = f"double {name}(const double x[{d}])"
        return "\n".join([comment, head, "{", *body, "}", ""])
    k = len(of.classes)
    biases = ", ".join(map(_number, parts.outer_bias))
    last = (
        [
            "    p[1] = 1.0 / (1.0 + exp(-logit[0]));",
            "    p[0] = 1.0 / (1.0 + exp(logit[0]));",
            "    return logit[0] > 0.0;",
        ]
        if k == 2
        else [
            "    int best = 0;",
            "    double sum = 0.0;",
            f"    for (int c = 1; c < {k}; ++c) if (logit[c] > logit[best]) best = c;",
            f"    for (int c = 0; c < {k}; ++c)  /* logarithms of sigmoids */",
            "        p[c] = logit[c] > 0.0 ? -log1p(exp(-logit[c]))",
            "                              : logit[c] - log1p(exp(logit[c]));",
            "    const double top = p[best];",
            f"    for (int c = 0; c < {k}; ++c) sum += p[c] = exp(p[c] - top);",
            f"    for (int c = 0; c < {k}; ++c) p[c] /= sum;",
            "    return best;",
        ]
    )
    add = [
        "        if (z > 0.0)",
        f"            for (int c = 0; c < {q}; ++c) logit[c] += outer[j][c] * z;",
        "    }",
    ]
    body = [
        *tables,
        f"    double logit[{q}] = {{{biases}}};",
        *([*loop, *add] if m else ["    (void)x;"]),
        *last,
    ]
    head = f"int {name}(const double x[{d}], double p[{k}])"
    return "\n".join([comment, "#include <math.h>", "", head, "{", *body, "}", ""])


def _comment(model: Any, d: int, m: int) -> str:
    of = model_of(model)
    result = "prediction"
    if isinstance(of, ClassNetwork):
        result = "p: " + ", ".join(of.classes)
    size = "1 neuron" if m == 1 else f"{m} neurons"
    lines = [f"x[{d}] -> {result}, a two-layer ReLU network with {size}"]
    names = feature_names(model)
    if names is not None:
        lines += [f"x[{j}]: {name}" for j, name in enumerate(names)]
    # Nothing that a name holds ends the comment.
    plain = [line.encode("ascii", "backslashreplace").decode() for line in lines]
    safe = [re.sub(r"[\x00-\x1f\x7f]", " ", line).replace("*/", "* /") for line in plain]
    return "/* " + "\n   ".join(line.replace("??/", "? ?/").rstrip("\\") for line in safe) + " */"


def _table(name: str, values: Iterable[Any], width: int) -> str:
    rows = [", ".join(map(_number, row)) for row in values]
    lines = "\n".join(f"        {{{row}}}," for row in rows)
    return f"    static const double {name}[{len(rows)}][{width}] = {{\n{lines}\n    }};"


def _number(value: Any) -> str:
    return repr(float(value))
