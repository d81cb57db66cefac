"""``convexrelu path``: the optimal networks of every lam, with every breakpoint."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from convexrelu import Path as RegularisationPath
from convexrelu import save, trace_path
from convexrelu._console import Console
from convexrelu.commands.fitting import (
    Setting,
    add_fitting_arguments,
    add_output_arguments,
    prepare,
    progress_of,
)
from convexrelu.commands.report import facts, to_json
from convexrelu.table import InputError

_KINDS = ("enter", "leave", "bind", "release")


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
    _check_paths(arguments)
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
        "events": {kind: kinds[kind] for kind in _KINDS},
        "n_restarts": path.n_restarts,
        "n_neurons": int(path.n_active([path.lam_min])[0]),
        "most_neurons": int(path.n_active(path.segment_ends).max(initial=0)),
        "best": _best(setting, path),
        "path_seconds": seconds,
    }
    if arguments.save is not None:
        save(path, arguments.save)
    if arguments.plot is not None:
        path.plot().figure.savefig(arguments.plot)
    console.write(
        to_json({**setting.facts, **result}) if arguments.json else _text(result, console)
    )
    return 0 if result["complete"] else 1


def _best(setting: Setting, path: RegularisationPath) -> dict[str, float] | None:
    """Where the test rows are predicted best, in units of the target."""
    data, standardizer = setting.data, setting.standardizer
    if not len(data.y_test) or not path.n_segments:
        return None
    X = standardizer.transform(data.X_test)
    lam = path.best_lam((X, standardizer.transform_target(data.y_test)))
    predictions = standardizer.inverse_transform_target(path.predict(X, [lam])[0])
    return {"lam": lam, "rmse": float(np.sqrt(np.mean((predictions - data.y_test) ** 2)))}


def _check_paths(arguments: argparse.Namespace) -> None:
    for option, path in (("--save", arguments.save), ("--plot", arguments.plot)):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            what = "is a directory" if path.is_dir() else f"there is no directory {path.parent}"
            raise InputError(f"{option} {os.fspath(path)}: {what}")


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
    return facts(lines, console)
