"""A task with the weight of a teacher: what a training makes small, and what a split is worth.

    loss = (1 - a) hard(y, s) + a soft(t, s)

s: student outputs, t: teacher outputs, y: targets, a: `distill`; hard and soft loss are the task's.

A split is scored part by part: outputs of `at_once` rows are asked for, counted and dropped, and the figure
is that of the counts of all rows (`counting`). A split's loss is the mean over all that its parts' losses are
means of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qtrain_cli.errors import BadInput
from qtrain_cli.tasks import TASKS, Task
from qtrain_cli.tasks.counting import figure_of, mean_of
from qtrain_cli.tasks.intervals import Interval

if TYPE_CHECKING:
    from torch import Tensor

#: Which rows of a split -> somebody's outputs for them (M, ...).
OutputsOf = Callable[[slice], "Tensor"]
#: No split has so many rows.
ALL_ROWS = 2**62


@dataclass(frozen=True)
class Scored:
    """What a split is worth: its rows' counts (N, k), the task's own loss; beside a teacher, how close to it,
    and its figure."""

    counts: Tensor
    loss: float
    closeness: float | None = None
    teacher: float | None = None


@dataclass(frozen=True)
class Objective:
    """The task's name, the weight of the teacher in 0..1, the temperature of its outputs, and how many rows
    are scored at once."""

    task: str
    distill: float
    temperature: float
    at_once: int = ALL_ROWS

    @property
    def row(self) -> Task:
        """The task's row of the table."""
        return TASKS[self.task]

    @property
    def word(self) -> str:
        """What its scores are called."""
        return self.row.word

    def loss(self, outputs: Tensor, targets: Tensor, teacher: Tensor) -> Tensor:
        """The training loss of one batch, a scalar. A teacher without weight is not looked at."""
        loss = (1 - self.distill) * self.hard_loss(outputs, targets)
        if self.distill == 0:
            return loss
        return loss + self.distill * self.row.soft_loss(outputs, teacher, self.temperature, targets)

    def hard_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss against the targets alone, a scalar."""
        return self.row.hard_loss(outputs, targets)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """The figure of a batch."""
        return self.row.figure_of(self.row.counts(outputs, targets))

    def score_of(self, outputs_of: OutputsOf, targets: Tensor) -> float:
        """The figure of a split with these targets (N, ...)."""
        return self.row.figure_of(self.counts_of(outputs_of, targets))

    def counts_of(self, outputs_of: OutputsOf, targets: Tensor) -> Tensor:
        """The counts (N, k) of a split with these targets (N, ...)."""
        import torch

        parts = self.parts(len(targets))
        return torch.cat([self.row.counts(outputs_of(part), targets[part]) for part in parts])

    def scored(self, outputs_of: OutputsOf, targets: Tensor, taught: OutputsOf | None = None) -> Scored:
        """Everything that is measured of a split with these targets (N, ...), beside a teacher or without."""
        import torch

        row, counts, near, theirs = self.row, [], [], []
        losses, size = [], 0
        for part in self.parts(len(targets)):
            outputs, right = outputs_of(part), targets[part]
            counts.append(row.counts(outputs, right))
            size += row.size_of(right)
            losses.append(float(self.hard_loss(outputs, right)) * row.size_of(right))
            if taught:
                teacher = taught(part)
                near.append(row.closeness_counts(outputs, teacher, right))
                theirs.append(row.counts(teacher, right))
        found = Scored(torch.cat(counts), math.fsum(losses) / max(1, size))
        if not taught:
            return found
        return replace(
            found,
            closeness=figure_of(torch.cat(near), mean_of),
            teacher=row.figure_of(torch.cat(theirs)),
        )

    def parts(self, rows: int) -> Iterator[slice]:
        """Which rows are scored together, one part after the other."""
        return (slice(first, min(first + self.at_once, rows)) for first in range(0, rows, self.at_once))

    def stored_interval(self, counts: Tensor) -> Interval | None:
        """The 95 % interval where a record has to store it; None where it follows from figure and count."""
        return self.row.interval_of(counts) if self.row.stores_interval else None

    def closeness(self, outputs: Tensor, teacher: Tensor, targets: Tensor) -> float:
        """How close outputs are to the teacher's."""
        return figure_of(self.row.closeness_counts(outputs, teacher, targets), mean_of)

    def improves(self, score: float, best: float | None) -> bool:
        """Whether a finite score beats the best so far, if there is one."""
        return math.isfinite(score) and (best is None or self.better(score, best))

    def better(self, score: float, than: float) -> bool:
        """Whether one score beats another."""
        return self.row.better(score, than)


def check_outputs(task: str, outputs: Tensor, targets: Tensor, classes: int | None) -> None:
    """Refuses a model whose outputs cannot be compared with the targets. Raises `BadInput`."""
    require_finite(outputs)
    TASKS[task].check(outputs, targets, classes)


def require_finite(outputs: Tensor) -> None:
    """Raises `BadInput` for outputs of a model that are no numbers."""
    if not bool(outputs.isfinite().all()):
        raise BadInput("the model's outputs are not finite on this data", "check --mean and --std")
