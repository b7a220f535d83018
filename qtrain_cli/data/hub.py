"""``hf:NAME`` or ``hf:NAME:CONFIG``: a data set of the Hugging Face hub, by the package `datasets`.

NAME is what `datasets.load_dataset` takes, a local folder included. The splits train and test are read by the
same rules as Parquet (`arrow`); others are left out. Loading scripts are never run: the versions of
`datasets` that qtrain asks for do not know them any more. Downloads stay in that package's own cache.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.arrow import BATCH_ROWS, Columns, Named, Rows, find_columns, read_rows
from qtrain_cli.data.columns import SPLITS, arrays_of
from qtrain_cli.data.room import Room
from qtrain_cli.errors import BadInput, missing_package

_SOURCE = re.compile(r"hf:(?P<name>[^:]+)(:(?P<config>[^:]+))?")


def matches(source: str) -> bool:
    """True for everything that starts with ``hf:``."""
    return source.startswith("hf:")


def read(source: str, room: Room) -> Arrays:
    """The four arrays. Raises `BadInput` if it cannot be had, or has no train and test split."""
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise BadInput("names no data set", "write hf:NAME or hf:NAME:CONFIG")
    splits = _load(match["name"], match["config"])
    for split in SPLITS:
        if split not in splits:
            raise BadInput(
                f"there is no {split} split; found: {', '.join(splits)}",
                "file.py:function can name other splits",
            )
    columns = [find_columns(splits[split].features.arrow_schema, one_file=False) for split in SPLITS]
    if columns[0] != columns[1]:
        raise BadInput("train and test differ in their columns")
    train, test = (_read_split(splits[split], columns[0], split, room) for split in SPLITS)
    return columns[0].told(arrays_of((train.x, train.y), (test.x, test.y)))


def _load(name: str, config: str | None) -> dict[str, Any]:
    try:
        import datasets
    except ImportError:
        raise missing_package("hf:NAME", "datasets", "hub") from None
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    try:
        return datasets.load_dataset(name, config)
    except Exception as error:  # network, hub and format failures, of a dozen packages
        raise BadInput(f"{name} could not be had: {error}", "check the name, and the connection") from error


def _read_split(dataset: Any, columns: Columns, split: str, room: Room) -> Rows:
    batches = dataset.with_format("arrow").iter(batch_size=BATCH_ROWS)
    return read_rows(columns, len(dataset), batches, Named(split, room))
