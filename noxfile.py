"""Everything that is run over the project. `nox -l` lists it, `nox -s lint` runs one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "tests"]

CPP = [str(path) for path in sorted(Path().glob("**/*.[ch]pp")) if path.parts[0] != "extern"]
CPP = [path for path in CPP if not path.startswith(("build/", ".nox/"))]
# What a wheel for other machines is built with: the default is one level, this machine's.
ALL_LEVELS = "-Ccmake.define.CONVEXRELU_LEVELS=all"
# Prints where the CMake package of the pinned Eigen is.
EIGEN_CONFIG = (
    "from importlib.metadata import files;"
    "print(next(f.locate().resolve().parent for f in files('cmeel-eigen')"
    " if f.name == 'Eigen3Config.cmake'))"
)


@nox.session(python=["3.10", "3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """The test suite on the installed package."""
    session.install(".[test]")
    session.run("pytest", *session.posargs)


@nox.session
def levels(session: nox.Session) -> None:
    """The Python tests at every instruction-set level that this machine can run."""
    session.install(".[test]", ALL_LEVELS)
    best = session.run(
        "python", "-c", "from convexrelu import _core; print(_core.level)", silent=True
    )
    names = ["baseline", "v3", "v4"]
    for level in names[: names.index(str(best).strip()) + 1]:
        arguments = ["--ignore=tests/test_cpp.py", *session.posargs]
        session.run("pytest", *arguments, env={"CONVEXRELU_LEVEL": level})


@nox.session
def lint(session: nox.Session) -> None:
    """Formats, lint rules, types, and the stubs against the extension."""
    session.install("-e.", "clang-format==23.1.5", "mypy==2.4.1", "ruff==0.17.6")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("clang-format", "--dry-run", "--Werror", *CPP)
    session.run("mypy")
    session.run(
        "python", "-m", "mypy.stubtest", "convexrelu", "--mypy-config-file=pyproject.toml",
        "--allowlist=tests/data/stubtest.txt", env={"MYPYPATH": "python"},
    )  # fmt: skip


@nox.session
def tidy(session: nox.Session) -> None:
    """clang-tidy over the core."""
    session.install("clang-tidy==23.1.4", "cmake", "cmeel-eigen==3.4.1", "ninja")
    session.run("cmake", "--fresh", "--preset", "dev", "-DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON")
    sources = [path for path in CPP if path.startswith("csrc/src/")]
    session.run("clang-tidy", "-p", "build/dev", "--quiet", *sources)


@nox.session
def asan(session: nox.Session) -> None:
    """Address and undefined-behaviour sanitizers, Eigen's assertions: C++ and Python tests."""
    preset(session, "asan")
    session.install(
        ".[test]",
        "-Cbuild-dir=build/asan-python",
        "-Cinstall.strip=false",
        "-Ccmake.build-type=Debug",
        "-Ccmake.define.CMAKE_CXX_FLAGS_DEBUG=-O1 -g",
        "-Ccmake.define.CONVEXRELU_SANITIZE=address,undefined",
    )
    libraries = [library_path(name) for name in ("libasan.so", "libubsan.so", "libstdc++.so")]
    # Python itself leaks at exit; the first fault ends the run.
    environment = {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    arguments = ["--ignore=tests/test_cpp.py", "-m", "not timing", *session.posargs]
    session.run("pytest", *arguments, env=environment)


@nox.session
def tsan(session: nox.Session) -> None:
    """The thread sanitizer over the C++ tests."""
    preset(session, "tsan")


@nox.session
def bench(session: nox.Session) -> None:
    """The comparison with other packages: `nox -s bench -- run PROBLEM ...` (see bench/)."""
    session.install(".[bench]")
    session.run("python", "-m", "bench.compare", *(session.posargs or ["list"]))


@nox.session
def quality(session: nox.Session) -> None:
    """Test errors with lam chosen by the default, on all splits of six sets: hours, resumable."""
    session.install(".[bench]")
    session.run("python", "-m", "bench.quality", *session.posargs)
    session.run("python", "-m", "bench.quality_classes")


@nox.session
def path_full(session: nox.Session) -> None:
    """Exact paths on all data sets, at 200 lam each against a solve and Clarabel at 3: hours."""
    session.install(".[bench]")
    options = ("--full", "--clarabel", "--time-limit", "900")
    session.run("python", "-m", "bench.bench_path", *options, *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """dist/: the source distribution, and the wheel of all levels made from it, below 6 MB."""
    session.install("build")
    session.run("python", "-m", "build", ALL_LEVELS)
    for wheel in Path("dist").glob("*.whl"):
        if wheel.stat().st_size > 6e6:
            session.error(f"{wheel} is larger than 6 MB")


@nox.session
def library(session: nox.Session) -> None:
    """The C++ library: built, installed, and used by a project that finds it."""
    session.install("cmake", "cmeel-eigen==3.4.1", "ninja")
    eigen = session.run("python", "-c", EIGEN_CONFIG, silent=True)
    prefix = Path(session.create_tmp()).resolve()
    session.run("cmake", "--fresh", "--preset", "release")
    session.run("cmake", "--build", "--preset", "release")
    session.run("cmake", "--install", "build/release", "--prefix", str(prefix))
    paths = [f"-DCMAKE_PREFIX_PATH={prefix}", f"-DEigen3_DIR={str(eigen).strip()}"]
    session.run(
        "cmake", "--fresh", "-G", "Ninja", "-S", "tests/library", "-B", "build/user", *paths
    )
    session.run("cmake", "--build", "build/user")
    session.run("ctest", "--test-dir", "build/user", "--no-tests=error", "--output-on-failure")


def preset(session: nox.Session, name: str) -> None:
    """Configures, builds and tests a CMake preset."""
    session.install("cmake", "cmeel-eigen==3.4.1", "ninja")
    session.run("cmake", "--fresh", "--preset", name)
    session.run("cmake", "--build", "--preset", name)
    session.run("ctest", "--preset", name)


def library_path(name: str) -> str:
    """Where the compiler keeps one of its runtime libraries."""
    command = ["c++", f"-print-file-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
