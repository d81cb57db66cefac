"""The script of somebody new, from a frame to ONNX."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "newcomer.py"


def test_runs_and_is_short(tmp_path: Path) -> None:
    for guest in ("pandas", "sklearn", "onnx"):
        pytest.importorskip(guest)
    assert len(SCRIPT.read_text().splitlines()) < 40
    run = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    lines = run.stdout.splitlines()
    assert re.fullmatch(r"certified, \d+ neurons, gap \S+", lines[0])
    assert float(lines[1].split()[-1]) > 0.9
    assert lines[2] == "the command differs by 0e+00"
    assert lines[3].endswith("-> probabilities")
    assert {path.name for path in tmp_path.iterdir()} == {
        "page.html", "homes.npz", "new.csv", "out.csv", "homes.onnx"
    }  # fmt: skip
