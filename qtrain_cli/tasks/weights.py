"""A weight for each class in the loss: given, or balanced by how often each is in train.

    balanced            n / (C n_c): every class weighs as much as any other (King and Zeng 2001)
    of several labels   (n - n_c) / n_c for each: yes weighs as much as no

n: targets that count, n_c: those of class c, C: classes. A class that train has not weighs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtrain_cli.errors import UsageError
from qtrain_cli.tasks.places import counted
from qtrain_cli.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor


def weights_of(
    row: Task, asked: tuple[float | str, ...], targets: Tensor, classes: int | None
) -> tuple[float, ...]:
    """The weights that training uses; none where none were asked for.

    Args:
        row: the task.
        asked: numbers, or the word for balanced.
        targets: those of train.
        classes: how many there are; None for several labels a row.

    Raises `UsageError` for a task without classes, or another number of weights.
    """
    if not asked:
        return ()
    if row.weighted is None:
        raise UsageError(f"--class-weights has no use for a {row.name}", "leave it out")
    found = _balanced(targets, classes) if isinstance(asked[0], str) else [float(one) for one in asked]
    wanted = classes or targets.reshape(len(targets), -1).shape[1]
    if len(found) != wanted:
        raise UsageError(
            f"--class-weights has {len(found)} numbers, and there are {wanted} classes",
            f"give {wanted}, or balanced",
        )
    return tuple(found)


def _balanced(targets: Tensor, classes: int | None) -> list[float]:
    if classes is None:
        yes = targets.reshape(len(targets), -1).double().sum(0)
        return ((len(targets) - yes) / yes.clamp_min(1)).tolist()
    counts = targets[counted(targets)].long().bincount(minlength=classes).double()
    return (counts.sum() / (classes * counts.clamp_min(1)) * (counts > 0)).tolist()
