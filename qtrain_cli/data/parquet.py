"""Parquet in the layouts of the Hugging Face hub (`arrow` says what the columns mean).

    folder/[data/]train-00000-of-00002.parquet ...    folder/[data/]test-*.parquet
    folder/[data/]train.parquet                       folder/[data/]test.parquet
    folder/[data/]train/*.parquet                     folder/[data/]test/*.parquet

or one file with a column `split` of ``train`` and ``test``. Shards are read in the order of their names,
and a missing shard is an error. A split called validation is left out: qtrain takes its own from train.
Rows are streamed batch by batch into arrays of the final size.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.arrow import BATCH_ROWS, Columns, Named, Rows, find_columns, read_rows
from qtrain_cli.data.columns import SPLIT_COLUMN, SPLITS, arrays_of, divide
from qtrain_cli.data.pages import Pages, chunks_of
from qtrain_cli.data.room import Room, short, shown
from qtrain_cli.errors import BadInput, missing_package
from qtrain_cli.files.reading import open_ordinary

_SHARD = re.compile(r".*-(?P<index>\d+)-of-(?P<total>\d+)\.parquet")


def matches(source: str) -> bool:
    """True for a ``.parquet`` file and for a folder that holds any at the places above."""
    path = Path(source)
    if path.is_dir():
        return any(_files(path, split) for split in SPLITS) or any(path.glob("*.parquet"))
    return path.suffix == ".parquet" and path.is_file()


def read(source: str, room: Room) -> Arrays:
    """The four arrays. Raises `BadInput` for a damaged file, a missing shard or split, or columns unlike."""
    path = Path(source)
    return _read_folder(path, room) if path.is_dir() else _read_single(path, room)


def _read_folder(folder: Path, room: Room) -> Arrays:
    files = {split: _files(folder, split) for split in SPLITS}
    for split, paths in files.items():
        if not paths:
            raise BadInput(
                f"there is no {split} split",
                f"name its file {split}.parquet or {split}-00000-of-00001.parquet",
            )
        _refuse_missing_shards(split, paths)
    schemas = [_open(path).schema_arrow for paths in files.values() for path in paths]
    columns = [find_columns(schema, one_file=False) for schema in schemas]
    if any(other != columns[0] for other in columns):
        raise BadInput("the Parquet files differ in their columns", "write all of them with the same columns")
    train, test = (_read_files(files[split], columns[0], Named(split, room)) for split in SPLITS)
    return columns[0].told(arrays_of((train.x, train.y), (test.x, test.y)))


def _read_single(path: Path, room: Room) -> Arrays:
    columns = find_columns(_open(path).schema_arrow, one_file=True)
    if columns.split is None:
        raise BadInput(
            f"one Parquet file without a column '{SPLIT_COLUMN}' has no test split",
            "give the folder that holds train-*.parquet and test-*.parquet",
        )
    rows = _read_files([path], columns, Named("file", room))
    return columns.told(divide(rows.x, rows.y, rows.splits))


def _files(folder: Path, split: str) -> list[Path]:
    """The files of one split, in the order of their names."""
    patterns = (f"{split}.parquet", f"{split}-*.parquet", f"{split}/*.parquet")
    bases = (folder, folder / "data")
    return sorted(path for base in bases for pattern in patterns for path in base.glob(pattern))


def _refuse_missing_shards(split: str, paths: Sequence[Path]) -> None:
    """Allowed are one whole set of shards, one file, or any files of one sub-folder; never two of these."""
    found = [match for path in paths if (match := _SHARD.fullmatch(path.name))]
    totals = {int(match["total"]) for match in found}
    indices = {int(match["index"]) for match in found}
    folders = {path.parent for path in paths}
    if len(folders) > 1 or len(totals) > 1 or (found and len(indices) < len(paths)):
        first, last = paths[0].name, paths[-1].name
        raise BadInput(f"the {split} split has files of two data sets ({first}, {last})", "leave one set")
    missing = sorted(set(range(max(totals, default=0))) - indices)
    if missing:
        raise BadInput(
            f"shard {missing[0]} of {max(totals)} of the {split} split is missing", "download it again"
        )


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise missing_package("reading Parquet", "pyarrow", "data") from None
    return pyarrow, pyarrow.parquet


def _open(path: Path) -> Any:
    """The file with its footer read."""
    pyarrow, parquet = _pyarrow()
    open_ordinary(path).close()
    try:
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _read_files(paths: Sequence[Path], columns: Columns, named: Named) -> Rows:
    count = 0
    for path in paths:
        count += _checked_rows(path, columns, named.room)
    return read_rows(columns, count, _batches(paths, columns, named.room), named)


def _checked_rows(path: Path, columns: Columns, room: Room) -> int:
    """How many rows a file says that it has. Raises `BadInput` for what it cannot have, or has no room."""
    footer = _open(path).metadata
    groups = [footer.row_group(place) for place in range(footer.num_row_groups)]
    counts = [group.num_rows for group in groups]
    if min(counts, default=0) < 0 or footer.num_rows != sum(counts):
        raise BadInput(
            f"{path.name} says that it has {footer.num_rows} rows, and its groups {shown(counts)}",
            "download or write it again",
        )
    for chunk in (chunk for group in _chunks(path, footer.schema, columns) for chunk in group):
        if max(chunk.unfolded, 8 * chunk.values) > room.most:
            room.take(max(chunk.unfolded, 8 * chunk.values), f"a column of {path.name}")
    return footer.num_rows


def _chunks(path: Path, schema: Any, columns: Columns) -> list[list[Pages]]:
    """What each row group has of the columns that are read, the fields of a struct among them."""
    paths = [schema.column(place).path for place in range(len(schema))]
    needed = [any(name == own or name.startswith(f"{own}.") for own in columns.needed) for name in paths]
    groups = chunks_of(path)
    if any(len(group) != len(paths) for group in groups):
        raise BadInput(f"{path.name} is damaged: a group of rows has other columns than the file")
    return [list(itertools.compress(group, needed)) for group in groups]


def _batches(paths: Sequence[Path], columns: Columns, room: Room) -> Iterator[Any]:
    pyarrow, _ = _pyarrow()
    for path in paths:
        file = _open(path)
        try:
            for place, group in enumerate(_chunks(path, file.metadata.schema, columns)):
                size = _batch_rows(group, room)
                yield from file.iter_batches(size, row_groups=[place], columns=columns.needed)
        except (pyarrow.ArrowException, OSError) as error:
            raise _damaged(path, error) from error


def _batch_rows(group: list[Pages], room: Room) -> int:
    """So few rows that no batch is larger than the room, even if each row repeats all that its column
    holds."""
    largest = max((chunk.unfolded for chunk in group), default=0)
    return max(1, min(BATCH_ROWS, room.most // max(1, largest)))


def _damaged(path: Path, error: Exception) -> BadInput:
    return BadInput(
        f"{path.name} is damaged, or no Parquet file: {short(str(error))}", "download or write it again"
    )
