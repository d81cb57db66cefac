"""Two-layer ReLU networks, trained to certified global optimality.

The training problem of a two-layer ReLU network is equivalent to a convex one. convexrelu solves
that exactly, follows its solutions along the whole regularisation path, and returns the whole set
of optimal networks; every answer carries a certificate recomputed from the data and the weights.
"""

from __future__ import annotations

from convexrelu._core import LimitExceeded, Progress, __version__

__all__ = [
    "LimitExceeded",
    "Progress",
    "__version__",
]
