"""A task with the weight of a teacher: what a training makes small, and what a split is worth.

    loss = (1 - a) hard(y, s) + a soft(t, s)

s: student outputs, t: teacher outputs, y: targets, a: `distill`; hard and soft loss are the task's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtrain_cli.errors import BadInput
from qtrain_cli.tasks import TASKS, Task
from qtrain_cli.tasks.intervals import Interval

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Objective:
    """The task's name, the weight of the teacher in 0..1, and the temperature of its outputs."""

    task: str
    distill: float
    temperature: float

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
        return loss + self.distill * self.row.soft_loss(outputs, teacher, self.temperature)

    def hard_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss against the targets alone, a scalar."""
        return self.row.hard_loss(outputs, targets)

    def row_scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Each row's own score, float64 (N,)."""
        return self.row.row_scores(outputs, targets)

    def score(self, outputs: Tensor, targets: Tensor) -> float:
        """The figure of a batch or split: the mean of its rows' scores."""
        return float(self.row_scores(outputs, targets).mean())

    def interval(self, scores: Tensor) -> Interval:
        """The 95 % interval of the mean of rows' scores (N,)."""
        return self.row.interval(float(scores.mean()), len(scores), float(scores.std(correction=0)))

    def stored_interval(self, scores: Tensor) -> Interval | None:
        """The same where a record has to store it; None where it follows from figure and count."""
        return self.interval(scores) if self.row.stores_interval else None

    def closeness(self, outputs: Tensor, teacher: Tensor) -> float:
        """How close outputs are to the teacher's: the mean of the rows' closeness."""
        return float(self.row.row_closeness(outputs, teacher).mean())

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
