"""Pictures. They need matplotlib, which nothing else does."""

from __future__ import annotations

from convexrelu.plots._path import path

__all__ = ["path"]
