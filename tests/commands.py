"""Commands run in the process of a test."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from convexrelu import cli


class Run:
    """A command run in this process: exit status, what it wrote, and the JSON if it is some."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: Any) -> None:
        try:
            self.status = cli.main(
                [os.fspath(a) if isinstance(a, Path) else str(a) for a in arguments]
            )
        except SystemExit as end:
            self.status = end.code
        self.out, self.err = capsys.readouterr()

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)
