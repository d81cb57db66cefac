"""Two-layer ReLU networks, trained to certified global optimality.

The training problem of a two-layer ReLU network is equivalent to a convex one. convexrelu solves
that exactly, follows its solutions along the whole regularisation path, and returns the whole set
of optimal networks; every answer carries a certificate recomputed from the data and the weights.
"""

from __future__ import annotations

from convexrelu._core import LimitExceeded, Progress, __version__
from convexrelu.patterns import Patterns, max_pattern_count, patterns_from_gates, sample_patterns
from convexrelu.problem import Problem
from convexrelu.solution import Certificate, Solution, certify
from convexrelu.solver import solve

__all__ = [
    "Certificate",
    "LimitExceeded",
    "Patterns",
    "Problem",
    "Progress",
    "Solution",
    "__version__",
    "certify",
    "max_pattern_count",
    "patterns_from_gates",
    "sample_patterns",
    "solve",
]
