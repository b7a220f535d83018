"""Rules for column names that CSV and Parquet share.

The target is the column named `target`, `label` or `y`, in this order of preference, else the last. One
file may hold both splits when its column `split` says ``train`` or ``test`` in every row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.errors import BadInput

TARGET_NAMES = ("target", "label", "y")
SPLIT_COLUMN = "split"
SPLITS = ("train", "test")

#: How pandas writes a row number that nobody asked for.
_INDEX_NAMES = ("", "Unnamed: 0", "__index_level_0__")


def refuse_bad_names(names: Sequence[str]) -> None:
    """Raises `BadInput` for a name that stands twice and for pandas' index, which would leak row order."""
    for position, name in enumerate(names, start=1):
        if name in _INDEX_NAMES:
            raise BadInput(
                f"column {position} ('{name}') looks like a row number", "write it with index=False"
            )
        if name in names[: position - 1]:
            raise BadInput(f"the column '{name}' stands twice")


def target_column(names: Sequence[str]) -> str:
    """Which of `names` (not empty) is the target."""
    return next((name for name in TARGET_NAMES if name in names), names[-1])


def divide(x: np.ndarray, y: np.ndarray, splits: Sequence[str]) -> Arrays:
    """Rows ``(N, ...)`` by the value of their split column. Raises `BadInput` for any other value."""
    labels = np.array([str(name) for name in splits], np.str_)
    train, test = (labels == name for name in SPLITS)
    if not (train | test).all():
        row = int((~(train | test)).argmax())
        raise BadInput(
            f"row {row} has the {SPLIT_COLUMN} '{labels[row]}'; allowed: {' or '.join(SPLITS)}",
            "call validation rows train: qtrain sets its own validation rows apart",
        )
    return Arrays(x[train], y[train], x[test], y[test])
