"""Rules for column names that CSV and Parquet share.

The target is the column named `target`, `label` or `y`, in this order of preference, else the last; a `y`
beside an `x` and further columns is a coordinate. One file may hold both splits when its column `split` says
``train`` or ``test`` in every row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.labels import numbered
from qtrain_cli.data.room import shown
from qtrain_cli.errors import BadInput

#: Of one split: numbers (N,), or N texts.
Targets = np.ndarray | list[str]
TARGET_NAMES = ("target", "label", "y")
SPLIT_COLUMN = "split"
SPLITS = ("train", "test")

#: How pandas writes a row number that nobody asked for.
_INDEX_NAMES = ("", "Unnamed: 0", "__index_level_0__")


def refuse_bad_names(names: Sequence[str]) -> None:
    """Raises `BadInput` for a name that stands twice and for pandas' index, which would leak row order."""
    seen: set[str] = set()
    for position, name in enumerate(names, start=1):
        if name in _INDEX_NAMES:
            raise BadInput(
                f"column {position} ('{name}') looks like a row number", "write it with index=False"
            )
        if name in seen:
            raise BadInput(f"the column '{shown(name)}' stands twice")
        seen.add(name)


def target_column(names: Sequence[str]) -> str:
    """Which of `names` (not empty) is the target."""
    plane = len(names) > 2 and "x" in names
    return next((name for name in TARGET_NAMES if name in names and not (plane and name == "y")), names[-1])


def divide(x: np.ndarray, y: Targets, splits: Sequence[str]) -> Arrays:
    """Rows ``(N, ...)`` by the value of their split column. Raises `BadInput` for any other value."""
    for row, name in enumerate(splits):
        if name not in SPLITS:
            raise BadInput(
                f"row {row} has the {SPLIT_COLUMN} '{shown(name)}'; allowed: {' or '.join(SPLITS)}",
                "call validation rows train: qtrain sets its own validation rows apart",
            )
    places = [np.array([row for row, found in enumerate(splits) if found == name], int) for name in SPLITS]
    train, test = ((x[rows], _of_rows(y, rows)) for rows in places)
    return arrays_of(train, test)


def _of_rows(y: Targets, rows: np.ndarray) -> Targets:
    return [y[row] for row in rows] if isinstance(y, list) else y[rows]


def arrays_of(train: tuple[np.ndarray, Targets], test: tuple[np.ndarray, Targets]) -> Arrays:
    """The four arrays, targets that are texts as class numbers. Raises `BadInput` for texts that are no
    labels."""
    texts = [y for _, y in (train, test) if isinstance(y, list)]
    if len(texts) < 2:
        if texts:
            raise BadInput("the targets are texts in one split and numbers in the other", "write both alike")
        return Arrays(train[0], np.asarray(train[1]), test[0], np.asarray(test[1]))
    y_train, y_test, names = numbered(*texts)
    return Arrays(train[0], y_train, test[0], y_test, names)
