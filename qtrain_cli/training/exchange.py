"""What the processes of a run tell each other once a step: one sum of a few KB.

    gradient of the trained numbers | loss | the loss that is shown | counts of the score | asked to stop?

Each process has the loss of its share of the batch, weighted so that the sum over processes is the batch's,
and so is the gradient. All of it goes as float64: the order in which processes are added up then moves no bit
of a float32, every process goes on with the same numbers, and all stop after the same step.

Beside it, once an epoch, rank 0's numbers and buffers become everybody's, for what machines of different
kinds, and layers that keep something of the rows that they saw, make of them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.training.descent import seed_generators
from qtrain_cli.training.ranks import Ranks
from qtrain_cli.training.stopping import Parent
from qtrain_cli.training.synced import SharedStatistics

#: Of a step: on a device it stays there, float64 (), until it is asked for.
Number: TypeAlias = float | Tensor


@dataclass(frozen=True)
class StepSums:
    """Of one step: its loss, the loss that is shown, and the sums (k,) that its score is a figure of."""

    loss: Number
    shown: Number
    sums: Tensor


class Exchange:
    """The others, for a loop that trains these tensors.

    Args:
        ranks: who there is; of one process nothing is exchanged, and nothing changes.
        trained: tensors whose gradients are summed.
        seed: of what is drawn in a step.
    """

    def __init__(self, ranks: Ranks, trained: Sequence[Tensor], seed: int) -> None:
        self.ranks, self.trained, self.seed = ranks, trained, seed
        self.asked, self._parent = threading.Event(), Parent(ranks.parent)
        self._agreed = False

    @property
    def stops(self) -> bool:
        """Whether the run ends here: asked to, or among several when all have heard of it."""
        return self._agreed if self.ranks.several else self.asked.is_set()

    def around_step(self, step: int) -> AbstractContextManager[object]:
        """What forward and backward pass of a step have around them: draws of this process's own, which
        follow from the step, and statistics of the whole batch."""
        if not self.ranks.several:
            return nullcontext()
        stream = np.random.SeedSequence([self.seed, step, self.ranks.rank]).generate_state(1)
        seed_generators(int(stream[0]))
        return SharedStatistics(self.ranks)

    def of_step(self, own: StepSums) -> StepSums:
        """The whole step's, from this process's share of it; gradients become those of the whole batch."""
        if not self.ranks.several:
            return own
        told = self.ranks.summed(self._packed(own))
        loss, shown, stops = told[:3].tolist()
        self._agreed = stops > 0
        first = 3 + len(own.sums)
        for tensor, part in zip(self.trained, self._parts(told[first:]), strict=True):
            if tensor.grad is not None or bool(part.any()):
                tensor.grad = part.to(tensor.dtype)
        return StepSums(loss, shown, told[3:first])

    def at_end(self) -> None:
        """After the last step: whether anybody was asked to stop since."""
        if self.ranks.several:
            told = self.ranks.summed(torch.tensor([float(self._agreed or self._asked)]))
            self._agreed = bool(told > 0)

    @property
    def _asked(self) -> bool:
        return self.asked.is_set() or self._parent.gone

    def _packed(self, own: StepSums) -> Tensor:
        device = self.trained[0].device
        head = torch.tensor([own.loss, own.shown, float(self._asked)], dtype=torch.float64)
        parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in self.trained]
        flat = [part.detach().flatten().double() for part in parts]
        return torch.cat([head.to(device), own.sums.to(device), *flat])

    def _parts(self, flat: Tensor) -> Iterator[Tensor]:
        sizes = [tensor.numel() for tensor in self.trained]
        for tensor, part in zip(self.trained, flat.split(sizes), strict=True):
            yield part.view_as(tensor)
