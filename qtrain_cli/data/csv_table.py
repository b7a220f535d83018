"""Comma-separated cells with a header line: a folder with train.csv and test.csv, or one file.

Rules for target and split are those of `columns`: the target is the column `target`, `label` or `y`, else
the last; one file needs a column `split` of ``train`` and ``test``; a folder's validation.csv is used as
such. What the other cells are is told by the first lines, or by `--columns`:

    numbers    all of them finite: float32 inputs ``(N, features)``
    a list     the only input, of whole numbers, as ``[3, 17, 4]`` or ``3 17 4``: int64
    texts      one column or a pair, and then other inputs are left out: token numbers (`tokens`)

A target column written without any decimal point is classes (int64), one of texts too (`labels`), otherwise
regression. A line that cannot be read names itself, and is left out where damaged rows may be. Left out:
other separators, missing values.
"""

from __future__ import annotations

import csv
import itertools
import math
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.columns import (
    NEEDED_SPLITS,
    SPLIT_COLUMN,
    Roles,
    SplitPart,
    Targets,
    arrays_of,
    divide,
    refuse_bad_names,
    splits_there,
    target_column,
)
from qtrain_cli.data.damage import DamagedRow
from qtrain_cli.data.request import Request
from qtrain_cli.data.room import shown
from qtrain_cli.data.tokens import TokenStack
from qtrain_cli.errors import BadInput
from qtrain_cli.files.reading import open_ordinary

_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*")
_LIST = re.compile(
    r"\s*\[\s*\d{1,18}(\s*,\s*\d{1,18}|\s+\d{1,18})*\s*\]\s*|\s*\d{1,18}(\s+\d{1,18})+\s*", re.ASCII
)
_DIGITS = re.compile(r"\d+", re.ASCII)
#: What a line takes until it is part of an array, besides its numbers: objects of Python.
_ROW_BYTES, _CELL_BYTES = 400, 8
#: Lines by which columns of texts are known, and texts that become tokens together.
_FIRST_LINES, _TEXTS_AT_ONCE = 20, 1000


@dataclass(frozen=True)
class _Columns:
    """Which cell of a line is what, by position; `texts`: the inputs are one text, or a pair of them."""

    names: tuple[str, ...]
    inputs: tuple[int, ...]
    target: int
    split: int | None
    texts: bool = False

    @property
    def said(self) -> tuple[str, ...]:
        """What of the columns a user should know."""
        target = f"target: column '{shown(self.names[self.target])}'"
        if not self.texts:
            return (target,)
        used = {*self.inputs, self.target, self.split}
        left_out = [shown(name) for place, name in enumerate(self.names) if place not in used]
        texts = " and ".join(f"'{shown(self.names[place])}'" for place in self.inputs)
        return (f"text: column {texts}", target, *([f"left out: {', '.join(left_out)}"] if left_out else []))


@dataclass(eq=False)
class _Table:
    """One file: inputs ``(N, ...)``, targets as written with their lines, split names if there is the
    column."""

    name: str
    columns: _Columns
    x: np.ndarray
    targets: list[str]
    lines: array[int]
    splits: list[str]

    def keep(self, rows: list[int]) -> None:
        """Leaves only these rows."""
        self.x = self.x[rows]
        self.targets = [self.targets[row] for row in rows]
        self.lines = array("q", (self.lines[row] for row in rows))
        self.splits = [self.splits[row] for row in rows] if self.splits else []


def matches(source: str) -> bool:
    """True for a ``.csv`` file and for a folder that holds train.csv or test.csv."""
    path = Path(source)
    if path.is_dir():
        return any((path / f"{split}.csv").is_file() for split in NEEDED_SPLITS)
    return path.suffix == ".csv" and path.is_file()


def read(source: str, request: Request) -> Arrays:
    """The arrays. Raises `BadInput` that names file, line and column."""
    path = Path(source)
    tables = _tables(path, request)
    kind = _kind(list(tables.values()), request)
    said = next(iter(tables.values())).columns.said
    if path.is_dir():
        parts: dict[str, SplitPart] = {role: (table.x, kind(table.targets)) for role, table in tables.items()}
        return replace(arrays_of(parts), said=said)
    (table,) = tables.values()
    return replace(
        divide(table.x, kind(table.targets), table.splits, request.splits, request.damage.count), said=said
    )


def _tables(path: Path, request: Request) -> dict[str, _Table]:
    """The splits of a folder by role, or one file of all."""
    if not path.is_dir():
        return {"": _read_table(path, request, one_file=True)}
    names = splits_there(
        lambda name: (path / f"{name}.csv").is_file(), request.splits, "{}.csv",
        "the folder needs train.csv and test.csv",
    )  # fmt: skip
    tables = {
        role: _read_table(path / f"{name}.csv", request, one_file=False) for role, name in names.items()
    }
    first = tables["train"]
    for table in tables.values():
        if table.columns != first.columns:
            raise BadInput(
                f"{first.name} and {table.name} have different headers",
                "give both the same columns in one order",
            )
    return tables


def _kind(tables: Sequence[_Table], request: Request) -> Callable[[list[str]], Targets]:
    """What targets are: classes where no number has a decimal point, numbers, or texts where none is a
    number.

    Rows whose target is none of these are damaged.
    """
    every = [text for table in tables for text in table.targets]
    texts = not any(map(_is_number, every))
    if request.damage.skips and not texts:  # a number or two among names, or a word or two among numbers
        texts = 2 * sum(map(_is_number, every)) < len(every)
    for table in tables:
        _drop_bad_targets(table, texts, request)
    every = [text for table in tables for text in table.targets]
    if texts:
        return lambda given: given
    if all(_INTEGER.fullmatch(text) for text in every):
        return lambda found: np.array(list(map(int, found)), np.int64)
    return lambda found: np.array(list(map(float, found)), np.float64)


def _drop_bad_targets(table: _Table, texts: bool, request: Request) -> None:
    good: list[int] = []
    for row, text in enumerate(table.targets):
        if bool(text) and (not _is_number(text) if texts else bool(_finite([text]))):
            good.append(row)
        else:
            where = f"{table.name}, line {table.lines[row]}"
            request.damage.found(_bad_cell(where, table.columns.names[table.columns.target], text))
    if len(good) < len(table.targets):
        table.keep(good)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_table(path: Path, request: Request, *, one_file: bool) -> _Table:
    open_ordinary(path).close()
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            names = _header(next(reader, []))
            lines = _lines(reader)
            first = list(itertools.islice(lines, _FIRST_LINES))
            full = [cells for _, cells in first if len(cells) == len(names)]
            columns = _columns(names, full, request.roles, one_file=one_file)
            return _parse(path.name, columns, itertools.chain(first, lines), request)
    except UnicodeDecodeError as error:
        raise BadInput(f"{path.name} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except csv.Error as error:
        raise BadInput(
            f"{path.name} is no CSV file: {error}",
            "write it again with commas, and quotes around cells that have any",
        ) from error
    except DamagedRow:
        raise
    except BadInput as error:
        raise BadInput(f"{path.name}, {error.message}", error.advice) from error


def _header(cells: list[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in cells)
    other = next((mark for mark in (";", "\t", "|") if len(names) == 1 and mark in names[0]), None)
    if other:
        raise BadInput(f"line 1: the cells are separated by {other!r}, not by commas", "write it with commas")
    if _finite(names):
        raise BadInput("line 1: there are numbers in place of column names", "add a header line")
    return names


def _columns(names: tuple[str, ...], first: list[list[str]], roles: Roles, *, one_file: bool) -> _Columns:
    """What the columns are, by their names, what was said of them, and the first lines."""
    refuse_bad_names(names, roles)
    split = roles.split or SPLIT_COLUMN
    if one_file and split not in names:
        raise BadInput(
            f"line 1: there is no column '{SPLIT_COLUMN}', so the file has no test rows",
            f"add a column {SPLIT_COLUMN} of train and test, or give a folder with train.csv and test.csv",
        )
    told = one_file or roles.split is not None  # a column that was named so is no input of a folder's either
    others = [name for name in names if not (told and name == split)]
    if len(others) < 2:
        raise BadInput(
            f"line 1: {len(others)} columns of numbers; needed: an input and the target",
            "separate the cells by commas",
        )
    target = roles.label or target_column([name for name in others if name not in roles.inputs])
    places = {name: place for place, name in enumerate(names)}
    inputs = list(roles.inputs) or [name for name in others if name != target]
    texts = [roles.text, roles.text2] if roles.text else [] if roles.inputs else _texts(inputs, places, first)
    if len(texts) > 2:
        raise BadInput(
            f"line 1: several columns could be the text: {', '.join(map(shown, texts))}",
            "name one, or a pair: --columns text=NAME,text2=NAME",
        )
    chosen = tuple(places[name] for name in (texts or inputs) if name is not None)
    return _Columns(names, chosen, places[target], places[split] if one_file else None, bool(texts))


def _texts(inputs: list[str], places: dict[str, int], first: list[list[str]]) -> list[str | None]:
    """The inputs whose cells are texts, most of those that are not empty, in the first lines."""
    found: list[str | None] = []
    for name in inputs:
        cells = [cells[places[name]] for cells in first if cells[places[name]].strip()]
        words = sum(1 for cell in cells if not _is_number(cell) and not _LIST.fullmatch(cell))
        if 2 * words > len(cells) and words > 1:
            found.append(name)
    return found


def _lines(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line that is not blank."""
    for cells in reader:
        if cells:
            yield reader.line_num, cells  # type: ignore[attr-defined]


class _Inputs:
    """Collects the numbers, or the lists, of lines: the first one says which they are."""

    def __init__(self, columns: _Columns, request: Request) -> None:
        self.columns, self.room = columns, request.room
        self.rows: list[array[float]] = []
        self.reads: Callable[[list[str]], Sequence[float]] = _finite
        self.width = len(columns.inputs)

    def add(self, where: str, cells: list[str]) -> None:
        """The next line's. Raises `DamagedRow`."""
        if not self.rows and len(cells) == 1 and _tokens(cells):
            self.reads, self.width = _tokens, len(_tokens(cells))
        found = self.reads(cells)
        if len(found) != self.width:
            raise _bad_inputs(self.columns, where, cells, found, self.width)
        self.room.take(_ROW_BYTES + _CELL_BYTES * self.width, where)
        self.rows.append(array("q" if self.reads is _tokens else "f", found))

    def finish(self) -> np.ndarray:
        """All of them ``(N, features)``."""
        dtype = np.int64 if self.reads is _tokens else np.float32
        return np.array(self.rows, dtype).reshape(len(self.rows), self.width)


class _Texts:
    """Collects the texts of lines, which become tokens many at a time."""

    def __init__(self, columns: _Columns, request: Request) -> None:
        self.room = request.room
        self.stack = TokenStack(request.texts, request.room, columns.names[columns.inputs[0]])
        self.waiting: list[tuple[str, ...]] = []

    def add(self, where: str, cells: list[str]) -> None:
        """The next line's."""
        self.room.take(_ROW_BYTES, where)
        self.waiting.append(tuple(cells))
        if len(self.waiting) == _TEXTS_AT_ONCE:
            self._pass_on()

    def finish(self) -> np.ndarray:
        """All of them ``(N, L)``."""
        self._pass_on()
        return self.stack.finish()

    def _pass_on(self) -> None:
        self.stack.add(self.waiting)
        self.waiting = []


def _parse(name: str, columns: _Columns, lines: Iterable[tuple[int, list[str]]], request: Request) -> _Table:
    targets, splits, places = [], [], array("q")
    collected = _Texts(columns, request) if columns.texts else _Inputs(columns, request)
    for line, cells in lines:
        where = f"{name}, line {line}"
        try:
            if len(cells) != len(columns.names):
                raise DamagedRow(
                    f"{where}: {len(cells)} cells; the header has {len(columns.names)}",
                    "quote cells that have commas",
                )
            collected.add(where, [cells[place] for place in columns.inputs])
        except DamagedRow as error:
            request.damage.found(error)
            continue
        targets.append(cells[columns.target].strip())
        places.append(line)
        if columns.split is not None:
            splits.append(cells[columns.split].strip())
    return _Table(name, columns, collected.finish(), targets, places, splits)


def _finite(cells: Sequence[str]) -> list[float]:
    """The cells as numbers, or nothing if one of them is no finite number."""
    try:
        values = list(map(float, cells))
    except ValueError:
        return []
    return values if all(map(math.isfinite, values)) else []


def _tokens(cells: Sequence[str]) -> list[int]:
    """The whole numbers of the only cell, ``[3, 17, 4]`` or ``3 17 4``; nothing where it is no such list."""
    match = _LIST.fullmatch(cells[0])
    return list(map(int, _DIGITS.findall(match[0]))) if match else []


def _bad_inputs(
    columns: _Columns, where: str, inputs: list[str], found: Sequence[float], width: int
) -> DamagedRow:
    numbers = len(found or _finite(inputs))  # a lone one is read as no list, and is one here
    if numbers:
        return DamagedRow(
            f"{where}: a list of {numbers} numbers, and {width} before",
            "bring all lists to one length: cut them, and fill up with the number that stands for padding",
        )
    place = next((i for i, cell in enumerate(inputs) if not _finite([cell])), 0)
    return _bad_cell(where, columns.names[columns.inputs[place]], inputs[place])


def _bad_cell(where: str, column: str, cell: str) -> DamagedRow:
    if not cell.strip():
        return DamagedRow(f"{where}, column '{shown(column)}' is empty", "fill in or drop such rows")
    return DamagedRow(
        f"{where}, column '{shown(column)}': '{shown(cell)}' is no finite number",
        "drop or fill in such cells, and encode texts as numbers; labels may be texts if all of them are",
    )
