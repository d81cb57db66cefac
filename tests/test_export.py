"""What other programs make of a network is what it predicts."""

from __future__ import annotations

import ctypes
import pickle
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convexrelu import (
    ClassNetwork,
    Network,
    StandardizedNetwork,
    Standardizer,
    TableNetwork,
    export,
    make_preprocessor,
)

COMPILER = shutil.which("cc") or shutil.which("gcc")
D = 3
X = np.random.default_rng(1).normal(50, 5, (40, D))


def network(m: int = 7, seed: int = 0) -> StandardizedNetwork:
    rng = np.random.default_rng(seed)
    scale = Standardizer(rng.normal(50, 1, D), rng.uniform(1, 9, D), 100.0, 20.0)
    inner = Network(rng.normal(size=(m, D + 1)), rng.normal(size=m), intercept=0.7)
    return StandardizedNetwork(inner, scale)


def classes(k: int) -> ClassNetwork:
    m = 1 if k == 2 else k
    scale = network().standardizer
    parts = [network(4, j).network for j in range(m)]
    of_signs = Standardizer(scale.x_mean, scale.x_scale, -0.2, 0.9)
    names = ["a", "*/ b", "ü??/", "d\\"][:k]
    networks = [StandardizedNetwork(part, of_signs) for part in parts]
    return ClassNetwork(networks, np.linspace(1, 2, m), np.linspace(-1, 1, m), names)


def table(model: Any) -> TableNetwork:
    columns = {name: X[:, j] for j, name in enumerate(["u", "v */", "w\n"])}
    return TableNetwork(model, make_preprocessor(columns), "y")


MODELS = [Network(np.eye(D), np.ones(D)), network(), network(0), classes(2), classes(4)]
IDS = ["bare", "numbers", "constant", "two", "four"]


def truth(model: Any) -> Any:
    return model.probabilities(X) if isinstance(model, ClassNetwork) else model.predict(X)


class TestC:
    @pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")
    @pytest.mark.parametrize("model", MODELS, ids=IDS)
    @pytest.mark.parametrize("in_table", [False, True])
    def test_compiled(self, model: Any, in_table: bool, tmp_path: Path) -> None:
        assert COMPILER is not None
        if in_table and isinstance(model, Network):
            pytest.skip("a table has a standardised network")
        source = tmp_path / "model.c"
        source.write_text(export.to_c(table(model) if in_table else model, name="f"))
        library = tmp_path / "model.so"
        flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run(
            [COMPILER, *flags, "-o", str(library), str(source), "-lm"],
            check=True,
            capture_output=True,
        )
        f = ctypes.CDLL(str(library)).f
        vector = ctypes.c_double * D
        if isinstance(model, ClassNetwork):
            k = len(model.classes)
            p = (ctypes.c_double * k)()
            best = [(f(vector(*row), p), list(p)) for row in X]
            assert [code for code, _ in best] == model.codes(X).tolist()
            assert np.allclose([row for _, row in best], truth(model), rtol=1e-12, atol=1e-300)
        else:
            f.restype = ctypes.c_double
            assert np.allclose([f(vector(*row)) for row in X], truth(model), rtol=1e-12)

    def test_names(self) -> None:
        assert "double of_mine(const double x[3])" in export.to_c(network(), name="of_mine")
        for name in ("1f", "f g", "", "é", "f;"):
            with pytest.raises(ValueError, match="name must be one that C takes"):
                export.to_c(network(), name=name)

    def test_is_ascii(self) -> None:
        assert export.to_c(table(classes(4))).isascii()


class TestSklearn:
    @pytest.mark.parametrize("model", [MODELS[0], MODELS[1], MODELS[3]])
    def test_predicts_the_same(self, model: Any) -> None:
        pytest.importorskip("sklearn")
        made = pickle.loads(pickle.dumps(export.to_sklearn(model)))
        if isinstance(model, ClassNetwork):
            assert np.allclose(made.predict_proba(X), truth(model), rtol=1e-9)
            assert made.predict(X).tolist() == model.predict(X).tolist()
        else:
            assert np.allclose(made.predict(X), truth(model), rtol=1e-12)

    def test_names(self) -> None:
        pytest.importorskip("sklearn")
        made = export.to_sklearn(table(network()))
        assert made.feature_names_in_.tolist() == ["u", "v */", "w\n"]

    def test_what_it_cannot_be(self) -> None:
        pytest.importorskip("sklearn")
        with pytest.raises(ValueError, match="model must have two classes, got 4"):
            export.to_sklearn(classes(4))
        with pytest.raises(ValueError, match="model must have a neuron"):
            export.to_sklearn(network(0))


class TestOnnx:
    @pytest.mark.parametrize("model", MODELS, ids=IDS)
    @pytest.mark.parametrize(("dtype", "tol"), [("float32", 2e-6), ("float64", 1e-13)])
    def test_in_a_runtime(self, model: Any, dtype: str, tol: float) -> None:
        pytest.importorskip("onnx")
        runtime = pytest.importorskip("onnxruntime")
        made = export.to_onnx(model, dtype=dtype).SerializeToString()
        session = runtime.InferenceSession(made, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {"x": X.astype(dtype)})
        expected = truth(model)
        spread = max(np.ptp(expected), 1.0)
        assert np.abs(found.reshape(expected.shape) - expected).max() <= tol * spread

    def test_dtype(self) -> None:
        pytest.importorskip("onnx")
        with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64', got 'int8'"):
            export.to_onnx(network(), dtype="int8")


class TestTorch:
    @pytest.mark.parametrize("model", MODELS, ids=IDS)
    def test_there_and_back(self, model: Any) -> None:
        torch = pytest.importorskip("torch")
        made = export.to_torch(model)
        outputs = made(torch.from_numpy(X)).detach().numpy()
        if isinstance(model, ClassNetwork):
            assert np.allclose(outputs.reshape(model.logits(X).shape), model.logits(X))
        else:
            assert np.allclose(outputs[:, 0], truth(model))
            assert np.allclose(export.from_torch(made).predict(X), truth(model))


def test_of_an_estimator() -> None:
    pytest.importorskip("sklearn")
    from convexrelu import ConvexReLURegressor

    model = ConvexReLURegressor(alpha=0.1).fit(X, X[:, 0])
    assert np.allclose(export.to_sklearn(model).predict(X), model.predict(X))
    assert "x[3]" in export.to_c(model)


@pytest.mark.parametrize("to", [export.to_c, export.to_sklearn, export.to_onnx])
def test_errors(to: Any) -> None:
    pytest.importorskip("sklearn" if to is export.to_sklearn else "numpy")
    pytest.importorskip("onnx" if to is export.to_onnx else "numpy")
    gated = Network([[1.0]], [1.0], [[1.0]])
    with pytest.raises(ValueError, match="model must be a relu network, got a gated one"):
        to(gated)
    with pytest.raises(TypeError, match=r"model must be a Network, .* got int"):
        to(3)
