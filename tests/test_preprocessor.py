"""Tables of any columns as numbers, and networks that find them by name."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convexrelu import (
    Column,
    Network,
    Preprocessor,
    StandardizedNetwork,
    Standardizer,
    TableNetwork,
    load,
    make_preprocessor,
    save,
)

TABLE: dict[str, Any] = {
    "age": [20.0, None, 30.0, 45.0, 50.0, np.nan],
    "sex": ["f", "m", "m", "f", "f", "m"],
    "city": ["Oslo", None, "Rome", "Oslo", "", "Paris"],
    "member": [True, False, True, True, False, False],
}
PREPROCESSOR = make_preprocessor(TABLE)
EXPECTED = np.array(
    [  # age, missing, f, m, Oslo, missing, member
        [20.0, 0, 1, 0, 1, 0, 1],
        [37.5, 1, 0, 1, 0, 1, 0],
        [30.0, 0, 0, 1, 0, 0, 1],
        [45.0, 0, 1, 0, 1, 0, 1],
        [50.0, 0, 1, 0, 0, 1, 0],
        [37.5, 1, 0, 1, 0, 0, 0],
    ]
)


def model() -> TableNetwork:
    rng = np.random.default_rng(0)
    network = Network(rng.standard_normal((5, 8)), rng.standard_normal(5))
    standardizer = Standardizer.fit(EXPECTED, rng.standard_normal(6))
    return TableNetwork(StandardizedNetwork(network, standardizer), PREPROCESSOR, "price")


class TestLearning:
    def test_features(self) -> None:
        assert PREPROCESSOR.names == ("age", "sex", "city", "member")
        assert PREPROCESSOR.features == (
            *("age", "age is missing", "sex=f", "sex=m"),
            *("city=Oslo", "city is missing", "member"),
        )

    def test_what_is_kept(self) -> None:
        age, sex, city, member = PREPROCESSOR.columns
        assert age == Column("age", None, 37.5, True)
        assert (sex.levels, sex.has_missing) == (("f", "m"), False)
        assert (city.levels, city.has_missing) == (("Oslo",), True)  # the others occur once
        assert member == Column("member", None, 0.5, False)

    def test_does_not_change_the_table(self) -> None:
        before = copy.deepcopy(TABLE)
        make_preprocessor(TABLE)
        PREPROCESSOR.transform(TABLE)
        assert repr(TABLE) == repr(before)

    @given(st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=9))
    def test_a_column_of_numbers(self, cells: list[float | None]) -> None:
        present = [cell for cell in cells if cell is not None]
        if not present:
            return
        preprocessor = make_preprocessor({"a": cells})
        filled = [np.median(present) if cell is None else cell for cell in cells]
        transformed = preprocessor.transform({"a": cells})
        assert transformed[:, 0].tolist() == filled
        assert transformed.shape[1] == 1 + (None in cells)

    @given(st.lists(st.sampled_from("abc"), min_size=1), st.lists(st.sampled_from("abcd")))
    def test_a_column_of_texts(self, cells: list[str], others: list[str]) -> None:
        levels = sorted(text for text in set(cells) if cells.count(text) > 1)
        if not levels:
            with pytest.raises(ValueError, match="column 'a' has no text that occurs twice"):
                make_preprocessor({"a": cells})
            return
        preprocessor = make_preprocessor({"a": cells})
        assert preprocessor.features == tuple(f"a={level}" for level in levels)
        expected = [[float(text == level) for level in levels] for text in others]
        assert preprocessor.transform({"a": others}).tolist() == expected

    @given(st.data())
    def test_weights_are_repetitions(self, data: st.DataObject) -> None:
        n = data.draw(st.integers(1, 9))

        def draw(values: st.SearchStrategy[Any]) -> list[Any]:
            return data.draw(st.lists(values, min_size=n, max_size=n))

        numbers, texts = (
            draw(st.none() | st.integers(-3, 3)),
            draw(st.none() | st.sampled_from("ab")),
        )
        times = np.array(draw(st.integers(0, 3)))
        place = np.repeat(np.arange(n), times)
        repeated = {"x": [numbers[k] for k in place], "t": [texts[k] for k in place]}
        try:
            expected = make_preprocessor(repeated)
        except ValueError:
            with pytest.raises(ValueError):  # noqa: PT011  (no weight, no value or no text left)
                make_preprocessor({"x": numbers, "t": texts}, sample_weight=times)
            return
        assert make_preprocessor({"x": numbers, "t": texts}, sample_weight=times) == expected


class TestTransform:
    def test_of_the_training_table(self) -> None:
        assert np.array_equal(PREPROCESSOR.transform(TABLE), EXPECTED)

    def test_columns_in_any_order_and_others(self) -> None:
        table = {"other": 6 * ["x"], **dict(reversed(TABLE.items()))}
        assert np.array_equal(PREPROCESSOR.transform(table), EXPECTED)

    def test_matrix(self) -> None:
        rows = np.array(list(TABLE.values()), dtype=object).T
        assert np.array_equal(PREPROCESSOR.transform(rows), EXPECTED)
        assert np.array_equal(PREPROCESSOR.transform(rows.tolist()), EXPECTED)
        numbers = make_preprocessor({"a": [1.0, 2.0], "b": [3.0, 5.0]})
        assert numbers.transform([[7, 8]]).tolist() == [[7.0, 8.0]]

    def test_structured_array(self) -> None:
        kinds = [("sex", "U1"), ("age", float), ("member", bool), ("city", "U9")]
        rows = [
            (sex, np.nan if age is None else age, member, city or "")
            for sex, age, member, city in zip(*(TABLE[k] for k, _ in kinds), strict=True)
        ]
        assert np.array_equal(PREPROCESSOR.transform(np.array(rows, dtype=kinds)), EXPECTED)

    def test_masked_columns(self) -> None:
        age = np.ma.masked_invalid([20.0, np.nan, 30.0, 45.0, 50.0, np.nan])
        assert make_preprocessor({"age": age}).columns == PREPROCESSOR.columns[:1]

    def test_pandas(self) -> None:
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(TABLE)
        assert make_preprocessor(frame) == PREPROCESSOR
        assert np.array_equal(PREPROCESSOR.transform(frame[list(frame)[::-1]]), EXPECTED)
        frame = frame.astype({"sex": "category", "city": "string", "member": "boolean"})
        frame["age"] = frame["age"].astype("Float64")
        assert make_preprocessor(frame) == PREPROCESSOR
        assert np.array_equal(PREPROCESSOR.transform(frame), EXPECTED)

    def test_polars(self) -> None:
        polars = pytest.importorskip("polars")
        frame = polars.DataFrame({**TABLE, "age": [20.0, None, 30.0, 45.0, 50.0, None]})
        assert make_preprocessor(frame) == PREPROCESSOR
        assert np.array_equal(PREPROCESSOR.transform(frame.select(frame.columns[::-1])), EXPECTED)

    def test_missing_where_none_was(self) -> None:
        row = {"age": [1.0], "sex": [None], "city": ["Oslo"], "member": [None]}
        assert PREPROCESSOR.transform(row).tolist() == [[1, 0, 0, 0, 1, 0, 0.5]]

    def test_no_rows(self) -> None:
        assert PREPROCESSOR.transform({name: [] for name in TABLE}).shape == (0, 7)


class TestTableNetwork:
    def test_predicts_by_name(self) -> None:
        table = dict(reversed(TABLE.items()))
        expected = model().network.predict(EXPECTED)
        assert np.array_equal(model().predict(table), expected)
        assert np.array_equal(model().predict(table, n_threads=2), expected)

    @pytest.mark.parametrize("value", [PREPROCESSOR, model()], ids=repr)
    def test_copies_and_files(self, value: Any, tmp_path: Path) -> None:
        path = tmp_path / "model.npz"
        save(value, path)
        for again in (load(path), pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
            assert again == value
            assert repr(again) == repr(value)
        first = path.read_bytes()
        save(load(path), path)
        assert path.read_bytes() == first
        with np.load(path) as archive:
            prefix = "" if value is PREPROCESSOR else "preprocessor/"
            assert json.loads(archive[f"{prefix}names.json"]) == list(TABLE)

    def test_any_names(self, tmp_path: Path) -> None:
        """There may be very many, and of any letters."""
        names = [f"x{j}é\n" for j in range(20_000)]
        preprocessor = make_preprocessor({name: [1.0] for name in names})
        save(preprocessor, tmp_path / "p.npz")
        assert load(tmp_path / "p.npz") == preprocessor

    def test_equality(self) -> None:
        assert model() == model()
        assert model() != TableNetwork(model().network, PREPROCESSOR, "cost")
        assert make_preprocessor({"a": [1.0]}) != make_preprocessor({"a": [2.0]})
        assert make_preprocessor({"a": [1.0]}) != make_preprocessor({"b": [1.0]})
        assert PREPROCESSOR != 1
        assert model() != 1

    def test_repr(self) -> None:
        assert repr(PREPROCESSOR) == "<Preprocessor: 4 columns, 7 features>"
        assert repr(model()) == "<TableNetwork: 'price' from 4 columns, 5 neurons>"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: make_preprocessor([[1.0]]),
            TypeError,
            "table must have columns with names .* list",
        ),
        (lambda: make_preprocessor({}), ValueError, "columns must not be empty"),
        (lambda: make_preprocessor({1: [1.0]}), TypeError, "names of columns must be texts, .* 1"),
        (lambda: make_preprocessor({"a": [None, ""]}), ValueError, "column 'a' has no value"),
        (lambda: make_preprocessor({"a": [1.0, "x"]}), TypeError, "'a' .* has both 1 and 'x'"),
        (
            lambda: make_preprocessor({"a": [1j]}),
            TypeError,
            "'a' must be of numbers or texts, .* 1j",
        ),
        (lambda: make_preprocessor({"a": [[1.0]]}), ValueError, "'a' must have one dimension"),
        (lambda: make_preprocessor({"a": [1.0, np.inf]}), ValueError, "'a' .* but row 1 is inf"),
        (
            lambda: make_preprocessor({"a": np.array(["2020-01-01"], "M8[ns]")}),
            TypeError,
            "column 'a' must be of numbers or texts, got dtype datetime64",
        ),
        (
            lambda: make_preprocessor({"a": [1.0], "b": [1.0, 2.0]}),
            ValueError,
            "same number of rows, but 'a' has 1 and 'b' 2",
        ),
        (
            lambda: PREPROCESSOR.transform({"age": [1.0], "member": [1]}),
            ValueError,
            "the table lacks 'sex', 'city', which the training data had",
        ),
        (
            lambda: PREPROCESSOR.transform({**TABLE, "age": 6 * ["old"]}),
            TypeError,
            "column 'age' must be of numbers, but has 'old'",
        ),
        (
            lambda: PREPROCESSOR.transform({**TABLE, "sex": 6 * [0]}),
            TypeError,
            "column 'sex' must be of texts, but has 0",
        ),
        (lambda: PREPROCESSOR.transform(np.ones((2, 3))), ValueError, "the 4 columns of training"),
        (lambda: Preprocessor([]), ValueError, "columns must not be empty"),
        (lambda: Preprocessor(["a"]), TypeError, "columns must be of type Column, got str"),
        (lambda: Preprocessor([Column("a", None, np.nan, False)]), ValueError, "finite median"),
        (
            lambda: Preprocessor([Column("a", ("x", "x"), 0.0, False)]),
            ValueError,
            "distinct levels",
        ),
        (lambda: Preprocessor(2 * PREPROCESSOR.columns[:1]), ValueError, "distinct names"),
        (lambda: TableNetwork(1, PREPROCESSOR, "y"), TypeError, "network must be a StandardizedN"),
        (lambda: TableNetwork(model().network, 1, "y"), TypeError, "preprocessor must be a Pre"),
        (lambda: TableNetwork(model().network, PREPROCESSOR, 1), TypeError, "target must be a str"),
        (
            lambda: TableNetwork(model().network, make_preprocessor({"a": [1.0]}), "y"),
            ValueError,
            "network must have 1 features, those that the preprocessor makes, got 7",
        ),
    ],
)
def test_errors(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
