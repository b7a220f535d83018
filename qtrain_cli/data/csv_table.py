"""Comma-separated numbers with a header line: a folder with train.csv and test.csv, or one file.

Rules for target and split are those of `columns`: the target is the column `target`, `label` or `y`, else
the last; one file needs a column `split` of ``train`` and ``test``. All other cells are finite numbers and
become float32 inputs ``(N, features)``; where the only input column holds lists of whole numbers, as
``[3, 17, 4]`` or ``3 17 4``, they are int64. A target column written without any decimal point is classes
(int64), one of texts too (`labels`), otherwise regression. Left out: other separators, text as a feature,
missing values.
"""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.columns import (
    SPLIT_COLUMN,
    SPLITS,
    Targets,
    arrays_of,
    divide,
    refuse_bad_names,
    target_column,
)
from qtrain_cli.data.room import Room, shown
from qtrain_cli.errors import BadInput

_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*")
_LIST = re.compile(
    r"\s*\[\s*\d{1,18}(\s*,\s*\d{1,18}|\s+\d{1,18})*\s*\]\s*|\s*\d{1,18}(\s+\d{1,18})+\s*", re.ASCII
)
_DIGITS = re.compile(r"\d+", re.ASCII)
#: What a line takes until it is part of an array, besides its numbers: objects of Python.
_ROW_BYTES, _CELL_BYTES = 400, 8


@dataclass(frozen=True)
class _Columns:
    """Which cell of a line is what, by position."""

    names: tuple[str, ...]
    inputs: tuple[int, ...]
    target: int
    split: int | None


@dataclass(frozen=True, eq=False)
class _Table:
    """One file: inputs ``(N, features)``, targets as written with their lines, split names if there is the
    column."""

    columns: _Columns
    x: np.ndarray
    targets: list[str]
    lines: array[int]
    splits: list[str]


def matches(source: str) -> bool:
    """True for a ``.csv`` file and for a folder that holds train.csv or test.csv."""
    path = Path(source)
    if path.is_dir():
        return any((path / f"{split}.csv").is_file() for split in SPLITS)
    return path.suffix == ".csv" and path.is_file()


def read(source: str, room: Room) -> Arrays:
    """The four arrays. Raises `BadInput` that names file, line and column."""
    path = Path(source)
    tables = _tables(path, room)
    columns = tables[0].columns
    kind = _kind(tables, path)
    said = (f"target: column '{shown(columns.names[columns.target])}'",)
    if path.is_dir():
        train, test = ((table.x, kind(table.targets)) for table in tables)
        return replace(arrays_of(train, test), said=said)
    (table,) = tables
    return replace(divide(table.x, kind(table.targets), table.splits), said=said)


def _tables(path: Path, room: Room) -> list[_Table]:
    """Train and test of a folder, or one file of both."""
    if not path.is_dir():
        return [_read_table(path, room, one_file=True)]
    for split in SPLITS:
        if not (path / f"{split}.csv").is_file():
            raise BadInput(f"there is no {split}.csv", "the folder needs train.csv and test.csv")
    tables = [_read_table(path / f"{split}.csv", room, one_file=False) for split in SPLITS]
    if tables[0].columns != tables[1].columns:
        raise BadInput(
            "train.csv and test.csv have different headers", "give both the same columns in one order"
        )
    return tables


def _kind(tables: Sequence[_Table], path: Path) -> Callable[[list[str]], Targets]:
    """What targets are: classes where no number has a decimal point, numbers, or texts where none is a
    number."""
    every = [text for table in tables for text in table.targets]
    if all(_INTEGER.fullmatch(text) for text in every):
        return lambda texts: np.array(list(map(int, texts)), np.int64)
    texts = not any(map(_is_number, every))
    if texts and all(every):
        return lambda given: given
    for table, split in zip(tables, SPLITS, strict=False):
        for line, text in zip(table.lines, table.targets, strict=True):
            if not text or not (texts or _finite([text])):
                name = f"{split}.csv" if path.is_dir() else path.name
                raise _bad_cell(f"{name}, line {line}", table.columns.names[table.columns.target], text)
    return lambda texts: np.array(list(map(float, texts)), np.float64)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_table(path: Path, room: Room, *, one_file: bool) -> _Table:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            columns = _columns(next(reader, []), one_file=one_file)
            return _parse(columns, _lines(reader, len(columns.names)), room)
    except UnicodeDecodeError as error:
        raise BadInput(f"{path.name} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except csv.Error as error:
        raise BadInput(f"{path.name} is no CSV file: {error}") from error
    except BadInput as error:
        raise BadInput(f"{path.name}, {error.message}", error.advice) from error


def _columns(header: list[str], *, one_file: bool) -> _Columns:
    names = tuple(name.strip() for name in header)
    if _finite(names):
        raise BadInput("line 1: there are numbers in place of column names", "add a header line")
    refuse_bad_names(names)
    if one_file and SPLIT_COLUMN not in names:
        raise BadInput(
            f"line 1: there is no column '{SPLIT_COLUMN}', so the file has no test rows",
            f"add a column {SPLIT_COLUMN} of train and test, or give a folder with train.csv and test.csv",
        )
    others = [name for name in names if not (one_file and name == SPLIT_COLUMN)]
    if len(others) < 2:
        raise BadInput(
            f"line 1: {len(others)} columns of numbers; needed: an input and the target",
            "separate the cells by commas",
        )
    target = target_column(others)
    places = {name: place for place, name in enumerate(names)}
    inputs = tuple(places[name] for name in others if name != target)
    return _Columns(names, inputs, places[target], places[SPLIT_COLUMN] if one_file else None)


def _lines(reader: Iterator[list[str]], width: int) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line that is not blank."""
    for cells in reader:
        line = reader.line_num  # type: ignore[attr-defined]
        if cells and len(cells) != width:
            raise BadInput(f"line {line}: {len(cells)} cells; the header has {width}")
        if cells:
            yield line, cells


def _parse(columns: _Columns, lines: Iterator[tuple[int, list[str]]], room: Room) -> _Table:
    rows: list[array[float]] = []
    targets, splits, places = [], [], array("q")
    reads: Callable[[list[str]], Sequence[float]] = _finite
    width = len(columns.inputs)
    for line, cells in lines:
        inputs = [cells[place] for place in columns.inputs]
        if not rows and len(inputs) == 1 and _tokens(inputs):
            reads, width = _tokens, len(_tokens(inputs))
        found = reads(inputs)
        if len(found) != width:
            raise _bad_inputs(columns, line, inputs, found, width)
        room.take(_ROW_BYTES + _CELL_BYTES * width, f"line {line}")
        rows.append(array("q" if reads is _tokens else "f", found))
        targets.append(cells[columns.target].strip())
        places.append(line)
        if columns.split is not None:
            splits.append(cells[columns.split].strip())
    dtype = np.int64 if reads is _tokens else np.float32
    x = np.array(rows, dtype).reshape(len(rows), width)  # (N, features)
    return _Table(columns, x, targets, places, splits)


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
    columns: _Columns, line: int, inputs: list[str], found: Sequence[float], width: int
) -> BadInput:
    if found:
        return BadInput(
            f"line {line}: a list of {len(found)} numbers, and {width} before",
            "bring all lists to one length: cut them, and fill up with the number that stands for padding",
        )
    place = next((i for i, cell in enumerate(inputs) if not _finite([cell])), 0)
    return _bad_cell(f"line {line}", columns.names[columns.inputs[place]], inputs[place])


def _bad_cell(line: str, column: str, cell: str) -> BadInput:
    if not cell.strip():
        return BadInput(f"{line}, column '{shown(column)}' is empty", "fill in or drop such rows")
    return BadInput(
        f"{line}, column '{shown(column)}': '{shown(cell)}' is no finite number",
        "drop or fill in such cells, and encode texts as numbers; labels may be texts if all of them are",
    )
