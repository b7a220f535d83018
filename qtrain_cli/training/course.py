"""What everyone learns from: batches, validation rows, the objective, and a teacher that is asked batch by
batch.

A teacher's outputs belong to inputs, not to the numbers of rows: what is asked for is the batch that the
student gets. For data that is whole in memory and untransformed they are computed once and looked up by row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from qtrain_cli.data import TrainSplit, ValidationSplit
from qtrain_cli.data.inputs import Inputs, Prepare, lead_of
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training.batches import Batch, Batches

#: (batch) -> outputs (N, ...) on the batch's device; None where nobody teaches.
Teach = Callable[[Batch], Tensor | None]


@dataclass(frozen=True)
class Course:
    """What a run is given: `prepare` normalises validation rows, `teach` gives the teacher's outputs."""

    batches: Batches
    validation: ValidationSplit
    prepare: Prepare
    objective: Objective
    teach: Teach


class Answers:
    """What a teacher says of a batch: its outputs, or a layer's features.

    Args:
        ask: inputs as the data have them (N, ...) -> answers (N, ...), on the batch's device if they can be.
        known: the answers for all rows of a training split, if it is whole in memory.
    """

    def __init__(self, ask: Callable[[Inputs], Tensor], known: Tensor | None = None) -> None:
        self._ask, self._known = ask, known

    def __call__(self, batch: Batch) -> Tensor:
        """Looked up for rows of the split, asked for anything else."""
        looked_up = self._known is not None and batch.rows is not None
        found = self._known[batch.rows] if looked_up else self._ask(batch.raw)  # type: ignore[index]
        return found.to(lead_of(batch.inputs).device)


def answers_on(ask: Callable[[Inputs], Tensor], train: TrainSplit) -> Answers:
    """A teacher that has answered for every row of a split beforehand."""
    return Answers(ask, ask(train.inputs))


def nobody(batch: Batch) -> None:
    """Where there are labels alone."""
