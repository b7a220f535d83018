"""What the loop trains, whatever it is: the numbers of a method (`generated`) or a student (`student`).

    parameters()      what is moved, by name
    outputs(batch)    what a step's loss is taken of, in training mode
    state()           everything else that changes, by name: a checkpoint and the best state hold both

and, at an epoch's two ends, what only the trainee can say:

    begin(epoch)      before its first step
    predict(...)      outputs for rows that choose the best state, as what is stored will give them
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from qtrain_cli.data.inputs import Inputs, Prepare
from qtrain_cli.training.batches import Batch


@dataclass(frozen=True)
class Outputs:
    """The model's outputs (N, ...) for a batch, and what is added to the loss beside them, if anything."""

    scores: Tensor
    penalty: Tensor | None = None


class Trainee(Protocol):
    """See above. The tensors of `parameters` and `state` share memory with the trainee; their names stay."""

    def parameters(self) -> dict[str, Tensor]:
        """The trained tensors, float32 leaves that require gradients."""

    def outputs(self, batch: Batch) -> Outputs:
        """Differentiable in all parameters. Raises `BadInput` as `models.call.call_model`."""

    def state(self) -> dict[str, Tensor]:
        """Detached."""

    def begin(self, epoch: int, epochs: int) -> bool:
        """Prepares for an epoch, counted from 0; True: what was best before it counts no longer."""

    @property
    def rounds(self) -> bool:
        """Whether the numbers are on the grid of the file already."""

    def predict(self, inputs: Inputs, prepare: Prepare) -> Tensor:
        """Outputs (N, ...) on the CPU in evaluation mode."""

    def exactly(self) -> AbstractContextManager[None] | None:
        """Inside it outputs, and what the trainee teaches itself, are no draw and count nowhere: for the loss
        that is shown. None where they never are one."""
