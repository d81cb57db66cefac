"""Who takes part, and the virtual environment each needs: their requirements exclude each other."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

OWN = ""  # the interpreter that runs the comparison, where convexrelu is installed


class Peer(NamedTuple):
    environment: str
    formulations: tuple[str, ...]


PEERS = {
    "convexrelu": Peer(OWN, ("gated", "relu")),
    "adelie": Peer("adelie", ("gated", "relu")),
    "skglm": Peer("celer", ("gated",)),
    "celer": Peer("celer", ("gated",)),
    "scnn": Peer("scnn", ("gated", "relu")),
    "scnn_float32": Peer("scnn", ("gated", "relu")),
    "clarabel": Peer("conic", ("gated", "relu")),
    "scs": Peer("conic", ("gated", "relu")),
}

# One list of pip arguments a step. pyscnn asks for torchvision, and by way of torch for CUDA; it
# needs neither.
REQUIREMENTS = {
    "adelie": [["adelie==1.1.52", "numpy<2"]],
    "celer": [["celer==0.7.4", "skglm==0.5"]],
    "scnn": [
        ["torch==2.13.0", "numpy", "scipy", "tqdm", "cvxpy", "scikit-learn"],
        ["--no-deps", "pyscnn==0.0.10", "linalg_backends==0.0.1b0", "opt_einsum"],
    ],
    "conic": [["clarabel==0.11.1", "scs==3.3.1", "scipy"]],
}


def cache_folder() -> Path:
    """Where the environments are: CONVEXRELU_BENCH_CACHE, or ~/.cache/convexrelu-bench."""
    named = os.environ.get("CONVEXRELU_BENCH_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "convexrelu-bench"


def interpreter(environment: str) -> Path:
    if environment == OWN:
        return Path(sys.executable)
    return cache_folder() / environment / "bin" / "python"


def set_up(environments: list[str]) -> None:
    """Makes the environments that are not there yet; one that failed half way is made again."""
    for name in environments:
        done = cache_folder() / name / "requirements.txt"
        wanted = "\n".join(" ".join(step) for step in REQUIREMENTS[name])
        if done.is_file() and done.read_text() == wanted:
            print(f"{name}: there already")
            continue
        print(f"{name}: installing {wanted!r}", flush=True)
        venv.create(cache_folder() / name, with_pip=True, clear=True)
        for step in REQUIREMENTS[name]:
            pip = [interpreter(name), "-m", "pip", "install", "--quiet"]
            subprocess.run([*pip, *step], check=True)
        done.write_text(wanted)


def taking_part(names: list[str] | None, formulation: str) -> list[str]:
    """The peers named (all if None) that know the formulation and are installed."""
    unknown = set(names or ()) - set(PEERS)
    if unknown:
        raise ValueError(f"no peer {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    return [
        name
        for name, peer in PEERS.items()
        if (names is None or name in names)
        and formulation in peer.formulations
        and interpreter(peer.environment).exists()
    ]
