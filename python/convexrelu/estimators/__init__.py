"""Estimators for scikit-learn, which this wing needs and nothing else does."""

from __future__ import annotations

from convexrelu.estimators._classifier import ConvexReLUClassifier
from convexrelu.estimators._regressor import ConvexReLURegressor

__all__ = ["ConvexReLUClassifier", "ConvexReLURegressor"]
