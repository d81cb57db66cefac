"""trace_global_path: each point as good as solve_global's, stopped and resumed without loss."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from convexrelu import (
    GlobalPath,
    Network,
    Problem,
    Progress,
    enumerate_patterns,
    load,
    price_patterns,
    save,
    solve,
    solve_global,
    trace_global_path,
)

mpl.use("Agg")

Array = np.ndarray


def data(n: int = 80, d: int = 4) -> tuple[Array, Array]:
    rng = np.random.default_rng(n + d)
    X = np.column_stack([rng.standard_normal((n, d - 1)), np.ones(n)])
    y = np.maximum(X @ rng.standard_normal((d, 4)), 0) @ [1, -1, 1, -1]
    return X, y / y.std() + 0.2 * rng.standard_normal(n)


def trace(X: Array, y: Array, **options: Any) -> GlobalPath:
    return trace_global_path(X, y, **{"n_lams": 8, "lam_min_ratio": 1e-3, "rng": 0, **options})


class TestPath:
    def test_points_are_near_the_optimum(self) -> None:
        X, y = data(60, 3)
        problem = Problem(X, y, enumerate_patterns(X))
        path = trace(X, y, tol=0.01)
        assert path.status == "complete"
        assert path.lams[0] == pytest.approx(problem.lambda_max, rel=1e-6)
        assert path.lams[-1] / path.lams[0] == pytest.approx(1e-3)
        assert (np.diff(path.lams) < 0).all()
        for lam, objective in zip(path.lams, path.objectives, strict=True):
            optimum = solve(problem, lam).objective
            assert optimum * (1 - 1e-9) <= objective <= optimum * 1.01

    def test_numbers_are_those_of_the_networks(self) -> None:
        X, y = data()
        v = np.random.default_rng(0).integers(0, 3, len(y))
        path = trace(X, y, sample_weight=v)
        for k, lam in enumerate(path.lams):
            value = path[k].objective(X, y, lam, sample_weight=v)
            assert value == pytest.approx(path.objectives[k], rel=1e-9)
            assert path.lower_bounds[k] <= value * (1 + 1e-12)
            assert path.gaps[k] <= 0.1
        assert path.predict(X).shape == (8, len(y))
        assert np.array_equal(path.predict(X)[5], path[5].predict(X))
        assert path.n_neurons.tolist() == [network.n_neurons for network in path.networks]
        assert np.isnan(path.global_lower_bounds).all()

    def test_bounds_over_all_patterns(self) -> None:
        X, y = data(60, 3)
        path = trace(X, y, tol=0.01, exact=True, certify=True)
        assert (path.global_gaps <= 0.01).all()
        assert set(path.statuses) == {"optimal"}

    def test_lam_of_the_caller(self) -> None:
        X, y = data()
        path = trace(X, y, lams=[0.01, 0.1, 0.01, 0.03])
        assert path.lams.tolist() == [0.1, 0.03, 0.01]

    def test_takes_less_than_from_nothing(self) -> None:
        """At small lam, in rounds."""
        X, y = data(200, 6)
        lams = price_patterns(X, y, max_cones=0, rng=0).value * np.geomspace(1, 1e-3, 12)
        rounds = {"warm": 0, "cold": 0}

        def count(name: str) -> Any:
            def add(progress: Progress) -> bool:
                rounds[name] += 1
                return False

            return add

        trace(X, y, lams=lams, callback=count("warm"))
        for lam in lams:
            solve_global(X, y, lam, tol=0.1, certify=False, rng=0, callback=count("cold"))
        assert rounds["warm"] < rounds["cold"]

    def test_rounds_are_limited(self) -> None:
        """To so many at each lam, of which each begins and the last ends with a report."""
        X, y = data(200, 6)
        seen: list[str] = []
        lams = price_patterns(X, y, max_cones=0, rng=0).value * np.geomspace(1, 1e-3, 6)
        path = trace(X, y, lams=lams, max_rounds=2, callback=lambda p: seen.append(p.phase))
        assert max(seen.count(f"{k}/6 grow") for k in range(1, 7)) == 3
        assert path.status == "complete"
        whole = trace(X, y, lams=lams)
        assert (path.objectives >= whole.objectives * (1 - 1e-3)).all()

    def test_same_bits_for_any_number_of_threads(self) -> None:
        X, y = data()
        assert trace(X, y) == trace(X, y, n_threads=2)


class TestStopping:
    def test_is_resumed_as_if_it_had_not_stopped(self) -> None:
        X, y = data()
        whole = trace(X, y)
        stopped = trace(X, y, callback=lambda p: p.phase.startswith("5/"))
        assert stopped.status == "callback"
        assert len(stopped) == 5
        resumed = trace(X, y, start=stopped)
        assert resumed.status == "complete"
        assert np.array_equal(resumed.lams, whole.lams)
        assert np.array_equal(resumed.objectives[:4], stopped.objectives[:4])
        assert resumed.objectives == pytest.approx(whole.objectives, rel=0.01)

    def test_no_time(self) -> None:
        X, y = data()
        path = trace(X, y, time_limit=0)
        assert path.status == "time_limit"
        assert len(path) == 1
        assert trace(X, y, start=path).status == "complete"

    def test_goes_on_to_smaller_lam(self) -> None:
        X, y = data()
        path = trace(X, y)
        seen: list[str] = []
        lams = [*path.lams, path.lams[-1] / 2]
        longer = trace(X, y, lams=lams, start=path, callback=lambda p: seen.append(p.phase))
        assert longer.networks[:-1] == path.networks
        assert all(phase.startswith("9/9") for phase in seen)

    def test_refuses_a_path_of_other_data(self) -> None:
        X, y = data()
        path = trace(X, y)
        with pytest.raises(ValueError, match="start must be a path of the same X, y"):
            trace(X, y + 1, start=path)
        with pytest.raises(ValueError, match="start must be a path of the same X, y"):
            trace(X[:, 1:], y, start=path)
        with pytest.raises(TypeError, match="start must be a GlobalPath, got list"):
            trace(X, y, start=[])

    def test_progress(self) -> None:
        X, y = data()
        seen: list[Progress] = []
        trace(X, y, callback=seen.append)
        assert [p.iteration for p in seen] == list(range(1, len(seen) + 1))
        assert seen[0].phase == "1/8 grow"
        assert seen[-1].phase.startswith("8/8 ")
        times = [p.seconds for p in seen]
        assert times == sorted(times)


class TestValue:
    def test_save_and_load(self, tmp_path: Path) -> None:
        X, y = data()
        path = trace(X, y)
        path.save(tmp_path / "path.npz")
        again = load(tmp_path / "path.npz")
        assert again == path
        assert again.statuses == path.statuses
        save(again, tmp_path / "again.npz")
        files = [(tmp_path / name).read_bytes() for name in ("path.npz", "again.npz")]
        assert files[0] == files[1]
        assert pickle.loads(pickle.dumps(path)) == path

    def test_plot_and_repr(self) -> None:
        X, y = data()
        path = trace(X, y)
        assert path.plot().get_xlabel()
        assert "8 lam" in repr(path)
        mpl.pyplot.close("all")


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"lams": [1.0, -1.0]}, ValueError, "lams must be positive numbers, at least one"),
            ({"lams": []}, ValueError, "lams must be positive numbers, at least one, got none"),
            ({"n_lams": 0}, ValueError, "n_lams must be at least 1, got 0"),
            ({"lam_min_ratio": 2}, ValueError, "lam_min_ratio must be a finite number > 0 and <="),
            ({"y": np.zeros(3)}, ValueError, "the optimum is zero at every lam"),
            ({"exact": 1}, TypeError, "exact must be True or False"),
            ({"max_rounds": 0}, ValueError, "max_rounds must be at least 1, got 0"),
            ({"max_rounds": 1, "exact": True}, ValueError, "max_rounds ends the work before exact"),
            ({"callback": 1}, TypeError, "callback must be callable or None, got int"),
            ({"tol": 0}, ValueError, "tol must be a finite number > 0"),
        ],
    )
    def test_bad_ones(
        self, arguments: dict[str, Any], error: type[Exception], message: str
    ) -> None:
        good: dict[str, Any] = {"X": np.eye(3), "y": np.ones(3)}
        with pytest.raises(error, match=message):
            trace_global_path(**{**good, **arguments})

    def test_networks_without_neurons(self) -> None:
        path = trace_global_path(np.eye(3), np.zeros(3), lams=[1.0, 0.1], rng=0)
        assert path.n_neurons.tolist() == [0, 0]
        assert path.networks[0] == Network(np.empty((0, 3)), [])
