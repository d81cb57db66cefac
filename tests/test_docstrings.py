"""Docstrings: every example runs and prints what it shows, sections are where tools look."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from typing import Any

import pytest

import convexrelu
from convexrelu import estimators, export, plots, selection

PUBLIC = {
    **{name: getattr(convexrelu, name) for name in convexrelu.__all__ if name != "__version__"},
    **{f"plots.{name}": getattr(plots, name) for name in plots.__all__},
    **{f"estimators.{name}": getattr(estimators, name) for name in estimators.__all__},
    **{f"export.{name}": getattr(export, name) for name in export.__all__},
    **{f"selection.{name}": getattr(selection, name) for name in selection.__all__},
}
MODULES = [
    module.name
    for module in pkgutil.walk_packages(convexrelu.__path__, "convexrelu.")
    if not module.name.endswith("__main__") and "._core_" not in module.name
]
# In the order of numpydoc.
SECTIONS = ["Parameters", "Attributes", "Returns", "Raises", "Notes", "Examples"]


def sections(doc: str) -> list[str]:
    """The titles with a line of dashes below them."""
    return re.findall(r"^(\S[^\n]*)\n-{3,}$", inspect.cleandoc(doc), re.M)


def run(value: Any, name: str) -> tuple[int, str]:
    """How many examples there are, and what those that fail show."""
    shown: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder(recurse=False).find(value, name, globs={}):
        if "matplotlib" in test.docstring:
            pytest.importorskip("matplotlib")
        runner.run(test, out=shown.append)
    return runner.tries, "".join(shown)


@pytest.mark.parametrize("name", PUBLIC)
def test_examples(name: str) -> None:
    """Each stands for itself: nothing is imported for it."""
    tried, shown = run(PUBLIC[name], name)
    assert tried > 0
    assert not shown


@pytest.mark.parametrize("name", PUBLIC)
def test_sections(name: str) -> None:
    value = PUBLIC[name]
    assert value.__doc__ is not None
    found = sections(value.__doc__)
    assert found == sorted(found, key=SECTIONS.index)
    assert found[-1] == "Examples"
    if inspect.isfunction(value):
        assert "Parameters" in found
        assert ("Returns" in found) == (inspect.signature(value).return_annotation != "None")
    # What stands below the last entry of a list would be taken for one more entry.
    assert not re.search(r"^(Cost|Source)\b(?![^\n]*\n-)", _outside_notes(value.__doc__), re.M)


def _outside_notes(doc: str) -> str:
    text = inspect.cleandoc(doc)
    return re.sub(r"^Notes\n-+\n.*?(?=^\S[^\n]*\n-{3,}$|\Z)", "", text, flags=re.M | re.S)


@pytest.mark.parametrize("name", PUBLIC)
def test_parameters_are_those_of_the_signature(name: str) -> None:
    value = PUBLIC[name]
    if not inspect.isfunction(value):
        pytest.skip("no function")
    parameters = inspect.cleandoc(value.__doc__).split("Parameters\n----------\n")[1]
    parameters = re.split(r"^\S[^\n]*\n-{3,}$", parameters, flags=re.M)[0]
    entries = re.findall(r"^(\w[\w, ]*?)(?: :.*)?$", parameters, re.M)
    listed = [name for entry in entries for name in entry.split(", ")]
    assert set(listed) <= set(inspect.signature(value).parameters)


@pytest.mark.parametrize("name", PUBLIC)
def test_numpydoc_parses(name: str) -> None:
    docscrape = pytest.importorskip("numpydoc.docscrape")
    parsed = docscrape.NumpyDocString(inspect.getdoc(PUBLIC[name]))
    assert parsed["Summary"]
    assert parsed["Examples"]
    for section in ("Parameters", "Returns", "Raises"):
        for entry in parsed[section]:
            assert entry.name or entry.type


@pytest.mark.parametrize("module", MODULES)
def test_other_examples(module: str) -> None:
    """Of methods and of what is not public: there are few, and they run."""
    pytest.importorskip("matplotlib") if "plots" in module else None
    loaded = importlib.import_module(module)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    shown: list[str] = []
    for test in doctest.DocTestFinder(exclude_empty=True).find(loaded, module):
        if test.name.removeprefix(f"{module}.") not in PUBLIC:
            runner.run(test, out=shown.append)
    assert not "".join(shown)
