"""The command line: classes, weights, pages, exports, the demo."""

from __future__ import annotations

import csv
import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands import Run

import convexrelu
from convexrelu import ClassNetwork, TableNetwork


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    return lambda *arguments: Run(capsys, *arguments)


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """90 rows: a number, a text and one with missing cells tell three classes."""
    rng = np.random.default_rng(5)
    size, kind = rng.uniform(0, 3, 90), rng.choice(["wild", "garden"], 90)
    name = np.array(["aster", "daisy, white", "rose"])[size.astype(int)]
    path = tmp_path / "flowers.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "kind", "age", "times", "flower"])
        for k in range(90):
            age = "" if k % 9 == 0 else repr(float(rng.normal()))
            writer.writerow([repr(float(size[k])), kind[k], age, k % 3, name[k]])
    return path


FAST = ("--lam", 0.02, "--cv", 3)


class TestClasses:
    def test_report(self, run: Any, flowers: Path) -> None:
        trained = run("train", flowers, "--ignore", "times", *FAST)
        assert trained.status == 0
        assert trained.err == ""
        names = r"aster \(\d+\), daisy, white \(\d+\), rose \(\d+\)"
        assert re.search(rf"^target +flower, 3 classes: {names}$", trained.out, re.M)
        assert re.search(
            r"^optimum +certified: relative gap \S+, asked for 0.001$", trained.out, re.M
        )
        assert re.search(r"^ +test error +test log loss +training error", trained.out, re.M)
        errors = {
            label: float(re.search(rf"^{label} +(\S+) %", trained.out, re.M)[1])
            for label in ("network", "shares")
        }
        assert errors["network"] < errors["shares"] / 2

    def test_json_model_and_predictions(self, run: Any, flowers: Path, tmp_path: Path) -> None:
        model, page, out = (tmp_path / name for name in ("m.npz", "p.html", "o.csv"))
        words = (flowers, "--weight", "times", *FAST, "--save", model, "--report", page, "--json")
        trained = run("train", *words)
        assert trained.status == 0
        found = trained.json
        assert found["class_names"] == ["aster", "daisy, white", "rose"]
        assert found["n_train"] == sum(found["class_counts"]) == 72
        assert [each["class"] for each in found["networks"]] == found["class_names"]
        assert all(each["lam"] == 0.02 and each["gap"] <= 1e-3 for each in found["networks"])
        assert found["weight"] == "times"
        assert found["report"] == os.fspath(page)
        assert len(page.read_text()) < 500_000
        saved = convexrelu.load(model)
        assert isinstance(saved, TableNetwork)
        assert isinstance(saved.network, ClassNetwork)
        assert saved.preprocessor.names == ("size", "kind", "age")
        assert saved.record.facts[:, 0].tolist() == [0.02] * 3

        assert run("predict", model, flowers, "--proba", "--out", out).status == 0
        with out.open(newline="") as file:
            head, *rows = csv.reader(file)
        assert head == ["flower", "P(aster)", "P(daisy, white)", "P(rose)"]
        p = np.array([row[1:] for row in rows], dtype=float)
        assert np.allclose(p.sum(axis=1), 1.0)
        assert [row[0] for row in rows] == [found["class_names"][k] for k in p.argmax(axis=1)]
        of_json = run("predict", model, flowers, "--proba", "--json").json
        assert np.array_equal(of_json["probabilities"], p)
        assert of_json["classes"] == found["class_names"]
        assert run("predict", model, flowers).out.splitlines()[0] == "flower"

        report = tmp_path / "again.html"
        made = run("report", model, flowers, "--out", report)
        assert made.status == 0
        assert "no better weights exist" in made.out
        assert "flowers.csv (90): error" in report.read_text()
        assert run("report", model, flowers, "--out", report, "--json").json["n_rows"] == 90

    def test_numbers_as_classes(self, run: Any, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        x = rng.normal(size=60)
        rows = "\n".join(f"{v!r},{10 if v > 0 else 9}" for v in x.tolist())
        (tmp_path / "t.csv").write_text(f"x,y\n{rows}\n")
        found = run("train", tmp_path / "t.csv", "--classes", *FAST, "--json")
        assert found.json["class_names"] == ["9", "10"]
        assert len(found.json["networks"]) == 1
        assert found.json["scores"]["test"]["network"]["error"] < 0.2
        assert "class_names" not in run("train", tmp_path / "t.csv", *FAST[:2], "--json").json

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--lam-ratio", "0.1"], "--lam-ratio: classes have networks of their own"),
            (["--weight", "flower"], "'flower' cannot be both target and weight"),
            (["--weight", "kind"], "the weight 'kind' must have numbers of at least 0"),
            (["--weight", "age"], "the weight 'age' must have numbers of at least 0"),
            (["--weight", "no"], "no column is named 'no'"),
            (["--report", "/nowhere/x.html"], "--report /nowhere/x.html: there is no directory"),
        ],
    )
    def test_errors(self, run: Any, flowers: Path, words: list[str], message: str) -> None:
        failed = run("train", flowers, *words)
        assert failed.status == 2
        assert not failed.out
        assert message in failed.err

    @pytest.mark.parametrize("command", ["path", "prune", "optimal-set"])
    def test_other_commands_take_numbers(self, run: Any, flowers: Path, command: str) -> None:
        failed = run(command, flowers)
        assert failed.status == 2
        assert re.search(r"the target 'flower' has texts .*, but must have numbers", failed.err)

    def test_too_many_classes(self, run: Any, tmp_path: Path) -> None:
        rows = "\n".join(f"{k},{k % 101}" for k in range(400))
        (tmp_path / "many.csv").write_text(f"x,y\n{rows}\n")
        failed = run("train", tmp_path / "many.csv", "--classes")
        assert failed.status == 2
        assert "the target 'y' has 101 classes; at most 100 are taken" in failed.err

    def test_one_class_and_unknown_ones(self, run: Any, flowers: Path, tmp_path: Path) -> None:
        (tmp_path / "one.csv").write_text("x,y\n" + "1,a\n2,a\n3,a\n" * 3)
        failed = run("train", tmp_path / "one.csv")
        assert failed.status == 2
        assert "the target 'y' is a in all" in failed.err
        model = tmp_path / "m.npz"
        assert run("train", flowers, *FAST, "--save", model).status == 0
        other = tmp_path / "other.csv"
        other.write_text(flowers.read_text().replace("rose", "tulip"))
        failed = run("report", model, other, "--out", tmp_path / "r.html")
        assert failed.status == 2
        assert "tulip, which are no classes of the training rows" in failed.err
        failed = run("check", model, flowers, "--lam", 0.1)
        assert failed.status == 2
        assert "networks of one number" in failed.err


class TestWeights:
    @pytest.mark.parametrize("words", [["--gates", 20, "--lam", 0.01], ["--lam", 0.05]])
    def test_are_repetitions(self, run: Any, tmp_path: Path, words: list[Any]) -> None:
        rng = np.random.default_rng(0)
        X = rng.normal(size=(40, 2))
        y, times = np.abs(X[:, 0]) + X[:, 1], rng.integers(0, 4, 40)
        text = "a,b,times,y\n"
        for row, t, v in zip(X.tolist(), times.tolist(), y.tolist(), strict=True):
            text += f"{row[0]!r},{row[1]!r},{t},{v!r}\n"
        (tmp_path / "w.csv").write_text(text)
        model = tmp_path / "m.npz"
        options = [*words, "--test", 0, "--seed", 1, "--json"]
        found = run(
            "train", tmp_path / "w.csv", "--weight", "times", "--save", model, *options
        ).json
        saved = convexrelu.load(model)
        scale = saved.network.standardizer
        of_rows = convexrelu.Standardizer.fit(X.repeat(times, axis=0), y.repeat(times))
        assert np.allclose(scale.x_scale, of_rows.x_scale, rtol=1e-12)
        value = saved.network.network.objective(
            scale.transform(X), scale.transform_target(y), words[-1], sample_weight=times
        )
        assert value == pytest.approx(found["objective"], rel=1e-9)


class TestModels:
    @pytest.fixture
    def model(self, run: Any, tmp_path: Path) -> Path:
        path = tmp_path / "concrete.npz"
        words = ("--gates", 20, "--lam-ratio", 0.1, "--save", path)
        assert run("train", *words).status == 0
        return path

    def test_page_of_numbers(self, run: Any, model: Path, tmp_path: Path) -> None:
        file = Path(convexrelu.__file__).parent / "data/concrete.csv"
        page = tmp_path / "page.html"
        assert run("report", model, file, "--out", page).status == 0
        text = page.read_text()
        assert "concrete.csv (1030)" in text
        assert "Of other patterns nothing is proven" in text
        assert run("predict", model, file, "--proba").status == 2

    @pytest.mark.parametrize("to", ["c", "onnx", "sklearn", "torch"])
    def test_export(self, run: Any, model: Path, to: str) -> None:
        guest = {"c": "json", "sklearn": "sklearn"}.get(to, to)
        try:
            __import__(guest)
        except ModuleNotFoundError:
            failed = run("export", model, "--to", to)
            assert failed.status == 2
            assert f"--to {to}: {to} is not installed" in failed.err
            return
        made = run("export", model, "--to", to, "--json")
        assert made.status == 0
        assert made.json["inputs"][0] == "cement"
        written = Path(made.json["out"])
        assert written == model.with_suffix(
            {"c": ".c", "onnx": ".onnx", "sklearn": ".pkl"}.get(to, ".pt")
        )
        if to == "sklearn":
            assert pickle.loads(written.read_bytes()).n_features_in_ == 8
        if to == "c":
            assert "x[0]: cement" in written.read_text()

    def test_models_without_names(self, run: Any, tmp_path: Path) -> None:
        convexrelu.save(convexrelu.Network([[1.0, 2.0]], [1.0]), tmp_path / "n.npz")
        assert run("export", tmp_path / "n.npz", "--to", "c").status == 0
        (tmp_path / "t.csv").write_text("a,b\n1,2\n")
        failed = run("report", tmp_path / "n.npz", tmp_path / "t.csv", "--out", tmp_path / "p.html")
        assert failed.status == 2
        assert "knows no names of columns" in failed.err
        convexrelu.save(convexrelu.Network([[1.0]], [1.0], [[1.0]]), tmp_path / "g.npz")
        failed = run("export", tmp_path / "g.npz", "--to", "c")
        assert failed.status == 2
        assert "model must be a relu network" in failed.err

    def test_demo(self, run: Any, tmp_path: Path) -> None:
        page, model = tmp_path / "demo.html", tmp_path / "demo.npz"
        told = run("demo", "--out", page, "--save", model)
        assert told.status == 0
        assert [line[0] for line in told.out.splitlines() if line[0] != " "] == list("12345")
        assert "no better weights exist" in told.out
        assert len(page.read_text()) < 500_000
        file = Path(convexrelu.__file__).parent / "data/concrete.csv"
        assert run("predict", model, file, "--out", tmp_path / "o.csv").status == 0
