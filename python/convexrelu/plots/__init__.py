"""Pictures. They need matplotlib, which nothing else does."""

from __future__ import annotations

from convexrelu.plots._networks import calibration, cells, dependence, gaps, neurons
from convexrelu.plots._optima import fan, polytope, pruning
from convexrelu.plots._path import path

__all__ = [
    "calibration",
    "cells",
    "dependence",
    "fan",
    "gaps",
    "neurons",
    "path",
    "polytope",
    "pruning",
]
