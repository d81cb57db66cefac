"""Tables of numbers and texts: CSV files, plain or gzipped, with a header line.

A file that is not wholly such a table is refused with a message that says where and what would be
right. Rows are read in blocks: memory is that of one number a cell.

A column is of numbers or of texts, never of both: a text among numbers is a mistake, as is a text
without a letter (a date, a percentage, a decimal comma).

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
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from convexrelu.preprocessor import Cells

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
    "convexrelu reads CSV files, .csv or .csv.gz: a line of column names, then numbers or texts, "
    "comma-separated.\nFrom Python: numpy.savetxt('data.csv', numpy.column_stack([X, y]), "
    "delimiter=',', comments='',\n                           header='x1,x2,target')"
)


class InputError(ValueError):
    """The user's input cannot be used; the message says why and what would be right."""


@dataclass(frozen=True)
class Table:
    """Named columns.

    ``values`` is (n, len(columns)): finite numbers, or which of the ``texts`` of its column, nan
    where a cell is missing. ``missing`` counts the missing cells of each column that has any;
    ``n_dropped`` the rows that were left out for them.
    """

    path: Path
    columns: tuple[str, ...]
    values: NDArray[np.float64]
    texts: dict[str, tuple[str, ...]]
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

    def cells(self, rows: NDArray[np.bool_] | None = None) -> dict[str, Cells]:
        """Every column, at the rows marked."""
        values = self.values if rows is None else self.values[rows]
        return {
            name: Cells(values[:, j], self.texts.get(name)) for j, name in enumerate(self.columns)
        }


def read_table(
    path: Path,
    *,
    drop_missing: bool = False,
    only: Collection[str] | None = None,
    ignored: Collection[str] = (),
) -> Table:
    """Reads a table.

    Parameters
    ----------
    path : Path
        A .csv or .csv.gz file in UTF-8 with one header line.
    drop_missing : bool
        Leaves out rows with a missing cell (empty, ``?``, ``NA``, ``N/A``, ``NaN``, ``null``,
        ``None``, or another mark that pandas knows).
    only, ignored : collections of str
        The columns to read, which must be there, and to pass over. By default all are read.

    Raises
    ------
    InputError
        Naming what is wrong: of cells every column and its first row.
    """
    try:
        with _open(path) as file:
            columns, *rest = _read(csv.reader(file, strict=True), drop_missing, only, ignored)
    except UnicodeDecodeError:
        problem = "not UTF-8 text; save it as CSV in UTF-8"
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        problem = f"a damaged gzip file: {error}"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    except InputError as error:
        problem = str(error)
    else:
        return Table(path, columns, *rest)
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
class _Column:
    """What was met in one column."""

    n_missing: int = 0
    n_numbers: int = 0
    n_bad: int = 0  # cells that are no numbers, and no texts either where no number is around
    first_bad: str = ""  # where, and what stands there
    first_text: str = ""
    n_texts: int = 0
    texts: dict[str, int] = field(default_factory=dict)  # and their numbers

    def read(self, cells: Sequence[str], lines: Sequence[int], n_rows: int) -> list[float]:
        """The values of a block that begins after ``n_rows`` rows."""
        values = []
        for k, cell in enumerate(cells):
            stripped = cell.strip()
            value = math.nan
            if stripped.lower() in _MISSING:
                self.n_missing += 1
            elif math.isfinite(number := _number(stripped)):
                self.n_numbers += 1
                value = number
            elif "\n" in stripped or "\r" in stripped:
                raise InputError(_long_cell(stripped, lines[k]))
            else:
                shown = stripped[:40] if stripped.isprintable() else repr(stripped[:40])
                where = f"row {n_rows + k + 1} (line {lines[k]}): {shown}"
                if _is_name(stripped) and stripped.isprintable():
                    self.n_texts += 1
                    self.first_text = self.first_text or where
                    value = self.texts.setdefault(stripped, len(self.texts))
                else:
                    self.n_bad += 1
                    self.first_bad = self.first_bad or where
            values.append(value)
        return values

    def defect(self) -> tuple[int, str] | None:
        """How many cells are mistakes, and the first, if any is."""
        if self.n_numbers and self.n_texts and not self.n_bad:
            return self.n_texts, self.first_text
        if self.n_numbers and self.n_texts:
            row = [int(first.split()[1]) for first in (self.first_text, self.first_bad)]
            first = self.first_text if row[0] < row[1] else self.first_bad
            return self.n_texts + self.n_bad, first
        return (self.n_bad, self.first_bad) if self.n_bad else None


class _Parser:
    """Turns rows of cells into numbers and takes note of what is none."""

    def __init__(self, columns: Sequence[str], chosen: Sequence[int]) -> None:
        self.n_rows = 0
        self._n_columns = len(columns)
        self._chosen = None if len(chosen) == len(columns) else chosen
        self.columns = {columns[j]: _Column() for j in chosen}

    def parse(self, rows: list[list[str]], lines: list[int]) -> NDArray[np.float64]:
        """The values (k, d) of a block of rows that comes after those before."""
        for row, line in zip(rows, lines, strict=True):
            if len(row) != self._n_columns:
                raise InputError(_ragged(row, line, self._n_columns))
        if self._chosen is not None:
            rows = [[row[j] for j in self._chosen] for row in rows]
        values = _numbers(rows)
        if values is None:
            values = np.empty((len(rows), len(self.columns)))
            cells = zip(*rows, strict=True)
            for j, (column, own) in enumerate(zip(self.columns.values(), cells, strict=True)):
                found = _numbers(own)
                if found is None:
                    values[:, j] = column.read(own, lines, self.n_rows)
                else:
                    values[:, j] = found
                    column.n_numbers += len(own)
        else:
            for column in self.columns.values():
                column.n_numbers += len(rows)
        self.n_rows += len(rows)
        return values


def _numbers(cells: Any) -> NDArray[np.float64] | None:
    """The cells as finite numbers, if they are without exception; float() takes 2020_01 for one."""
    flat = itertools.chain.from_iterable(cells) if isinstance(cells, list) else cells
    if any("_" in cell for cell in flat):
        return None
    try:
        values = np.array(cells, dtype=np.float64)
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


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
    reader: Any, drop_missing: bool, only: Collection[str] | None, ignored: Collection[str]
) -> tuple[Any, ...]:
    records = _records(reader)
    columns = _header(*next(records, (1, [])))
    _check_names(columns, only or (), ignored)
    wanted = set(columns if only is None else only) - set(ignored)
    chosen = [j for j, name in enumerate(columns) if name in wanted]
    parser = _Parser(columns, chosen)
    blocks = [np.empty((0, len(chosen)))]
    for rows, lines in _blocks(records):
        blocks.append(parser.parse(rows, lines))
    values = np.concatenate(blocks)

    if not parser.n_rows:
        raise InputError("no rows below the header line")
    found = parser.columns
    if bad := {name: cells for name, column in found.items() if (cells := column.defect())}:
        raise InputError(
            f"not numbers in {_plural(len(bad), 'column')}\n{_listing(bad)}\n"
            "A column has numbers, with decimal points, or texts, such as categories."
            + _first_line_hint(columns)
        )
    texts = {name: tuple(c.texts) for name, c in found.items() if c.texts}
    _check_header(columns, chosen, values, texts)
    missing = {name: column.n_missing for name, column in found.items() if column.n_missing}
    n_dropped = 0
    if drop_missing and missing:
        is_complete = ~np.isnan(values).any(axis=1)
        n_dropped = int(len(values) - is_complete.sum())
        values = values[is_complete]
        if not len(values):
            raise InputError(
                f"none of its {parser.n_rows} rows is complete: missing cells in "
                f"{_plural(len(missing), 'column')}, {join_counts(missing)}\n"
                "Remove the columns that are mostly empty first."
            )
    return tuple(found), values, texts, missing, n_dropped


def _check_names(columns: Sequence[str], only: Collection[str], ignored: Collection[str]) -> None:
    known = set(columns)
    if lacking := [name for name in only if name not in known]:
        raise InputError(
            f"it lacks {join_names(lacking)}, which the training data had\n"
            f"It has the columns {join_names(columns)}."
        )
    if unknown := [name for name in ignored if name not in known]:
        raise InputError(f"no column is named {unknown[0]!r}, which is to be ignored")


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


def _check_header(
    columns: Sequence[str],
    chosen: Sequence[int],
    values: NDArray[np.float64],
    texts: dict[str, tuple[str, ...]],
) -> None:
    """Refuses a first line that may be a row of the table below."""
    by_texts = {name for name, own in texts.items() if name in own}
    others = [name for name in columns if not _is_name(name) or name in by_texts]
    if 2 * len(others) < len(columns):
        return
    numbers = [_number(name) for name in others]
    if len(others) > 3 and (np.diff(numbers) == 1).all():  # no row counts up by accident
        return
    place = {columns[j]: k for k, j in enumerate(chosen)}
    alike = sum(
        name in by_texts
        or name.lower() in _MISSING
        or _is_infinite(name)
        or (name in place and _is_like(number, values[:, place[name]]))
        for name, number in zip(others, numbers, strict=True)
    )
    if 2 * alike >= len(others):
        raise InputError(
            f"its first line ({join_names(columns)}) may name the columns or be a row like those "
            f"below it; {_advice(columns)}, or replace what is no name in it"
        )


def _is_like(number: float, column: NDArray[np.float64]) -> bool:
    """Whether a number has the range and the form of a column: whole numbers or not."""
    present = column[~np.isnan(column)]
    return bool(
        len(present)
        and present.min() <= number <= present.max()
        and number.is_integer() == (present == np.floor(present)).all()
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


def _listing(defects: dict[str, tuple[int, str]]) -> str:
    shown = list(defects.items())[:_LISTED]
    width = max(len(name) for name, _ in shown)
    digits = max(len(str(count)) for _, (count, _) in shown)
    lines = [
        f"  {name:{width}}  {count:{digits}} {'cell,' if count == 1 else 'cells,'} first in {first}"
        for name, (count, first) in shown
    ]
    if more := len(defects) - len(shown):
        lines.append(f"  and {_plural(more, 'more column')}")
    return "\n".join(lines)


def join_counts(counts: dict[str, int]) -> str:
    """The columns with the largest counts, and these, in a message."""
    worst = sorted(counts, key=lambda name: -counts[name])
    more = f" and {len(worst) - 3} more" if len(worst) > 3 else ""
    return ", ".join(f"{name} {counts[name]}" for name in worst[:3]) + more


def join_names(columns: Sequence[str]) -> str:
    """The columns in a message, where there may be very many."""
    more = len(columns) - _LISTED
    return ", ".join(columns[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
