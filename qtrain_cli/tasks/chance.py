"""Whether a model's outputs are worth anything on these rows.

    at chance      worse end <= blind + SKILL (perfect - blind)

`blind` is the figure of answers that know nothing of their row: as many answers of each class dealt out at
random, or the targets' mean. It is not the largest class's share: where 97 of 100 rows are of one class, a
model that finds half of the others is worth something, and one that never names them is not. The worse end is
that of the 95 % interval. A model a tenth of the way from there to perfect is taken as one that was not
trained for these rows, or is fed otherwise than it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtrain_cli.tasks import Task
from qtrain_cli.tasks.assignment import best_assignment
from qtrain_cli.tasks.intervals import wilson_interval

if TYPE_CHECKING:
    from torch import Tensor

SKILL = 0.1
#: Of so many labels an order is looked for: it takes their square in memory.
MOST_ORDERED = 1000


def at_chance(
    row: Task, outputs: Tensor, targets: Tensor, trivial: float | None = None, skill: float = SKILL
) -> float | None:
    """The blind figure, where outputs (N, ...) are hardly better than it: by less than the share `skill` of
    the way to perfect. None where they are better, or nobody knows. A row without one of its own has the
    trivial figure for it."""
    blind, perfect = row.blind(outputs, targets) if row.blind else trivial, row.perfect
    if blind is None:
        return None
    ends = row.interval_of(row.counts(outputs, targets))
    floor = blind + skill * (perfect - blind)
    worth = blind == perfect or row.better(row.worse_first(ends)[0], floor)
    return None if worth else blind


def renamed(row: Task, outputs: Tensor, targets: Tensor, classes: int) -> tuple[int, ...] | None:
    """Which label each output stands for, where under other names the outputs are far better than at chance.

    Place k holds the label of output k. None where nothing gets better by it.
    """
    if row.answers is None:
        return None
    counts = _counts(row, outputs, targets, classes)
    order = _best_order(counts)
    total = len(targets)
    by_chance = float((counts.sum(1) * counts.sum(0)[order]).sum())
    share, blind = _hits(counts, order) / total, by_chance / total**2
    good = wilson_interval(share, total)[0] > blind + max(SKILL, 0.5) * (1 - blind)
    return tuple(order) if good else None


def misnamed(
    row: Task, outputs: Tensor, targets: Tensor, classes: int
) -> tuple[tuple[int, ...], float] | None:
    """Another order of the labels, as `renamed` gives it, that is better than the present one beyond chance,
    and the share of rows that it has right.

    An order is the best of many, so it is measured on rows that it was not found on: found on every second
    row and measured on the others, and the other way round. Its 95 % interval has to lie above the present's.
    """
    if row.answers is None or len(targets) < 2 or classes > MOST_ORDERED or outputs.shape[-1] > MOST_ORDERED:
        return None
    whole = _counts(row, outputs, targets, classes)
    halves = [_counts(row, outputs[part::2], targets[part::2], len(whole)) for part in (0, 1)]
    share = sum(_hits(halves[1 - part], _best_order(halves[part])) for part in (0, 1)) / len(targets)
    present = _hits(whole, range(len(whole))) / len(targets)
    better = wilson_interval(share, len(targets))[0] > wilson_interval(present, len(targets))[1]
    order = tuple(_best_order(whole))
    return (order, share) if better and order != tuple(range(len(whole))) else None


def _counts(row: Task, outputs: Tensor, targets: Tensor, classes: int) -> Tensor:
    """How often which label is named (first axis) where which one is right: int64 (k, k)."""
    assert row.answers is not None
    answers, right = row.answers(outputs), targets.reshape(len(targets), -1)[:, 0].long()
    width = max(classes, int(answers.max()) + 1)
    return (answers * width + right).bincount(minlength=width**2).reshape(width, width)


def _hits(counts: Tensor, order: Sequence[int]) -> float:
    return float(counts[list(range(len(order))), list(order)].sum())


def _best_order(counts: Tensor) -> list[int]:
    """A label for each output, so that most rows are right; its own where others are no better."""
    import torch

    own = torch.eye(len(counts), dtype=torch.int64)
    return best_assignment((counts * (len(counts) + 1) + own).numpy())
