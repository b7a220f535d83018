"""Parquet in the layouts of the Hugging Face hub (`arrow_columns` says what the columns mean).

    folder/[data/]train-00000-of-00002.parquet ... | train.parquet | train/*.parquet      test likewise

(`split_files`), or one file with a column `split` of ``train`` and ``test``. A split called validation is
used as such. Rows are streamed batch by batch into arrays of the final size.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.arrow import BATCH_ROWS, Cut, Table, read_one, read_tables
from qtrain_cli.data.arrow_columns import Columns
from qtrain_cli.data.columns import NEEDED_SPLITS, SPLIT_COLUMN, splits_there
from qtrain_cli.data.pages import Pages, chunks_of
from qtrain_cli.data.request import Request
from qtrain_cli.data.room import Room, short, shown
from qtrain_cli.data.split_files import refuse_missing_shards, split_files
from qtrain_cli.errors import BadInput, missing_package
from qtrain_cli.files.reading import open_ordinary

_ENDINGS = (".parquet",)


def matches(source: str) -> bool:
    """True for a ``.parquet`` file and for a folder that holds any at the places above."""
    path = Path(source)
    if path.is_dir():
        return any(_files(path, split) for split in NEEDED_SPLITS) or any(path.glob("*.parquet"))
    return path.suffix == ".parquet" and path.is_file()


def read(source: str, request: Request) -> Arrays:
    """The arrays. Raises `BadInput` for a damaged file, a missing shard or split, or columns unlike."""
    path = Path(source)
    if not path.is_dir():
        no_split = BadInput(
            f"one Parquet file without a column '{SPLIT_COLUMN}' has no test split",
            "give the folder that holds train-*.parquet and test-*.parquet",
        )
        return read_one(_table([path], request.room), request, no_split)
    splits = splits_there(
        lambda name: bool(_files(path, name)), request.splits, "{} split",
        "name its file test.parquet or test-00000-of-00001.parquet, or say --split test=NAME",
    )  # fmt: skip
    tables = {}
    for role, name in splits.items():
        paths = _files(path, name)
        refuse_missing_shards(name, paths)
        tables[role] = _table(paths, request.room)
    return read_tables(tables, request, "the Parquet files differ in their columns")


def _files(folder: Path, split: str) -> list[Path]:
    return split_files(folder, split, _ENDINGS, _ENDINGS)


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


def _table(paths: Sequence[Path], room: Room) -> Table:
    """Files of one split."""
    schemas = tuple(_open(path).schema_arrow for path in paths)

    def count(columns: Columns) -> int:
        return sum(_checked_rows(path, columns, room) for path in paths)

    return Table(schemas, count, lambda columns: _cuts(paths, columns, room))


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
        raise BadInput(
            f"{path.name} is damaged: a group of rows has other columns than the file",
            "download or write it again",
        )
    return [list(itertools.compress(group, needed)) for group in groups]


def _cuts(paths: Sequence[Path], columns: Columns, room: Room) -> Iterator[Cut]:
    pyarrow, _ = _pyarrow()
    for path in paths:
        file, first = _open(path), 0
        try:
            for place, group in enumerate(_chunks(path, file.metadata.schema, columns)):
                size = _batch_rows(group, room)
                for batch in file.iter_batches(size, row_groups=[place], columns=columns.needed):
                    yield Cut(path.name, first, batch)
                    first += batch.num_rows
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
