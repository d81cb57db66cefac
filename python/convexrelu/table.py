"""Tables of numbers: CSV files, plain or gzipped, with a header line.

A file that is not wholly such a table is refused with a message that says where and what would be
right. Rows are read in blocks: memory is that of the numbers.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import gzip
import io
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

_SUFFIXES = (".csv", ".csv.gz")
_MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
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
        lacking = [name for name in columns if name not in self.columns]
        unknown = [name for name in self.columns if name not in columns]
        if lacking or unknown:
            lines = [f"{self.path}: its columns are not those of the training data"]
            lines += [f"It lacks {join_names(lacking)}."] if lacking else []
            lines += [f"The training data do not have {join_names(unknown)}."] if unknown else []
            raise InputError("\n".join(lines))
        return self.values[:, [self.columns.index(name) for name in columns]]


def read_table(path: Path, *, drop_missing: bool = False) -> Table:
    """Reads a table.

    Parameters
    ----------
    path : Path
        A .csv or .csv.gz file in UTF-8 with one header line.
    drop_missing : bool
        Leaves out rows with a missing cell (empty, ``?``, ``NA``, ``N/A``, ``NaN``, ``null`` or
        ``None``), which are an error otherwise.

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
    except csv.Error as error:
        problem = f"not a well-formed CSV file: {error}"
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
                raise InputError(
                    f"line {line} has {len(row)} cells, but the header names "
                    f"{self.n_columns} columns"
                )
            place = (self.n_rows + k + 1, line)
            for j, (name, cell) in enumerate(zip(self.text, row, strict=True)):
                if (stripped := cell.strip()).lower() in _MISSING:
                    self.missing[name].add(*place)
                elif math.isfinite(number := _number(stripped)):
                    values[k, j] = number
                else:
                    self.text[name].add(*place, stripped)
        return values


def _number(cell: str) -> float:
    try:
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


def _read(
    reader: Iterator[list[str]], drop_missing: bool
) -> tuple[tuple[str, ...], NDArray[np.float64], dict[str, int], int]:
    columns = _header(reader)
    parser = _Parser(columns)
    blocks = [np.empty((0, len(columns)))]
    for rows, lines in _blocks(reader):
        blocks.append(parser.parse(rows, lines))

    if not parser.n_rows:
        raise InputError("no rows below the header line")
    if text := {name: cells for name, cells in parser.text.items() if cells.count}:
        raise InputError(
            f"not numbers in {_plural(len(text), 'column')}\n{_listing(text)}\n"
            "Replace text by numbers (a category by one 0/1 column for each of its values), "
            "or remove the column."
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
    return columns, values, counts, parser.n_incomplete


def _header(reader: Iterator[list[str]]) -> tuple[str, ...]:
    columns = tuple(name.strip() for name in next((row for row in reader if row), []))
    if not columns:
        raise InputError("an empty file")
    if len(columns) == 1 and (other := [c for c in ";\t|" if c in columns[0]]):
        raise InputError(
            f"columns are separated by {other[0]!r}; convexrelu reads commas "
            "(and points in decimal numbers)"
        )
    counted = [[str(i + start) for i in range(len(columns))] for start in (0, 1)]
    if all(math.isfinite(_number(name)) for name in columns) and list(columns) not in counted:
        raise InputError(
            "its first line is numbers, but must name the columns; add a line such as "
            f"{','.join(f'x{j + 1}' for j in range(min(3, len(columns) - 1)))}"
            f"{',...' if len(columns) > 4 else ''},target"
        )
    for j, name in enumerate(columns):
        if not name:
            raise InputError(
                f"column {j + 1} has no name in the header line (a row index? pandas writes none "
                "with index=False)"
            )
        if not name.isprintable():
            raise InputError(f"column {j + 1} has a name that cannot be printed: {name[:40]!r}")
        if name in columns[:j]:
            raise InputError(f"columns {columns.index(name) + 1} and {j + 1} are both {name!r}")
    return columns


def _blocks(reader: Iterator[list[str]]) -> Iterator[tuple[list[list[str]], list[int]]]:
    """Rows in blocks, with the lines they stand on; blank lines are passed over."""
    rows: list[list[str]] = []
    lines: list[int] = []
    for row in reader:
        if not row:
            continue
        rows.append(row)
        lines.append(reader.line_num)  # type: ignore[attr-defined]
        if len(rows) == _BLOCK_ROWS:
            yield rows, lines
            rows, lines = [], []
    if rows:
        yield rows, lines


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
