"""``hf:NAME`` or ``hf:NAME:CONFIG``: a data set of the Hugging Face hub, by the package `datasets`.

NAME is what `datasets.load_dataset` takes, a local folder included. The splits train, test and validation, or
those that `--split` names, are read by the same rules as Parquet (`arrow_columns`). Loading scripts are never
run: the versions of `datasets` that qtrain asks for do not know them any more. Downloads stay in that
package's own cache.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.arrow import BATCH_ROWS, Cut, Table, read_tables
from qtrain_cli.data.arrow_columns import Columns
from qtrain_cli.data.columns import splits_there
from qtrain_cli.data.request import Request
from qtrain_cli.errors import BadInput, missing_package

_SOURCE = re.compile(r"hf:(?P<name>[^:]+)(:(?P<config>[^:]+))?")


def matches(source: str) -> bool:
    """True for everything that starts with ``hf:``."""
    return source.startswith("hf:")


def read(source: str, request: Request) -> Arrays:
    """The arrays. Raises `BadInput` if it cannot be had, or has no train and test split."""
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise BadInput("names no data set", "write hf:NAME or hf:NAME:CONFIG")
    found = _load(match["name"], match["config"])
    advice = f"--split test=NAME takes another; there are: {', '.join(found)}"
    splits = splits_there(found.__contains__, request.splits, "{} split", advice)
    tables = {role: _table(found[name], name) for role, name in splits.items()}
    return read_tables(tables, request, "the splits differ in their columns")


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


def _table(dataset: Any, split: str) -> Table:
    def cuts(columns: Columns) -> Iterator[Cut]:
        first = 0
        for batch in dataset.with_format("arrow").iter(batch_size=BATCH_ROWS):
            yield Cut(split, first, batch)
            first += batch.num_rows

    return Table((dataset.features.arrow_schema,), lambda columns: len(dataset), cuts)
