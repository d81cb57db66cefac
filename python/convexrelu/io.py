"""Saving values to files and loading them again, without pickle.

A file is an uncompressed .npz: a JSON header and plain numeric arrays. Loading runs no code, takes no
more memory than the file justifies, and raises ValueError for every file that is not whole and
ours.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from convexrelu.network import Network
from convexrelu.patterns import Patterns
from convexrelu.patterns import _restore as _restore_patterns
from convexrelu.problem import Problem
from convexrelu.solution import Solution
from convexrelu.solution import _restore as _restore_solution
from convexrelu.standardizer import StandardizedNetwork, Standardizer

FORMAT_VERSION = 1

_HEADER = "header"
_LARGEST_HEADER = 1 << 16

# What a value is made of: JSON facts, arrays, and the values inside it.
Parts = tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, Any]]


def _network_parts(value: Network) -> Parts:
    arrays = {"hidden": value.hidden, "output": value.output}
    if value.gates is not None:
        arrays["gates"] = value.gates
    return {}, arrays, {}


def _standardizer_parts(value: Standardizer) -> Parts:
    facts = {"y_mean": value.y_mean, "y_scale": value.y_scale}
    return facts, {"x_mean": value.x_mean, "x_scale": value.x_scale}, {}


def _standardized_network_parts(value: StandardizedNetwork) -> Parts:
    return {}, {}, {"network": value.network, "standardizer": value.standardizer}


def _patterns_parts(value: Patterns) -> Parts:
    facts = {"n_samples": value.n_samples, "is_complete": value.is_complete}
    return facts, {"packed": value.packed, "gates": value.gates}, {}


def _problem_parts(value: Problem) -> Parts:
    arrays = {"X": value.X, "y": value.y}
    if value.sample_weight is not None:
        arrays["sample_weight"] = value.sample_weight
    return {"formulation": value.formulation}, arrays, {"patterns": value.patterns}


def _solution_parts(value: Solution) -> Parts:
    bound = value.global_lower_bound
    facts = {
        "lam": value.lam,
        "status": value.status,
        "n_iter": value.n_iter,
        "global_lower_bound": None if np.isnan(bound) else bound,
    }
    arrays = {"active_set": value.active_set, "weights": value.weights, "dual": value.dual}
    return facts, arrays, {"problem": value.problem}


def _make_solution(
    problem: Problem,
    lam: float,
    status: str,
    active_set: NDArray[Any],
    weights: NDArray[np.float64],
    dual: NDArray[np.float64],
    n_iter: int,
    global_lower_bound: float | None,
) -> Solution:
    bound = np.nan if global_lower_bound is None else global_lower_bound
    return _restore_solution(
        problem, lam, status, active_set, np.asfortranarray(weights.T), dual, n_iter, bound
    )


_KINDS: dict[str, tuple[type, Callable[[Any], Parts], Callable[..., Any]]] = {
    "Network": (Network, _network_parts, Network),
    "Patterns": (Patterns, _patterns_parts, _restore_patterns),
    "Problem": (Problem, _problem_parts, Problem),
    "Solution": (Solution, _solution_parts, _make_solution),
    "StandardizedNetwork": (StandardizedNetwork, _standardized_network_parts, StandardizedNetwork),
    "Standardizer": (Standardizer, _standardizer_parts, Standardizer),
}


def save(value: Any, path: str | os.PathLike[str]) -> None:
    """Writes a Network, StandardizedNetwork, Standardizer, Patterns, Problem or Solution to a file.

    The file is an .npz of a JSON header and plain arrays; it is written under the very name given.
    """
    arrays: dict[str, NDArray[Any]] = {}
    tree = _describe(value, "", arrays)
    header = json.dumps({"format": "convexrelu", "version": FORMAT_VERSION, "value": tree})
    arrays[_HEADER] = np.frombuffer(header.encode(), dtype=np.uint8)
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(path: str | os.PathLike[str]) -> Any:
    """Reads what `save` wrote. A Solution is certified anew.

    Raises
    ------
    ValueError
        For a file that is not whole, not ours, or of a later version.
    OSError
        Where the file cannot be read.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            arrays = _read_arrays(archive, os.fstat(file.fileno()).st_size)
        header = json.loads(arrays.pop(_HEADER).tobytes())
        if header["format"] != "convexrelu":
            raise ValueError("not a file of convexrelu")
        if header["version"] != FORMAT_VERSION:
            raise ValueError(f"format version {header['version']!r}, this is {FORMAT_VERSION}")
        return _make(header["value"], "", arrays)
    except OSError:
        raise
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise ValueError(f"{name} is not a whole file written by convexrelu.save: {error}") from None


def _describe(value: Any, prefix: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    kind = type(value).__name__
    if kind not in _KINDS or type(value) is not _KINDS[kind][0]:
        raise TypeError(f"value must be one of {', '.join(_KINDS)}, got {kind}")
    facts, own, inner = _KINDS[kind][1](value)
    for name, array in own.items():
        arrays[prefix + name] = np.ascontiguousarray(array)
    return {
        "kind": kind,
        "facts": facts,
        "arrays": sorted(own),
        "values": {name: _describe(v, f"{prefix}{name}.", arrays) for name, v in inner.items()},
    }


def _make(tree: Any, prefix: str, arrays: dict[str, NDArray[Any]]) -> Any:
    _, _, build = _KINDS[tree["kind"]]
    parts = dict(tree["facts"])
    for name in tree["arrays"]:
        parts[name] = arrays[prefix + name]
    for name, inner in tree["values"].items():
        parts[name] = _make(inner, f"{prefix}{name}.", arrays)
    return build(**parts)


def _read_arrays(archive: zipfile.ZipFile, file_size: int) -> dict[str, NDArray[Any]]:
    """The arrays of an archive, none of which may be larger than the file itself."""
    arrays = {}
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > file_size:
            raise ValueError(f"{entry.filename} is compressed or larger than the file")
        name = entry.filename.removesuffix(".npy")
        with archive.open(entry) as stream:
            version = npy_format.read_magic(stream)
            read_header = {
                (1, 0): npy_format.read_array_header_1_0,
                (2, 0): npy_format.read_array_header_2_0,
            }[version]
            shape, fortran_order, dtype = read_header(stream)
            if dtype.hasobject or dtype.kind not in "biuf":
                raise ValueError(f"{name} is not a numeric array")
            size = int(np.prod(shape, dtype=object)) * dtype.itemsize
            if size > entry.file_size or (name == _HEADER and size > _LARGEST_HEADER):
                raise ValueError(f"{name} claims more bytes than the file holds")
            data = stream.read()
            if len(data) != size:
                raise ValueError(f"{name} is not whole")
        order = "F" if fortran_order else "C"
        arrays[name] = np.frombuffer(data, dtype=dtype).reshape(shape, order=order)
    return arrays
