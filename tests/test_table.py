"""Reading CSV files: exact numbers, and messages that say what is wrong and where."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convexrelu.cli import table
from convexrelu.cli.table import InputError, Table, read_table


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes, name: str = "data.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def refusal(path: Path, **options: Any) -> str:
    """The message with which the file is refused, which begins with its name."""
    with pytest.raises(InputError) as caught:
        read_table(path, **options)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def to_csv(values: np.ndarray) -> str:
    lines = [",".join(f"x{j}" for j in range(values.shape[1]))]
    return "\n".join(lines + [",".join(map(repr, row)) for row in values.tolist()]) + "\n"


finite_matrices = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(allow_nan=False, allow_infinity=False),
)


class TestNumbers:
    @given(values=finite_matrices, gzipped=st.booleans())
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_every_bit_survives(self, values: np.ndarray, gzipped: bool, tmp_path: Path) -> None:
        text = to_csv(values).encode()
        path = tmp_path / ("data.csv.gz" if gzipped else "data.csv")
        path.write_bytes(gzip.compress(text, mtime=0) if gzipped else text)
        read = read_table(path)
        assert read.columns == tuple(f"x{j}" for j in range(values.shape[1]))
        assert read.values.tobytes() == values.tobytes()
        assert read.missing == {}
        assert read.n_dropped == 0

    @given(
        values=finite_matrices,
        data=st.data(),
        block_rows=st.integers(1, 3),
    )
    def test_incomplete_rows_are_left_out(
        self,
        values: np.ndarray,
        data: st.DataObject,
        block_rows: int,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        is_missing = data.draw(hnp.arrays(bool, values.shape))
        is_missing[0] = False
        cells = np.where(is_missing, np.nan, values)
        path = tmp_path_factory.mktemp("table") / "data.csv"
        path.write_text(to_csv(cells))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(table, "_BLOCK_ROWS", block_rows)
            read = read_table(path, drop_missing=True)
        assert np.array_equal(read.values, values[~is_missing.any(axis=1)])
        assert read.n_dropped == is_missing.any(axis=1).sum()
        assert [read.missing.get(name, 0) for name in read.columns] == is_missing.sum(0).tolist()

    @pytest.mark.parametrize(
        "text",
        [
            "a,b\r\n1,2\r\n3,4\r\n",  # Windows
            "﻿a,b\n1,2\n3,4\n",  # a byte order mark
            '"a","b"\n"1","2"\n3,4',  # quotes, no final line end
            " a , b \n 1 ,+2.0\n3e0, 4\n",
            "\na,b\n\n1,2\n\n3,4\n\n",  # blank lines
        ],
    )
    def test_dialects(self, write, text: str) -> None:
        read = read_table(write(text))
        assert read.columns == ("a", "b")
        assert read.values.tolist() == [[1, 2], [3, 4]]

    def test_gzip_by_content(self, write) -> None:
        assert read_table(write(gzip.compress(b"a\n1\n"), "data.csv")).values == 1
        assert read_table(write("a\n1\n", "data.CSV.GZ")).values == 1

    def test_header_of_positions(self, write) -> None:
        """What pandas writes for a frame without names."""
        assert read_table(write("0,1\n5,6\n")).columns == ("0", "1")
        assert read_table(write("1,2\n5,6\n")).columns == ("1", "2")

    def test_very_many_columns(self) -> None:
        """Each is looked at once, whatever is done with its name."""

        class Name(str):
            compared = 0

            def __eq__(self, other: object) -> bool:
                Name.compared += 1
                return str.__eq__(self, other)

            __hash__ = str.__hash__

        names = tuple(Name(f"x{j}") for j in range(3000))
        assert table._header(1, list(names)) == names
        assert Name.compared < 100_000

    def test_many_blocks(self, write) -> None:
        values = np.arange(3.0 * 10_000).reshape(-1, 3)
        assert np.array_equal(read_table(write(to_csv(values))).values, values)


class TestMissingAndText:
    @pytest.mark.parametrize("cell", ["", " ", "?", "NA", "n/a", "NaN", "nan", "null", "None"])
    def test_forms_of_a_missing_cell(self, write, cell: str) -> None:
        path = write(f"a,b\n1,2\n3,{cell}\n")
        assert read_table(path).missing == {"b": 1}
        assert read_table(path, drop_missing=True).values.tolist() == [[1, 2]]

    def test_missing_cells_are_nan(self, write) -> None:
        read = read_table(write("a,long,c\n1,2,3\n\n,2,\n1,2,\n"))
        assert np.array_equal(read.values, [[1, 2, 3], [np.nan, 2, np.nan], [1, 2, np.nan]], True)
        assert read.missing == {"a": 1, "c": 2}
        assert read.n_dropped == 0

    def test_nothing_left(self, write) -> None:
        message = refusal(write("a,b\n1,\n,2\n"), drop_missing=True)
        assert message.startswith(
            "none of its 2 rows is complete: missing cells in 2 columns, a 1, b 1\n"
        )

    def test_texts(self, write) -> None:
        path = write("sex,age,city\n male,1,Oslo\nfemale,2,\nmale ,3,Rome\n")
        read = read_table(path)
        assert read.texts == {"sex": ("male", "female"), "city": ("Oslo", "Rome")}
        assert np.array_equal(read.values, [[0, 1, 0], [1, 2, np.nan], [0, 3, 1]], True)
        cells = read.cells(np.array([True, False, True]))
        assert cells["sex"].values.tolist() == [0, 0]
        assert cells["sex"].texts == ("male", "female")
        assert cells["age"].texts is None
        assert read_table(path, drop_missing=True).values.tolist() == [[0, 1, 0], [0, 3, 1]]

    def test_texts_across_blocks(self, write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table, "_BLOCK_ROWS", 2)
        read = read_table(write("a,b\nx,1\ny,2\nz,3\nx,4\ny,5\n"))
        assert read.values[:, 0].tolist() == [0, 1, 2, 0, 1]
        assert "row 3 (line 4): z" in refusal(write("a\n1\n2\nz\n3\n"))
        assert "row 1 (line 2): x" in refusal(write("a\nx\ny\n3\n4\n"))

    def test_texts_among_numbers_are_named(self, write) -> None:
        path = write("sex,age,city\nmale,1,Oslo\n2,two,Rome\nfemale,,12%\n")
        assert refusal(path) == (
            "not numbers in 3 columns\n"
            "  sex   2 cells, first in row 1 (line 2): male\n"
            "  age   1 cell, first in row 2 (line 3): two\n"
            "  city  1 cell, first in row 3 (line 4): 12%\n"
            "A column has numbers, with decimal points, or texts, such as categories."
        )
        assert refusal(path, drop_missing=True) == refusal(path)

    @pytest.mark.parametrize("cell", ["2020-01-01", "5%", '"1,5"', "inf", "1e999", "+"])
    def test_a_text_has_a_letter(self, write, cell: str) -> None:
        message = refusal(write(f"a,b\n{cell},2\n{cell},3\n"))
        assert f"a  2 cells, first in row 1 (line 2): {cell.strip(chr(34))}\n" in message

    @pytest.mark.parametrize(
        "cell", ["1_000", '"1,000"', "5%", "True", "2020-01-01", "0x1F", "1 2"]
    )
    def test_what_only_looks_like_a_number(self, write, cell: str) -> None:
        message = refusal(write(f"a,b\n1,2\n3,{cell}\n"))
        assert f"b  1 cell, first in row 2 (line 3): {cell.strip(chr(34))}\n" in message

    @pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
    def test_infinite(self, write, cell: str) -> None:
        assert f"row 1 (line 2): {cell}" in refusal(write(f"a,b\n{cell},2\n"))

    def test_rows_count_across_blocks(self, write, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table, "_BLOCK_ROWS", 2)
        assert "row 5 (line 6): x" in refusal(write("a\n1\n2\n3\n4\nx\n"))

    def test_long_lists_are_cut(self, write) -> None:
        names = ",".join(f"c{j}" for j in range(40))
        message = refusal(write(f"{names}\n%{',%' * 39}\n1{',1' * 39}\n"))
        assert "c11" in message
        assert "c12" not in message
        assert "and 28 more columns" in message


class TestForm:
    @pytest.mark.parametrize(
        "name", ["data.npz", "index.json", "README.md", "data.xlsx", "csv", "gz"]
    )
    def test_other_kinds_of_file(self, write, name: str) -> None:
        message = refusal(write("a,b\n1,2\n", name))
        assert message.startswith("not a CSV file\nconvexrelu reads CSV files, .csv or .csv.gz")
        assert "numpy.savetxt" in message

    def test_no_file(self, tmp_path: Path) -> None:
        assert refusal(tmp_path / "none.csv") == "no such file"
        assert refusal(tmp_path).startswith("a directory")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "an empty file"),
            ("\n\n", "an empty file"),
            ("a,b\n", "no rows below the header line"),
            ("1.5,2,3\n4,5,6\n", "first line is a row .1.5, 2, 3.,.* a line such as x1,x2,target$"),
            ("1,2,3,4,9\n4,5,6,7,8\n", "such as x1,x2,x3,...,target$"),
            ("a;b\n1;2\n", "separated by ';'; convexrelu reads commas"),
            ("a\tb\n1\t2\n", r"separated by '\\t'"),
            (",a\n0,1\n", "column 1 has no name in the header line .*index=False"),
            ("a,b,a\n1,2,3\n", "columns 1 and 3 are both 'a'"),
            ("a,b\n1,2\n1,2,3\n", "line 3 has 3 cells, but the header names 2 columns"),
            ("a,b\n1\n2\n", "line 2 has 1 cell, but the header names 2 columns"),
            ("a,,b\n1,2,3\n", "column 2 has no name in the header line$"),
            ("a,b,\n1,2,\n", "line 1, which names the columns, ends with a comma; remove it from"),
            ("\na,b, \n1,2\n", "line 2, which names the columns, ends with a comma"),
            ("a,b\n1,2\n3,4,\n", "line 3 ends with a comma, after which there is one cell more"),
            ("a,b\n1,2\n3,4,,\n", "line 3 has 4 cells, but the header names 2 columns"),
            ('a,b\n1,"2"3\n', "not a well-formed CSV file, in line 2: "),
            ('a,b\n1,2\n1,"2\n', "a quotation mark opened in line 3 is never closed"),
            ('"a,b\n1,2\n', "a quotation mark opened in line 1 is never closed"),
            ('a,b\n1,"' + 99_999 * "2\n", "a quotation mark opened in line 2 is never closed"),
            ("a,b\n1," + 200_000 * "2", "line 2 has a cell of more than 131072 characters"),
            ('a,b\n1,"2\n3,4\n5,"6"\n', "opened in line 2 is closed in line 4 only"),
            ('a,b\n1,"2\n3,4"\n', r"opened in line 2 is .* so that one cell holds '2\\n3,4'"),
            ('"a,b\n1,2"\n3\n', r"opened in line 1 is .* so that one cell holds 'a,b\\n1,2'"),
            ("a,b\n1,2\0\n", r"NUL|'2\\x00'"),
            ("a,b\n1,\x1b[1m\n", r"'\\x1b\[1m'"),
            ("a,\x1b[1m\n1,2\n", "column 2 has a name that cannot be printed"),
            ("größe,b\n1,2\n".encode("latin-1"), "not UTF-8 text"),
            ("a,b\n1,2\n".encode("utf-16"), "not UTF-8 text"),
            (gzip.compress(b"a,b\n1,2\n" * 999, mtime=0)[:-20], "a damaged gzip file"),
            (b"\x1f\x8bnothing", "a damaged gzip file"),
        ],
    )
    def test_message(self, write, text: str | bytes, message: str) -> None:
        path = write(text)
        with pytest.raises(InputError, match=message):
            read_table(path)

    @given(
        content=st.binary(max_size=200) | st.text(',"\n 12.e-a_?').map(str.encode),
        gzipped=st.booleans(),
    )
    @settings(max_examples=500)
    def test_any_bytes_are_read_or_refused(
        self, content: bytes, gzipped: bool, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "any.csv"
        path.write_bytes(gzip.compress(content, mtime=0) if gzipped else content)
        try:
            read = read_table(path, drop_missing=True)
        except InputError:
            return
        assert np.isfinite(read.values).all()


class TestFirstLine:
    """Names, or a row: where there is no telling the table is refused, and no row is lost."""

    REALS = np.random.default_rng(7).standard_normal((30, 3)).round(3)
    DIGITS = np.random.default_rng(7).integers(0, 9, (30, 3)).astype(float)

    def read(self, write, first: str, values: np.ndarray) -> Table:
        return read_table(write(first + "\n" + to_csv(values).split("\n", 1)[1]))

    ROWS = (
        *("1.5,NA,3.25", "1.5,?,3.25", "inf,1,2", "1.5,-inf,3", "NA,NA,NA", "1.5,,3.25", ",1.5,2"),
        *("1.5,2,", ".5,-,.25", ".5,.,.3", ".5,#N/A,.3", ".5,<NA>,.3", "-nan,.1,.2", "1e999,1,2"),
        *("0.5,1_000,3", "5%,6%,7%", "2020-01-01,1,2", "5,6,8", "-1,0,1", "nan,1.#IND,0"),
    )

    @pytest.mark.parametrize("first", ROWS)
    def test_rows(self, write, first: str) -> None:
        for values in (self.REALS, self.DIGITS):
            with pytest.raises(InputError, match=r"its first line is a row \(.*\), but must name"):
                self.read(write, first, values)

    @pytest.mark.parametrize(
        ("first", "values"),
        [
            (".5,missing,.25", REALS),
            (".5,.25,unknown", REALS),
            ("TRUE,.2,.3", REALS),
            ("inf,.5,x", REALS),
            ("1.2,#DIV/0!,.4", REALS),
            ("NA,low,.5", REALS),
            ("5,bad,3", DIGITS),
            ("0,1,2", DIGITS),
            ("1,2,3", DIGITS),
            ("0,1", DIGITS[:, :2] % 2),
            ("x,1", DIGITS[:, :2] % 2),
        ],
    )
    def test_no_telling(self, write, first: str, values: np.ndarray) -> None:
        with pytest.raises(InputError, match=r"its first line \(.*\) may name the columns or be a"):
            self.read(write, first, values)

    @pytest.mark.parametrize(
        ("first", "values"),
        [
            ("Na,K,Mg", REALS),  # sodium
            ("0,1,2", REALS),
            ("id,1100.5,1102.5", REALS),
            ("id,2019,2020", DIGITS),
            ("id,2.5,70", DIGITS),
            ("2020-01-01,2020-01-02,y", REALS),
            ("0,1,2,3", np.c_[DIGITS, DIGITS[:, 0]]),
            ("label,0,1,2,3", np.c_[DIGITS, DIGITS[:, :2]]),
            ("n°,%,#a", REALS),
        ],
    )
    def test_names(self, write, first: str, values: np.ndarray) -> None:
        read = self.read(write, first, values)
        assert read.columns == tuple(first.split(","))
        assert len(read.values) == len(values)

    @given(
        values=finite_matrices.filter(lambda v: v.shape[0] > 1 and v.shape[1] > 1),
        seed=st.integers(0, 99),
    )
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_no_row_is_lost(self, values: np.ndarray, seed: int, tmp_path: Path) -> None:
        """Without a header line, and with a cell of the first row missing or infinite."""
        cells = [list(map(repr, row)) for row in values.tolist()]
        rng = np.random.default_rng(seed)
        cells[0][rng.integers(len(cells[0]))] = rng.choice(["", "NA", "?", "inf", "-", "1e999"])
        path = tmp_path / "data.csv"
        path.write_text("\n".join(map(",".join, cells)))
        message = refusal(path, drop_missing=True)
        assert message.startswith("its first line")

    @pytest.mark.parametrize(
        "text", ["5.1,3.5,setosa\n4.9,3.6,setosa\n6.2,3.4,rose\n", "a,x\nb,y\na,y\nb,x\n"]
    )
    def test_texts_that_are_met_again(self, write, text: str) -> None:
        with pytest.raises(InputError, match="may name the columns or be a row like those"):
            read_table(write(text))

    def test_what_was_done_is_said(self, write) -> None:
        message = refusal(write("5.1,3.5,setosa\n4,3,1\n2,1,setosa\n"))
        assert "first line was taken for the names of the columns: 5.1, 3.5, setosa." in message


class TestColumns:
    TABLE = Table(Path("t.csv"), ("age", "price", "rooms"), np.ones((2, 3)), {}, {}, 0)

    def test_by_name(self) -> None:
        assert self.TABLE.column_index("price") == 1
        with pytest.raises(
            InputError, match=r"^t.csv: no column is named 'prize'; did you mean 'pr"
        ):
            self.TABLE.column_index("prize")
        with pytest.raises(InputError, match=r"'x'\nIt has the columns age, price, rooms\.$"):
            self.TABLE.column_index("x")

    def test_only_those(self, write) -> None:
        """Of the others nothing is asked but that there is a cell for each."""
        path = write("a,b,c\n1,x,\n2,3,\n")
        read = read_table(path, only=("c", "a"), drop_missing=False)
        assert read.columns == ("a", "c")
        assert read.missing == {"c": 2}
        read = read_table(path, ignored=["b", "c"], drop_missing=True)
        assert read.values.tolist() == [[1], [2]]
        with pytest.raises(InputError, match=r"it lacks d, which .*\nIt has the columns a, b, c"):
            read_table(path, only=("a", "d"))
        with pytest.raises(InputError, match="no column is named 'd', which is to be ignored"):
            read_table(path, ignored=["d"])
        assert "line 2 has 2 cells" in refusal(write("a,b,c\n1,x\n"), ignored=["c"])
