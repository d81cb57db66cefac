"""Files for the values of the library: npz and JSON, no pickle.

A file is a .npz that numpy.load opens: a zip archive, uncompressed, of plain numeric arrays and one
more member, header.json, which holds everything else:

    {"format": "convexrelu", "version": 1, "value": {"kind": "Network", "gates": null}}

A value is the fields of its kind. A field that is an array is the member of its name, one that is
a value is an object again, whose arrays have its name and a slash before theirs
("problem/patterns/packed.npy"). Texts are a member too, a JSON array ("preprocessor/names.json").
Equal values give equal files.

A file is not trusted. Loading evaluates nothing, allocates in proportion to the size of the file,
and puts every field through the checks of the constructors.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import zipfile
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from convexrelu import _core, _validate, losses, network, patterns, problem, solution
from convexrelu import global_path as global_path_module
from convexrelu import path as path_module
from convexrelu._path_parts import PathParts
from convexrelu.class_network import ClassNetwork
from convexrelu.files.replacing import replacing
from convexrelu.network import Network
from convexrelu.patterns import Patterns
from convexrelu.preprocessor import Column, Preprocessor, TableNetwork
from convexrelu.problem import Problem
from convexrelu.pruning import PrunedNetwork, PrunedSolution
from convexrelu.solution import Solution
from convexrelu.standardizer import StandardizedNetwork, Standardizer
from convexrelu.training_record import TrainingRecord

FORMAT = "convexrelu"
VERSION = 1

_HEADER = "header.json"
_MAX_HEADER = 1 << 16
_DTYPES = {"f": "<f8", "i": "<i8", "u": "<u8"}
_NPY_HEADER = re.compile(
    rb"\{'descr': '(<[fiu]8)', 'fortran_order': (True|False), "
    rb"'shape': \((\d{1,18},|\d{1,18}(?:, \d{1,18})+)\), \} *\n"
)


Member = NDArray[Any] | tuple[str, ...]


class _Kind(NamedTuple):
    type: type
    fields: tuple[str, ...]  # its attributes, which are the arguments of build
    build: Callable[..., Any]
    newer: tuple[str, ...] = ()  # those that a file of an earlier version lacks: None there
    take: Callable[[Any], dict[str, Any]] | None = None  # its fields, where they are no attributes


def save(value: Any, path: str | os.PathLike[str]) -> None:
    """Writes a value to a file, from which `load` makes an equal one.

    Parameters
    ----------
    value : Network, StandardizedNetwork, Standardizer, ClassNetwork, TableNetwork, Preprocessor, \
Patterns, Problem, Solution, Path or GlobalPath
        A pruned one is saved without its history.
    path : str or path
        The name of the file, to which nothing is appended. A file of that name is replaced once
        the new one is complete and on the disk; where writing fails it stays as it was.

    Raises
    ------
    TypeError
        Where the value is none of these.
    OSError
        Where the file cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from convexrelu import Network, load, save
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "network.npz"
    >>> save(Network([[1.0, 2.0]], [3.0]), path)
    >>> load(path)
    <Network: relu, 1 neuron on R^2>
    """
    arrays: dict[str, Member] = {}
    tree = _take_apart(value, "", arrays)
    header = json.dumps({"format": FORMAT, "version": VERSION, "value": tree}, allow_nan=False)

    with replacing(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_HEADER), header)
        for name, array in arrays.items():
            if isinstance(array, tuple):
                archive.writestr(zipfile.ZipInfo(f"{name}.json"), json.dumps(array))
                continue
            info = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(info, "w", force_zip64=array.nbytes >= 1 << 30) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)


def load(path: str | os.PathLike[str]) -> Any:
    """The value that `save` wrote to a file.

    Runs no code of the file and takes memory in proportion to its size. A `Solution` is certified
    anew; its ``global_lower_bound`` is the one that was saved.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    Network, StandardizedNetwork, Standardizer, TableNetwork, Preprocessor, Patterns, Problem, \
Solution or Path

    Raises
    ------
    ValueError
        Where the file is not whole, not one of convexrelu, or of a newer version of the format.
    OSError
        Where it cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from convexrelu import Standardizer, load, save
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "standardizer.npz"
    >>> save(Standardizer.fit([[1.0], [2.0]], [0.0, 4.0]), path)
    >>> load(path).y_mean
    2.0
    """
    data = Path(path).read_bytes()
    try:
        members = _read_members(data)
        header = _read_header(members.pop(_HEADER, b""))
        arrays = dict(map(_read_member, members.items()))
        value = _put_together(header["value"], "", arrays)
        if arrays:
            raise ValueError(f"unknown array {next(iter(arrays))}")
    except MemoryError:
        raise
    except Exception as error:  # zipfile and json raise more than they document
        raise ValueError(f"{os.fspath(path)} is no whole file of convexrelu: {error}") from error
    return value


def _take_apart(value: Any, prefix: str, arrays: dict[str, Member]) -> dict[str, Any]:
    plain = {PrunedNetwork: Network, PrunedSolution: Solution}.get(type(value), type(value))
    kind = _KINDS.get(plain.__name__)
    if kind is None or plain is not kind.type:
        raise TypeError(f"value must be a {' or '.join(_KINDS)}, got {type(value).__name__}")
    tree: dict[str, Any] = {"kind": kind.type.__name__}
    taken = None if kind.take is None else kind.take(value)
    for name in kind.fields:
        field = getattr(value, name) if taken is None else taken[name]
        if isinstance(field, tuple) and all(isinstance(text, str) for text in field):
            arrays[prefix + name] = field
        elif isinstance(field, np.ndarray):
            arrays[prefix + name] = field.astype(_DTYPES[field.dtype.kind], order="K", copy=False)
        elif type(field) in _TYPES:
            tree[name] = _take_apart(field, f"{prefix}{name}/", arrays)
        else:
            tree[name] = None if field != field else field  # JSON has no nan
    return tree


def _put_together(tree: Any, prefix: str, arrays: dict[str, Member]) -> Any:
    kind = _KINDS[tree.pop("kind")]
    fields: dict[str, Any] = {}
    for name in kind.fields:
        if prefix + name in arrays:
            fields[name] = arrays.pop(prefix + name)
        elif name in kind.newer and name not in tree:
            fields[name] = None
        elif isinstance(field := tree.pop(name), dict):
            fields[name] = _put_together(field, f"{prefix}{name}/", arrays)
        elif isinstance(field, list):
            raise ValueError(f"{prefix}{name} is a list")
        else:
            fields[name] = field
    if tree:
        raise ValueError(f"unknown field {prefix}{next(iter(tree))}")
    return kind.build(**fields)


def _read_members(data: bytes) -> dict[str, bytes]:
    """The members of an archive by name, none of which is read before all are known to be small."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED for m in members):
            raise ValueError("it is compressed")
        if sum(m.file_size for m in members) > len(data):
            raise ValueError("it claims to hold more than its size")
        if len({m.filename for m in members}) < len(members):
            raise ValueError("two members have one name")
        return {m.filename: archive.read(m) for m in members}


def _read_header(member: bytes) -> dict[str, Any]:
    if len(member) > _MAX_HEADER:
        raise ValueError(f"its header has {len(member)} bytes")
    header: dict[str, Any] = json.loads(member)
    if header["format"] != FORMAT:
        raise ValueError(f"its format is {header['format']!r:.60}")
    if header["version"] != VERSION:
        raise ValueError(
            f"its format has version {header['version']!r:.60}, this convexrelu reads {VERSION}"
        )
    return header


def _read_member(item: tuple[str, bytes]) -> tuple[str, Member]:
    name, member = item
    if name.endswith(".json"):
        texts = json.loads(member)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{name} is no list of texts")
        return name.removesuffix(".json"), tuple(texts)
    return name.removesuffix(".npy"), _read_array(member)


def _read_array(member: bytes) -> NDArray[Any]:
    """An array in numpy's format 1.0, of the types and in the spelling that `save` writes."""
    start = 10 + int.from_bytes(member[8:10], "little")
    header = _NPY_HEADER.fullmatch(member[10:start])
    if member[:8] != b"\x93NUMPY\x01\x00" or header is None:
        raise ValueError("a member is no plain array")
    shape = tuple(int(size) for size in header[3].split(b",") if size)
    values = np.frombuffer(member, dtype=header[1].decode(), offset=start)
    if values.size != math.prod(shape):
        raise ValueError(f"an array of shape {shape} has {values.size} entries")
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return native.reshape(shape, order="F" if header[2] == b"True" else "C")


def _make_preprocessor(names: Any, table: Any, levels: Any) -> Preprocessor:
    names, levels = _texts(names, "names"), list(_texts(levels, "levels"))
    table = _array(table, "table", "f", (len(names), 3))
    columns: list[Column] = []
    for name, (n_levels, median, has_missing) in zip(names, table.tolist(), strict=True):
        if n_levels not in range(-1, len(levels) + 1) or has_missing not in (0.0, 1.0):
            raise ValueError("table must fit levels")
        own = None if n_levels < 0 else tuple(levels[: int(n_levels)])
        del levels[: max(0, int(n_levels))]
        columns.append(Column(name, own, median, bool(has_missing)))
    if levels:
        raise ValueError("levels belong to no column")
    return Preprocessor(columns)


def _make_table_network(network: Any, preprocessor: Any, target: Any, record: Any) -> TableNetwork:
    return TableNetwork(network, preprocessor, target, record)


def _make_record(facts: Any, curve: Any) -> TrainingRecord:
    facts, curve = _array(facts, "facts", "f", (None, 6)), _array(curve, "curve", "f", (None, 5))
    return TrainingRecord(facts, curve)


_PER_NETWORK = ("intercepts", "x_mean", "x_scale", "y_mean", "y_scale")


def _take_class_network(model: ClassNetwork) -> dict[str, Any]:
    """Its fields in plain arrays: networks one after another."""
    inner = [network.network for network in model.networks]
    scales = [network.standardizer for network in model.networks]
    gates = None
    if any(network.gates is not None for network in inner):
        gates = np.concatenate([network.gates for network in inner])
    return {
        "hidden": np.concatenate([network.hidden for network in inner]),
        "output": np.concatenate([network.output for network in inner]),
        "gates": gates,
        "intercepts": np.array([network.intercept for network in inner]),
        "n_neurons": np.array([network.n_neurons for network in inner]),
        "x_mean": np.array([scale.x_mean for scale in scales]),
        "x_scale": np.array([scale.x_scale for scale in scales]),
        "y_mean": np.array([scale.y_mean for scale in scales]),
        "y_scale": np.array([scale.y_scale for scale in scales]),
        "slopes": model.slopes,
        "offsets": model.offsets,
        "classes": model.classes,
    }


def _make_class_network(gates: Any, classes: Any, **arrays: Any) -> ClassNetwork:
    shapes: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "hidden": ("f", (None, None)),
        "output": ("f", (None,)),
        "intercepts": ("f", (None,)),
        "n_neurons": ("i", (None,)),
        "x_mean": ("f", (None, None)),
        "x_scale": ("f", (None, None)),
        "y_mean": ("f", (None,)),
        "y_scale": ("f", (None,)),
        "slopes": ("f", (None,)),
        "offsets": ("f", (None,)),
    }
    a = {name: _array(arrays[name], name, *kind) for name, kind in shapes.items()}
    sizes, hidden = a["n_neurons"], a["hidden"]
    if gates is not None:
        gates = _array(gates, "gates", "f", hidden.shape)
    if (sizes < 0).any() or sizes.sum() != len(hidden) or len(a["output"]) != len(hidden):
        raise ValueError("n_neurons must be those of hidden and output")
    if any(len(a[name]) != len(sizes) for name in _PER_NETWORK):
        raise ValueError("there must be one scale for each network")
    ends = np.cumsum(sizes)
    networks = [
        StandardizedNetwork(
            Network(
                hidden[end - size : end],
                a["output"][end - size : end],
                None if gates is None else gates[end - size : end],
                intercept=a["intercepts"][k],
            ),
            Standardizer(a["x_mean"][k], a["x_scale"][k], a["y_mean"][k], a["y_scale"][k]),
        )
        for k, (end, size) in enumerate(zip(ends, sizes, strict=True))
    ]
    return ClassNetwork(networks, a["slopes"], a["offsets"], _texts(classes, "classes"))


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, tuple):
        raise ValueError(f"{name} must be texts")
    return value


def _make_patterns(
    packed: Any, n_samples: Any, gates: Any, is_complete: Any, fingerprint: Any
) -> Patterns:
    n_samples = _validate.integer(n_samples, "n_samples", low=1)
    packed = _array(packed, "packed", "u", (None, -(-n_samples // 64)))
    gates = _array(gates, "gates", "f", (None, len(packed)))
    if len(gates) == 0 or not np.isfinite(gates).all():
        raise ValueError("gates must be finite, of at least one feature")
    if n_samples % 64 and (packed[:, -1] >> np.uint64(n_samples % 64)).any():
        raise ValueError("packed has bits beyond the last sample")
    if not isinstance(is_complete, bool):
        raise ValueError(f"is_complete must be true or false, got {is_complete!r:.60}")
    if fingerprint is not None and not (type(fingerprint) is int and 0 <= fingerprint < 1 << 64):
        raise ValueError(f"fingerprint must be null or 64 bits, got {fingerprint!r:.60}")
    return patterns._restore(packed, n_samples, gates, is_complete, fingerprint)


def _make_problem(**parts: Any) -> Problem:
    if parts["loss"] is not None and not isinstance(parts["loss"], losses.Loss):
        raise ValueError("loss must be one of convexrelu.losses")
    if parts["fit_intercept"] not in (None, False, True):
        raise ValueError(f"fit_intercept must be true or false, got {parts['fit_intercept']!r:.60}")
    return problem._restore(**parts)


def _make_solution(
    problem: Any,
    lam: Any,
    status: Any,
    active_set: Any,
    weights: Any,
    dual: Any,
    n_iter: Any,
    gap: Any,
    global_lower_bound: Any,
    intercept: Any,
) -> Solution:
    if not isinstance(problem, Problem):
        raise ValueError("problem must be a Problem")
    n, d = problem.X.shape
    active_set = _array(active_set, "active_set", "i", (None, 2))
    weights = _array(weights, "weights", "f", (len(active_set), d))
    signs = (1, -1) if problem.formulation == "relu" else (1,)
    blocks = [(int(i), int(sign)) for i, sign in active_set]
    if not all(0 <= i < len(problem.patterns) and sign in signs for i, sign in blocks):
        raise ValueError("active_set names a block that the problem has not")
    if any((i, -s) >= (j, -t) for (i, s), (j, t) in pairwise(blocks)):
        raise ValueError("active_set is not in order")
    if not np.isfinite(weights).all():
        raise ValueError("weights must be finite")
    if global_lower_bound is None:
        global_lower_bound = math.nan
    else:
        global_lower_bound = _validate.number(global_lower_bound, "global_lower_bound")
    made = solution._restore(
        problem,
        _validate.lam(lam),
        _validate.choice(status, "status", tuple(_core.Status.__members__)),
        active_set,
        weights.T,
        _array(dual, "dual", "f", (n,)),
        _validate.integer(n_iter, "n_iter"),
        global_lower_bound,
        0.0 if intercept is None else _validate.number(intercept, "intercept"),
    )
    certificate = solution.certify(made)
    if certificate.cone_violation > 1e-9:
        raise ValueError("weights are outside their cones")
    if not made.gap <= 2.0 * _validate.number(gap, "gap", low=0.0) + 1e-12:
        raise ValueError(f"its weights have a gap of {made.gap:.1e}, not of {gap:.1e}")
    if problem.formulation == "gated" and not math.isnan(global_lower_bound):
        raise ValueError("global_lower_bound must be null for a gated problem")
    if global_lower_bound > made.objective * (1 + 1e-12):
        raise ValueError(
            f"its weights have the objective {made.objective:.17g}, below its global_lower_bound "
            f"{global_lower_bound:.17g}"
        )
    return made


def _make_path_parts(**arrays: Any) -> PathParts:
    shapes: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "segments": ("f", (None, 4)),
        "shapes": ("i", (None, 3)),
        "blocks": ("i", (None, 2)),
        "face_sizes": ("i", (None,)),
        "face_rows": ("i", (None,)),
        "z": ("f", (None,)),
        "alpha": ("f", (None,)),
        "events": ("i", (None, 4)),
        "event_lams": ("f", (None,)),
    }
    return PathParts(**{name: _array(arrays[name], name, *kind) for name, kind in shapes.items()})


def _make_path(
    problem: Any, lam_max: Any, tol: Any, status: Any, n_factorisations: Any, parts: Any
) -> path_module.Path:
    if not isinstance(problem, Problem) or not isinstance(parts, PathParts):
        raise ValueError("problem must be a Problem and parts must be PathParts")
    return path_module._restore(
        problem,
        _validate.lam(lam_max, "lam_max"),
        _validate.tol(tol),
        _validate.choice(status, "status", tuple(_core.Status.__members__)),
        _validate.integer(n_factorisations, "n_factorisations"),
        parts,
    )


def _make_global_path(**arrays: Any) -> global_path_module.GlobalPath:
    shapes: dict[str, tuple[str, tuple[int | None, ...]]] = {
        "lams": ("f", (None,)),
        "n_neurons": ("i", (None,)),
        "hidden": ("f", (None, None)),
        "output": ("f", (None,)),
        "objectives": ("f", (None,)),
        "lower_bounds": ("f", (None,)),
        "global_lower_bounds": ("f", (None,)),
        "status_codes": ("i", (None,)),
    }
    return global_path_module._restore(
        **{name: _array(arrays[name], name, *kind) for name, kind in shapes.items()}
    )


def _array(value: Any, name: str, kind: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """The value, if it is an array of that kind and shape, None for any size."""
    if not isinstance(value, np.ndarray) or value.dtype.kind != kind:
        raise ValueError(f"{name} must be an array of type {_DTYPES[kind]}")
    if value.ndim != len(shape) or any(
        here != there for here, there in zip(value.shape, shape, strict=True) if there is not None
    ):
        raise ValueError(f"{name} has the shape {value.shape}")
    return value


_KINDS = {
    kind.type.__name__: kind
    for kind in (
        _Kind(
            Network,
            ("hidden", "output", "gates", "intercept"),
            network._restore,
            newer=("intercept",),
        ),
        *(
            _Kind(loss, tuple(f.name for f in fields(loss)), loss)
            for loss in losses._BY_NAME.values()
        ),
        _Kind(StandardizedNetwork, ("network", "standardizer"), StandardizedNetwork),
        _Kind(Standardizer, ("x_mean", "x_scale", "y_mean", "y_scale"), Standardizer),
        _Kind(Preprocessor, ("names", "table", "levels"), _make_preprocessor),
        _Kind(
            ClassNetwork,
            (
                "hidden",
                "output",
                "gates",
                "intercepts",
                "n_neurons",
                "x_mean",
                "x_scale",
                "y_mean",
                "y_scale",
                "slopes",
                "offsets",
                "classes",
            ),
            _make_class_network,
            take=_take_class_network,
        ),
        _Kind(TrainingRecord, ("facts", "curve"), _make_record),
        _Kind(
            TableNetwork,
            ("network", "preprocessor", "target", "record"),
            _make_table_network,
            newer=("record",),
        ),
        _Kind(
            Patterns,
            ("packed", "n_samples", "gates", "is_complete", "fingerprint"),
            _make_patterns,
            newer=("fingerprint",),
        ),
        _Kind(
            Problem,
            (
                "X",
                "y",
                "patterns",
                "formulation",
                "sample_weight",
                "loss",
                "fit_intercept",
                "offset",
            ),
            _make_problem,
            newer=("loss", "fit_intercept", "offset"),
        ),
        _Kind(
            Solution,
            (
                "problem",
                "lam",
                "status",
                "active_set",
                "weights",
                "dual",
                "n_iter",
                "gap",
                "global_lower_bound",
                "intercept",
            ),
            _make_solution,
            newer=("intercept",),
        ),
        _Kind(PathParts, PathParts._fields, _make_path_parts),
        _Kind(
            path_module.Path,
            ("problem", "lam_max", "tol", "status", "n_factorisations", "parts"),
            _make_path,
        ),
        _Kind(
            global_path_module.GlobalPath,
            (
                "lams",
                "n_neurons",
                "hidden",
                "output",
                "objectives",
                "lower_bounds",
                "global_lower_bounds",
                "status_codes",
            ),
            _make_global_path,
        ),
    )
}
_TYPES = tuple(kind.type for kind in _KINDS.values())
