"""How outputs are worth something: a file a task, and the table of them.

`task` says what a row is, `objective` what training and measurement ask of one, `intervals` how far chance
moves a figure. `TASKS` is looked up by name (data, JSON) or by what a row takes; the first row that takes the
targets has them. What a model's outputs are, which may make it another row, is `recognition`'s; whether they
are worth anything, `chance`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtrain_cli.errors import BadInput
from qtrain_cli.tasks.binary import BINARY, BINARY_PROBABILITIES, MULTILABEL, MULTILABEL_PROBABILITIES
from qtrain_cli.tasks.classification import CLASSIFICATION, PROBABILITIES, SIGMOIDS
from qtrain_cli.tasks.regression import REGRESSION
from qtrain_cli.tasks.task import Task

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TASKS", "Task", "task_of_targets"]

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
    )
}


def task_of_targets(targets: np.ndarray) -> Task:
    """The first row that takes checked targets (N, ...). Raises `BadInput` where none does."""
    for row in TASKS.values():
        if row.takes(targets):
            return row
    raise BadInput(
        f"no task takes targets of the type {targets.dtype} and the shape {targets.shape}",
        f"there are: {', '.join(name for name, row in TASKS.items() if row.told_by_word)}",
    )
