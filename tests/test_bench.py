"""The yardstick and the data of the benchmarks; no other solver is needed here."""

import itertools
import json
import sys
import time
from typing import Any

import numpy as np
import pytest
from bench import data, quality, quality_classes
from bench.compare import claims, descent, environments, gap, plot, problems, race, report
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import convexrelu

SMALL = st.integers(-3, 3).map(float)


@st.composite
def instances(draw, formulation=None):
    n, d = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    X = draw(hnp.arrays(float, (n, d), elements=SMALL))
    y = draw(hnp.arrays(float, n, elements=SMALL))
    gates = draw(hnp.arrays(float, (d, draw(st.integers(1, 4))), elements=SMALL))
    kind = formulation or draw(st.sampled_from(["gated", "relu"]))
    return gap.Instance(X, y, X @ gates >= 0, kind)


def all_blocks(instance):
    return np.array([(i, s) for s in instance.signs for i in range(instance.masks.shape[1])])


def random_point(instance, seed, scale):
    blocks = all_blocks(instance)
    rng = np.random.default_rng(seed)
    return blocks, scale * rng.standard_normal((len(blocks), instance.X.shape[1]))


# --- the projection onto a cone


def projection_by_enumeration(rows, c):
    """The nearest feasible point among the projections onto every intersection of boundaries."""
    best = None
    for size in range(len(rows) + 1):
        for face in itertools.combinations(range(len(rows)), size):
            q = c - np.linalg.pinv(rows[list(face)]) @ (rows[list(face)] @ c)
            feasible = (rows @ q >= -1e-11 * np.linalg.norm(c)).all()
            if feasible and (best is None or np.linalg.norm(q - c) < np.linalg.norm(best - c)):
                best = q
    return best


@given(
    hnp.arrays(
        float, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=5), elements=SMALL
    ),
    st.data(),
)
def test_projection_is_the_nearest_point_of_the_cone(rows, draw):
    c = draw.draw(hnp.arrays(float, rows.shape[1], elements=SMALL))
    norms = np.linalg.norm(rows, axis=1)
    rows = rows[norms > 0] / norms[norms > 0, None]
    q = gap.project_onto_cone(rows, c)
    np.testing.assert_allclose(q, projection_by_enumeration(rows, c), rtol=0, atol=1e-12)


# --- the gap


@given(instances(), st.integers(0, 99), st.integers(0, 99), st.sampled_from([0.01, 0.3, 2.0]))
def test_every_dual_value_is_below_every_primal_value(instance, seed, other_seed, lam):
    one = gap.score(instance, lam, *random_point(instance, seed, 0.1))
    other = gap.score(instance, lam, *random_point(instance, other_seed, 0.01))
    assert one.dual <= other.primal * (1 + 1e-12)
    assert one.gap >= -1e-12


@given(instances())
def test_zero_is_optimal_exactly_from_lambda_max_on(instance):
    top = gap.lambda_max(instance)
    nothing = np.zeros((0, 2), dtype=int), np.zeros((0, instance.X.shape[1]))
    assert gap.score(instance, max(top, 1e-3), *nothing).gap <= 1e-12
    if top > 0:
        assert gap.score(instance, 0.9 * top, *nothing).gap > 1e-3


@pytest.mark.parametrize("formulation", ["gated", "relu"])
def test_gap_closes_at_a_solution_known_in_closed_form(formulation):
    # One column of ones, one pattern: w = mean(y) - lam, inside the cone [0, inf).
    instance = gap.Instance(
        np.ones((4, 1)), np.array([1.0, 2, 3, 6]), np.ones((4, 1), bool), formulation
    )
    optimum = gap.score(instance, 0.5, np.array([[0, 1]]), np.array([[2.5]]))
    assert abs(optimum.gap) <= 1e-15
    assert optimum.primal == 3.125
    nearby = gap.score(instance, 0.5, np.array([[0, 1]]), np.array([[2.6]]))
    assert 1e-4 < nearby.gap < 1e-1


def test_points_outside_their_cones_are_projected_and_the_violation_reported():
    instance = gap.Instance(np.eye(2), np.array([1.0, 1]), np.ones((2, 1), bool), "relu")
    blocks = np.array([[0, 1]])
    outside = gap.score(instance, 0.1, blocks, np.array([[0.8, -0.6]]))
    assert outside.violation == pytest.approx(0.6)
    assert outside.primal == gap.score(instance, 0.1, blocks, np.array([[0.8, 0.0]])).primal


def test_weights_that_are_not_finite_never_look_good():
    instance = gap.Instance(np.eye(2), np.ones(2), np.ones((2, 1), bool), "gated")
    assert gap.score(instance, 0.1, np.array([[0, 1]]), np.array([[np.nan, 0.0]])).gap == np.inf


def test_fitted_sums_over_more_blocks_than_a_chunk_holds():
    X, y = data.planted(30, 4)[1:3]
    _, masks = problems.draw_patterns(X, 300)
    instance = gap.Instance(X, y, masks, "relu")
    blocks, weights = random_point(instance, 0, 1.0)
    expected = sum(s * masks[:, i] * (X @ w) for (i, s), w in zip(blocks, weights, strict=True))
    np.testing.assert_allclose(gap.fitted(instance, blocks, weights), expected, atol=1e-11)


@pytest.mark.parametrize("formulation", ["gated", "relu"])
@pytest.mark.parametrize("ratio", [0.3, 0.03])
def test_yardstick_and_library_agree(formulation, ratio):
    problem = problems.build(f"{formulation}-iris-15-{ratio}")
    patterns = convexrelu.patterns_from_gates(problem.instance.X, problem.gates)
    assert np.array_equal(patterns.masks, problem.instance.masks)
    ours = convexrelu.Problem(
        problem.instance.X, problem.instance.y, patterns, formulation=formulation
    )
    assert ours.lambda_max == pytest.approx(problem.lambda_max, rel=1e-12)
    solution = convexrelu.solve(ours, problem.lams[0])
    score = gap.score(problem.instance, problem.lams[0], solution.active_set, solution.weights)
    assert score.gap <= 1e-8
    assert score.violation <= 1e-12
    assert score.primal == pytest.approx(solution.objective, rel=1e-12)


# --- data


def test_standardised_columns_have_mean_zero_and_variance_one_and_end_with_ones():
    X = np.array([[1.0, 5, 2], [2, 5, 2], [6, 5, 8]])
    Z = data.standardise(X)
    assert Z.shape == (3, 3)  # the constant column went, the ones came
    np.testing.assert_allclose(Z.mean(axis=0), [0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(Z[:, :2].std(axis=0), 1)


@pytest.mark.parametrize("name", data.available())
def test_every_set_loads_ready_to_train_on(name):
    dataset = data.load(name)
    assert dataset.name == name
    assert dataset.X.shape[0] == len(dataset.y)
    assert np.isfinite(dataset.X).all()
    np.testing.assert_array_equal(dataset.X[:, -1], 1.0)
    if dataset.is_classification:
        assert set(dataset.y) == {-1.0, 1.0}
    else:
        assert dataset.y.mean() == pytest.approx(0, abs=1e-10)
        assert dataset.y.std() == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("diabetes", (442, 11)),
        ("digits-even-odd", (1797, 62)),
        ("breast-cancer-wisconsin", (569, 31)),
        ("iris", (100, 5)),
        ("ionosphere", (351, 34)),  # one constant column of 34
    ],
)
def test_shapes_of_the_sets_that_claims_are_made_about(name, shape):
    assert data.load(name).X.shape == shape


def test_missing_cells_are_nan_as_published_and_the_mean_when_prepared():
    table = data.load_table("breast-cancer")
    assert np.isnan(table.X).sum() == 9
    column = np.isnan(table.X).any(axis=0).argmax()
    row = np.isnan(table.X[:, column]).argmax()
    assert data.load("breast-cancer").X[row, column] == pytest.approx(0, abs=1e-12)


def test_every_file_of_the_data_folder_is_cited():
    readme = (data._ROOT / "bench" / "data" / "README.md").read_text()
    for path in (data._ROOT / "bench" / "data").glob("*.csv"):
        assert f"| {path.name.split('.')[0]} |" in readme


def test_a_set_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CONVEXRELU_DATA", str(tmp_path))
    with pytest.raises(data.MissingData, match=r"no-such-set\.csv"):
        data.load("no-such-set")
    (tmp_path / "no-such-set.csv").write_text("a,b,target\n1,2,3\n2,2,5\n4,,1\n")
    dataset = data.load("no-such-set")
    assert dataset.X.shape == (3, 2)
    assert not dataset.is_classification


def test_planted_data_are_reproducible_and_of_the_size_asked_for():
    one, again, other = data.planted(50, 6), data.planted(50, 6), data.planted(50, 6, seed=1)
    assert one.X.shape == (50, 6)
    np.testing.assert_array_equal(one.X, again.X)
    np.testing.assert_array_equal(one.y, again.y)
    assert not np.array_equal(one.y, other.y)


# --- problems


@pytest.mark.parametrize("name", problems.NAMES)
def test_problem_names_say_what_they_are(name):
    assert problems.matching([name]) == [name]


def test_problems_are_found_by_pattern_and_refused_by_wrong_name():
    assert problems.matching(["relu-diabetes-200-*"]) == [
        "relu-diabetes-200-0.1",
        "relu-diabetes-200-0.01",
    ]
    with pytest.raises(ValueError, match="convex-diabetes"):
        problems.matching(["convex-diabetes"])


def test_drawn_patterns_are_distinct_and_not_zero():
    X = data.load("iris").X
    gates, masks = problems.draw_patterns(X, 40)
    np.testing.assert_array_equal(masks, X @ gates >= 0)
    assert len(np.unique(masks, axis=1).T) == 40
    assert masks.any(axis=0).all()
    with pytest.raises(ValueError, match="only 2 distinct patterns"):
        problems.draw_patterns(np.array([[1.0], [-1.0]]), 3)


def test_a_grid_runs_from_lambda_max_down():
    problem = problems.build("gated-iris-10-grid0.1")
    assert len(problem.lams) == problems.GRID_SIZE
    assert problem.lams[0] == problem.lambda_max
    assert problem.lams[-1] == pytest.approx(0.1 * problem.lambda_max)
    assert (np.diff(problem.lams) < 0).all()


# --- the race and its report


@pytest.mark.parametrize("name", ["gated-iris-10-0.1", "relu-iris-10-0.1", "gated-iris-10-grid0.1"])
def test_the_library_runs_the_race_like_any_peer(name):
    record = race.race(
        "convexrelu", problems.build(name), threads=1, time_limit=30.0, memory_limit=1e9
    )
    assert record["status"] == "finished"
    assert min(point["gap"] for point in record["points"]) <= 1e-8
    assert all(point["cpu"] > 0 for point in record["points"])
    assert record["versions"]["convexrelu"]


def test_a_run_without_end_is_ended(tmp_path):
    with open(tmp_path / "log", "w") as log:
        child = race._Child([sys.executable, "-c", "while True: pass"], 1, log)
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            child.receive(0.2)
        assert child.end() != 0
    assert time.monotonic() - start < 60


def made_up_results():
    def run(peer, *points):
        return {
            "problem": "p",
            "peer": peer,
            "status": "finished",
            "time_limit": 60.0,
            "modelling": 0.0,
            "startup": 0.0,
            "points": [
                {"cpu": cpu, "wall": 2 * cpu, "gap": relative, "violation": 0.0, "n_active": 1}
                | {"peak_memory": 10**6, "primal": [1.0], "dual": [1.0 - relative]}
                for cpu, relative in points
            ],
        }

    return {
        "machine": {"processor": "?", "threads": 1, "gemm_float64_gflops": 1}
        | {"gemm_float32_gflops": 2},
        "commit": "?",
        "started": "?",
        "time_limit": 1.0,
        "problems": {"p": {"n": 1, "d": 1, "n_patterns": 1, "lams": [0.1], "lambda_max": 1.0}},
        "runs": [run("slow", (1.0, 1e-3), (3.0, 1e-7)), run("fast", (0.1, 1e-5), (0.2, 1e-9))],
    }


def test_time_to_a_gap_is_the_least_time_of_the_points_that_have_it():
    slow, fast = made_up_results()["runs"]
    assert report.time_to_gap(slow, 1e-4) == 3.0
    assert report.time_to_gap(slow, 1e-8) == np.inf
    assert report.time_to_gap(fast, 1e-6, "wall") == 0.4


def test_table_and_profile_count_who_reached_what():
    table = report.table([made_up_results()])
    assert "| slow | 3 | 3 | - | 1e-07 at 3 |" in table
    profile = report.profile([made_up_results()])
    assert "| slow | 1 | 0 | 0 | 0 | 0 | 0 | 1 | 1 | 1 |" in profile  # 30 times the fastest at 1e-4
    assert "gap 1e-08, 1 of 1 problems" in profile


def test_results_are_json_with_a_run_a_line():
    results = made_up_results()
    text = report.as_json(results)
    assert json.loads(text) == results
    assert [line.startswith('{"problem": "p"') for line in text.splitlines()].count(True) == 2


def test_a_front_has_the_points_that_are_better_than_all_before():
    run = made_up_results()["runs"][0]
    run["points"] += [{"cpu": 2.0, "gap": 1e-2}, {"cpu": 0.5, "gap": 0.1}, {"cpu": 4.0, "gap": 0.0}]
    run["points"].append({"cpu": 0.1, "gap": np.inf})
    assert plot.front(run, "cpu") == ([0.5, 1.0, 3.0, 4.0], [0.1, 1e-3, 1e-7, plot.FLOOR])


def test_the_picture_is_the_same_each_time(tmp_path):
    pytest.importorskip("matplotlib")
    results = made_up_results()
    results["runs"][0]["peer"], results["runs"][1]["peer"] = "adelie", claims.OURS
    files = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for file in files:
        plot.plot([results], file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert "adelie" in files[0].read_text()


def test_every_peer_has_its_colour():
    assert set(plot.COLOURS) == set(environments.PEERS)


def test_adam_is_not_trained_again_where_its_runs_are_known(monkeypatch):
    calls, answers = [], {"growth": [{"objective": 0.25, "cpu": 0.1}]}

    def answer(environment, module, *_):
        calls.append(module)
        return answers[module], ""

    monkeypatch.setattr(descent, "_lines", answer)
    runs = [
        {"seconds": 1.0, "learning_rate": rate, "seed": 0, "objective": value, "steps": 1}
        for rate, value in ((1e-3, 0.5), (1e-2, 0.3))
    ]
    earlier = [{"dataset": "a", "lam": 0.1, "adam": runs}]
    common = {"seconds": [1.0], "threads": 1, "earlier": earlier}
    comparison = descent.compare("a", 0.1, seeds=[0], **common)
    assert calls == ["growth"]
    assert comparison["target"] == 0.3
    answers["adam"] = runs
    descent.compare("a", 0.2, seeds=[0], **common)
    descent.compare("a", 0.1, seeds=[0, 1], **common)
    assert calls == ["growth", "adam", "growth", "adam", "growth"]


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.29, "win"), (0.300002, "tie"), (0.299998, "tie"), (0.301, "LOSS")]
)
def test_table_of_descent_says_who_is_lower(value, verdict):
    adam = [
        {"seconds": seconds, "objective": objective}
        for seconds, objective in ((3.0, 0.2), (10.0, 0.3), (10.0, 0.4))
    ]
    end = {"objective": value, "cpu": 9.0, "global_lower_bound": 0.1}
    reached = {"objective": min(value, 0.3), "cpu": 0.5}
    result = {"dataset": "a", "lam": 0.1, "adam": adam, "ours": [reached, end]}
    row = descent.markdown([result]).splitlines()[-1]
    assert row == f"| a | 0.1 | 0.3000000 | 10 | {value:.7f} | 9.0 | 0.50 | {verdict} | ≥ 0.1 |"


def test_claims_hold_only_against_the_time_a_peer_was_given(monkeypatch):
    results = made_up_results()
    slow, fast = results["runs"]
    fast["peer"] = claims.OURS
    claim = claims.Claim("p", 1e-8, 1 / 10, ("slow",), 1e-6)
    monkeypatch.setattr(claims, "CLAIMS", (claim,))
    assert "| 0.067 | 0.1 | holds |" in claims.claims([results])  # 0.2 s against 3 s
    slow["points"].pop()
    assert claims.claims([results]).endswith("| slow | 1e-06 | - | 0 | 0.1 | holds |")
    slow.update(status="time limit", time_limit=1.5)  # 1.5 s without reaching it prove less
    assert "| > 1.5 | 0.13 | 0.1 | FAILS |" in claims.claims([results])
    fast["points"].clear()
    assert "| inf | 0.1 | FAILS |" in claims.claims([results])


def test_memory_claims_compare_peaks(monkeypatch):
    results = made_up_results()
    fast = results["runs"][1]
    fast["peer"] = claims.OURS
    monkeypatch.setattr(claims, "MEMORY_CLAIMS", (("p", "slow"), ("p", 2e6), ("p", "absent")))
    text = claims.claims([results])
    assert "| p | 1 | slow | 1 | holds |" in text
    assert "| p | 1 |  | 2 | holds |" in text
    assert "| p | 1 | absent | - | not measured |" in text
    for point in fast["points"]:
        point["peak_memory"] = 3 * 10**6
    assert claims.claims([results]).count("FAILS") == 2


def test_gaps_that_are_reached_are_shown_beside_those_of_peers(monkeypatch):
    results = made_up_results()
    slow, fast = results["runs"]
    fast["peer"] = claims.OURS
    monkeypatch.setattr(claims, "REACHED", (("p", 1e-8), ("absent", 1e-8)))
    assert claims.claims([results]).endswith("| p | 1e-08 | 0.2 | holds | slow 1e+00 |")
    slow["points"][0]["cpu"] = 0.1
    assert f"slow {slow['points'][0]['gap']:.0e} |" in claims.claims([results])
    fast["points"].clear()
    assert "| p | 1e-08 | - | FAILS | slow" in claims.claims([results])


def test_claims_are_made_about_known_problems_and_peers():
    for claim in claims.CLAIMS:
        assert claim.problem in problems.NAMES
        assert set(claim.peers) <= set(environments.PEERS)
    for problem, _ in claims.REACHED:
        assert problem in problems.NAMES
    for problem, limit in claims.MEMORY_CLAIMS:
        assert problem in problems.NAMES
        assert isinstance(limit, float) or limit in environments.PEERS


class TestQuality:
    def test_splits_part_the_rows(self):
        train, test = quality.rows_of(308, 0)
        assert (len(train), len(test)) == (277, 31)
        assert sorted([*train, *test]) == list(range(308))
        assert quality.rows_of(308, 1)[1].tolist() != test.tolist()
        order = np.random.RandomState(1).permutation(308)  # what choice without replacement draws
        assert [*train, *test] == order.tolist()

    def test_table_shows_losses_and_wins_alike(self):
        one = {"rmse": 0.5, "n_neurons": 100, "gap": 0.01, "seconds": 3.0}
        lines = quality.table({"yacht": {"0": one, "1": {**one, "rmse": 0.9}}}).splitlines()
        assert lines[2:] == ["| yacht | 2 | 0.7 +- 0.2 | **0.666 +- 0.05** | 100 | 1.0e-02 | 3 |"]
        lines = quality.table({"yacht": {"0": one}}).splitlines()
        assert lines[2:] == ["| yacht | 1 | **0.5** | 0.666 +- 0.05 | 100 | 1.0e-02 | 3 |"]

    def test_peers_are_compared_on_the_splits_that_all_have_run(self):
        ours = {"yacht": {"0": {"rmse": 0.5, "seconds": 3.0}, "1": {"rmse": 9.0, "seconds": 3.0}}}
        peer = {"yacht": {"A": {"0": {"rmse": 0.4, "seconds": 1.0}}}}
        lines = quality.peer_table(ours, peer).splitlines()
        assert lines[2:] == ["| yacht | 1 | 0.5 (3.0 s) | **0.4** (1.0 s) |"]

    def test_results_are_kept_one_by_one(self, tmp_path):
        path = tmp_path / "results.json"
        quality.keep(path, ("yacht", "A", "0"), {"rmse": 1.0})
        quality.keep(path, ("yacht", "A", "1"), {"rmse": 2.0})
        assert quality.load(path) == {"yacht": {"A": {"0": {"rmse": 1.0}, "1": {"rmse": 2.0}}}}
        assert quality.known(quality.load(path), ("yacht", "A", "1")) == {"rmse": 2.0}
        assert quality.known(quality.load(path), ("yacht", "B", "1")) is None

    def test_results_are_of_the_splits_there_are(self):
        for name, splits in quality.load().items():
            assert set(map(int, splits)) <= set(range(quality.PUBLISHED[name][0]))


class TestQualityOfClasses:
    def test_table(self) -> None:
        def found(a: float, b: float) -> dict[str, Any]:
            both = {"convexrelu": (a, 2.0), "MLP": (b, 1.0)}
            return {k: {"error": e, "log_loss": e, "seconds": s} for k, (e, s) in both.items()}

        results = {"wine": {"0": found(0.1, 0.3), "1": found(0.3, 0.3)}, "pima": {"0": found(1, 1)}}
        lines = quality_classes.table(results, "error").splitlines()
        assert lines[0] == "| error in % | convexrelu | MLP |"
        assert lines[2] == "| pima | **100.0** | 100.0 |"
        assert lines[3] == "| wine | **20.0** | 30.0 |"
        assert lines[5] == "| *mean rank* | 1.25 | 1.75 |"
        assert lines[6] == "| *CPU s* | 2 | 1 |"

    def test_results_are_whole(self) -> None:
        for name, splits in quality_classes.load().items():
            assert name in quality_classes.SETS
            assert set(map(int, splits)) <= set(range(quality_classes.SPLITS))
            for split in splits.values():
                assert set(split) == set(quality_classes.MODELS)
                assert split["convexrelu"]["gap"] <= 1e-3
