"""save and load: to the last bit; what is not whole and ours is refused, and does no harm."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.strategies import Case, cases

import convexrelu
from convexrelu import (
    Network,
    Patterns,
    Problem,
    Solution,
    StandardizedNetwork,
    Standardizer,
    certify,
    enumerate_patterns,
    load,
    sample_patterns,
    save,
    solve,
    to_network,
    trace_path,
)
from convexrelu.files import replacing as _replacing

GENERATOR = np.random.default_rng(3)
X = GENERATOR.integers(-2, 3, (70, 3)).astype(float)  # two words a pattern
Y = GENERATOR.standard_normal(70)
STANDARDIZER = Standardizer.fit(X, Y)
PROBLEMS = [
    Problem(
        STANDARDIZER.transform(X),
        STANDARDIZER.transform_target(Y),
        sample_patterns(STANDARDIZER.transform(X), 20, rng=0),
        formulation=formulation,
        sample_weight=weight,
    )
    for formulation, weight in [("relu", None), ("gated", GENERATOR.random(70))]
]
SOLUTIONS = [solve(problem, 0.1 * problem.lambda_max) for problem in PROBLEMS]
NETWORKS = [to_network(solution) for solution in SOLUTIONS]
VALUES = [
    *SOLUTIONS,
    *PROBLEMS,
    PROBLEMS[0].patterns,
    *NETWORKS,
    *(StandardizedNetwork(network, STANDARDIZER) for network in NETWORKS),
    STANDARDIZER,
    Network(np.empty((0, 3)), []),
    sample_patterns(X, 1, rng=0),
    *(trace_path(problem, 0.3 * problem.lambda_max) for problem in PROBLEMS),
]


def contents(value: Any) -> list[Any]:
    """All that a value is made of, flat."""
    match value:
        case Solution():
            parts = [value.lam, value.status, value.active_set, value.weights, value.dual]
            parts += [value.objective, value.gap, value.n_iter, value.global_lower_bound]
            return [*parts, *contents(value.problem)]
        case convexrelu.Path():
            fields = [value.lam_max, value.tol, value.status, value.n_factorisations]
            return [*fields, *value.parts, *contents(value.problem)]
        case Problem():
            weight = [] if value.sample_weight is None else value.sample_weight
            return [value.X, value.y, weight, value.formulation, *contents(value.patterns)]
        case Patterns():
            return [value.packed, value.gates, value.n_samples, value.is_complete]
        case Network():
            gates = [] if value.gates is None else value.gates
            return [value.hidden, value.output, gates, value.formulation]
        case Standardizer():
            return [value.x_mean, value.x_scale, value.y_mean, value.y_scale]
        case StandardizedNetwork():
            return [*contents(value.network), *contents(value.standardizer)]
    raise TypeError(value)


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and all(
        np.array_equal(p, q, equal_nan=isinstance(p, float))
        for p, q in zip(contents(a), contents(b), strict=True)
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "value.npz"


def rewritten(
    data: bytes,
    header: Callable[[dict[str, Any]], Any] | None = None,
    compression: int = zipfile.ZIP_STORED,
    **members: bytes | None,
) -> bytes:
    """The file with another header, and members replaced or (None) left out; right checksums."""
    source = zipfile.ZipFile(io.BytesIO(data))
    parts = {name: source.read(name) for name in source.namelist()}
    if header is not None:
        tree = json.loads(parts["header.json"])
        changed = header(tree)
        parts["header.json"] = json.dumps(tree if changed is None else changed).encode()
    parts.update({name.replace("__", "/") + ".npy": m for name, m in members.items()})
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, part in parts.items():
            if part is not None:
                archive.writestr(name, part)
    return target.getvalue()


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def saved(value: Any, path: Path) -> bytes:
    save(value, path)
    return path.read_bytes()


class TestRoundTrip:
    @pytest.mark.parametrize("value", VALUES, ids=repr)
    def test_every_bit_comes_back(self, value: Any, path: Path) -> None:
        save(value, path)
        assert same(load(path), value)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
    @given(case=cases())
    def test_degenerate_problems(self, case: Case, path: Path) -> None:
        solution = solve(case.problem, case.lam, max_iter=100)
        save(solution, path)
        again = load(path)
        assert same(again, solution)
        assert certify(again) == certify(solution)
        network = to_network(solution)
        save(network, path)
        assert load(path) == network

    @pytest.mark.parametrize("scale", [1e150, 1e-150, 1e-310])
    def test_extreme_numbers(self, scale: float, path: Path) -> None:
        network = Network(scale * X[:4], scale * Y[:4])
        save(network, path)
        assert load(path) == network

    def test_a_standardized_network_predicts_the_same(self, path: Path) -> None:
        model = StandardizedNetwork(NETWORKS[0], STANDARDIZER)
        save(model, path)
        assert np.array_equal(load(path).predict(X), model.predict(X))

    def test_an_earlier_file_of_complete_patterns(self, path: Path) -> None:
        """It does not say of which data: they are not complete any more."""
        every = enumerate_patterns(X)
        path.write_bytes(
            rewritten(saved(every, path), header=lambda h: h["value"].pop("fingerprint") and None)
        )
        again = load(path)
        assert every.is_complete
        assert not again.is_complete
        assert np.array_equal(again.packed, every.packed)

    def test_a_loaded_solution_is_a_start(self, path: Path) -> None:
        save(SOLUTIONS[0], path)
        again = solve(PROBLEMS[0], SOLUTIONS[0].lam, warm_start=load(path))
        assert again.objective == pytest.approx(SOLUTIONS[0].objective, rel=1e-12)

    def test_equal_values_give_equal_files(self, path: Path) -> None:
        assert saved(NETWORKS[0], path) == saved(load(path), path)

    def test_numpy_opens_it(self, path: Path) -> None:
        save(NETWORKS[1], path)
        with np.load(path) as archive:
            assert np.array_equal(archive["hidden"], NETWORKS[1].hidden)
            assert json.loads(archive["header.json"])["format"] == "convexrelu"

    def test_nothing_is_appended_to_the_name(self, tmp_path: Path) -> None:
        save(NETWORKS[0], str(tmp_path / "network"))
        assert [file.name for file in tmp_path.iterdir()] == ["network"]
        assert load(str(tmp_path / "network")) == NETWORKS[0]

    def test_a_longer_file_is_replaced(self, path: Path) -> None:
        path.write_bytes(b"x" * 100_000)
        save(NETWORKS[0], path)
        assert load(path) == NETWORKS[0]


class TestReplacing:
    """A file is replaced by a whole one, or stays as it was, and nothing lies beside it."""

    @pytest.fixture
    def good(self, path: Path) -> bytes:
        return saved(NETWORKS[0], path)

    @staticmethod
    def is_as_it_was(path: Path, good: bytes) -> bool:
        return path.read_bytes() == good and list(path.parent.iterdir()) == [path]

    @pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
    def test_any_step_may_fail(
        self,
        monkeypatch: pytest.MonkeyPatch,
        path: Path,
        good: bytes,
        step: str,
        error: BaseException,
    ) -> None:
        def fail(*_: Any) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(f"os.{step}", fail)
            with pytest.raises(type(error)):
                save(SOLUTIONS[0], path)
        assert self.is_as_it_was(path, good)

    def test_no_room(self, path: Path, good: bytes) -> None:
        """In a process that may write small files only."""
        resource = pytest.importorskip("resource")
        code = (
            f"from convexrelu import *; save(Network({300 * [[1.0] * 40]}, {300 * [1.0]}), {{!r}})"
        )
        run = subprocess.run(
            [sys.executable, "-c", code.format(str(path))],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048)),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "OSError: [Errno 27]" in run.stderr
        assert self.is_as_it_was(path, good)

    def test_a_value_that_cannot_be_saved(self, path: Path, good: bytes) -> None:
        with pytest.raises(TypeError):
            save({}, path)
        assert self.is_as_it_was(path, good)

    def test_bytes_reach_the_disk_before_the_name(
        self, monkeypatch: pytest.MonkeyPatch, path: Path
    ) -> None:
        calls: list[str] = []
        for step in ("fsync", "replace"):
            real = getattr(os, step)
            monkeypatch.setattr(
                f"os.{step}", lambda *a, s=step, r=real: (calls.append(s), r(*a))[1]
            )
        save(NETWORKS[0], path)
        assert calls == ["fsync", "replace", "fsync"]  # of the file, of the folder

    @pytest.mark.usefixtures("good")
    def test_permissions_and_links_stay(self, path: Path) -> None:
        path.chmod(0o640)
        link = path.with_name("link.npz")
        link.symlink_to(path.name)
        save(SOLUTIONS[0], link)
        assert link.is_symlink()
        assert path.stat().st_mode & 0o777 == 0o640
        assert same(load(path), SOLUTIONS[0])

    def test_a_new_file_has_the_usual_permissions(self, path: Path) -> None:
        beside = path.with_name("beside")
        beside.touch()
        save(NETWORKS[0], path)
        assert path.stat().st_mode == beside.stat().st_mode

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device without space")
    def test_devices_are_written_to(self) -> None:
        save(NETWORKS[0], "/dev/null")
        assert not Path("/dev/null").is_file()
        with pytest.raises(OSError, match="No space left on device"):
            save(NETWORKS[0], "/dev/full")

    def test_errors_name_the_file_asked_for(
        self, monkeypatch: pytest.MonkeyPatch, path: Path, good: bytes
    ) -> None:
        def refuse(name: str, *_: Any, **__: Any) -> None:
            raise PermissionError(13, "Permission denied", name)

        monkeypatch.setattr(_replacing, "open", refuse, raising=False)
        with pytest.raises(PermissionError) as caught:
            save(NETWORKS[0], path)
        assert caught.value.filename == str(path)
        assert self.is_as_it_was(path, good)


class TestErrors:
    def test_what_cannot_be_saved(self, path: Path) -> None:
        with pytest.raises(TypeError, match=r"value must be a Network or .*, got dict"):
            save({}, path)

        class Mine(Standardizer):
            pass

        with pytest.raises(TypeError, match="got Mine"):
            save(Mine([0.0], [1.0], 0.0, 1.0), path)
        assert not path.exists()

    def test_a_gated_solution_has_no_bound_over_all_patterns(self, path: Path) -> None:
        data = saved(SOLUTIONS[1], path)
        path.write_bytes(rewritten(data, lambda h: h["value"].update(global_lower_bound=0.0)))
        with pytest.raises(ValueError, match="global_lower_bound must be null for a gated problem"):
            load(path)

    def test_no_such_file(self, path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            load(path)
        with pytest.raises(IsADirectoryError):
            load(path.parent)
        with pytest.raises(FileNotFoundError):
            save(NETWORKS[0], path.parent / "none" / "file")

    @pytest.mark.parametrize(
        "data", [b"", b"PK", b"PK\x05\x06" + 18 * b"\0", b"a,b\n1,2\n", npy(X), 1000 * b"\0"]
    )
    def test_other_files(self, data: bytes, path: Path) -> None:
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"value\.npz is no whole file of convexrelu: "):
            load(path)

    def test_any_npz(self, path: Path) -> None:
        np.savez(path, hidden=X)
        with pytest.raises(ValueError, match="no whole file of convexrelu"):
            load(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda h: h.update(format="other"), "its format is 'other'"),
            (lambda h: h.update(version=2), "version 2, this convexrelu reads 1"),
            (lambda h: h.__delitem__("version"), "version"),
            (lambda h: h.__delitem__("value"), "value"),
            (lambda h: h["value"].update(kind="os.system"), "os.system"),
            (lambda h: h["value"].__delitem__("kind"), "kind"),
            (lambda h: h["value"].update(extra=1), "unknown field extra"),
            (lambda h: h["value"].update(lam=-1.0), "lam must be"),
            (lambda h: h["value"].update(lam="1"), "lam must be"),
            (lambda h: h["value"].update(lam=[1.0]), "lam is a list"),
            (lambda h: h["value"].update(status="perfect"), "status must be"),
            (lambda h: h["value"].update(gap=None), "gap must be"),
            (lambda h: h["value"].update(global_lower_bound=1e9), "below its global_lower_bound"),
            (lambda h: h["value"].update(n_iter=1.5), "n_iter must be an integer"),
            (lambda h: h["value"].update(problem=None), "unknown array problem/X|must be a Prob"),
            (lambda h: h["value"]["problem"].update(formulation="leaky"), "formulation must be"),
            (
                lambda h: h["value"]["problem"]["patterns"].update(n_samples=71),
                "patterns are of 71",
            ),
            (lambda h: h["value"]["problem"]["patterns"].update(n_samples=10**9), "packed has"),
            (lambda h: h["value"]["problem"]["patterns"].update(n_samples=69), "beyond the last"),
            (lambda h: h["value"]["problem"]["patterns"].update(is_complete=2), "is_complete must"),
            (
                lambda h: h["value"]["problem"]["patterns"].update(fingerprint=-1),
                "fingerprint must",
            ),
            (
                lambda h: h["value"]["problem"]["patterns"].update(fingerprint=1 << 64),
                "fingerprint must",
            ),
            (lambda _: [], "list indices"),
            (lambda h: {**h, "filler": 70_000 * "x"}, r"its header has \d+ bytes"),
        ],
    )
    def test_bad_header(self, change: Any, message: str, path: Path) -> None:
        path.write_bytes(rewritten(saved(SOLUTIONS[0], path), change))
        with pytest.raises(ValueError, match=message):
            load(path)

    def test_deep_header(self, path: Path) -> None:
        data = rewritten(saved(NETWORKS[0], path))
        path.write_bytes(data)
        assert load(path) == NETWORKS[0]
        deep = io.BytesIO()
        with zipfile.ZipFile(deep, "w") as archive:
            archive.writestr("header.json", 60_000 * "[")
        path.write_bytes(deep.getvalue())
        with pytest.raises(ValueError, match="no whole file"):
            load(path)

    @pytest.mark.parametrize(
        ("member", "array", "message"),
        [
            ("weights", None, "weights"),
            ("weights", SOLUTIONS[0].weights[:, 1:], "weights has the shape"),
            ("weights", -SOLUTIONS[0].weights, "outside their cones"),
            ("weights", 2 * SOLUTIONS[0].weights, "have a gap of"),
            ("weights", np.nan * SOLUTIONS[0].weights, "weights must be finite"),
            ("weights", SOLUTIONS[0].weights.astype(np.float32), "no plain array"),
            ("weights", SOLUTIONS[0].weights.astype(">f8"), "no plain array"),
            ("weights", SOLUTIONS[0].weights.astype("c16"), "no plain array"),
            ("weights", np.array(["a"]), "no plain array"),
            ("active_set", SOLUTIONS[0].active_set + 1000, "a block that the problem has not"),
            ("active_set", -SOLUTIONS[0].active_set, "a block that the problem has not"),
            ("active_set", SOLUTIONS[0].active_set[::-1], "not in order"),
            ("active_set", 0 * SOLUTIONS[0].active_set + 1, "not in order"),
            ("active_set", SOLUTIONS[0].active_set.astype(float), "active_set must be an array"),
            ("dual", SOLUTIONS[0].dual[1:], "dual has the shape"),
            ("extra", X, "unknown array extra"),
            ("problem__X", PROBLEMS[0].X[1:], "y must have as many"),
            ("problem__X", np.inf * PROBLEMS[0].X, "X must be finite"),
            ("problem__sample_weight", np.ones(70), "unknown field problem/sample_weight"),
            (
                "problem__patterns__packed",
                PROBLEMS[0].patterns.packed[:, :1],
                "packed has the shape",
            ),
            ("problem__patterns__packed", PROBLEMS[0].patterns.packed[1:], "gates has the shape"),
            ("problem__patterns__packed", ~PROBLEMS[0].patterns.packed, "beyond the last sample"),
            (
                "problem__patterns__gates",
                np.inf * PROBLEMS[0].patterns.gates,
                "gates must be finite",
            ),
            ("problem__patterns__gates", np.empty((0, len(PROBLEMS[0].patterns))), "one feature"),
        ],
    )
    def test_bad_array(self, member: str, array: Any, message: str, path: Path) -> None:
        part = None if array is None else npy(array)
        path.write_bytes(rewritten(saved(SOLUTIONS[0], path), **{member: part}))
        with pytest.raises(ValueError, match=message):
            load(path)

    def test_pickled_arrays_are_not_opened(self, path: Path) -> None:
        class Bomb:
            def __reduce__(self) -> Any:
                return (pytest.fail, ("code of the file has run",))

        stream = io.BytesIO()
        np.save(stream, np.array([Bomb()], dtype=object), allow_pickle=True)
        path.write_bytes(rewritten(saved(NETWORKS[0], path), hidden=stream.getvalue()))
        with pytest.raises(ValueError, match="no plain array"):
            load(path)

    def test_array_headers_are_not_evaluated(self, path: Path) -> None:
        good = npy(np.ones(3))
        data = saved(NETWORKS[0], path)
        for shape in ["(3,) if 1 else ()", "(2**70,)", "(-3,)", "(3,3", "(9" * 50, "(1e9,)", "()"]:
            text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
            header = text.ljust(118 - 1) + b"\n"
            member = good[:8] + len(header).to_bytes(2, "little") + header + good[-24:]
            path.write_bytes(rewritten(data, output=member))
            with pytest.raises(ValueError, match="no plain array"):
                load(path)

    def test_compressed_members(self, path: Path) -> None:
        data = saved(NETWORKS[0], path)
        path.write_bytes(rewritten(data, compression=zipfile.ZIP_DEFLATED))
        with pytest.raises(ValueError, match="it is compressed"):
            load(path)

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_two_members_of_one_name(self, path: Path) -> None:
        save(NETWORKS[0], path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("hidden.npy", npy(X))
        with pytest.raises(ValueError, match="two members have one name"):
            load(path)


def peak_of_loading(path: Path) -> int:
    """Bytes allocated at once by a load that fails."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="no whole file of convexrelu"):
            load(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestMemory:
    SMALL = 2_000_000  # what the machinery itself may need, whatever the file

    def test_an_array_that_claims_to_be_huge(self, path: Path) -> None:
        data = saved(NETWORKS[0], path)
        member = npy(np.ones(3)).replace(b"(3,), }     ", b"(300000000,), }")
        path.write_bytes(rewritten(data, output=member))
        assert peak_of_loading(path) < self.SMALL

    def test_a_bomb(self, path: Path) -> None:
        data = saved(NETWORKS[0], path)
        member = npy(np.zeros(10**7))
        path.write_bytes(rewritten(data, compression=zipfile.ZIP_DEFLATED, output=member))
        assert path.stat().st_size < 200_000
        assert peak_of_loading(path) < self.SMALL

    def test_members_that_share_their_bytes(self, path: Path) -> None:
        """The directory lists one large member under 100 names."""
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("a", npy(np.zeros(10**5)))
            first = archive.filelist[0]
            for i in range(100):
                info = zipfile.ZipInfo(f"{i}")
                for field in ("CRC", "file_size", "compress_size", "header_offset"):
                    setattr(info, field, getattr(first, field))
                archive.filelist.append(info)
        path.write_bytes(stream.getvalue())
        assert peak_of_loading(path) < self.SMALL + 3 * path.stat().st_size

    def test_n_samples_without_patterns(self, path: Path) -> None:
        """No bits, so any number of samples fits; a problem over them still needs its X."""
        patterns = saved(VALUES[4], path)
        path.write_bytes(
            rewritten(
                patterns,
                lambda h: h["value"].update(n_samples=2**31 - 1),
                packed=npy(np.empty((0, 2**25), np.uint64)),
                gates=npy(np.empty((3, 0))),
            )
        )
        tracemalloc.start()
        assert len(load(path)) == 0
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < self.SMALL


class TestFuzz:
    """Whatever happens to a file, load raises ValueError or returns something of ours."""

    FILES: ClassVar[dict[int, bytes]] = {}

    def data(self, index: int, path: Path) -> bytes:
        if index not in self.FILES:
            self.FILES[index] = saved(VALUES[index], path)
        return self.FILES[index]

    def check(self, data: bytes, path: Path) -> None:
        path.write_bytes(data)
        try:
            value = load(path)
        except ValueError:
            return
        assert type(value).__name__ in convexrelu.__all__
        repr(value)

    def test_every_truncation(self, path: Path) -> None:
        data = self.data(5, path)
        for size in range(len(data)):
            path.write_bytes(data[:size])
            with pytest.raises(ValueError, match="no whole file"):
                load(path)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_mutated_bytes(self, path: Path, data: st.DataObject) -> None:
        content = bytearray(self.data(data.draw(st.integers(0, len(VALUES) - 1)), path))
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        self.check(bytes(content), path)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_mutated_members_with_right_checksums(self, path: Path, data: st.DataObject) -> None:
        content = self.data(data.draw(st.integers(0, len(VALUES) - 1)), path)
        source = zipfile.ZipFile(io.BytesIO(content))
        parts = {name: bytearray(source.read(name)) for name in source.namelist()}
        part = parts[data.draw(st.sampled_from(sorted(parts)))]
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(part)))
            stop = start + data.draw(st.integers(0, 8))
            part[start:stop] = data.draw(st.binary(max_size=8))
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as archive:
            for name, member in parts.items():
                archive.writestr(name, bytes(member))
        self.check(target.getvalue(), path)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.data())
    def test_headers_of_any_json(self, path: Path, data: st.DataObject) -> None:
        """One field of the header becomes something else."""
        leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
        json_values = st.recursive(
            leaf, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x)
        )

        def change(header: dict[str, Any]) -> Any:
            nodes = [(header, key) for key in header]
            for node, key in nodes:
                if isinstance(node[key], dict):
                    nodes.extend((node[key], inner) for inner in node[key])
            node, key = data.draw(st.sampled_from(nodes))
            node[key] = data.draw(json_values)

        content = self.data(data.draw(st.integers(0, len(VALUES) - 1)), path)
        self.check(rewritten(content, change), path)
