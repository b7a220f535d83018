"""A task with the weight of a teacher: what a training makes small, and what a split is worth.

    loss = (1 - a) hard(y, s) + a soft(t, s)

s: student outputs, t: teacher outputs, y: targets, a: `distill`; hard and soft loss are the task's. The
control of a teacher is one that is sure of every label, and knows nothing else:

    loss = (1 - a) hard(y, s) + a T**2 hard(y, s / T)                 sharpened labels, T: `temperature`

A temperature may move in the course of a training (annealed distillation, Jafari et al. 2021), from T to T':

    T (T' / T)**share                     share 0..1 of the steps, T': `temperature_end`

A split is scored part by part: outputs of `at_once` rows are asked for, counted and dropped, and the figure
is that of the counts of all rows (`counting`). A split's loss is the mean over all that its parts' losses are
means of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from qtrain_cli.errors import BadInput
from qtrain_cli.tasks import TASKS, Task
from qtrain_cli.tasks.counting import figure_of, mean_of
from qtrain_cli.tasks.intervals import Interval
from qtrain_cli.tasks.metrics import Metric

if TYPE_CHECKING:
    from torch import Tensor

#: Which rows of a split -> somebody's outputs for them (M, ...).
OutputsOf = Callable[[slice], "Tensor"]
#: No split has so many rows.
ALL_ROWS = 2**62


@dataclass(frozen=True)
class Scored:
    """What a split is worth: its rows' counts (N, k), the task's own loss, further figures; beside a teacher,
    how close to it, and its figure. `shape` is that of the outputs for one row."""

    counts: Tensor
    loss: float
    shape: tuple[int, ...]
    metrics: dict[str, float | None]
    closeness: float | None = None
    teacher: float | None = None


@dataclass(frozen=True)
class _Part:
    """The same of some rows: `size` is how many things the loss is the mean of, `beside` the counts of
    closeness and of the teacher."""

    counts: Tensor
    loss: float
    size: int
    shape: tuple[int, ...]
    metrics: tuple[Tensor, ...]
    beside: tuple[Tensor, ...]


@dataclass(frozen=True)
class Objective:
    """The task's name, the weight of the teacher in 0..1, the temperature of its outputs, and how many rows
    are scored at once; a row in place of the table's, whose loss or figure is the caller's own; the names of
    labels, the test rows' labels where those are no targets, and a weight for each class in training, none
    where there are none; `sharpened`: labels stand in the teacher's place;
    the temperature at the end, where it is another one."""

    task: str
    distill: float
    temperature: float
    at_once: int = ALL_ROWS
    own: Task | None = None
    labels: tuple[str, ...] = ()
    answers: Tensor | None = None
    weights: tuple[float, ...] = ()
    sharpened: bool = False
    temperature_end: float | None = None

    def at(self, share: float) -> Objective:
        """The objective after this share of a training, 0 to 1: with its temperature then."""
        if self.temperature_end is None:
            return self
        moved = self.temperature * (self.temperature_end / self.temperature) ** share
        return replace(self, temperature=moved, temperature_end=None)

    @cached_property
    def row(self) -> Task:
        """The task's row for these labels: of the table, unless there is an own one."""
        if self.own:
            return self.own
        row = TASKS[self.task]
        if row.for_labels:
            return row.for_labels(self.labels)
        return row.for_answers(self.answers) if row.for_answers else row

    @property
    def word(self) -> str:
        """What its scores are called."""
        return self.row.word

    def loss(self, outputs: Tensor, targets: Tensor, teacher: Tensor, whole: Tensor | None = None) -> Tensor:
        """The training loss of one batch, a scalar. A teacher without weight is not looked at.

        With `whole`, targets (M, ...) of a batch of which these rows are a share: what the share adds to the
        loss of the batch, each part of it being a mean over things of its own.
        """
        hard, soft = (1.0, 1.0) if whole is None else self._shares(targets, whole)
        loss = hard * (1 - self.distill) * self._learned(outputs, targets)
        if self.distill == 0:
            return loss
        share = hard if self.sharpened else soft
        return loss + share * self.distill * self._taught(outputs, targets, teacher)

    def _taught(self, outputs: Tensor, targets: Tensor, teacher: Tensor) -> Tensor:
        if self.sharpened:
            return self.temperature**2 * self._learned(outputs / self.temperature, targets)
        return self.row.soft_loss(outputs, teacher, self.temperature, targets)

    def _shares(self, targets: Tensor, whole: Tensor) -> tuple[float, float]:
        """The shares that these targets have in the means of a whole batch: of the hard loss, of the soft."""
        row = self.row
        soft = row.size_of(targets) / max(1, row.size_of(whole))
        if not (self.weights and row.weighted and row.weight_of):
            return soft, soft
        own, known = (row.weight_of(part.cpu(), self._every_weight) for part in (targets, whole))
        return (own / known if known else 0.0), soft

    @cached_property
    def _every_weight(self) -> Tensor:
        import torch

        return torch.tensor(self.weights, dtype=torch.float64)

    def _learned(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if not (self.weights and self.row.weighted):
            return self.hard_loss(outputs, targets)
        return self.row.weighted(outputs, targets, outputs.new_tensor(self.weights))

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

    def scored(
        self, outputs_of: OutputsOf, targets: Tensor, taught: OutputsOf | None = None, further: bool = False
    ) -> Scored:
        """What a split with these targets (N, ...) is worth, beside a teacher or without.

        With `further` the task's further metrics are measured too.
        """
        metrics = self.row.metrics if further else ()
        parts = [
            self._part(outputs_of(part), targets[part], taught and taught(part), metrics)
            for part in self.parts(len(targets))
        ]
        return _joined(self.row, parts, metrics, targets)

    def _part(
        self, outputs: Tensor, targets: Tensor, teacher: Tensor | None, metrics: tuple[Metric, ...]
    ) -> _Part:
        row = self.row
        beside: tuple[Tensor, ...] = ()
        if teacher is not None:
            beside = row.closeness_counts(outputs, teacher, targets), row.counts(teacher, targets)
        return _Part(
            counts=row.counts(outputs, targets),
            loss=float(self.hard_loss(outputs, targets)),
            size=row.size_of(targets),
            shape=tuple(outputs.shape[1:]),
            metrics=tuple(metric.part(outputs, targets) for metric in metrics),
            beside=beside,
        )

    def trivial(self, train: Tensor, targets: Tensor, shape: tuple[int, ...]) -> float | None:
        """The figure on a split with these targets of whoever knows the training targets and nothing else.

        `shape` is that of the outputs for one row. None where nobody knows how to answer so.
        """
        row = TASKS[self.row.plain or self.task]
        if row.trivial is None:
            return None
        if self.row.scores_of:  # of as many scores as those outputs are made of
            shape = tuple(self.row.scores_of(train.new_zeros((1, *shape)).float()).shape[1:])
        scores = row.trivial(train, shape)
        same = replace(self, task=row.name)
        return same.score_of(lambda part: scores.expand(part.stop - part.start, *shape), targets)

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


def _joined(row: Task, parts: list[_Part], metrics: tuple[Metric, ...], targets: Tensor) -> Scored:
    import torch

    loss = math.fsum(part.loss * part.size for part in parts) / max(1, sum(part.size for part in parts))
    found = Scored(
        counts=torch.cat([part.counts for part in parts]),
        loss=loss,
        shape=parts[0].shape,
        metrics={
            metric.name: metric.value([part.metrics[place] for part in parts], targets)
            for place, metric in enumerate(metrics)
        },
    )
    if not parts[0].beside:
        return found
    near, theirs = (torch.cat(counts) for counts in zip(*(part.beside for part in parts), strict=True))
    return replace(found, closeness=figure_of(near, mean_of), teacher=row.figure_of(theirs))


def check_outputs(task: str, outputs: Tensor, targets: Tensor, classes: int | None) -> None:
    """Refuses a model whose outputs cannot be compared with the targets. Raises `BadInput`."""
    require_finite(outputs)
    TASKS[task].check(outputs, targets, classes)


def require_finite(outputs: Tensor) -> None:
    """Raises `BadInput` for outputs of a model that are no numbers."""
    if not bool(outputs.isfinite().all()):
        raise BadInput("the model's outputs are not finite on this data", "check --mean and --std")
