"""The README and the guide: examples print what is shown, the two commands are those of CI."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
TEXT = README.read_text()


@pytest.mark.parametrize("path", ["README.md", "docs/guide.md"])
def test_examples_print_what_is_shown(path: str) -> None:
    result = doctest.testfile(
        str(ROOT / path), module_relative=False, optionflags=doctest.ELLIPSIS, encoding="utf-8"
    )
    assert result.attempted > 0
    assert result.failed == 0


def test_says_the_two_commands() -> None:
    assert "    pip install . && convexrelu train\n" in TEXT
    assert "    pip install '.[test]' && pytest\n" in TEXT


def test_is_short() -> None:
    assert len(TEXT.splitlines()) < 200
