"""``convexrelu path``: the optimal networks of every lam, with every breakpoint."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from convexrelu import Path as RegularisationPath
from convexrelu import trace_path
from convexrelu._path_parts import KINDS
from convexrelu.cli.console import Console
from convexrelu.cli.fitting import (
    Setting,
    add_fitting_arguments,
    add_output_arguments,
    check_output_path,
    check_outputs_differ,
    prepare,
    progress_of,
    save_output,
    write_output,
)
from convexrelu.cli.report import labelled_lines, to_json
from convexrelu.cli.table import InputError
from convexrelu.files.replacing import replacing


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "path",
        help="follow the optimum from lambda_max down to lam, exactly",
        description=(
            "Prepares the data as 'convexrelu train' does and follows the optimal network from "
            "lambda_max, where it is zero, down to lam: every lam at which a neuron appears or "
            "vanishes or a sample meets its kink, and all networks between."
        ),
        epilog="Exit status: 0 the path is complete and certified, 1 it is not, 2 bad input.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    add_fitting_arguments(parser, gates=100)
    for option, what in (
        ("--save", "where to keep the path; convexrelu.load(PATH)(lam) is a solution of it"),
        ("--plot", "where to draw the norms of the neurons against lam (.png, .svg, .pdf)"),
    ):
        parser.add_argument(option, metavar="PATH", type=Path, help=what)
    add_output_arguments(parser, network=False)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Traces, reports, saves, draws."""
    check_output_path(arguments, "--save")
    check_output_path(arguments, "--plot")
    if arguments.plot is not None:
        check_outputs_differ(arguments, "--save", "--plot")
        _check_plot(arguments.plot)
    setting = prepare(arguments, console)
    started = perf_counter()
    path = trace_path(
        setting.problem,
        setting.lam,
        tol=arguments.tol,
        time_limit=arguments.time_limit,
        callback=progress_of(console),
    )
    seconds = perf_counter() - started
    console.status("evaluating", at_once=True)
    kinds = Counter(event.kind for event in path.events)
    result = {
        "complete": path.status == "optimal",
        "status": path.status,
        "lam_max": path.lam_max,
        "lam_min": path.lam_min,
        "gap": float(path.gaps.max(initial=0.0)),
        "tol": arguments.tol,
        "n_breakpoints": len(path.breakpoints),
        "events": {kind: kinds[kind] for kind in KINDS if kind != "restart"},
        "n_restarts": path.n_restarts,
        "n_neurons": int(path.n_active([path.lam_min])[0]),
        "most_neurons": int(path.n_active(path.segment_ends).max(initial=0)),
        "best": _best(setting, path),
        "path_seconds": seconds,
    }
    outputs = (
        save_output(path, arguments.save),
        write_output("--plot", arguments.plot, lambda file: _draw(path, file)),
    )
    console.write(
        to_json({**setting.facts, **result}) if arguments.json else _text(result, console)
    )
    for _, failure in outputs:
        if failure is not None:
            raise failure
    return 0 if result["complete"] else 1


def _best(setting: Setting, path: RegularisationPath) -> dict[str, float] | None:
    """Where the test rows are predicted best, in units of the target."""
    data, standardizer = setting.training.data, setting.training.standardizer
    if not len(data.y_test) or not path.n_segments:
        return None
    X = standardizer.transform(data.X_test)
    lam = path.best_lam((X, standardizer.transform_target(data.y_test)))
    predictions = standardizer.inverse_transform_target(path.predict(X, [lam])[0])
    return {"lam": lam, "rmse": float(np.sqrt(np.mean((predictions - data.y_test) ** 2)))}


def _check_plot(path: Path) -> None:
    """Refuses before the work what would fail after it: a picture of a letter shows that."""
    try:
        with _no_backend():
            from matplotlib.backend_bases import FigureCanvasBase
            from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise InputError("--plot: needs matplotlib, which is not installed") from None
    except ImportError as error:
        raise InputError(f"--plot: needs matplotlib, which does not load: {error}") from None
    formats = FigureCanvasBase.get_supported_filetypes()
    if _format(path) not in formats:
        names = ", ".join(f".{name}" for name in sorted(formats))
        raise InputError(f"--plot {path}: the name must end in one of {names}")
    figure = Figure()
    figure.text(0.5, 0.5, "λ")
    try:
        figure.savefig(io.BytesIO(), format=_format(path))
    except Exception as error:  # of programs and packages that a format needs
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"--plot {path}: matplotlib cannot draw .{_format(path)} here: {reason}"
        ) from None


def _draw(path: RegularisationPath, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    path.plot(figure.add_subplot())
    picture = io.BytesIO()
    figure.savefig(picture, format=_format(file))
    with replacing(file) as stream:
        stream.write(picture.getvalue())


def _format(path: Path) -> str:
    return path.suffix.removeprefix(".").lower()


@contextlib.contextmanager
def _no_backend() -> Iterator[None]:
    """A file needs none, and the one that the environment names need not be installed here."""
    name = os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if name is not None:
            os.environ["MPLBACKEND"] = name


def _text(result: dict[str, Any], console: Console) -> str:
    r = result
    gap = f"the worst relative gap is {r['gap']:.1e}, asked for {r['tol']:g}"
    if r["complete"]:
        verdict = f"{console.good('complete')}: {gap}"
    else:
        verdict = f"{console.bad('not complete')} ({r['status'].replace('_', ' ')}): {gap}"
    events = r["events"]
    lines = [
        ("path", verdict),
        ("lam", f"from {r['lam_max']:.6g} down to {r['lam_min']:.6g}"),
        (
            "events",
            f"at {r['n_breakpoints']} breakpoints: {events['enter']} neurons enter and "
            f"{events['leave']} leave,",
        ),
        ("", f"{events['bind']} samples meet a kink and {events['release']} leave one"),
        ("neurons", f"{r['n_neurons']} at the end, at most {r['most_neurons']}"),
        ("seconds", f"{r['path_seconds']:.2f}"),
    ]
    if r["n_restarts"]:
        lines.append(("restarts", f"{r['n_restarts']}, at ties"))
    if r["best"]:
        best = r["best"]
        lines.append(("test rows", f"RMSE at best {best['rmse']:.4g}, at lam {best['lam']:.6g}"))
    return labelled_lines(lines, console)
