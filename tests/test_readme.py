"""The README: its examples print what it shows, its two commands are those that CI runs."""

from __future__ import annotations

import doctest
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
TEXT = README.read_text()


def test_examples_print_what_is_shown() -> None:
    result = doctest.testfile(
        str(README), module_relative=False, optionflags=doctest.ELLIPSIS, encoding="utf-8"
    )
    assert result.attempted > 0
    assert result.failed == 0


def test_says_the_two_commands() -> None:
    assert "    pip install . && convexrelu train\n" in TEXT
    assert "    pip install '.[test]' && pytest\n" in TEXT


def test_is_short() -> None:
    assert len(TEXT.splitlines()) < 200


def test_links_lead_somewhere() -> None:
    targets = {part.split(")")[0] for part in TEXT.split("](")[1:]}
    local = {target.split("#")[0] for target in targets if "://" not in target} - {""}
    assert [target for target in sorted(local) if not (README.parent / target).exists()] == []
