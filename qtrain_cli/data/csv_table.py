"""Comma-separated numbers with a header line: a folder with train.csv and test.csv, or one file.

Rules for target and split are those of `columns`: the target is the column `target`, `label` or `y`, else
the last; one file needs a column `split` of ``train`` and ``test``. All other cells are finite numbers and
become float32 inputs ``(N, features)``. A target column written without any decimal point is classes
(int64), otherwise regression. Left out: other separators, quoted text as a feature, missing values.
"""

from __future__ import annotations

import csv
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.columns import SPLIT_COLUMN, SPLITS, divide, refuse_bad_names, target_column
from qtrain_cli.errors import BadInput

_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*")


@dataclass(frozen=True)
class _Columns:
    """Which cell of a line is what, by position."""

    names: tuple[str, ...]
    inputs: tuple[int, ...]
    target: int
    split: int | None


@dataclass(frozen=True, eq=False)
class _Table:
    """One file: inputs ``(N, features)`` float32, targets as written, split names if there is the column."""

    columns: _Columns
    x: np.ndarray
    targets: list[str]
    splits: list[str]


def matches(source: str) -> bool:
    """True for a ``.csv`` file and for a folder that holds train.csv or test.csv."""
    path = Path(source)
    if path.is_dir():
        return any((path / f"{split}.csv").is_file() for split in SPLITS)
    return path.suffix == ".csv" and path.is_file()


def read(source: str) -> Arrays:
    """The four arrays. Raises `BadInput` that names file, line and column."""
    path = Path(source)
    return _read_folder(path) if path.is_dir() else _read_single(path)


def _read_folder(folder: Path) -> Arrays:
    for split in SPLITS:
        if not (folder / f"{split}.csv").is_file():
            raise BadInput(f"there is no {split}.csv", "the folder needs train.csv and test.csv")
    train, test = (_read_table(folder / f"{split}.csv", one_file=False) for split in SPLITS)
    if train.columns != test.columns:
        raise BadInput(
            "train.csv and test.csv have different headers", "give both the same columns in one order"
        )
    integer = _are_integers(train.targets + test.targets)
    return Arrays(train.x, _numbers(train.targets, integer), test.x, _numbers(test.targets, integer))


def _read_single(path: Path) -> Arrays:
    table = _read_table(path, one_file=True)
    return divide(table.x, _numbers(table.targets, _are_integers(table.targets)), table.splits)


def _are_integers(texts: Sequence[str]) -> bool:
    return all(_INTEGER.fullmatch(text) for text in texts)


def _numbers(texts: Sequence[str], integer: bool) -> np.ndarray:
    return np.array([int(text) for text in texts], np.int64) if integer else np.array(texts, np.float64)


def _read_table(path: Path, *, one_file: bool) -> _Table:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            columns = _columns(next(reader, []), one_file=one_file)
            return _parse(columns, _lines(reader, len(columns.names)))
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
    inputs = tuple(names.index(name) for name in others if name != target)
    return _Columns(names, inputs, names.index(target), names.index(SPLIT_COLUMN) if one_file else None)


def _lines(reader: Iterator[list[str]], width: int) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line that is not blank."""
    for cells in reader:
        line = reader.line_num  # type: ignore[attr-defined]
        if cells and len(cells) != width:
            raise BadInput(f"line {line}: {len(cells)} cells; the header has {width}")
        if cells:
            yield line, cells


def _parse(columns: _Columns, lines: Iterator[tuple[int, list[str]]]) -> _Table:
    numbers, targets, splits = array("f"), [], []
    for line, cells in lines:
        target = cells[columns.target]
        inputs = _finite([cells[i] for i in columns.inputs])
        if not inputs or not _finite([target]):
            raise _bad_cell(columns, line, cells)
        numbers.extend(inputs)
        targets.append(target)
        if columns.split is not None:
            splits.append(cells[columns.split].strip())
    x = np.asarray(numbers, np.float32).reshape(-1, len(columns.inputs))  # (N, features)
    return _Table(columns, x, targets, splits)


def _finite(cells: Sequence[str]) -> list[float]:
    """The cells as numbers, or nothing if one of them is no finite number."""
    try:
        values = list(map(float, cells))
    except ValueError:
        return []
    return values if all(map(math.isfinite, values)) else []


def _bad_cell(columns: _Columns, line: int, cells: list[str]) -> BadInput:
    place = next(i for i in (*columns.inputs, columns.target) if not _finite([cells[i]]))
    return BadInput(
        f"line {line}, column '{columns.names[place]}': '{cells[place]}' is no finite number",
        "write classes as 0, 1, 2, ...; drop or fill in other cells",
    )
