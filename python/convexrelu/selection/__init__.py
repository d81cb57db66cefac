"""Choosing a strength of regularisation."""

from __future__ import annotations

from convexrelu.selection._best_lam import best_lam

__all__ = ["best_lam"]
