"""Whether a model's outputs are worth anything on these rows.

    at chance      worse end <= blind + SKILL (perfect - blind)

`blind` is the figure of answers that know nothing of their row: as many answers of each class dealt out at
random, or the targets' mean. It is not the largest class's share: where 97 of 100 rows are of one class, a
model that finds half of the others is worth something, and one that never names them is not. The worse end is
that of the 95 % interval. A model a tenth of the way from there to perfect is taken as one that was not
trained for these rows, or is fed otherwise than it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtrain_cli.tasks import Task
from qtrain_cli.tasks.intervals import wilson_interval

if TYPE_CHECKING:
    from torch import Tensor

SKILL = 0.1


def at_chance(row: Task, outputs: Tensor, targets: Tensor, trivial: float | None = None) -> float | None:
    """The blind figure, where outputs (N, ...) are hardly better than it; None where they are, or nobody
    knows. A row without one of its own has the trivial figure for it."""
    blind, perfect = row.blind(outputs, targets) if row.blind else trivial, row.perfect
    if blind is None:
        return None
    ends = row.interval_of(row.counts(outputs, targets))
    floor = blind + SKILL * (perfect - blind)
    worth = blind == perfect or row.better(row.worse_first(ends)[0], floor)
    return None if worth else blind


def renamed(row: Task, outputs: Tensor, targets: Tensor, classes: int) -> tuple[int, ...] | None:
    """Which label each output stands for, where under other names the outputs are far better than at chance.

    Place k holds the label that output k has most often. None where some label would be named twice, or
    nothing gets better by it.
    """
    if row.answers is None:
        return None
    answers, right = row.answers(outputs), targets.reshape(len(targets), -1)[:, 0].long()
    width = max(classes, int(answers.max()) + 1)
    counts = (answers * width + right).bincount(minlength=width**2).reshape(width, width)  # named, right
    order = _matched(counts)
    named = list(range(width))
    by_chance = float((counts.sum(1) * counts.sum(0)[order]).sum())
    share, blind = float(counts[named, order].sum()) / len(right), by_chance / len(right) ** 2
    good = wilson_interval(share, len(right))[0] > blind + max(SKILL, 0.5) * (1 - blind)
    return tuple(order) if good else None


def _matched(counts: Tensor) -> list[int]:
    """A label for each output, largest counts first; what is left is matched in order."""
    order: dict[int, int] = {}
    taken: set[int] = set()
    pairs = counts.flatten().argsort(descending=True, stable=True).tolist()
    for named, right in (divmod(pair, len(counts)) for pair in pairs):
        if named not in order and right not in taken:
            order[named] = right
            taken.add(right)
    return [order[named] for named in range(len(counts))]
