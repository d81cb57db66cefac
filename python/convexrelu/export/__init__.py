"""Networks for other programs. Each needs its guest only when it is asked."""

from __future__ import annotations

from convexrelu.export._c import to_c
from convexrelu.export._onnx import to_onnx
from convexrelu.export._sklearn import to_sklearn
from convexrelu.export._torch import from_torch, to_torch

__all__ = ["from_torch", "to_c", "to_onnx", "to_sklearn", "to_torch"]
