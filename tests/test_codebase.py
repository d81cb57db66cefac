"""Claims about the source and the installed package that need no mathematics."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import zlib
from importlib import metadata
from pathlib import Path

import pytest

import convexrelu
from convexrelu import _core

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
CSRC = ROOT / "csrc"
PACKAGE = ROOT / "python" / "convexrelu"
PUBLIC, PRIVATE = CSRC / "include" / "convexrelu", CSRC / "src"
HEADERS = sorted(PUBLIC.glob("*/*.hpp"))
MODULES = [header.stem for header in HEADERS]
CORE = [*HEADERS, *sorted(PRIVATE.glob("*/*.*pp"))]
BINDINGS = sorted((CSRC / "bindings").glob("*/*.cpp"))

# Nothing to compile, nothing to test that the compiler does not.
HEADER_ONLY = {"types", "error", "buffer", "bit_matrix", "options", "kkt_member"}
NO_TEST = {"types", "error", "options", "segments", "kkt_member"}


def included(path: Path) -> list[str]:
    return re.findall(r'^\s*#\s*include\s+[<"]([^">]+)[">]', path.read_text(), re.MULTILINE)


def included_files(path: Path) -> list[Path]:
    """The files of the core, public and private, that one includes."""
    places = [root / line for line in included(path) for root in (CSRC / "include", PRIVATE)]
    return [place for place in places if place.is_file()]


def ways(path: Path) -> dict[Path, list[Path]]:
    """Every file of the core that one comes to include, however far down, and the way to it."""
    found = {path: [path]}
    for file in (queue := [path]):
        for other in included_files(file):
            if other not in found:
                found[other] = [*found[file], other]
                queue.append(other)
    return found


def room(path: Path) -> str:
    return path.parent.name


def module(path: Path) -> str:
    """Which module a file is of: by its name, or by the class of which it defines a nested one."""
    outer = re.search(r"^(?:class|struct) (\w+)::", path.read_text(), re.MULTILINE)
    if outer:
        for header in HEADERS:
            if room(header) == room(path) and f"\nclass {outer[1]} " in header.read_text():
                return header.stem
    return path.stem


def floors() -> dict[str, int]:
    """The floor of each room: the table of docs/architecture.md."""
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", (ROOT / "docs/architecture.md").read_text(), re.M)
    return {name: int(floor) for floor, names in rows for name in re.findall(r"`(\w+)`", names)}


class TestRooms:
    def test_every_room_has_its_floor(self) -> None:
        assert set(floors()) == {room(path) for path in CORE}

    def test_every_file_is_in_a_room(self) -> None:
        assert not [*PUBLIC.glob("*.*"), *PRIVATE.glob("*.*"), *(ROOT / "tests/cpp").glob("test_*")]
        others = [*BINDINGS, *ROOT.glob("tests/cpp/*/*.cpp"), *ROOT.glob("docs/theory/*/*.md")]
        assert not {room(path) for path in others} - set(floors())

    def test_every_include_of_ours_is_found(self) -> None:
        for path in CORE:
            ours = re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE)
            assert len(ours) == len(included_files(path)), path

    @pytest.mark.parametrize("path", CORE, ids=lambda path: f"{room(path)}/{path.name}")
    def test_no_include_leads_up_or_next_door(self, path: Path) -> None:
        """All the way down: a room may know lower floors, and no other room of its own."""
        floor = floors()
        wrong = [
            " > ".join(f"{room(step)}/{step.name}" for step in way)
            for other, way in ways(path).items()
            if room(other) != room(path) and floor[room(other)] >= floor[room(path)]
        ]
        assert not wrong

    @pytest.mark.parametrize("name", sorted(floors()))
    def test_includes_have_no_circle(self, name: str) -> None:
        """Within a room, of modules: the files that make up one are taken together."""
        remaining: dict[str, set[str]] = {}
        for path in CORE:
            if room(path) == name:
                own = {module(other) for other in included_files(path) if room(other) == name}
                remaining.setdefault(module(path), set()).update(own - {module(path)})
        while free := [stem for stem, needs in remaining.items() if not needs & remaining.keys()]:
            for stem in free:
                del remaining[stem]
        assert not remaining

    def test_every_file_is_in_the_namespace_of_its_room(self) -> None:
        for path in CORE:
            spaces = set(re.findall(r"^inline namespace (\w+) {", path.read_text(), re.MULTILINE))
            assert spaces <= {room(path)}, path
            assert spaces or "namespace convexrelu {" not in path.read_text(), path

    @pytest.mark.parametrize("header", HEADERS, ids=MODULES)
    def test_public_headers_need_eigen_and_the_standard_library_only(self, header: Path) -> None:
        standard = re.compile(r"[a-z_]+")  # <vector>, <cstdint>
        foreign = [
            name
            for name in included(header)
            if not name.startswith(("Eigen/", "convexrelu/")) and not standard.fullmatch(name)
        ]
        assert not foreign

    def test_python_is_known_in_the_bindings_only(self) -> None:
        for path in CORE:
            assert not re.search(r"pybind11|Python\.h", path.read_text()), path


def imported_modules(path: Path) -> set[str]:
    """The modules of the package that a module imports when it is imported."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        for inner in [node] if not isinstance(node, ast.If) else node.body:
            if isinstance(inner, ast.ImportFrom) and (inner.module or "").startswith("convexrelu"):
                for alias in inner.names:
                    name = f"{inner.module}.{alias.name}"
                    if name != "convexrelu._cpu":  # compiled
                        found.add(name if name in PYTHON_MODULES else str(inner.module))
    return found


def python_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PYTHON_MODULES = {python_name(path): path for path in PACKAGE.rglob("*.py")}


class TestPythonModules:
    def test_imports_have_no_circle(self) -> None:
        """Those for types alone counted too."""
        remaining = {name: imported_modules(path) for name, path in PYTHON_MODULES.items()}
        assert remaining["convexrelu.selection._best_lam"] >= {"convexrelu.path"}
        while free := [name for name, needs in remaining.items() if not needs & remaining.keys()]:
            for name in free:
                del remaining[name]
        assert not remaining

    def test_wings_are_guests(self) -> None:
        """What is flat is the interface and knows no wing, when it is imported."""
        for name, path in PYTHON_MODULES.items():
            if path.parent == PACKAGE and name not in {"convexrelu", "convexrelu.__main__"}:
                wings = {PACKAGE.joinpath(*m.split(".")[1:]) for m in imported_modules(path)}
                assert not [wing for wing in wings - {PACKAGE} if wing.is_dir()], name


class TestModules:
    @pytest.mark.parametrize("header", HEADERS, ids=MODULES)
    def test_has_its_source_and_its_test(self, header: Path) -> None:
        name, own = header.stem, header.parent.name
        assert (PRIVATE / own / f"{name}.cpp").exists() == (name not in HEADER_ONLY)
        tests = [ROOT / f"tests/cpp/{own}/test_{name}.cpp", ROOT / f"tests/test_{name}.py"]
        assert name in NO_TEST or any(path.exists() for path in tests)

    def test_names_are_not_given_twice(self) -> None:
        headers = [path.stem for path in CORE if path.suffix == ".hpp"]
        assert len(headers) == len(set(headers))

    def test_sources_and_bindings_have_their_header(self) -> None:
        headers = {(room(path), path.stem) for path in CORE if path.suffix == ".hpp"}
        assert {(room(path), path.stem) for path in PRIVATE.glob("*/*.cpp")} <= headers
        assert {(room(path), path.stem) for path in BINDINGS} <= headers

    def test_every_binding_is_registered(self) -> None:
        registered = re.findall(r"bind_(\w+)\(m\)", (CSRC / "bindings/module.cpp").read_text())
        assert sorted(registered) == sorted(path.stem for path in BINDINGS)

    def test_nothing_prints(self) -> None:
        """The command line is the one part that writes to the terminal."""
        for path in PACKAGE.rglob("*.py"):
            if path.relative_to(PACKAGE).as_posix() in {"__main__.py", "cli/__init__.py"}:
                continue
            names = [n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)]
            assert "print" not in names, path
        for path in [*CORE, *(CSRC / "bindings").rglob("*.*pp")]:
            assert not re.search(r"\bprintf?\(|std::c(out|err)|<iostream>", path.read_text()), path


def names_of_stub(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """What a stub declares: each name with the body of its class, if it is one."""
    names: dict[str, list[ast.stmt]] = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            names[node.name] = node.body
        elif isinstance(node, ast.FunctionDef):
            names[node.name] = []
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = []
    return names


class TestStubs:
    STUB = names_of_stub(ast.parse((PACKAGE / "_core.pyi").read_text()).body)

    def test_names_are_those_of_the_extension(self) -> None:
        extension = getattr(_core, "_module")  # noqa: B009  (no part of the stub)
        public = {name for name in vars(extension) if not name.startswith("_")}
        assert {name for name in self.STUB if not name.startswith("_")} == public

    @pytest.mark.parametrize("name", sorted(name for name, body in STUB.items() if body))
    def test_members_are_those_of_the_class(self, name: str) -> None:
        cls = getattr(_core, name)
        if issubclass(cls, tuple):
            assert list(cls._fields) == list(names_of_stub(self.STUB[name]))
        elif not issubclass(cls, Exception):
            public = {member for member in vars(cls) if not member.startswith("_")}
            declared = {m for m in names_of_stub(self.STUB[name]) if not m.startswith("_")}
            assert declared == public


class TestDocuments:
    PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/**/*.md")})

    @pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
    def test_links_lead_somewhere(self, page: Path) -> None:
        links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
        local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
        assert not [link for link in local if not (page.parent / link).exists()]

    def test_pages_that_the_source_names_exist(self) -> None:
        sources = [*CSRC.rglob("*.[ch]pp"), *PACKAGE.rglob("*.py"), *(ROOT / "bench").rglob("*.py")]
        for path in sources:
            for page in re.findall(r"docs/[\w/]+\.(?:md|svg)", path.read_text()):
                assert (ROOT / page).exists(), f"{path} names {page}"


class TestVersion:
    VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    def test_extension_and_metadata(self) -> None:
        assert convexrelu.__version__ == self.VERSION == metadata.version("convexrelu")

    def test_citation(self) -> None:
        assert re.search(rf"^version: {re.escape(self.VERSION)}$", self.read("CITATION.cff"), re.M)

    def test_changelog(self) -> None:
        newest = re.search(r"^## \[(\d[^\]]*)\]", self.read("CHANGELOG.md"), re.M)
        assert newest is not None
        assert newest[1] == self.VERSION

    @staticmethod
    def read(name: str) -> str:
        return (ROOT / name).read_text()


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


class TestImport:
    @pytest.mark.timing
    def test_takes_less_than_300_ms_of_cpu(self) -> None:
        code = "from time import process_time as t; a = t(); import convexrelu; print(t() - a)"
        assert min(float(python(code).stdout) for _ in range(5)) < 0.3

    def test_loads_nothing_heavy(self) -> None:
        code = "import sys, convexrelu; print(*sys.modules)"
        heavy = {"scipy", "sklearn", "matplotlib", "pandas", "argparse"}
        assert not heavy & set(python(code).stdout.split())

    def test_estimators_come_when_asked_for(self) -> None:
        code = "import convexrelu as c, sys; print('sklearn' in sys.modules, 'ConvexReLURegressor' "
        code += "in dir(c)); c.ConvexReLURegressor; print('sklearn' in sys.modules)"
        assert python(code).stdout.split() == ["False", "True", "True"]
        with pytest.raises(AttributeError, match="no attribute 'ConvexReLU'"):
            getattr(convexrelu, "ConvexReLU")  # noqa: B009

    def test_every_public_name_is_there_and_documented(self) -> None:
        for name in convexrelu.__all__:
            value = getattr(convexrelu, name)
            assert name == "__version__" or value.__doc__


class TestLevels:
    BUILT = ("baseline", "v3", "v4")

    def choose(self, asked: str | None, cpu: str, built: tuple[str, ...] = BUILT) -> str:
        return getattr(_core, "_choose")(asked, cpu, built)  # noqa: B009

    def test_best_that_the_cpu_runs(self) -> None:
        for cpu in self.BUILT:
            assert self.choose(None, cpu) == cpu
        assert self.choose(None, "v4", ("baseline", "v3")) == "v3"

    def test_the_one_asked_for(self) -> None:
        assert self.choose("baseline", "v4") == "baseline"

    @pytest.mark.parametrize(
        ("asked", "cpu", "built", "message"),
        [
            ("v5", "v3", BUILT, "'v5' is not one of baseline, v3, v4; usable here: baseline, v3"),
            ("", "v4", BUILT, "'' is not one of"),
            ("v4", "v3", BUILT, r"'v4' needs a better CPU than this one \(v3\); usable here: base"),
            ("v3", "v4", ("v4",), "'v3' was not built; usable here: v4"),
            (None, "v3", ("v4",), "levels up to 'v3', none of which was built; reinstall"),
        ],
    )
    def test_error_teaches(
        self, asked: str | None, cpu: str, built: tuple[str, ...], message: str
    ) -> None:
        with pytest.raises(ImportError, match=message):
            self.choose(asked, cpu, built)

    def test_environment_variable(self) -> None:
        code = "from convexrelu import _core; print(_core.level)"
        assert python(code, CONVEXRELU_LEVEL=_core.level).stdout.strip() == _core.level
        failed = python(code, CONVEXRELU_LEVEL="avx2")
        assert failed.returncode == 1
        assert "ImportError: CONVEXRELU_LEVEL='avx2'" in failed.stderr


def is_editable() -> bool:
    url = metadata.distribution("convexrelu").read_text("direct_url.json")
    return url is not None and json.loads(url).get("dir_info", {}).get("editable", False)


@pytest.mark.skipif(is_editable(), reason="an editable install has no wheel")
class TestWheel:
    @pytest.fixture
    def files(self) -> list[metadata.PackagePath]:
        files = metadata.files("convexrelu")
        assert files is not None
        return [file for file in files if "__pycache__" not in file.parts]

    def test_holds_the_package_and_nothing_else(self, files: list[metadata.PackagePath]) -> None:
        source = {p.relative_to(PACKAGE.parent) for p in PACKAGE.rglob("*") if p.is_file()}
        source = {p for p in source if "__pycache__" not in p.parts and p.suffix != ".so"}
        installed = {Path(f) for f in files if f.parts[0] == "convexrelu"}
        extensions = {p for p in installed if p.suffix in {".so", ".pyd"}}
        assert installed - extensions == source
        assert any(p.name.startswith("_cpu.") for p in extensions)
        roots = {f.parts[0] for f in files} - {"..", "convexrelu"}  # .. is the command
        assert all(root.endswith(".dist-info") for root in roots)

    def test_is_below_six_megabytes(self, files: list[metadata.PackagePath]) -> None:
        """Compressed, as in a wheel; `nox -s build` weighs the one that has all levels."""
        assert sum(len(zlib.compress(file.read_binary())) for file in files) < 6e6
