"""How outputs are worth something: a file a task, and the table of them.

`task` says what a row is, `objective` what training and measurement ask of one, `intervals` how far chance
moves a figure. `TASKS` is looked up by name (data, JSON) or by what a row takes; the first row that takes the
targets has them. What a model's outputs are, which may make it another row, is `recognition`'s; whether they
are worth anything, `chance`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.tasks.binary import BINARY, BINARY_PROBABILITIES, MULTILABEL, MULTILABEL_PROBABILITIES
from qtrain_cli.tasks.classification import CLASSIFICATION, PROBABILITIES, SIGMOIDS
from qtrain_cli.tasks.features import FEATURES
from qtrain_cli.tasks.language import LANGUAGE
from qtrain_cli.tasks.regression import REGRESSION
from qtrain_cli.tasks.segmentation import (
    SEGMENTATION,
    SEGMENTATION_PROBABILITIES,
    SEGMENTATION_YES,
    SEGMENTATION_YES_PROBABILITIES,
)
from qtrain_cli.tasks.task import Task
from qtrain_cli.tasks.tokens import ENTITIES, TOKENS

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FAMILIES", "TASKS", "Task", "asked_task", "task_of_targets"]

TASKS: dict[str, Task] = {
    row.name: row
    for row in (
        CLASSIFICATION,
        REGRESSION,
        PROBABILITIES,
        SIGMOIDS,
        BINARY,
        BINARY_PROBABILITIES,
        MULTILABEL,
        MULTILABEL_PROBABILITIES,
        TOKENS,
        ENTITIES,
        SEGMENTATION,
        SEGMENTATION_PROBABILITIES,
        SEGMENTATION_YES,
        SEGMENTATION_YES_PROBABILITIES,
        LANGUAGE,
        FEATURES,
    )
}


#: What `--task` may be.
FAMILIES = tuple(dict.fromkeys(row.family for row in TASKS.values()))
#: Of a family -> which checked targets (N, ...) it takes, by kind of type and dimensions, and what that is.
_TARGETS: dict[str, tuple[tuple[tuple[str, int], ...], str]] = {
    CLASSIFICATION.name: ((("i", 1), ("f", 1), ("f", 2)), "class numbers (N,)"),
    REGRESSION.name: ((("i", 1), ("f", 1), ("f", 2)), "numbers (N,) or (N, k)"),
    MULTILABEL.name: ((("f", 2),), "0 and 1 for each label (N, k)"),
    TOKENS.name: ((("i", 2),), "a label for each token (N, L)"),
    SEGMENTATION.name: ((("i", 3),), "a class for each pixel (N, H, W)"),
    LANGUAGE.name: ((("i", 2),), "a token for each place (N, L), or none"),
}


def asked_task(family: str, targets: np.ndarray) -> Task:
    """The row of a family that was asked for, which these checked targets (N, ...) are for.

    Raises `UsageError` where they are not.
    """
    fits = [name for name in _TARGETS if _takes(name, targets)]
    if family in _TARGETS and not _takes(family, targets):
        raise UsageError(
            f"--task {family} takes {_TARGETS[family][1]}; the targets are"
            f" {'whole' if targets.dtype.kind == 'i' else 'decimal'} numbers of the shape {targets.shape}",
            f"these fit: {', '.join(fits) or 'none'}",
        )
    return TASKS[family]


def _takes(family: str, targets: np.ndarray) -> bool:
    binary = family != MULTILABEL.name or bool(((targets == 0) | (targets == 1)).all())
    return (targets.dtype.kind, targets.ndim) in _TARGETS[family][0] and binary


def task_of_targets(targets: np.ndarray) -> Task:
    """The first row that takes checked targets (N, ...). Raises `BadInput` where none does."""
    for row in TASKS.values():
        if row.takes(targets):
            return row
    raise BadInput(
        f"no task takes targets of the type {targets.dtype} and the shape {targets.shape}",
        f"there are: {', '.join(FAMILIES)}",
    )
