"""Tables of numbers: CSV files, plain or gzipped, with a header line.

A file that is not wholly such a table is refused with a message that says where and what would be
right. Rows are read in blocks: memory is that of the numbers.

The first line names the columns. A cell of it is a name where it has a letter and is neither a
number nor a mark of a missing cell; numbers that count up may name columns too (0, 1, 2; 2019,
2020). A first line without names is a row of a table that has no header, and refused. Where names
are few and what stands beside them could be a row, by range and form of the columns below, there is
no telling, and the table is refused as well: no row is ever lost.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import gzip
import io
import itertools
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

Record = tuple[int, list[str]]  # the line in which a row begins, its cells

_SUFFIXES = (".csv", ".csv.gz")
# Those that pandas writes and reads, in lower case, and that of the UCI archive.
_MISSING = frozenset(
    {"", "?", "na", "n/a", "nan", "null", "none", "<na>", "#n/a", "#na", "#n/a n/a", "-nan"}
    | {"1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)
_BLOCK_ROWS = 4096
_LISTED = 12  # columns that a message lists before it says how many more there are

_WANTED = (
    "convexrelu reads CSV files, .csv or .csv.gz: a line of column names, then numbers, "
    "comma-separated.\nFrom Python: numpy.savetxt('data.csv', numpy.column_stack([X, y]), "
    "delimiter=',', comments='',\n                           header='x1,x2,target')"
)


class InputError(ValueError):
    """The user's input cannot be used; the message says why and what would be right."""


@dataclass(frozen=True)
class Table:
    """Named columns of finite numbers.

    ``values`` is (n, len(columns)). ``missing`` counts the missing cells of each column that has
    any; ``n_dropped`` the rows that were left out for them.
    """

    path: Path
    columns: tuple[str, ...]
    values: NDArray[np.float64]
    missing: dict[str, int]
    n_dropped: int

    def column_index(self, name: str) -> int:
        """The position of a column."""
        if name not in self.columns:
            close = difflib.get_close_matches(name, self.columns, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(
                f"{self.path}: no column is named {name!r}{hint}\n"
                f"It has the columns {join_names(self.columns)}."
            )
        return self.columns.index(name)

    def select(self, columns: Sequence[str]) -> NDArray[np.float64]:
        """The values of the given columns, in their order, which must be all there are."""
        place = {name: j for j, name in enumerate(self.columns)}
        lacking = [name for name in columns if name not in place]
        unknown = sorted(place.keys() - set(columns), key=place.__getitem__)
        if lacking or unknown:
            lines = [f"{self.path}: its columns are not those of the training data"]
            lines += [f"It lacks {join_names(lacking)}."] if lacking else []
            lines += [f"The training data do not have {join_names(unknown)}."] if unknown else []
            raise InputError("\n".join(lines))
        return self.values[:, [place[name] for name in columns]]


def read_table(path: Path, *, drop_missing: bool = False) -> Table:
    """Reads a table.

    Parameters
    ----------
    path : Path
        A .csv or .csv.gz file in UTF-8 with one header line.
    drop_missing : bool
        Leaves out rows with a missing cell (empty, ``?``, ``NA``, ``N/A``, ``NaN``, ``null``,
        ``None``, or another mark that pandas knows), which are an error otherwise.

    Raises
    ------
    InputError
        Naming what is wrong: for text and for missing cells every column and its first row.
    """
    try:
        with _open(path) as file:
            columns, values, missing, n_dropped = _read(csv.reader(file, strict=True), drop_missing)
    except UnicodeDecodeError:
        problem = "not UTF-8 text; save it as CSV in UTF-8"
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        problem = f"a damaged gzip file: {error}"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    except InputError as error:
        problem = str(error)
    else:
        return Table(path, columns, values, missing, n_dropped)
    raise InputError(f"{path}: {problem}")


@contextlib.contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    if not path.exists():
        raise InputError("no such file")
    if path.is_dir():
        raise InputError(f"a directory\n{_WANTED}")
    if not path.name.lower().endswith(_SUFFIXES):
        raise InputError(f"not a CSV file\n{_WANTED}")
    with path.open("rb") as raw, contextlib.ExitStack() as stack:
        gzipped = raw.peek(2)[:2] == b"\x1f\x8b"
        binary = stack.enter_context(gzip.open(raw)) if gzipped else raw
        yield stack.enter_context(io.TextIOWrapper(binary, encoding="utf-8-sig", newline=""))


@dataclass
class _Defects:
    """Cells of one column that are no numbers."""

    count: int = 0
    first: str = ""  # where, and what stands there

    def add(self, row: int, line: int, cell: str = "") -> None:
        if not self.count:
            shown = cell[:40] if cell.isprintable() else repr(cell[:40])
            self.first = f"row {row} (line {line})" + (f": {shown}" if cell else "")
        self.count += 1


class _Parser:
    """Turns rows of text into numbers and takes note of what is none."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.n_columns = len(columns)
        self.n_rows = 0
        self.n_incomplete = 0
        self.text = {name: _Defects() for name in columns}
        self.missing = {name: _Defects() for name in columns}

    def parse(self, rows: list[list[str]], lines: list[int]) -> NDArray[np.float64]:
        """The complete rows (k, d) of a block that ends at the rows read so far."""
        try:
            values = np.array(rows, dtype=np.float64)
        except ValueError:
            values = self._cell_by_cell(rows, lines)
        else:
            # float() takes 2020_01 for a number; a ragged block has raised before.
            underscore = any("_" in cell for row in rows for cell in row)
            if values.shape[1] != self.n_columns or underscore or not np.isfinite(values).all():
                values = self._cell_by_cell(rows, lines)
        self.n_rows += len(rows)
        complete = ~np.isnan(values).any(axis=1)
        self.n_incomplete += int(len(rows) - complete.sum())
        return values[complete]

    def _cell_by_cell(self, rows: list[list[str]], lines: list[int]) -> NDArray[np.float64]:
        values = np.full((len(rows), self.n_columns), np.nan)
        for k, (row, line) in enumerate(zip(rows, lines, strict=True)):
            if len(row) != self.n_columns:
                raise InputError(_ragged(row, line, self.n_columns))
            place = (self.n_rows + k + 1, line)
            for j, (name, cell) in enumerate(zip(self.text, row, strict=True)):
                if (stripped := cell.strip()).lower() in _MISSING:
                    self.missing[name].add(*place)
                elif math.isfinite(number := _number(stripped)):
                    values[k, j] = number
                elif "\n" in stripped or "\r" in stripped:
                    raise InputError(_long_cell(stripped, line))
                else:
                    self.text[name].add(*place, stripped)
        return values


def _ragged(row: list[str], line: int, n_columns: int) -> str:
    if len(row) == n_columns + 1 and not row[-1].strip():
        return (
            f"line {line} ends with a comma, after which there is one cell more than the "
            f"{_plural(n_columns, 'column')} that the header names; remove it"
        )
    return (
        f"line {line} has {_plural(len(row), 'cell')}, but the header names "
        f"{_plural(n_columns, 'column')}"
    )


def _long_cell(cell: str, line: int) -> str:
    return (
        f"a quotation mark opened in line {line} is closed in another line only, so that one cell "
        f"holds {cell[:40]!r}{'...' if len(cell) > 40 else ''}"
    )


def _number(cell: str) -> float:
    try:
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


def _read(
    reader: Any, drop_missing: bool
) -> tuple[tuple[str, ...], NDArray[np.float64], dict[str, int], int]:
    records = _records(reader)
    columns = _header(*next(records, (1, [])))
    parser = _Parser(columns)
    blocks = [np.empty((0, len(columns)))]
    for rows, lines in _blocks(records):
        blocks.append(parser.parse(rows, lines))

    if not parser.n_rows:
        raise InputError("no rows below the header line")
    if text := {name: cells for name, cells in parser.text.items() if cells.count}:
        raise InputError(
            f"not numbers in {_plural(len(text), 'column')}\n{_listing(text)}\n"
            "Replace text by numbers (a category by one 0/1 column for each of its values), "
            "or remove the column." + _first_line_hint(columns)
        )
    missing = {name: cells for name, cells in parser.missing.items() if cells.count}
    if missing and not drop_missing:
        raise InputError(
            f"missing cells in {_plural(len(missing), 'column')}\n{_listing(missing)}\n"
            f"{_plural(parser.n_incomplete, 'row')} of {parser.n_rows} "
            f"{'is' if parser.n_incomplete == 1 else 'are'} incomplete: leave them out "
            "with --drop-missing, or fill the cells in first."
        )
    values = np.concatenate(blocks)
    counts = {name: cells.count for name, cells in missing.items()}
    if not len(values):
        raise InputError(
            f"none of its {parser.n_rows} rows is complete\n{_listing(missing)}\n"
            "Remove the columns that are mostly empty first."
        )
    _check_header(columns, values)
    return columns, values, counts, parser.n_incomplete


def _header(line: int, cells: list[str]) -> tuple[str, ...]:
    columns = tuple(name.strip() for name in cells)
    if not columns:
        raise InputError("an empty file")
    if len(columns) == 1 and (other := [c for c in ";\t|" if c in columns[0]]):
        raise InputError(
            f"columns are separated by {other[0]!r}; convexrelu reads commas "
            "(and points in decimal numbers)"
        )
    counted = columns[1:] if len(columns) > 1 and not columns[0] else columns
    if not any(map(_is_name, columns)) and not _counts_from_the_start(counted):
        raise InputError(
            f"its first line is a row ({join_names(columns)}), but must name the columns; "
            f"{_advice(columns)}"
        )
    seen: dict[str, int] = {}
    for j, name in enumerate(columns):
        if not name:
            raise InputError(_unnamed(columns, j, line))
        if "\n" in name or "\r" in name:
            raise InputError(_long_cell(name, line))
        if not name.isprintable():
            raise InputError(f"column {j + 1} has a name that cannot be printed: {name[:40]!r}")
        if name in seen:
            raise InputError(f"columns {seen[name] + 1} and {j + 1} are both {name!r}")
        seen[name] = j
    return columns


def _is_name(cell: str) -> bool:
    """Whether a cell of the first line says that this line is none of numbers."""
    if cell.lower() in _MISSING or not any(map(str.isalpha, cell)):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


def _counts_from_the_start(columns: Sequence[str]) -> bool:
    """What pandas writes for a frame without names."""
    return any(columns == tuple(str(i + s) for i in range(len(columns))) for s in (0, 1))


def _unnamed(columns: Sequence[str], j: int, line: int) -> str:
    if j == len(columns) - 1:
        return f"line {line}, which names the columns, ends with a comma; remove it from every line"
    why = " (a row index? pandas writes none with index=False)" if j == 0 else ""
    return f"column {j + 1} has no name in the header line{why}"


def _advice(columns: Sequence[str]) -> str:
    names = ",".join(f"x{j + 1}" for j in range(min(3, len(columns) - 1)))
    return f"add a line such as {names}{',...' if len(columns) > 4 else ''},target"


def _check_header(columns: Sequence[str], values: NDArray[np.float64]) -> None:
    """Refuses a first line that may be a row of the table below."""
    others = [j for j, name in enumerate(columns) if not _is_name(name)]
    if 2 * len(others) < len(columns):
        return
    numbers = np.array([_number(columns[j]) for j in others])
    if len(others) > 3 and (np.diff(numbers) == 1).all():  # no row counts up by accident
        return
    below = values[:, others]
    inside = (below.min(axis=0) <= numbers) & (numbers <= below.max(axis=0))
    is_whole = (numbers == np.floor(numbers)) == (below == np.floor(below)).all(axis=0)
    is_mark = [columns[j].lower() in _MISSING or _is_infinite(columns[j]) for j in others]
    if 2 * np.count_nonzero((inside & is_whole) | is_mark) >= len(others):
        raise InputError(
            f"its first line ({join_names(columns)}) may name the columns or be a row like those "
            f"below it; {_advice(columns)}, or replace what is no name in it"
        )


def _is_infinite(cell: str) -> bool:
    try:
        return math.isinf(float(cell))
    except ValueError:
        return False


def _first_line_hint(columns: Sequence[str]) -> str:
    """What was done with a first line that has more in it than names."""
    if 2 * sum(map(_is_name, columns)) > len(columns):
        return ""
    return f"\nIts first line was taken for the names of the columns: {join_names(columns)}."


def _records(reader: Any) -> Iterator[Record]:
    """Rows with the lines in which they begin; blank lines are passed over."""
    line = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(_malformed(error, line, reader.line_num)) from None
        if row:
            yield line, row
        line = reader.line_num + 1


def _malformed(error: csv.Error, first: int, last: int) -> str:
    """The row that begins in one line and fails in another."""
    is_long = "field limit" in str(error)
    if "end of data" in str(error) or (is_long and last > first):
        return f"a quotation mark opened in line {first} is never closed"
    if is_long:
        return f"line {first} has a cell of more than {csv.field_size_limit()} characters"
    if last > first:
        return f"a quotation mark opened in line {first} is closed in line {last} only"
    return f"not a well-formed CSV file, in line {first}: {error}"


def _blocks(records: Iterator[Record]) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Rows in blocks, with the lines they begin in."""
    while block := list(itertools.islice(records, _BLOCK_ROWS)):
        yield [row for _, row in block], [line for line, _ in block]


def _listing(defects: dict[str, _Defects]) -> str:
    shown = list(defects.items())[:_LISTED]
    width = max(len(name) for name, _ in shown)
    digits = max(len(str(cells.count)) for _, cells in shown)
    lines = [
        f"  {name:{width}}  {cells.count:{digits}} {'cell,' if cells.count == 1 else 'cells,'} "
        f"first in {cells.first}"
        for name, cells in shown
    ]
    if more := len(defects) - len(shown):
        lines.append(f"  and {_plural(more, 'more column')}")
    return "\n".join(lines)


def join_names(columns: Sequence[str]) -> str:
    """The columns in a message, where there may be very many."""
    more = len(columns) - _LISTED
    return ", ".join(columns[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
