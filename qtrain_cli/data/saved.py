"""What `datasets.save_to_disk` leaves: a folder of Arrow files for each split.

    folder/dataset_dict.json    folder/train/state.json, data-00000-of-00002.arrow ...    folder/test/...

or one such folder whose rows have a column `split`. `state.json` names the files, which are streams of
Arrow's IPC format, uncompressed: a compressed one says itself how large it unfolds to, and is refused. What
the columns mean is said by the rules of Parquet (`arrow_columns`). Read by PyArrow alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.arrow import BATCH_ROWS, Cut, Table, read_one, read_tables
from qtrain_cli.data.arrow_columns import Columns
from qtrain_cli.data.columns import splits_there
from qtrain_cli.data.messages import refuse_compressed
from qtrain_cli.data.request import Request
from qtrain_cli.data.room import short
from qtrain_cli.errors import BadInput, missing_package
from qtrain_cli.files.json_file import read_object
from qtrain_cli.files.reading import open_ordinary

STATE, SPLITS_OF = "state.json", "dataset_dict.json"


def matches(source: str) -> bool:
    """True for a folder with one of the two files that `save_to_disk` writes."""
    return any((Path(source) / name).is_file() for name in (STATE, SPLITS_OF))


def read(source: str, request: Request) -> Arrays:
    """The arrays. Raises `BadInput` for a damaged file, a missing split, or columns unlike."""
    folder = Path(source)
    if not (folder / SPLITS_OF).is_file():
        no_split = BadInput(
            "is one split of a data set, without test rows",
            "save a DatasetDict: dataset.train_test_split(0.1).save_to_disk(...), or give the folder above",
        )
        return read_one(_table(folder), request, no_split)
    there = lambda name: (folder / name / STATE).is_file()  # noqa: E731
    names = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_dir()))
    splits = splits_there(
        there, request.splits, "{} split", f"--split test=NAME takes another; there are: {names}"
    )
    tables = {role: _table(folder / name) for role, name in splits.items()}
    return read_tables(tables, request, "the splits differ in their columns")


def _table(folder: Path) -> Table:
    paths = _files(folder)
    schemas = tuple(_opened(path).schema for path in paths)
    count = sum(batch.num_rows for path in paths for batch in _batches(path))
    return Table(schemas, lambda columns: count, lambda columns: _cuts(paths, columns))


def _files(folder: Path) -> list[Path]:
    """The files that `state.json` names, in its order."""
    listed = read_object(folder / STATE).get("_data_files")
    names = (
        [one.get("filename") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    )
    there = {path.name for path in folder.iterdir()}
    for name in names:
        if name not in there:
            raise BadInput(
                f"{folder.name}/{STATE} names a file that is not there: {name!s:.60}", "copy it whole"
            )
    if not names:
        raise BadInput(f"{folder.name}/{STATE} names no files", "save the data set anew")
    return [folder / str(name) for name in names]


def _opened(path: Path) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.ipc
    except ImportError:
        raise missing_package("reading Arrow files", "pyarrow", "data") from None
    open_ordinary(path).close()
    try:
        return pa.ipc.open_stream(pa.memory_map(str(path)))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _batches(path: Path) -> Iterator[Any]:
    """The batches of a file, each checked whole: offsets and texts that lead nowhere are found here."""
    import pyarrow as pa

    refuse_compressed(path)
    reader = _opened(path)
    try:
        for batch in reader:
            batch.validate(full=True)
            yield batch
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _cuts(paths: Sequence[Path], columns: Columns) -> Iterator[Cut]:
    for path in paths:
        first = 0
        for whole in _batches(path):
            for start in range(0, whole.num_rows, BATCH_ROWS):
                batch = whole.select(list(dict.fromkeys(columns.needed))).slice(start, BATCH_ROWS)
                yield Cut(f"{path.parent.name}/{path.name}", first, batch)
                first += batch.num_rows


def _damaged(path: Path, error: Exception) -> BadInput:
    return BadInput(
        f"{path.name} is damaged, or no Arrow stream: {short(str(error))}", "save or copy it again"
    )
