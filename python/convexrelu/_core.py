"""The compiled core: one of the extension modules, chosen at import.

Each holds the same core, compiled for one instruction-set level of x86-64 (elsewhere there is only
``baseline``). A wheel carries all of them, a build from source the one of its machine. The best one
that this CPU can run is taken; the environment variable ``CONVEXRELU_LEVEL`` asks for another.
Results agree to rounding between levels and bit for bit within one.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Collection

from convexrelu import _cpu

_LEVELS = ("baseline", "v3", "v4")
# pip keeps the wheels that it builds: without the options it may take the other machine's again.
_REINSTALL = "reinstall convexrelu here (pip install --force-reinstall --no-cache-dir)"


def _choose(asked: str | None, cpu: str, built: Collection[str]) -> str:
    """The level to load: the best that is built and that the CPU can run, or the one asked for."""
    can_run = _LEVELS[: _LEVELS.index(cpu) + 1]
    candidates = [level for level in can_run if level in built]
    if asked in candidates:
        return asked
    if asked is None and candidates:
        return candidates[-1]

    if asked is None:
        problem = f"this CPU runs levels up to {cpu!r}, none of which was built"
    elif asked not in _LEVELS:
        problem = f"CONVEXRELU_LEVEL={asked!r} is not one of {', '.join(_LEVELS)}"
    elif asked not in can_run:
        problem = f"CONVEXRELU_LEVEL={asked!r} needs a better CPU than this one ({cpu})"
    else:
        problem = f"CONVEXRELU_LEVEL={asked!r} was not built"
    remedy = f"usable here: {', '.join(candidates)}" if candidates else _REINSTALL
    raise ImportError(f"{problem}; {remedy}")


def _module_name(level: str) -> str:
    return f"convexrelu._core_{level}"


_built = [level for level in _LEVELS if importlib.util.find_spec(_module_name(level)) is not None]
_module = importlib.import_module(
    _module_name(_choose(os.environ.get("CONVEXRELU_LEVEL"), _cpu.level(), _built))
)
__version__: str = _module.__version__
globals().update({name: value for name, value in vars(_module).items() if name[0] != "_"})
