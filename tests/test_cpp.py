"""Builds the C++ tests of tests/cpp and runs each of them.

The environment variable CONVEXRELU_CPP_BUILD names a build directory that has them already.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILT = os.environ.get("CONVEXRELU_CPP_BUILD")
BUILD = BUILT or "build/pytest"
MODULES = sorted(path.stem.removeprefix("test_") for path in ROOT.glob("tests/cpp/*/test_*.cpp"))


def run(*command: str) -> str:
    result = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}"
    return result.stdout


@pytest.fixture(scope="module", autouse=True)
def build() -> None:
    if BUILT:
        return
    missing = [tool for tool in ("cmake", "ninja") if shutil.which(tool) is None]
    if not (os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")):
        missing.append("a C++ compiler")
    if missing:
        pytest.skip(f"the C++ tests need {' and '.join(missing)}")
    # A directory of its own and a fresh configuration: this environment may be gone tomorrow.
    run("cmake", "--fresh", "--preset", "dev", "-B", BUILD, f"-DPython_EXECUTABLE={sys.executable}")
    run("cmake", "--build", BUILD, "--parallel", "2")


@pytest.mark.parametrize("module", MODULES)
def test_module(module: str) -> None:
    output = run("ctest", "--test-dir", BUILD, "--verbose", "--tests-regex", f"^{module}-")
    assert "100% tests passed" in output
