"""``convexrelu export``: a saved network for other programs."""

from __future__ import annotations

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from convexrelu.cli.check import load_network
from convexrelu.cli.console import Console
from convexrelu.cli.fitting import check_output, write_output
from convexrelu.cli.report import labelled_lines, to_json
from convexrelu.cli.table import InputError
from convexrelu.export import to_c, to_onnx, to_sklearn, to_torch
from convexrelu.files.replacing import replacing

_SUFFIXES = {"c": ".c", "onnx": ".onnx", "sklearn": ".pkl", "torch": ".pt"}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "export",
        help="a saved network as C, ONNX, or one of scikit-learn or torch",
        description=(
            "Writes a network that 'convexrelu train --save' kept for other programs: one function "
            "in C, a model in ONNX (float32), a pickled MLPRegressor or MLPClassifier of "
            "scikit-learn, or a torch.nn.Sequential. Inputs are the features that the network "
            "sees: numbers, and 0/1 columns for texts and missing cells, in the order printed."
        ),
        epilog="Exit status: 0 done, 2 bad input, or the program that it is for is not installed.",
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "network", metavar="MODEL", type=Path, help="a file of convexrelu train --save or save()"
    )
    parser.add_argument("--to", required=True, choices=sorted(_SUFFIXES), help="for what")
    parser.add_argument(
        "--out",
        metavar="PATH",
        type=Path,
        help="the file to write (MODEL with the ending that is usual)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Loads, converts, writes."""
    out = arguments.out or arguments.network.with_suffix(_SUFFIXES[arguments.to])
    check_output("--out", out, [arguments.network])
    model = load_network(arguments.network)
    try:
        content = _MAKERS[arguments.to](model)
    except ModuleNotFoundError as error:
        raise InputError(f"--to {arguments.to}: {error.name} is not installed") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{arguments.network}: {error}") from None

    def write(file: Path) -> None:
        with replacing(file) as stream:
            stream.write(content)

    written, failure = write_output("--out", out, write)
    inputs = getattr(getattr(model, "preprocessor", None), "features", None)
    result: dict[str, Any] = {
        "network": os.fspath(arguments.network),
        "to": arguments.to,
        "inputs": None if inputs is None else list(inputs),
        "out": written,
    }
    lines = [
        ("network", result["network"]),
        *([("inputs", ", ".join(inputs))] if inputs else []),
        *([("written", written)] if written else []),
    ]
    console.write(to_json(result) if arguments.json else labelled_lines(lines, console))
    if failure is not None:
        raise failure
    return 0


def _torch_bytes(model: Any) -> bytes:
    import io

    made = to_torch(model)
    import torch

    buffer = io.BytesIO()
    torch.save(made, buffer)
    return buffer.getvalue()


_MAKERS: dict[str, Callable[[Any], bytes]] = {
    "c": lambda model: to_c(model).encode(),
    "onnx": lambda model: bytes(to_onnx(model).SerializeToString()),
    "sklearn": lambda model: pickle.dumps(to_sklearn(model)),
    "torch": _torch_bytes,
}
