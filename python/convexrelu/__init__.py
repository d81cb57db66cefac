"""Two-layer ReLU networks, trained to certified global optimality.

The training problem of a two-layer ReLU network is equivalent to a convex one. convexrelu solves
that exactly, follows its solutions along the whole regularisation path, and returns the whole set
of optimal networks; every answer carries a certificate recomputed from the data and the weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convexrelu import losses
from convexrelu._core import AccuracyError, LimitExceeded, Progress, __version__
from convexrelu.cell_tree import enumerate_patterns
from convexrelu.class_network import ClassNetwork
from convexrelu.files import load, save
from convexrelu.global_path import GlobalPath, trace_global_path
from convexrelu.global_solver import solve_global
from convexrelu.lam_choice import LamChoice, choose_lam
from convexrelu.network import Network, to_network
from convexrelu.optimal_set import CriticalWidths, OptimalSet, find_optimal_set
from convexrelu.path import Coefficients, Continuity, Event, Path, trace_path
from convexrelu.patterns import Patterns, max_pattern_count, patterns_from_gates, sample_patterns
from convexrelu.preprocessor import Column, Preprocessor, TableNetwork, make_preprocessor
from convexrelu.pricing import Pricing, lambda_max, price_patterns
from convexrelu.problem import Problem
from convexrelu.pruning import PrunedNetwork, PrunedSolution, PruningStep, prune
from convexrelu.sensitivity import Gradient, PredictionSensitivity, Sensitivity, differentiate
from convexrelu.solution import Certificate, Solution, certify
from convexrelu.solver import solve
from convexrelu.standardizer import StandardizedNetwork, Standardizer
from convexrelu.stationarity import NetworkPlace, NetworkReport, check_network, descent_path
from convexrelu.training_record import TrainingRecord

if TYPE_CHECKING:
    from convexrelu.estimators import ConvexReLUClassifier as ConvexReLUClassifier
    from convexrelu.estimators import ConvexReLURegressor as ConvexReLURegressor

__all__ = [
    "AccuracyError",
    "Certificate",
    "ClassNetwork",
    "Coefficients",
    "Column",
    "Continuity",
    "CriticalWidths",
    "Event",
    "GlobalPath",
    "Gradient",
    "LamChoice",
    "LimitExceeded",
    "Network",
    "NetworkPlace",
    "NetworkReport",
    "OptimalSet",
    "Path",
    "Patterns",
    "PredictionSensitivity",
    "Preprocessor",
    "Pricing",
    "Problem",
    "Progress",
    "PrunedNetwork",
    "PrunedSolution",
    "PruningStep",
    "Sensitivity",
    "Solution",
    "StandardizedNetwork",
    "Standardizer",
    "TableNetwork",
    "TrainingRecord",
    "__version__",
    "certify",
    "check_network",
    "choose_lam",
    "descent_path",
    "differentiate",
    "enumerate_patterns",
    "find_optimal_set",
    "lambda_max",
    "load",
    "losses",
    "make_preprocessor",
    "max_pattern_count",
    "patterns_from_gates",
    "price_patterns",
    "prune",
    "sample_patterns",
    "save",
    "solve",
    "solve_global",
    "to_network",
    "trace_global_path",
    "trace_path",
]

# Those that need a guest, which ``from convexrelu import *`` does not ask for.
_ESTIMATORS = ("ConvexReLUClassifier", "ConvexReLURegressor")


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        from convexrelu import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_ESTIMATORS]
