"""The command line: what it prints, what it refuses, and with which exit status."""

from __future__ import annotations

import csv
import gzip
import importlib.metadata
import io
import json
import math
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.commands import Run

import convexrelu
from convexrelu import cli
from convexrelu.cli.console import Console
from convexrelu.cli.scores import score_table

FAST = ["--gates", "20", "--lam-ratio", "0.1"]


@pytest.fixture
def train(capsys: pytest.CaptureFixture[str]):
    return lambda *arguments: Run(capsys, "train", *arguments)


def write_csv(path: Path, columns: list[str], values: np.ndarray) -> Path:
    rows = "\n".join(",".join(map(repr, row)) for row in values.tolist())
    path.write_text(",".join(columns) + "\n" + rows + "\n")
    return path


@pytest.fixture
def regression(tmp_path: Path) -> Path:
    """60 rows of three features, the last constant, and a target that is not linear in them."""
    rng = np.random.default_rng(7)
    X = np.column_stack([rng.uniform(10, 20, 60), rng.normal(0, 1e-3, 60), np.full(60, 0.1)])
    y = 300.0 + 50.0 * np.abs(X[:, 0] - 15.0) + 1e4 * X[:, 1]
    return write_csv(tmp_path / "regression.csv", ["size", "noise", "one", "price"], np.c_[X, y])


@pytest.fixture
def classification(tmp_path: Path) -> Path:
    """50 points, class 1 outside a circle."""
    X = np.random.default_rng(7).normal(size=(50, 2))
    y = (np.hypot(X[:, 0], X[:, 1]) > 1.4).astype(float)
    return write_csv(tmp_path / "classification.csv", ["u", "v", "outside"], np.c_[X, y])


class TestReport:
    def test_without_file_trains_on_concrete(self, train) -> None:
        run = train(*FAST)
        assert run.status == 0
        assert run.err == ""
        assert "concrete.csv, which comes with convexrelu" in run.out
        assert re.search(r"^features +8$", run.out, re.M)
        assert re.search(r"^rows +824 for training, 206 for testing \(seed 0\)$", run.out, re.M)
        assert re.search(r"^patterns +20 of 20 random gates \(seed 0\)$", run.out, re.M)
        assert re.search(r"^problem +relu, lam 0\.0\d+, 0.1 of lambda_max$", run.out, re.M)
        assert re.search(r"^optimum +certified: relative gap \S+, asked for 1e-06$", run.out, re.M)
        assert re.search(r"^(objective|neurons|seconds) +\d", run.out, re.M)
        assert re.search(r"^ +test RMSE +training RMSE$", run.out, re.M)
        assert re.search(r"^(network|linear|mean) +\d+\.\d+ +\d+\.\d+$", run.out, re.M)
        assert "\x1b" not in run.out

    def test_what_it_says_is_what_the_library_finds(self, train, regression: Path) -> None:
        """Every number of the report, recomputed through the Python API."""
        report = train(regression, *FAST, "--seed", 3, "--json").json
        values = np.loadtxt(regression, delimiter=",", skiprows=1)
        split, gates = np.random.SeedSequence(3).spawn(2)
        is_test = np.isin(np.arange(60), np.random.default_rng(split).permutation(60)[:12])
        (X, y), (X_test, y_test) = (
            (v[:, :-1], v[:, -1]) for v in (values[~is_test], values[is_test])
        )

        standardizer = convexrelu.Standardizer.fit(X, y)
        Z, t = standardizer.transform(X), standardizer.transform_target(y)
        problem = convexrelu.Problem(Z, t, convexrelu.sample_patterns(Z, 20, rng=gates))
        solution = convexrelu.solve(problem, 0.1 * problem.lambda_max, tol=1e-6)
        certificate = convexrelu.certify(solution)
        model = convexrelu.StandardizedNetwork(convexrelu.to_network(solution), standardizer)

        assert report["n_train"] == 48
        assert report["n_test"] == 12
        assert report["n_features"] == 3
        assert report["constant_features"] == ["one"]
        assert report["target"] == "price"
        assert report["n_patterns"] == len(problem.patterns)
        assert report["lambda_max"] == problem.lambda_max
        assert report["lam"] == solution.lam
        assert report["objective"] == certificate.primal
        assert report["lower_bound"] == certificate.dual
        assert report["gap"] == certificate.gap <= 1e-6
        assert report["certified"] is True
        assert report["n_neurons"] == model.n_neurons > 0
        assert model.network.objective(Z, t, solution.lam) == pytest.approx(
            report["objective"], rel=1e-10
        )
        assert model.network.hidden[:, 2].tolist() == [0.0] * model.n_neurons

        def rmse(predicted: np.ndarray, y: np.ndarray) -> float:
            return math.sqrt(np.mean((predicted - y) ** 2))

        # A linear model of the raw features is one of the standardised ones.
        linear = np.linalg.lstsq(np.c_[X[:, :2], np.ones(48)], y, rcond=None)[0]
        for kind, X_, y_ in (("test", X_test, y_test), ("training", X, y)):
            scores = report["scores"][kind]
            assert scores["network"]["rmse"] == pytest.approx(
                rmse(model.predict(X_), y_), rel=1e-12
            )
            of_linear = rmse(np.c_[X_[:, :2], np.ones(len(X_))] @ linear, y_)
            assert scores["linear"]["rmse"] == pytest.approx(of_linear, rel=1e-6)
            assert scores["mean"]["rmse"] == pytest.approx(rmse(np.full(len(y_), y.mean()), y_))
        assert scores["network"]["rmse"] < scores["linear"]["rmse"] < scores["mean"]["rmse"]

    def test_two_classes(self, train, classification: Path) -> None:
        run = train(classification, "--json", *FAST)
        report = run.json
        assert report["classes"] == [0.0, 1.0]
        accuracies = {name: s["accuracy"] for name, s in report["scores"]["test"].items()}
        assert set(accuracies) == {"network", "linear", "mean"}
        assert all(
            round(10 * a) == pytest.approx(10 * a) for a in accuracies.values()
        )  # of 10 rows
        assert report["scores"]["training"]["network"]["accuracy"] > 0.8
        text = train(classification, *FAST).out
        assert "outside (two classes, 0 and 1)" in text
        assert re.search(r"test RMSE +training RMSE +test accuracy +training accuracy", text)
        assert re.search(r"^network .* \d+\.\d %$", text, re.M)

    def test_classes_of_any_values(self, train, tmp_path: Path, classification: Path) -> None:
        """1/2 in place of 0/1 is another unit of the target, which changes nothing else."""
        values = np.loadtxt(classification, delimiter=",", skiprows=1)
        values[:, -1] = 2.0 - values[:, -1]
        other = write_csv(tmp_path / "other.csv", ["u", "v", "k"], values)
        first, second = (train(f, "--json", *FAST).json for f in (classification, other))
        assert second["classes"] == [1.0, 2.0]
        # Signs of the target swap, and with them those of the neurons: the objective is the same.
        assert first["objective"] == pytest.approx(second["objective"], rel=1e-9)
        for kind in ("test", "training"):
            for name in ("network", "linear", "mean"):
                a, b = (r["scores"][kind][name]["accuracy"] for r in (first, second))
                assert a == pytest.approx(b)

    def test_last_bits_are_no_spread(self, train, tmp_path: Path) -> None:
        """A feature and the classes of a target, with sums of terms in another order."""
        rng = np.random.default_rng(7)
        last = np.where(rng.random(60) < 0.5, 0.3, 0.1 + 0.2)
        X = np.c_[rng.normal(size=60), last]
        path = write_csv(tmp_path / "t.csv", ["a", "b", "y"], np.c_[X, last * (X[:, 0] > 0)])
        report = train(path, *FAST, "--json").json
        assert report["constant_features"] == ["b"]
        assert report["classes"] == [0.0, 0.3]

    def test_no_test_rows(self, train, regression: Path) -> None:
        run = train(regression, "--test", 0, *FAST)
        assert run.status == 0
        assert re.search(r"^rows +60 for training, none for testing$", run.out, re.M)
        assert "test RMSE" not in run.out
        assert list(train(regression, "--test", 0, "--json", *FAST).json["scores"]) == ["training"]

    def test_one_json_object_and_nothing_else(self, train, regression: Path) -> None:
        run = train(regression, "--json", *FAST)
        assert run.err == ""
        assert list(run.json)[:2] == ["file", "test_file"]
        assert run.json["file"] == str(regression)

    def test_same_seed_same_answer(self, train, regression: Path) -> None:
        def answer(seed: int) -> dict[str, Any]:
            report = train(regression, "--json", *FAST, "--seed", seed).json
            return {k: v for k, v in report.items() if "seconds" not in k and k != "seed"}

        assert answer(5) == answer(5)
        assert answer(5)["objective"] != answer(6)["objective"]


class TestOptions:
    def test_target_is_any_column(self, train, regression: Path, tmp_path: Path) -> None:
        values = np.loadtxt(regression, delimiter=",", skiprows=1)
        columns = ["price", "size", "noise", "one"]
        moved = write_csv(tmp_path / "moved.csv", columns, values[:, [3, 0, 1, 2]])
        first = train(regression, "--json", *FAST).json
        second = train(moved, "--target", "price", "--json", *FAST).json
        assert second["target"] == "price"
        assert first["objective"] == second["objective"]
        assert first["scores"] == second["scores"]

    def test_test_file(self, train, regression: Path, tmp_path: Path) -> None:
        values = np.loadtxt(regression, delimiter=",", skiprows=1)
        columns = ["size", "noise", "one", "price"]
        fit = write_csv(tmp_path / "fit.csv", columns, values[:40])
        order = [3, 1, 0, 2]  # columns are matched by name
        held = write_csv(tmp_path / "held.csv", [columns[j] for j in order], values[40:, order])
        run = train(fit, "--test", held, *FAST)
        assert f"40 for training, 20 for testing ({held})" in run.out
        report = train(fit, "--test", held, "--json", *FAST).json
        spread = values[40:, 3] - values[:40, 3].mean()
        assert report["scores"]["test"]["mean"]["rmse"] == pytest.approx(
            np.sqrt(np.mean(spread**2))
        )

    def test_lam(self, train, regression: Path) -> None:
        report = train(regression, "--lam-ratio", 0.25, "--gates", 20, "--json").json
        assert report["lam"] == 0.25 * report["lambda_max"]
        same = train(regression, "--lam", report["lam"], "--gates", 20, "--json").json
        assert same["objective"] == report["objective"]
        run = train(regression, "--lam-ratio", 1.0, "--gates", 20, "--json")
        assert run.status == 0
        assert run.json["n_neurons"] == 0
        assert run.json["objective"] == pytest.approx(0.5)  # of the standardised target
        scores = run.json["scores"]["test"]
        assert scores["network"] == pytest.approx(scores["mean"])

    def test_formulations_differ(self, train, regression: Path) -> None:
        gated, relu = (
            train(regression, *FAST, "--formulation", name, "--json") for name in ("gated", "relu")
        )
        assert gated.status == relu.status == 0
        assert gated.json["cone_violation"] == 0.0
        assert gated.json["objective"] < relu.json["objective"]  # fewer constraints

    def test_range_of_float64(self, train, regression: Path, tmp_path: Path) -> None:
        """Units do not matter, as far as they are accepted."""
        values = np.loadtxt(regression, delimiter=",", skiprows=1)
        names = ["size", "noise", "one", "price"]
        scaled = write_csv(tmp_path / "scaled.csv", names, values * [1e95, 1e-90, 1e-99, 1e-95])
        first, second = (train(f, "--json", *FAST).json for f in (regression, scaled))
        assert second["objective"] == pytest.approx(first["objective"], rel=1e-9)
        far = write_csv(tmp_path / "far.csv", names, np.full((1, 4), 1e100))
        run = train(scaled, "--test", far, "--json", *FAST)
        assert run.err == ""
        assert run.status == 0
        assert run.json["scores"]["test"]["mean"]["rmse"] in (None, pytest.approx(1e100))

    def test_gzipped(self, train, regression: Path, tmp_path: Path) -> None:
        path = tmp_path / "regression.csv.gz"
        path.write_bytes(gzip.compress(regression.read_bytes()))
        a, b = (train(f, "--json", *FAST).json for f in (regression, path))
        assert a["objective"] == b["objective"]

    def test_drop_missing(self, train, regression: Path) -> None:
        lines = regression.read_text().splitlines()
        lines[5] = lines[5].replace(lines[5].split(",")[0], "", 1)
        regression.write_text("\n".join(lines))
        run = train(regression, *FAST)
        assert run.status == 0
        assert re.search(r"^features +3 columns, 4 inputs with those of ", run.out, re.M)
        assert re.search(r"^missing +size 1: medians$", run.out, re.M)
        run = train(regression, *FAST, "--drop-missing")
        assert run.status == 0
        assert "; 1 with missing cells left out" in run.out
        assert train(regression, *FAST, "--drop-missing", "--json").json["n_dropped"] == 1

    def test_time_limit_ends_uncertified(self, train) -> None:
        run = train("--gates", 500, "--time-limit", 0)
        assert run.status == 1
        assert "not certified (solver: time limit): relative gap" in run.out
        report = train("--gates", 500, "--time-limit", 0, "--json")
        assert report.status == 1
        assert report.json["certified"] is False
        assert report.json["gap"] > 1e-6
        assert report.json["status"] == "time_limit"

    def test_tolerance_decides(self, train) -> None:
        assert train("--gates", 500, "--time-limit", 0, "--tol", 1).status == 0


class TestGrowing:
    """Without gates the patterns grow, over all there are."""

    def test_it_is_solve_global(self, train, regression: Path) -> None:
        run = train(regression, "--seed", 3, "--lam-ratio", 0.01, "--json")
        report = run.json
        values = np.loadtxt(regression, delimiter=",", skiprows=1)
        split, _ = np.random.SeedSequence(3).spawn(2)
        is_train = np.random.default_rng(split).permutation(60)[12:]
        X, y = values[np.sort(is_train), :-1], values[np.sort(is_train), -1]
        standardizer = convexrelu.Standardizer.fit(X, y)
        Z, t = standardizer.transform(X), standardizer.transform_target(y)
        price = convexrelu.price_patterns(Z, t)
        assert price.is_exact
        assert report["lambda_max"] == pytest.approx(price.value, rel=1e-6)
        assert report["lambda_max_is_exact"] is True
        assert report["lam"] == 0.01 * report["lambda_max"]
        solution = convexrelu.solve_global(Z, t, report["lam"], tol=1e-6)
        assert solution.status == "optimal"
        assert report["status"] == "optimal"
        assert report["tol"] == 1e-3
        assert report["objective"] == pytest.approx(solution.objective, rel=1e-3)
        assert report["global_lower_bound"] <= solution.objective * (1 + 1e-9)
        assert 0.0 <= report["global_gap"] <= 1e-3
        assert report["gap"] <= 1e-3
        assert report["n_gates"] is None
        assert report["n_patterns"] >= 1
        assert run.status == 0

    def test_report(self, train, regression: Path) -> None:
        run = train(regression, "--lam-ratio", 0.01)
        assert run.status == 0
        assert re.search(r"^patterns +grown as they are needed \(seed 0\)$", run.out, re.M)
        problem = r"^problem +relu, lam \S+, 0.01 of lambda_max = \S+, proven$"
        assert re.search(problem, run.out, re.M)
        assert re.search(r"^any width +proven: none has a lower objective, to \S+$", run.out, re.M)
        found = train(*self.many_features(regression.parent), "--lam-ratio", 0.3)
        assert found.status == 0
        assert re.search(r"of lambda_max = \S+, the largest found$", found.out, re.M)
        open_ = r"^any width +none lower was found; proven: none is below \S+, \d\S* % lower$"
        assert re.search(open_, found.out, re.M)

    @staticmethod
    def many_features(folder: Path) -> list[Path]:
        """30 features, where branch and bound does not get far."""
        X = np.random.default_rng(7).normal(size=(80, 30))
        names = [f"x{j}" for j in range(30)]
        return [write_csv(folder / "many.csv", [*names, "y"], np.c_[X, np.abs(X[:, 0]) + X[:, 1]])]

    def test_open_bound_does_not_decide(self, train, tmp_path: Path) -> None:
        run = train(*self.many_features(tmp_path), "--lam-ratio", 0.3, "--json")
        assert run.json["status"] == "unproven"
        assert run.json["global_gap"] > 1e-3 >= run.json["gap"]
        assert run.json["lambda_max_is_exact"] is False
        assert run.status == 0

    def test_no_worse_than_gates(self, train, classification: Path) -> None:
        gates = train(classification, "--gates", 100, "--lam", 0.01, "--json").json
        grown = train(classification, "--lam", 0.01, "--json").json
        assert grown["global_gap"] <= 1e-3
        assert grown["objective"] <= gates["objective"] * (1 + 1e-3)

    def test_time_limit(self, train, tmp_path: Path) -> None:
        file = self.many_features(tmp_path)
        run = train(*file, "--time-limit", 0, "--json")
        assert run.status == 1
        assert run.json["status"] == "time_limit"
        assert run.json["objective"] == pytest.approx(0.5)
        text = train(*file, "--time-limit", 0).out
        assert "not certified (solver: time limit): relative gap" in text
        assert re.search(r"^any width +the search was not over; nothing is proven$", text, re.M)
        assert "any width" not in train(*file, "--gates", 5, "--time-limit", 0).out

    def test_growing_ends_without_a_limit_too(
        self, train, classification: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What has grown by then is solved."""
        monkeypatch.setattr("convexrelu.cli.fitting._GROWING_SECONDS", 0.0)
        run = train(classification, "--json")
        assert run.status == 0
        assert run.json["gap"] <= 1e-3
        assert run.json["status"] == "time_limit"

    def test_gated_draws_its_gates(self, train, regression: Path) -> None:
        report = train(regression, "--formulation", "gated", "--lam-ratio", 0.1, "--json").json
        assert report["n_gates"] == 500
        assert report["tol"] == 1e-6
        assert report["global_gap"] is None

    def test_same_seed_same_answer(self, train, classification: Path) -> None:
        runs = [train(classification, "--seed", 4, "--json").json for _ in range(2)]
        first, second = ({k: v for k, v in r.items() if "seconds" not in k} for r in runs)
        assert first == second


class TestChoosing:
    """Without gates and lam, lam comes from folds of the training rows."""

    def test_report(self, train, regression: Path) -> None:
        run = train(regression, "--cv", 3, "--rule", "one_se")
        assert run.status == 0
        assert re.search(
            r"^lam +by 3 folds of the training rows, one standard error$", run.out, re.M
        )
        assert re.search(r"^ +of lambda_max +RMSE +neurons$", run.out, re.M)
        assert len(re.findall(r"^ +\S+ +\S+ \+- \S+ +\d+( +chosen)?$", run.out, re.M)) >= 4
        assert len(re.findall(r"chosen$", run.out, re.M)) == 1

    def test_json(self, train, regression: Path) -> None:
        report = train(regression, "--json").json
        choice = report["choice"]
        assert choice["folds"] == 5
        assert choice["rule"] == "best"
        assert choice["lams"][choice["chosen"]] == report["lam"]
        assert choice["rmse"][choice["chosen"]] == min(choice["rmse"])
        assert report["lam"] / report["lambda_max"] == pytest.approx(
            choice["ratios"][choice["chosen"]]
        )
        assert report["gap"] <= 1e-3
        assert train(regression, "--json").json["choice"] == choice

    def test_predicts_no_worse_than_the_usual_lam(self, train, regression: Path) -> None:
        chosen = train(regression, "--json").json["scores"]["test"]["network"]["rmse"]
        usual = train(regression, "--lam-ratio", 0.1, "--json").json["scores"]["test"]["network"]
        assert chosen <= 1.1 * usual["rmse"]

    @pytest.mark.parametrize("option", [("--cv", 3), ("--rule", "best")])
    @pytest.mark.parametrize("other", [("--lam", 0.1), ("--lam-ratio", 0.1), ("--gates", 20)])
    def test_is_not_asked_for_in_vain(self, train, regression: Path, option, other) -> None:
        run = train(regression, *option, *other)
        assert run.status == 2
        assert f"{option[0]}: lam is chosen where patterns grow and it is not given" in run.err


class TestSave:
    def test_predicts_raw_rows(self, train, regression: Path, tmp_path: Path) -> None:
        path = tmp_path / "network.npz"
        run = train(regression, *FAST, "--test", 0, "--save", path)
        assert run.status == 0
        assert re.search(rf"^saved +{re.escape(str(path))}$", run.out, re.M)
        report = train(regression, *FAST, "--test", 0, "--save", path, "--json").json
        assert report["saved"] == str(path)
        values = np.loadtxt(regression, delimiter=",", skiprows=1)
        model = convexrelu.load(path)
        error = np.sqrt(np.mean((model.predict(values[:, :-1]) - values[:, -1]) ** 2))
        assert report["scores"]["training"]["network"]["rmse"] == pytest.approx(error, rel=1e-12)
        assert error < 0.5 * values[:, -1].std()

    def test_saved_even_if_uncertified(self, train, tmp_path: Path) -> None:
        path = tmp_path / "network.npz"
        assert train(*FAST, "--time-limit", 0, "--save", path).status == 1
        assert convexrelu.load(path).predict(np.zeros((3, 8))).shape == (3,)

    def test_refused_before_the_work(self, train, regression: Path, tmp_path: Path) -> None:
        before = regression.read_bytes()
        for path, message in (
            (tmp_path, "is a directory"),
            (tmp_path / "no" / "where.npz", f"there is no directory {tmp_path / 'no'}"),
            (regression, "would overwrite the data"),
            (regression / "network.npz", "Not a directory"),
            (tmp_path / (300 * "n"), "File name too long"),
        ):
            run = train(regression, *FAST, "--save", path)
            assert run.status == 2
            assert run.out == ""
            assert run.err == f"convexrelu train: --save {path}: {message}\n"
        assert regression.read_bytes() == before


class TestPredict:
    @pytest.fixture
    def mixed(self, tmp_path: Path) -> Path:
        """60 rows of a number, a text and a number with missing cells."""
        rng = np.random.default_rng(7)
        size = rng.uniform(10, 20, 60).round(3)
        kind = rng.choice(["flat", "house, small", "house"], 60)
        age = rng.integers(1, 90, 60)
        price = size + 5 * (kind == "house") + age / 30
        rows = [
            f'{s},"{k}",{"" if j % 9 == 0 else a},{p}'
            for j, (s, k, a, p) in enumerate(zip(size, kind, age, price, strict=True))
        ]
        path = tmp_path / "mixed.csv"
        path.write_text("size,kind,age,price\n" + "\n".join(rows) + "\n")
        return path

    @pytest.fixture
    def model(self, train, mixed: Path, tmp_path: Path) -> Path:
        path = tmp_path / "model.npz"
        assert train(mixed, *FAST, "--save", path).status == 0
        return path

    def test_the_model_keeps_names(self, model: Path) -> None:
        loaded = convexrelu.load(model)
        assert loaded.target == "price"
        assert loaded.preprocessor.features == (
            *("size", "kind=flat", "kind=house", "kind=house, small", "age", "age is missing"),
        )

    def test_columns_in_any_order(
        self, capsys: pytest.CaptureFixture[str], model: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "rows.csv"
        path.write_text("age,other,kind,size\n30,x,house,12\n,1,castle,15.5\n")
        expected = convexrelu.load(model).predict(
            {"size": [12.0, 15.5], "kind": ["house", "castle"], "age": [30, None]}
        )
        run = Run(capsys, "predict", model, path)
        assert (run.status, run.err) == (0, "")
        title, *lines = run.out.splitlines()
        assert title == "price"
        assert [float(line) for line in lines] == expected.tolist()
        report = Run(capsys, "predict", model, path, "--json").json
        assert report["predictions"] == expected.tolist()
        assert (report["target"], report["n_rows"], report["out"]) == ("price", 2, None)
        out = tmp_path / "out.csv"
        run = Run(capsys, "predict", model, path, "--out", out)
        assert re.search(rf"^written +{re.escape(str(out))}$", run.out, re.M)
        assert out.read_text().splitlines() == [title, *lines]
        assert "predictions" not in Run(capsys, "predict", model, path, "--out", out, "--json").json

    def test_as_the_scores_of_training(
        self, capsys: pytest.CaptureFixture[str], train, mixed: Path, tmp_path: Path
    ) -> None:
        """The table itself, of which the target is one more column to ignore."""
        path = tmp_path / "model.npz"
        report = train(mixed, *FAST, "--test", 0, "--save", path, "--json").json
        assert (report["n_features"], report["n_inputs"]) == (3, 6)
        assert report["n_missing"] == {"age": 7}
        predicted = np.array(Run(capsys, "predict", path, mixed, "--json").json["predictions"])
        price = np.array([float(row.split(",")[-1]) for row in mixed.read_text().splitlines()[1:]])
        error = np.sqrt(np.mean((predicted - price) ** 2))
        assert error == pytest.approx(report["scores"]["training"]["network"]["rmse"], rel=1e-12)
        assert error < 0.5 * price.std()

    def test_refuses(
        self, capsys: pytest.CaptureFixture[str], model: Path, mixed: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "rows.csv"
        for text, message in (
            ("age,kind\n30,house\n", "rows.csv: it lacks size, which the training data had"),
            ("size,kind,age\n1,house,old\n", "column 'age' must be of numbers, but has 'old'"),
            ("size,kind,age\n1,2,3\n", "column 'kind' must be of texts, but has 2"),
            ("size,kind,age\n", "no rows below the header line"),
        ):
            path.write_text(text)
            run = Run(capsys, "predict", model, path)
            assert (run.status, run.out) == (2, "")
            assert message in run.err
        for out in (model, mixed):
            before = out.read_bytes()
            run = Run(capsys, "predict", model, mixed, "--out", out)
            assert (run.status, run.out) == (2, "")
            assert f"--out {out}: would overwrite the data" in run.err
            assert out.read_bytes() == before
        assert Run(capsys, "predict", mixed, mixed).status == 2
        assert Run(capsys, "predict", model).status == 2

    def test_networks_without_names(
        self, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        path, rows = tmp_path / "network.npz", tmp_path / "rows.csv"
        convexrelu.save(convexrelu.Network([[1.0, -1.0]], [2.0]), path)
        rows.write_text("a,b\n3,1\n1,3\n")
        assert Run(capsys, "predict", path, rows).out == "prediction\n4.0\n0.0\n"
        rows.write_text("a,b,c\n3,1,1\n")
        message = "must have its 2 columns in their order, but has a, b, c"
        assert message in Run(capsys, "predict", path, rows).err
        rows.write_text("a,b\nx,1\nx,\n")
        assert (
            "knows numbers only, but there are texts in a" in Run(capsys, "predict", path, rows).err
        )

    def test_check_finds_columns_too(
        self, capsys: pytest.CaptureFixture[str], train, mixed: Path, tmp_path: Path
    ) -> None:
        path, moved = tmp_path / "model.npz", tmp_path / "moved.csv"
        options = ("--gates", 20, "--lam-ratio", 0.3, "--tol", 1e-8, "--test", 0)
        lam = train(mixed, *options, "--save", path, "--json").json["lam"]
        rows = list(csv.reader(mixed.read_text().splitlines()))
        with moved.open("w", newline="") as file:
            csv.writer(file).writerows([*row[::-1], f"extra {row[0]}"] for row in rows)
        words = ("--lam", lam, "--test", 0, "--time-limit", 1, "--json")
        reports = [Run(capsys, "check", path, file, *words).json for file in (mixed, moved)]
        assert reports[0]["objective"] == reports[1]["objective"]

    def test_ignored_columns(self, train, mixed: Path) -> None:
        report = train(mixed, *FAST, "--ignore", "kind", "--ignore", "age", "--json").json
        assert (report["n_features"], report["n_inputs"], report["n_missing"]) == (1, 1, {})
        assert "no column is named 'kin'" in train(mixed, *FAST, "--ignore", "kin").err
        assert (
            "no column is named 'price'"
            in train(mixed, *FAST, "--target", "price", "--ignore", "price").err
        )


class TestRefusals:
    """Exit status 2, nothing on stdout, a message on stderr, no traceback."""

    @staticmethod
    def refused(run: Run) -> str:
        assert run.status == 2
        assert run.out == ""
        assert "Traceback" not in run.err
        return run.err

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--lam", "0"], "--lam: must be a positive number, got '0'"),
            (["--lam", "-1"], "--lam: must be a positive number, got '-1'"),
            (["--lam", "nan"], "--lam: must be a positive number, got 'nan'"),
            (["--lam", "inf"], "--lam: must be a positive number"),
            (["--lam", "x"], "--lam: must be a positive number, got 'x'"),
            (["--lam-ratio", "0"], "--lam-ratio: must be a positive number"),
            (["--lam", "1", "--lam-ratio", "0.1"], "not allowed with argument --lam"),
            (["--gates", "0"], "--gates: must be a positive integer, got '0'"),
            (["--gates", "1.5"], "--gates: must be a positive integer"),
            (["--gates", "99999999999"], "--gates: must be a positive integer"),
            (["--seed", "-1"], "--seed: must be a non-negative integer, got '-1'"),
            (["--tol", "0"], "--tol: must be above 0 and at most 1, got '0'"),
            (["--tol", "2"], "--tol: must be above 0 and at most 1"),
            (["--time-limit", "-1"], "--time-limit: must be a number of seconds, got '-1'"),
            (["--formulation", "relus"], "--formulation: invalid choice: 'relus'"),
            (["--test", "1"], r"--test: must be a share of the rows in \[0, 1\), or a file"),
            (["--test", "none.csv"], "none.csv: no such file"),
            (["--test", "data.npz"], "data.npz: no such file"),
            (["--target", "strength"], "concrete.csv: no column is named 'strength'"),
            (["--unknown"], "unrecognized arguments: --unknown"),
            (["--tar", "x"], "unrecognized arguments: --tar"),
            (["none.csv"], "convexrelu train: none.csv: no such file"),
            (["none.npz"], "none.npz: no such file"),
        ],
    )
    def test_argument(self, train, arguments: list[str], message: str) -> None:
        assert re.search(message, self.refused(train(*arguments)))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a\n1\n2\n", "a single column; features and a target are needed"),
            ("a,b\n1,2\n", "0 training rows; at least 2 are needed"),
            ("a,b\n1,2\n3,4\n", "1 training row; at least 2 are needed"),
            ("a,b\n1,5\n2,5\n3,5\n", "the target 'b' is 5 in all 2 training rows"),
            ("a,b\n1,5\n1,6\n1,7\n", "no feature varies over the 2 training rows"),
            # What 0.1 + 0.2 is, and 0.3: entries that differ in their last bits are constant.
            (
                "a,b\n0.30000000000000004,5\n0.3,6\n0.30000000000000004,8\n0.3,7\n",
                "no feature varies over the 3 training rows",
            ),
            (
                "a,b\n5,0.30000000000000004\n6,0.3\n7,0.30000000000000004\n8,0.3\n",
                "the target 'b' is 0.3 in all 3 training rows",
            ),
            ("a,b\n1,\n2,3\n", "the target 'b' is missing in 1 row; leave these out with --drop"),
            ("a,b\nx,1\ny,2\nz,3\n", "column 'a' has no text that occurs twice; leave it out"),
            ("a,b\n,1\n,2\nNA,3\n", "column 'a' has no value; leave it out"),
            (
                "a,b\nx,1\n2,3\n",
                r"not numbers in 1 column\n  a  1 cell, first in row 1 \(line 2\): x",
            ),
        ],
    )
    def test_data(self, train, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "data.csv"
        path.write_text(text)
        error = self.refused(train(path))
        assert error.startswith(f"convexrelu train: {path}: ")
        assert re.search(message, error)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a,b\n1e300,2\n3,4\n5,7\n6,1\n", "column 'a' holds 1e+300; use another unit"),
            ("a,b\n1,2\n3,-4e200\n5,7\n6,1\n", "column 'b' holds 4e+200; use another unit"),
            ("a,b\n1e-200,2\n0,4\n0,7\n1e-200,8\n", "column 'a' varies by 1e-200 only"),
        ],
    )
    def test_range(self, train, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "data.csv"
        path.write_text(text)
        assert message in self.refused(train(path, "--test", 0))
        test = path.with_name("test.csv")
        test.write_text("a,b\n1,2\n2,1\n3,3\n")
        if "holds" in message:
            assert message in self.refused(train(test, "--test", path))

    def test_dropped_rows_are_named_as_the_reason(self, train, tmp_path: Path) -> None:
        path = tmp_path / "data.csv"
        path.write_text("a,b,c\n1,,1\n2,,2\n3,,3\n,,4\n4,5,6\n")
        error = self.refused(train(path, "--drop-missing"))
        assert "4 of 5 rows were left out for missing cells (most: b 4, a 1)" in error

    def test_test_file_with_other_columns(self, train, tmp_path: Path) -> None:
        path = write_csv(tmp_path / "t.csv", ["cement", "target", "iron"], np.ones((2, 3)))
        error = self.refused(train("--test", path))
        assert f"{path}: it lacks blast_furnace_slag, fly_ash" in error
        assert "It has the columns cement, target, iron." in error

    def test_no_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "required: COMMAND" in self.refused(Run(capsys))
        assert "invalid choice: 'trian'" in self.refused(Run(capsys, "trian"))

    def test_out_of_memory(self, train, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise MemoryError

        monkeypatch.setattr("convexrelu.cli.fitting.sample_patterns", fail)
        run = train(*FAST)
        assert run.status == 1
        assert run.err == (
            "convexrelu train: not enough memory; fewer gates or fewer rows need less\n"
        )


def command(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "convexrelu", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, **options)


class TestProcess:
    def test_module(self, regression: Path) -> None:
        run = command("train", regression, "--json", *FAST)
        assert run.returncode == 0
        assert run.stderr == ""
        assert json.loads(run.stdout)["certified"]

    def test_exit_status(self, tmp_path: Path) -> None:
        assert command("train", "--time-limit", 0).returncode == 1
        run = command("train", tmp_path / "none.csv")
        assert run.returncode == 2
        assert run.stdout == ""

    def test_entry_point(self) -> None:
        (script,) = importlib.metadata.entry_points(group="console_scripts", name="convexrelu")
        assert script.load() is cli.main

    def test_version_and_help(self) -> None:
        assert command("--version").stdout == f"convexrelu {convexrelu.__version__}\n"
        assert "train" in command("--help").stdout
        text = command("train", "--help").stdout
        assert "--lam-ratio R" in text
        assert "Exit status: 0" in text

    def test_names_that_the_terminal_cannot_show(self, tmp_path: Path) -> None:
        values = np.column_stack([np.arange(9.0), np.arange(9.0) ** 2])
        path = write_csv(tmp_path / "data.csv", ["x", "größe"], values)
        run = command("train", path, *FAST, env={**os.environ, "PYTHONIOENCODING": "ascii"})
        assert run.returncode == 0
        assert r"gr\xf6\xdfe" in run.stdout

    def test_reader_of_the_output_leaves(self) -> None:
        words = [sys.executable, "-m", "convexrelu", "train", *FAST]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait(60) == 1


class TestStreams:
    """Streams that are full, closed or shared: a message where one can be, the right status."""

    NOWHERE = "convexrelu: standard output: it is closed; send it to /dev/null where nobody reads"

    @staticmethod
    def shell(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What bash makes of ``convexrelu ...``, and the status of that."""
        text = text.replace("convexrelu", f"{shlex.quote(sys.executable)} -m convexrelu", 1)
        return subprocess.run(
            ["bash", "-c", f"{text}; exit ${{PIPESTATUS[0]}}"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device without space")
    @pytest.mark.parametrize(
        "words", ["train --gates 5", "train --gates 5 --json", "-h", "--version"]
    )
    def test_full(self, words: str) -> None:
        run = self.shell(f"convexrelu {words} > /dev/full")
        assert run.stderr == "convexrelu: standard output: No space left on device\n"
        assert run.returncode == 2

    @pytest.mark.parametrize("words", ["train --gates 5", "train none.csv", "-h", "--version"])
    def test_closed(self, words: str) -> None:
        run = self.shell(f"convexrelu {words} >&-")
        assert run.stderr.startswith(self.NOWHERE)
        assert run.stderr.count("\n") == 1
        assert run.returncode == 2
        assert self.shell(f"convexrelu {words} >&- 2>&-").returncode == 2

    @pytest.mark.parametrize("words", ["train --gates 500", "-h", "--version"])
    def test_reader_leaves(self, words: str) -> None:
        run = self.shell(f"convexrelu {words} | true")
        assert run.stderr == ""
        assert run.returncode in (0, 1)  # all was written before it left, or not

    @pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
    def test_nobody_listens_to_complaints(self, where: str, tmp_path: Path) -> None:
        for words, status in (
            ("train --gates 20 --lam-ratio 0.1", 0),
            ("train --gates 500 --time-limit 0", 1),
            (f"train {tmp_path}/none.csv", 2),
            ("train --gates none", 2),
            ("trian", 2),
            ("", 2),
        ):
            run = self.shell(f"convexrelu {words} {where}")
            assert run.returncode == status, words
            assert (run.stdout == "") == (status == 2), words
            assert run.stderr == ""

    def test_closed_streams_are_not_taken_for_files(self, tmp_path: Path) -> None:
        """A file that is opened must not get the number of standard error."""
        path = tmp_path / "network.npz"
        words = f"train --gates 20 --lam-ratio 0.1 --save {path}"
        run = self.shell(f"convexrelu {words} <&- 2>&-")
        assert run.returncode == 0
        convexrelu.load(path)
        code = (
            "import os, sys\n"
            "from convexrelu.cli import streams as _streams\n"
            "with _streams.whole_streams():\n"
            f"    file = open({str(tmp_path / 'file')!r}, 'w')\n"
            "    os.write(2, b'complaint')\n"
            "    sys.exit(file.fileno() < 3 or not sys.stderr.writable())\n"
        )
        for closed in ("2>&-", "<&-", "<&- >&- 2>&-"):
            program = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} {closed}"
            assert subprocess.run(["bash", "-c", program], timeout=60).returncode == 0
            assert (tmp_path / "file").read_text() == ""

    def test_what_libraries_write_is_no_result(self) -> None:
        """To the descriptor and through C: it goes to standard error, at once or at the end."""
        code = (
            "import ctypes, os, sys\n"
            "from convexrelu import cli\n"
            "from convexrelu.cli.commands import train\n"
            "def run(arguments, console):\n"
            "    ctypes.CDLL(None).puts(b'from C')\n"
            "    os.write(1, b'past Python\\n')\n"
            "    console.write('result')\n"
            "    return 0\n"
            "train.run = run\n"
            "status = cli.main(['train'])\n"
            "print('restored')\n"
            "sys.exit(status)\n"
        )
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert run.stdout == "result\nrestored\n"
        assert sorted(run.stderr.splitlines()) == ["from C", "past Python"]
        assert run.returncode == 0

    @pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "no such"])
    def test_backend_of_a_notebook(self, backend: str, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        path = tmp_path / "path.png"
        words = f"path --gates 20 --lam-ratio 0.3 --plot {path}"
        run = self.shell(f"convexrelu {words}", MPLBACKEND=backend)
        assert (run.returncode, run.stderr) == (0, "")
        assert path.read_bytes().startswith(b"\x89PNG")


class TestModules:
    def test_starts_without_heavy_modules(self) -> None:
        code = "import sys; from convexrelu import cli; print(*sys.modules)"
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
        )
        assert not {"scipy", "sklearn", "matplotlib", "pandas"} & set(run.stdout.split())


class TestDocumentation:
    TEXT = (Path(__file__).parents[1] / "docs/command_line.md").read_text()

    def rows(self, header: str, after: str = "") -> dict[str, str]:
        """A table of the page: first cells (one or more names), second cells."""
        text = self.TEXT.split(after, 1)[1] if after else self.TEXT
        rows = text.split(header)[1].split("\n\n")[0].splitlines()[2:]
        pairs = (row.replace(r"\|", "/").split("|")[1:3] for row in rows)
        return {first.strip(): second.strip() for first, second in pairs}

    @pytest.mark.parametrize("arguments", [["train"], ["check", "network.npz", "--lam", "1"]])
    def test_options_and_their_defaults(
        self, capsys: pytest.CaptureFixture[str], arguments: list[str]
    ) -> None:
        command = arguments[0]
        options = self.rows("| argument | default | meaning |", f"## convexrelu {command}\n")
        named = set(re.findall(r"--[a-z-]+", " ".join(options)))
        shown = Run(capsys, command, "-h").out.split("\noptions:")[1]
        assert named == set(re.findall(r"^ +(?:-h, )?(--[a-z-]+)", shown, re.M)) - {"--help"}
        defaults = vars(cli.make_parser().parse_args(arguments))
        for words, documented in options.items():
            if re.fullmatch(r"[\de.-]+|relu", documented):
                default = defaults[re.search(r"--([a-z-]+)", words)[1].replace("-", "_")]
                assert default == (documented if documented == "relu" else float(documented))

    def test_example(self, train) -> None:
        """All but the figures: which lam is chosen of neighbours that are nearly level, and how
        many are tried, is a matter of rounding on the way of the searches.
        """

        def errors(text: str) -> list[float]:
            return [float(word) for word in re.findall(r"\d+\.\d+", text.split("training RMSE")[1])]

        def words(text: str) -> str:
            lines = [line for line in text.splitlines() if "+-" not in line]
            return re.sub(r"[ -]+", " ", re.sub(r"\d[\d.e+-]*", "#", "\n".join(lines))).strip()

        shown = textwrap.dedent(self.TEXT.split("    $ convexrelu train\n")[1].split("\n\n|")[0])
        run = train()
        assert run.status == 0
        assert words(shown) == words(run.out)
        assert errors(run.out) == pytest.approx(errors(shown), rel=0.25)

    def test_keys_of_the_report(self, train, regression: Path) -> None:
        documented = re.findall(r"`(\w+)`", " ".join(self.rows("| key | meaning |")))
        assert sorted(documented) == sorted(train(regression, "--json", *FAST).json)


class Terminal:
    """A process on a pseudo-terminal."""

    def __init__(self, *words: str) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm", COLUMNS="100")
            os.environ.pop("NO_COLOR", None)
            os.execv(words[0], words)
        self.output = ""

    def read_until(self, text: str | None, seconds: float = 60.0) -> None:
        """Reads until the text has appeared, or to the end."""
        end = time.monotonic() + seconds
        while text is None or text not in self.output:
            assert time.monotonic() < end, self.output
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.output += os.read(self.fd, 65536).decode()
                except OSError:  # how Linux says that the other side has closed
                    return

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def exit_status(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


class TestTerminal:
    def test_shows_progress_and_colour(self) -> None:
        terminal = Terminal(sys.executable, "-m", "convexrelu", "train", "--gates", "100")
        terminal.read_until(None)
        assert terminal.exit_status() == 0
        assert re.search(r"\rsolve +\d+   objective \S+   gap \S+   \S+ s", terminal.output)
        assert "\x1b[1;32mcertified\x1b[0m" in terminal.output
        # The line of progress is gone before anything else is written.
        assert re.search(r"certifying *\r +\r\x1b\[2moptimum", terminal.output)

    @pytest.mark.parametrize(("gates", "phase"), [(["--gates", "2000"], "solve "), ([], "grow ")])
    def test_interrupt(self, tmp_path: Path, gates: list[str], phase: str) -> None:
        X = np.random.default_rng(7).normal(size=(3000, 20))
        names = [f"x{j}" for j in range(20)]
        path = write_csv(tmp_path / "large.csv", [*names, "y"], np.c_[X, np.sin(3 * X).sum(axis=1)])
        words = ["train", str(path), *gates, "--lam-ratio", "1e-4"]
        terminal = Terminal(sys.executable, "-m", "convexrelu", *words)
        terminal.read_until(phase)
        started = time.monotonic()
        terminal.type(b"\x03")
        terminal.read_until(None)
        assert terminal.exit_status() == 128 + signal.SIGINT
        assert time.monotonic() - started < 5.0
        assert terminal.output.rstrip().endswith("convexrelu train: interrupted")
        assert "Traceback" not in terminal.output


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestConsole:
    @pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
    def test_plain_when_asked(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
        assert Console(out=FakeTerminal()).good("x") == "\x1b[1;32mx\x1b[0m"
        monkeypatch.setenv(name, value)
        assert Console(out=FakeTerminal()).good("x") == "x"

    def test_status_is_rewritten_and_removed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm")
        out, err = io.StringIO(), FakeTerminal()
        console = Console(out, err)
        console.status("a longer line", at_once=True)
        console.status("lost, too soon")
        console.status("short", at_once=True)
        console.write("result")
        assert err.getvalue() == "\ra longer line\rshort        \r     \r"
        assert out.getvalue() == "result\n"

    def test_no_status_into_a_pipe(self) -> None:
        err = io.StringIO()
        Console(io.StringIO(), err).status("x", at_once=True)
        assert err.getvalue() == ""


class TestScoreTable:
    def test_is_aligned(self) -> None:
        scores = {"test": {"network": {"rmse": 0.0512}, "mean": {"rmse": 123.4}}}
        assert score_table(scores) == [
            ("", "test RMSE"),
            ("network", "   0.0512"),
            ("mean", " 123.4000"),
        ]

    @pytest.mark.parametrize(
        ("values", "texts"),
        [
            ((1e-9, 1.0), ("1.00e-09", "1.00e+00")),
            ((3e8, 4e9), ("3.00e+08", "4.00e+09")),
            ((0.0, 0.0), ("0.00", "0.00")),
            ((1234.5, 23456.7), ("1234", "23457")),
            ((math.inf, 1.0), ("inf", "1")),
        ],
    )
    def test_of_any_size(self, values: tuple[float, float], texts: tuple[str, str]) -> None:
        scores = {"test": {"a": {"rmse": values[0]}, "b": {"rmse": values[1]}}}
        assert [text.strip() for _, text in score_table(scores)[1:]] == list(texts)


class TestCheck:
    @pytest.fixture
    def saved(self, train, regression: Path, tmp_path: Path) -> tuple[Path, float]:
        """A network over grown patterns, which lack none that it could use, and its lam."""
        path = tmp_path / "network.npz"
        options = ("--lam-ratio", 0.3, "--tol", 1e-8, "--save", path, "--json")
        report = train(regression, *options).json
        return path, report["lam"]

    def test_what_train_saved_is_stationary(
        self, capsys: pytest.CaptureFixture[str], saved: tuple[Path, float], regression: Path
    ) -> None:
        path, lam = saved
        run = Run(capsys, "check", path, regression, "--lam", lam)
        assert re.search(r"^objective +\S+ at lam ", run.out, re.M)
        assert re.search(r"^stationary +yes: relative gap ", run.out, re.M)
        assert re.search(r"^global +", run.out, re.M)
        report = Run(capsys, "check", path, regression, "--lam", lam, "--json").json
        values = np.loadtxt(regression, delimiter=",", skiprows=1)
        split = np.random.SeedSequence(0).spawn(2)[0]
        is_test = np.isin(np.arange(60), np.random.default_rng(split).permutation(60)[:12])
        model = convexrelu.load(path).network
        X = model.standardizer.transform(values[~is_test, :-1])
        y = model.standardizer.transform_target(values[~is_test, -1])
        assert report["objective"] == model.network.objective(X, y, lam)
        # The network is the best one, and each objective is rounded on its own.
        rounding = 1 + 4 * np.finfo(float).eps
        assert report["objective"] * rounding >= report["best_objective"]
        assert report["best_objective"] >= report["global_lower_bound"]
        assert report["stationary"]
        assert run.status == 0

    def test_place(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        """A network from the midst of the optimal set of the parity of three bits."""
        X = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], dtype=float)
        y = X.sum(axis=1) % 2
        file = write_csv(tmp_path / "parity.csv", ["a", "b", "c", "odd"], np.c_[X, y])
        optima = convexrelu.find_optimal_set(convexrelu.solve_global(X, y, 0.01), all_patterns=True)
        convexrelu.save(optima.network(optima.min_norm()), tmp_path / "network.npz")
        arguments = ("check", tmp_path / "network.npz", file, "--lam", 0.01, "--test", 0)
        report = Run(capsys, *arguments, "--json").json
        assert report["global"]
        place = report["place"]
        assert place["over_all_patterns"]
        assert place["dimension"] == optima.dimension
        assert place["n_neurons"] == (optima.min_norm() > 0).sum()
        assert place["fewest_neurons"] == (optima.smallest() > 0).sum()
        assert place["is_vertex"] == (optima.dimension == 0)
        assert place["distance"] < 1e-7
        shown = rf"^place +.* over all patterns; {place['n_neurons']} neurons, the fewest are \d+$"
        assert re.search(shown, Run(capsys, *arguments).out, re.M)

    def test_at_another_lam_it_is_not(
        self, capsys: pytest.CaptureFixture[str], saved: tuple[Path, float], regression: Path
    ) -> None:
        path, lam = saved
        run = Run(capsys, "check", path, regression, "--lam", lam / 2, "--json")
        assert run.status == 1
        assert not run.json["stationary"]
        assert run.json["place"] is None
        assert run.json["gap"] > 1e-3

    def test_any_seed(
        self, capsys: pytest.CaptureFixture[str], saved: tuple[Path, float], regression: Path
    ) -> None:
        path, lam = saved
        run = Run(capsys, "check", path, regression, "--lam", lam, "--seed", 2**40)
        assert run.status in (0, 1)
        assert run.err == ""

    def test_refuses(
        self, capsys: pytest.CaptureFixture[str], saved: tuple[Path, float], classification: Path
    ) -> None:
        path, lam = saved
        run = Run(capsys, "check", path, classification, "--lam", lam)
        assert run.status == 2
        assert "it lacks size, noise, one, price, which the training data had" in run.err
        run = Run(capsys, "check", classification, classification, "--lam", lam)
        assert run.status == 2
        assert "is no whole file of convexrelu" in run.err
        run = Run(capsys, "check", path.with_name("none.npz"), "--lam", lam)
        assert run.status == 2
        assert "No such file" in run.err
        assert Run(capsys, "check", path).status == 2


class TestPath:
    def test_report(self, capsys: pytest.CaptureFixture[str], regression: Path) -> None:
        run = Run(capsys, "path", regression, *FAST)
        assert run.status == 0
        assert re.search(
            r"^path +complete: the worst relative gap is \S+, asked for", run.out, re.M
        )
        assert re.search(r"^events +at \d+ breakpoints: \d+ neurons enter and", run.out, re.M)
        assert re.search(r"^test rows +RMSE at best \S+, at lam \S+$", run.out, re.M)

    def test_json_file_and_picture(
        self, capsys: pytest.CaptureFixture[str], regression: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("matplotlib").use("Agg")
        saved, picture = tmp_path / "path.npz", tmp_path / "path.png"
        report = Run(
            capsys, "path", regression, *FAST, "--save", saved, "--plot", picture, "--json"
        ).json
        path = convexrelu.load(saved)
        assert report["lam_min"] == path.lam_min == report["lam"]
        assert report["n_breakpoints"] == len(path.breakpoints)
        assert report["n_neurons"] == len(path(path.lam_min).weights)
        assert report["lam_min"] <= report["best"]["lam"] <= report["lam_max"]
        assert picture.read_bytes().startswith(b"\x89PNG")

    def test_not_complete(self, capsys: pytest.CaptureFixture[str], regression: Path) -> None:
        run = Run(capsys, "path", regression, "--time-limit", 0)
        assert run.status == 1
        assert "not complete (time limit)" in run.out

    def test_refused_before_the_work(
        self, capsys: pytest.CaptureFixture[str], regression: Path, tmp_path: Path
    ) -> None:
        before = regression.read_bytes()
        missing = tmp_path / "none" / "path.png"
        for option in ("--save", "--plot"):
            for path, problem in (
                (tmp_path, "is a directory"),
                (missing, f"there is no directory {missing.parent}"),
                (regression, "would overwrite the data"),
            ):
                run = Run(capsys, "path", regression, option, path)
                assert run.status == 2
                assert run.out == ""
                assert f"{option} {path}: {problem}" in run.err
        assert regression.read_bytes() == before

    def test_no_picture_of_that_kind(
        self,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        regression: Path,
        tmp_path: Path,
    ) -> None:
        pytest.importorskip("matplotlib")
        for name in ("path.txt", "path"):
            run = Run(capsys, "path", regression, "--plot", tmp_path / name)
            assert (run.status, run.out) == (2, "")
            assert f"--plot {tmp_path / name}: the name must end in one of " in run.err

        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("latex was not able to process λ\nmuch more")

        monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
        run = Run(capsys, "path", regression, "--plot", tmp_path / "path.pdf")
        assert (run.status, run.out) == (2, "")
        assert run.err.endswith(
            "matplotlib cannot draw .pdf here: latex was not able to process λ\n"
        )
        monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
        run = Run(capsys, "path", regression, "--plot", tmp_path / "path.png")
        assert (run.status, run.out) == (2, "")
        assert "--plot: needs matplotlib, which is not installed" in run.err

    def test_two_outputs_in_one_file(
        self, capsys: pytest.CaptureFixture[str], regression: Path, tmp_path: Path
    ) -> None:
        path, link = tmp_path / "both.png", tmp_path / "link.png"
        link.symlink_to(path)
        for other in (path, link, tmp_path / "." / "both.png"):
            run = Run(capsys, "path", regression, *FAST, "--save", path, "--plot", other)
            assert (run.status, run.out) == (2, "")
            assert f"--plot {other}: would overwrite the file of --save\n" in run.err
        assert not path.exists()

    def test_picture_of_a_point(
        self, capsys: pytest.CaptureFixture[str], regression: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("matplotlib")
        words = ("--gates", 20, "--lam-ratio", 1, "--plot", tmp_path / "path.svg")
        run = Run(capsys, "path", regression, *words)
        assert (run.status, run.err) == (0, "")
        assert (tmp_path / "path.svg").exists()

    def test_a_picture_that_fails_leaves_the_old_one(
        self,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        regression: Path,
        tmp_path: Path,
    ) -> None:
        pytest.importorskip("matplotlib")
        picture = tmp_path / "path.png"
        picture.write_bytes(b"good")

        def fail(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", fail)
        run = Run(capsys, "path", regression, *FAST, "--plot", picture)
        assert run.status == 2
        assert re.search(r"^path +complete", run.out, re.M)
        assert f"--plot {picture}: No space left on device" in run.err
        assert picture.read_bytes() == b"good"
        assert list(tmp_path.glob(".*")) == []

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device without space")
    def test_not_saved(self, capsys: pytest.CaptureFixture[str], regression: Path) -> None:
        """The result is shown all the same."""
        run = Run(capsys, "path", regression, *FAST, "--save", "/dev/full")
        assert run.status == 2
        assert re.search(r"^path +complete", run.out, re.M)
        assert "--save /dev/full: No space left on device" in run.err


class TestOptimalSet:
    def test_report(self, capsys: pytest.CaptureFixture[str], regression: Path) -> None:
        run = Run(capsys, "optimal-set", regression, *FAST)
        assert run.status == 0
        assert "optima     one network, up to the order and splitting of its neurons" in run.out
        assert re.search(r"neurons    \d+ can be active, \d+ must be; \d+ distinct ones", run.out)
        assert re.search(
            r"test rows  range of predictions \S+ \(median\), \S+ \(largest\)", run.out
        )

    def test_json(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        """The parity of three bits, whose set has a dimension."""
        rows = np.array(
            [[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)] * 2, dtype=float
        )
        values = np.c_[rows, rows.sum(axis=1) % 2]
        file = write_csv(tmp_path / "parity.csv", ["a", "b", "c", "odd"], values)
        report = Run(capsys, "optimal-set", file, "--test", file, "--gates", 5000, "--json").json
        assert report["dimension"] > 0
        assert not report["is_p_unique"]
        assert report["n_necessary"] <= report["fewest_neurons"] <= report["n_support"]
        assert report["n_support"] <= report["n_neurons"] <= report["n_blocks"]
        assert report["test"]["agreement"] == 1.0
        assert report["test"]["largest_width"] < 1e-6
        assert not report["is_complete"]
        # All patterns, found from few.
        few = ("--test", file, "--lam", report["lam"], "--all-patterns")
        every = Run(capsys, "optimal-set", file, *few, "--json").json
        assert every["is_complete"]
        for key in ("dimension", "n_neurons", "n_support", "n_necessary", "fewest_neurons"):
            assert every[key] == report[key]
        assert every["objective"] == pytest.approx(report["objective"], rel=1e-8)
        assert every["n_gates"] is None
        trained = Run(capsys, "train", file, "--test", file, "--json").json
        assert every["lambda_max"] == trained["lambda_max"]
        text = Run(capsys, "optimal-set", file, *few).out
        assert re.search(r"^patterns +grown as they are needed", text, re.M)
        assert f"of dimension {report['dimension']}, over all patterns" in text
        gated = Run(capsys, "optimal-set", file, "--all-patterns", "--formulation", "gated")
        assert gated.status == 2
        assert "--all-patterns: gated neurons have the patterns of their gates alone" in gated.err

    def test_any_seed(self, capsys: pytest.CaptureFixture[str], regression: Path) -> None:
        run = Run(capsys, "optimal-set", regression, "--all-patterns", "--seed", 2**40)
        assert run.status == 0

    def test_time_limit(self, capsys: pytest.CaptureFixture[str], regression: Path) -> None:
        run = Run(capsys, "optimal-set", regression, "--time-limit", 0)
        assert run.status == 1
        assert "time_limit ended the work before it had an answer" in run.err


class TestPrune:
    def test_report(self, capsys: pytest.CaptureFixture[str], classification: Path) -> None:
        run = Run(capsys, "prune", classification, "--neurons", 2, "--lam-ratio", 0.001)
        assert run.status == 0
        for line in ("trained", "same fit", "pruned"):
            assert re.search(rf"^{line} +\d+ neurons, objective \S+, gap \S+$", run.out, re.M)
        assert re.search(r"^ +test RMSE.* test accuracy", run.out, re.M)
        assert re.search(r"^pruned .* \d+\.\d %", run.out, re.M)

    def test_any_seed(self, capsys: pytest.CaptureFixture[str], classification: Path) -> None:
        options = ("--neurons", 2, "--score", "random", "--seed", 2**40)
        assert Run(capsys, "prune", classification, *FAST, *options).status == 0

    def test_not_solved(self, capsys: pytest.CaptureFixture[str], regression: Path) -> None:
        run = Run(capsys, "prune", regression, *FAST, "--time-limit", 0, "--json")
        assert run.status == 1
        assert not run.json["certified"]
        assert run.json["steps"]["trained"]["gap"] > run.json["tol"]

    def test_json_and_saved_network(
        self, capsys: pytest.CaptureFixture[str], regression: Path, tmp_path: Path
    ) -> None:
        saved = tmp_path / "network.npz"
        report = Run(
            capsys, "prune", regression, *FAST, "--neurons", 2, "--save", saved, "--json"
        ).json
        steps = report["steps"]
        assert steps["same fit"]["n_neurons"] <= steps["trained"]["n_neurons"]
        assert steps["same fit"]["objective"] == pytest.approx(steps["trained"]["objective"])
        assert steps["pruned"]["n_neurons"] <= 2
        assert convexrelu.load(saved).n_neurons == steps["pruned"]["n_neurons"]
        assert set(report["scores"]["test"]) == set(steps)
