"""The page: whole, small, with nothing from elsewhere; and what notebooks show."""

from __future__ import annotations

import html.parser
import re
import shutil
import subprocess
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convexrelu import (
    Network,
    Problem,
    TrainingRecord,
    enumerate_patterns,
    find_optimal_set,
    load,
    save,
    solve,
    to_network,
    trace_global_path,
    trace_path,
)
from convexrelu.report import Subject, make_page
from convexrelu.report.pieces import verdict_of
from convexrelu.report.svg import Plot, heat_map

pytest.importorskip("sklearn")

from convexrelu import ConvexReLUClassifier, ConvexReLURegressor

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Checker(html.parser.HTMLParser):
    """Every tag that is opened is closed, in order; nothing is loaded."""

    EMPTY = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "link", "img", "iframe", "object", "embed"}
        for name, value in attrs:
            assert name not in {"src", "srcset", "onload", "onclick"}
            assert name != "href" or (value or "").startswith("#")
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in {"h1", "h2"}:
            self.headings.append(data)


def check(text: str) -> list[str]:
    checker = Checker()
    checker.feed(text)
    checker.close()
    assert not checker.open
    assert "url(" not in text
    assert "@import" not in text
    for picture in re.findall(r"<svg.*?</svg>", text, re.S):
        xml.etree.ElementTree.fromstring(picture)
        assert "nan" not in re.sub(r"<title>.*?</title>|>[^<]*<", "", picture)
    return checker.headings


def data(n: int = 80, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, 3))
    return X, 5 * np.abs(X[:, 0]) + X[:, 1] + 0.2 * rng.standard_normal(n)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    X, y = data()
    brief: dict[str, Any] = {"alphas": (0.1, 0.01), "random_state": 0}
    regressor = ConvexReLURegressor(**brief).fit(X, y)
    regressor.report(folder / "numbers.html", X[:20], y[:20])
    for k in (2, 3):
        names = np.array(["<low>", "mid & high", "top"])
        codes = np.digitize(y, np.quantile(y, np.linspace(0, 1, k + 1)[1:-1]))
        classifier = ConvexReLUClassifier(**brief).fit(X, names[codes])
        classifier.report(folder / f"{k} classes.html", X[:30], names[codes[:30]])
    parity = np.array([[a, b, c] for a in (-1.0, 1) for b in (-1, 1) for c in (-1, 1)])
    several = ConvexReLURegressor(alpha=0.02, patterns="all", standardize=False)
    several.fit(parity, parity.prod(axis=1)).report(folder / "several optima.html")
    return {path.stem: path for path in folder.iterdir()}


class TestPage:
    SECTIONS = (
        "What is proven",
        "How well it predicts",
        "What each column does",
        "The neurons",
        "All optimal networks",
        "Limits",
    )

    @pytest.mark.parametrize("name", ["numbers", "2 classes", "3 classes", "several optima"])
    def test_is_whole_and_small(self, pages: dict[str, Path], name: str) -> None:
        text = pages[name].read_text()
        assert len(text) < 500_000
        headings = check(text)
        assert set(self.SECTIONS) <= set(headings)
        assert ("How the regularisation was chosen" in headings) == (name != "several optima")
        assert "<low>" not in text

    def test_says_what_is_known(self, pages: dict[str, Path]) -> None:
        text = pages["numbers"].read_text()
        assert "no better weights exist for the activation patterns of the network" in text
        assert "test (20)" in text
        assert "training (80)" in text
        assert "degrees of freedom for 80 rows" in text
        several = pages["several optima"].read_text()
        assert "dimension 8" in several
        assert "The green band" in several
        assert "Nor is there a better network of any width" in several

    def test_the_band_holds_the_line(self) -> None:
        """In each panel the partial dependence lies between the ends over all optima."""
        from convexrelu.report.page import _range_of_mean

        parity = np.array([[a, b, c] for a in (-1.0, 1) for b in (-1, 1) for c in (-1, 1)])
        model = ConvexReLURegressor(alpha=0.02, patterns="all", standardize=False)
        model.fit(parity, parity.prod(axis=1))
        optima = model.optimal_set()
        X = 1.5 * parity
        low, high = _range_of_mean(model._trainings[0], optima, X)
        each = [optima.network(a) for a in optima.sample(20, rng=0)]
        Z = model._trainings[0].rows(X)
        means = [network.predict(Z).mean() for network in each]
        assert low - 1e-8 <= min(means)
        assert max(means) <= high + 1e-8
        assert high - low > 1e-3

    def test_of_a_model_alone(self) -> None:
        X, y = data()
        model = ConvexReLURegressor(alpha=0.01).fit(X, y)
        subject = Subject(model.network_, model.preprocessor_, "y", {})
        headings = check(make_page(subject))
        assert headings == ["y", "What is proven", "The neurons", "Limits"]

    def test_no_neurons(self) -> None:
        X, y = data()
        model = ConvexReLURegressor(alpha=100.0).fit(X, y)
        assert model.n_neurons_ == 0
        check(make_page(model._subject(None, None)))

    @pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
    @pytest.mark.parametrize("width", [390, 1280])
    def test_in_a_browser(self, pages: dict[str, Path], width: int) -> None:
        """Nothing is wider than the screen: the body is as wide as the window."""
        assert CHROMIUM is not None
        text = pages["3 classes"].read_text()
        probe = (
            "<script>onload=()=>{const d=document.documentElement;parent.postMessage("
            "'beyond '+(d.scrollWidth-d.clientWidth)+' pictures '"
            "+d.querySelectorAll('section svg').length,'*')}</script></body>"
        )
        page = pages["3 classes"].with_name(f"probe {width}.html")
        # An iframe of that width: a window of Chromium is never narrower than 500.
        page.write_text(text.replace("</body>", probe))
        frame = page.with_name(f"frame {width}.html")
        frame.write_text(
            "<body><script>onmessage=e=>{document.body.dataset.of=e.data}</script>"
            f"<iframe style='border:0' width={width} height=900 src='{page.name}'></iframe>"
        )
        shown = subprocess.run(
            [
                CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu",
                "--allow-file-access-from-files", "--dump-dom", frame.as_uri(),
            ],
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout  # fmt: skip
        found = re.search(r'data-of="beyond (\d+) pictures (\d+)"', shown)
        assert found is not None, shown
        assert int(found[1]) == 0
        assert int(found[2]) >= 8


class TestRecord:
    RECORD = TrainingRecord(
        [[0.1, 2.0, 2.0, 1.0, 50, 1], [0.2, 2.0, 1.0, np.nan, 50, 1]],
        [[0, 0.1, 4.0, 0.1, 3], [0, 1.0, 5.0, 0.1, 1], [1, 0.2, 4.0, 0.1, 3]],
    )

    def test_values(self, tmp_path: Path) -> None:
        assert self.RECORD.gap(1) == self.RECORD.global_gap(0) == 0.5
        assert np.isnan(self.RECORD.global_gap(1))
        assert self.RECORD.curve_of(0)[:, 1].tolist() == [1.0, 0.1]
        assert repr(self.RECORD) == "<TrainingRecord: 2 networks, 3 lam tried>"
        save(self.RECORD, tmp_path / "r.npz")
        assert load(tmp_path / "r.npz") == self.RECORD

    def test_verdicts(self) -> None:
        assert "nothing is known of its training" in verdict_of(1, None)
        assert "Of other patterns nothing is proven" in verdict_of(4, self.RECORD)
        first = TrainingRecord(self.RECORD.facts[:1])
        assert "more than 50 % lower" in verdict_of(4, first)
        assert "(proven to rounding)" in verdict_of(4, first)
        assert "A search over all patterns found nothing much better" in verdict_of(4, first)
        cut_short = TrainingRecord([[0.1, 2.0, 1.0, 0.5, 50, 0]])
        assert "not certified: as far as is proven" in verdict_of(4, cut_short)
        assert "The search over all patterns was not over" in verdict_of(4, cut_short)

    @pytest.mark.parametrize(
        ("facts", "curve", "message"),
        [
            ([], [], "facts must have a row"),
            ([[1, 2, 3]], [], "facts must have 6 columns"),
            ([[0, 1, 1, 1, 5, 0]], [], "facts must be finite, .* lam > 0"),
            ([[1, np.nan, 1, 1, 5, 0]], [], "facts must be finite"),
            ([[1, 1, 1, 1, 5, 0]], [[1, 1, 1, 1, 1]], "curve must name networks that facts have"),
        ],
    )
    def test_errors(self, facts: Any, curve: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            TrainingRecord(facts, curve)


class TestPieces:
    X = np.array([[a, b, c, 1.0] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])

    def values(self) -> list[Any]:
        problem = Problem(self.X, self.X.prod(axis=1), enumerate_patterns(self.X))
        solution = solve(problem, 0.02)
        x, y = data(20)
        return [
            solution,
            solve(problem, 10.0),
            to_network(solution),
            Network(np.empty((0, 2)), []),
            find_optimal_set(solution),
            trace_path(problem, 0.01),
            trace_path(problem, problem.lambda_max),
            trace_global_path(x, y, lams=[1.0, 0.1], rng=0),
            ConvexReLURegressor(alphas=(0.1, 0.01)).fit(x, y),
            ConvexReLURegressor(alpha=0.1).fit(x, y),
        ]

    def test_are_whole(self) -> None:
        for value in self.values():
            text = value._repr_html_()
            if not isinstance(value, ConvexReLURegressor):
                check(text)
                assert "<b>" in text
            else:
                assert "no better weights exist" in text
        assert "no better weights" not in ConvexReLURegressor()._repr_html_()


class TestPlot:
    @pytest.mark.parametrize("log", [False, True])
    @pytest.mark.parametrize(
        "values",
        [[1.0], [0.0, 0.0], [1e-300, 1e300], [-1.0, 5.0], [np.nan, 1.0], [], [1e9, 1e9 + 1]],
    )
    def test_any_numbers(self, values: list[float], log: bool) -> None:
        plot = Plot("x", "y", log_x=log, log_y=log, falling_x=log)
        plot.line(values, values)
        plot.points(values, values)
        plot.band(values, values, values)
        plot.across(1.0, note="<one>")
        plot.upright(2.0, note="two")
        check(plot.show())

    def test_points_are_where_they_should_be(self) -> None:
        plot = Plot()
        plot.points([0.0, 10.0], [0.0, 1.0])
        x0, y0, x1, y1 = map(
            float,
            re.findall(r"M([\d.]+) ([\d.]+)h0", plot.show())[0]
            + re.findall(r"M([\d.]+) ([\d.]+)h0", plot.show())[1],
        )
        assert x0 < x1
        assert y0 > y1  # upwards

    def test_heat_map(self) -> None:
        check(heat_map(np.array([[1.0, -2.0], [0.0, 0.5]]), ["a", "b"], ["<x>", "y"]))
