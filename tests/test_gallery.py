"""Every script of the gallery runs, prints, and is listed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

GALLERY = Path(__file__).resolve().parents[1] / "examples/gallery"
SCRIPTS = sorted(path.name for path in GALLERY.glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_runs(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    command = [sys.executable, "-W", "error", str(GALLERY / name), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert not run.stderr
    assert run.stdout


def test_lists_all() -> None:
    listed = re.findall(r"^\| \[\w+\.py\]\((\w+\.py)\)", (GALLERY / "README.md").read_text(), re.M)
    assert sorted(listed) == SCRIPTS
