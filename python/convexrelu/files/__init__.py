"""Files of results: npz, without pickle."""

from convexrelu.files.npz import load, save

__all__ = ["load", "save"]
