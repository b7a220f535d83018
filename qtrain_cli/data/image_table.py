"""Images in folders with a table of their labels, as Hugging Face's `imagefolder` has them.

    train/metadata.csv, train/a.png ...    test/metadata.csv, test/...    a table in each split's folder
    metadata.csv, a.png ...                one, with a column `split`
    metadata.csv, train/a.png ...          one, whose paths begin with the split

or ``metadata.jsonl``. The table's columns are `file_name`, relative to its own folder, and the label;
`--columns` names others (image, label, split). Labels are whole numbers, numbers or texts, by all of them. A
path that leads out of the folder is refused. Left out: Parquet as the table, several images a row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.columns import (
    SPLIT_COLUMN,
    SplitPart,
    Targets,
    arrays_of,
    splits_there,
    target_column,
)
from qtrain_cli.data.damage import DamagedRow
from qtrain_cli.data.image_files import read_files
from qtrain_cli.data.json_lines import objects
from qtrain_cli.data.request import Request
from qtrain_cli.data.room import shown
from qtrain_cli.errors import BadInput

TABLES = ("metadata.csv", "metadata.jsonl")
FILE_COLUMN = "file_name"
#: Of a row, in objects of Python.
_ROW_BYTES = 600


def matches(source: str) -> bool:
    """True for a folder with such a table in it, or in its folder of training rows."""
    return any(_table_in(folder) for folder in (Path(source), Path(source) / "train"))


def read(source: str, request: Request) -> Arrays:
    """The arrays. Raises `BadInput` for a missing split, a file that is not there, or a bad image."""
    folder = Path(source)
    listed = _whole(folder, request) if _table_in(folder) else _by_folders(folder, request)
    kind = _kind([label for rows in listed.values() for _, label, _ in rows])
    parts: dict[str, SplitPart] = {}
    for role, rows in listed.items():
        x, kept = read_files([(path, where) for path, _, where in rows], request)
        parts[role] = (x, _targets([rows[place][1] for place in kept], kind))
    return replace(arrays_of(parts), said=(f"target: the labels of {TABLES[0].partition('.')[0]}",))


#: Of one split: files, labels, and how each row is called.
_Listed = list[tuple[Path, Any, str]]


def _by_folders(folder: Path, request: Request) -> dict[str, _Listed]:
    splits = splits_there(
        lambda name: _table_in(folder / name) is not None, request.splits,
        "folder {} with a table of labels", f"the folder needs test/{TABLES[0]} too, or --split test=NAME",
    )  # fmt: skip
    found: dict[str, _Listed] = {role: [] for role in splits}
    for role, name in splits.items():
        for _, *row in _rows(folder / name, request):
            found[role].append(tuple(row))
    return found


def _whole(folder: Path, request: Request) -> dict[str, _Listed]:
    by_name: dict[str, _Listed] = {}
    for split, *row in _rows(folder, request):
        by_name.setdefault(split, []).append(tuple(row))
    advice = f"a column {SPLIT_COLUMN} of train and test in {TABLES[0]} says which rows are which"
    splits = splits_there(by_name.__contains__, request.splits, "{} split in the table of labels", advice)
    return {role: by_name[name] for role, name in splits.items()}


def _rows(folder: Path, request: Request) -> Iterator[tuple[str, Path, Any, str]]:
    """Split, file, label and name of each row; the split is that of its column, or its path's first
    folder."""
    table = _table_in(folder)
    assert table is not None
    columns: tuple[str, str, str | None] | None = None
    base = folder.resolve()
    for number, row in _cells(table, request):
        columns = columns or _columns(list(row), request)
        file, label, split = columns
        where = f"{folder.name}/{table.name} line {number}"
        request.room.take(_ROW_BYTES, where)
        name, value = row.get(file), row.get(label)
        try:
            if not isinstance(name, str) or not name or value is None or value == "":
                empty = file if not isinstance(name, str) or not name else label
                raise DamagedRow(f"{where}, column '{shown(empty)}' is empty", "fill in or drop such rows")
            path = (folder / name).resolve()
            if not path.is_relative_to(base):
                raise BadInput(
                    f"{where} names '{shown(name)}', which is not in the folder", "name files in it"
                )
            if not path.is_file():
                raise DamagedRow(
                    f"{where} names '{shown(name)}', which is not there", "copy the whole folder"
                )
        except DamagedRow as error:
            request.damage.found(error)
            continue
        yield str(row.get(split)) if split else Path(name).parts[0], path, value, f"{folder.name}/{name}"


def _columns(names: list[str], request: Request) -> tuple[str, str, str | None]:
    """The columns of the file, the label and the split."""
    roles = request.roles
    roles.refuse_absent(names)
    file = roles.image or FILE_COLUMN
    split = roles.split or (SPLIT_COLUMN if SPLIT_COLUMN in names else None)
    others = [name for name in names if name not in (file, split)]
    if file not in names or not others:
        found = ", ".join(map(shown, names))
        raise BadInput(
            f"the table of labels has the columns {found}; needed: {FILE_COLUMN} and label",
            "--columns image=NAME,label=NAME says which they are",
        )
    return file, roles.label or target_column(others), split


def _cells(table: Path, request: Request) -> Iterator[tuple[int, dict[str, Any]]]:
    if table.suffix == ".jsonl":
        yield from objects(table, request, request.damage.found)
        return
    with table.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            for row in reader:
                if None in row:  # where `DictReader` puts the cells that no column is for
                    where = f"{table.parent.name}/{table.name} line {reader.line_num}"
                    request.damage.found(
                        DamagedRow(f"{where} has more cells than the header", "quote cells that have commas")
                    )
                    continue
                yield reader.line_num, {str(name).strip(): value for name, value in row.items() if name}
        except csv.Error as error:
            raise BadInput(
                f"{table.name} is no CSV file: {error}",
                "write it again with commas, and quotes around cells that have any",
            ) from error


def _table_in(folder: Path) -> Path | None:
    return next((folder / name for name in TABLES if (folder / name).is_file()), None)


def _kind(labels: list[Any]) -> type:
    """What all labels are: int, float or str, which JSON says and CSV writes."""
    for kind in (int, float):
        try:
            for label in labels:
                if isinstance(label, bool) or (isinstance(label, float) and kind is int):
                    raise ValueError
                kind(label)
        except (ValueError, TypeError):
            continue
        return kind
    return str


def _targets(labels: list[Any], kind: type) -> Targets:
    if kind is str:
        return [str(label) for label in labels]
    return np.array([kind(label) for label in labels], np.int64 if kind is int else np.float64)
