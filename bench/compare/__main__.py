"""The commands of python -m bench.compare."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

from bench import data
from bench.compare import claims, descent, environments, machine, plot, problems, report
from bench.compare.race import race


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.compare")
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("setup", help="make the environments of the peers")
    command.add_argument("environments", nargs="*", default=list(environments.REQUIREMENTS))
    command.set_defaults(action=lambda args: environments.set_up(args.environments))

    command = commands.add_parser("list", help="name the problems and the peers")
    command.set_defaults(action=_list)

    command = commands.add_parser("run", help="race peers on problems")
    command.add_argument("problems", nargs="+", help="names or shell patterns")
    command.add_argument("--peers", nargs="+", help="default: all that are installed")
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--time-limit", type=float, default=60.0, help="CPU seconds a run")
    command.add_argument("--memory-limit", type=float, default=8.0, help="GB a peer")
    command.add_argument("--json", type=Path, help="write what was measured")
    command.set_defaults(action=_run)

    command = commands.add_parser("descent", help="solve_global against Adam on the network")
    command.add_argument("datasets", nargs="*", default=list(problems.DESCENT_SETS))
    command.add_argument(
        "--lam", type=float, nargs="+", help="default: two a data set, see problems.py"
    )
    command.add_argument("--seconds", type=float, nargs="+", default=[3.0, 10.0])
    command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--reuse", type=Path, nargs="+", default=[], help="earlier runs of Adam")
    command.add_argument("--json", type=Path, help="write what was measured")
    command.set_defaults(action=_descent)

    command = commands.add_parser("descent-table", help="what `descent` measured, as one table")
    command.add_argument("files", nargs="+", type=Path)
    command.set_defaults(action=lambda args: print(descent.markdown(_comparisons(args.files))))

    reports = {"table": report.table, "profile": report.profile, "claims": claims.claims}
    for name, text in reports.items():
        command = commands.add_parser(name, help=(text.__doc__ or "").splitlines()[0])
        command.add_argument("files", nargs="+", type=Path)
        command.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
        command.set_defaults(action=lambda args, text=text: _print_report(text, args))

    command = commands.add_parser("plot", help="draw the gap reached by the time spent")
    command.add_argument("files", nargs="+", type=Path)
    command.add_argument("--output", type=Path, required=True, help="a .svg, .png or .pdf file")
    command.add_argument("--clock", choices=("cpu", "wall"), default="cpu")
    command.set_defaults(action=_plot)

    args = parser.parse_args()
    try:
        args.action(args)
    except ValueError as error:
        sys.exit(str(error))


def _list(_: argparse.Namespace) -> None:
    print("\n".join(problems.NAMES))
    for name, peer in environments.PEERS.items():
        there = environments.interpreter(peer.environment).exists()
        print(f"{name}: {', '.join(peer.formulations)}{'' if there else ' (not set up)'}")


def _run(args: argparse.Namespace) -> None:
    results = {
        **_circumstances(args.threads),
        "time_limit": args.time_limit,
        "problems": {},
        "runs": [],
    }
    for name in problems.matching(args.problems):
        try:
            problem = problems.build(name)
        except data.MissingData as missing:
            print(f"{name}: skipped, {missing}", flush=True)
            continue
        instance = problem.instance
        results["problems"][name] = {
            "n": len(instance.X),
            "d": instance.X.shape[1],
            "n_patterns": instance.masks.shape[1],
            "lambda_max": problem.lambda_max,
            "lams": problem.lams.tolist(),
        }
        for peer in environments.taking_part(args.peers, instance.formulation):
            record = race(
                peer,
                problem,
                threads=args.threads,
                time_limit=args.time_limit,
                memory_limit=args.memory_limit * 1e9,
                on_point=_show,
            )
            results["runs"].append(record)
            print(f"{name} {report.summary(record)}", flush=True)
            if args.json:
                args.json.write_text(report.as_json(results))


def _show(point: dict[str, Any]) -> None:
    print(f"    {point['label']}: {point['cpu']:.3g} s, gap {point['gap']:.1e}", file=sys.stderr)


def _descent(args: argparse.Namespace) -> None:
    results = {**_circumstances(args.threads), "comparisons": []}
    earlier = _comparisons(args.reuse)
    for name in args.datasets:
        try:
            data.load(name)
        except data.MissingData as missing:
            print(f"{name}: skipped, {missing}", flush=True)
            continue
        for lam in args.lam or problems.descent_lams(name):
            comparison = descent.compare(
                name,
                lam,
                seconds=args.seconds,
                seeds=args.seeds,
                threads=args.threads,
                earlier=earlier,
            )
            results["comparisons"].append(comparison)
            print(descent.table([comparison]), flush=True)
            if args.json:
                args.json.write_text(report.as_json(results))


def _comparisons(files: list[Path]) -> list[dict[str, Any]]:
    return [c for results in _read(files) for c in results["comparisons"]]


def _circumstances(threads: int) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.timezone.utc)
    return {
        "machine": machine.describe(threads),
        "commit": machine.commit(),
        "started": now.isoformat(timespec="seconds"),
    }


def _print_report(text: report.Report, args: argparse.Namespace) -> None:
    print(text(_read(args.files), args.clock))


def _plot(args: argparse.Namespace) -> None:
    plot.plot(_read(args.files), args.output, args.clock)


def _read(files: list[Path]) -> list[report.Results]:
    return [json.loads(file.read_text()) for file in files]


if __name__ == "__main__":
    main()
