"""One page about a network: HTML in a file of its own, with nothing loaded from elsewhere."""

from __future__ import annotations

from convexrelu.report.page import Subject, make_page

__all__ = ["Subject", "make_page"]
