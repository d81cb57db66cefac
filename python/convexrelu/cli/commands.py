"""The sub-commands of ``convexrelu``, one module each.

A module has ``add_parser(subparsers)``, which names the command, declares its arguments and sets
the default ``run``; and ``run(arguments, console)``, which does it and returns the exit status. Bad
input is an `InputError`; `convexrelu.cli` turns it into a message and exit status 2.
"""

from __future__ import annotations

from types import ModuleType

from convexrelu.cli import (
    check,
    demo,
    export,
    optimal_set,
    path,
    predict,
    prune,
    report_page,
    train,
)

# In the order of the help.
COMMANDS: tuple[ModuleType, ...] = (
    train,
    predict,
    report_page,
    export,
    path,
    optimal_set,
    prune,
    check,
    demo,
)
