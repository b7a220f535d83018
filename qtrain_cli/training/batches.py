"""Which rows a step takes: an epoch is one random order of all rows, in whole batches.

    step = epoch * per_epoch + position        rows = order[position * size : (position + 1) * size]

The order follows from seed and epoch alone, so a run that goes on from a checkpoint needs no more than its
step. Rows that fill no batch are left out of that epoch.

Whatever else gives batches (streamed rows, transformed ones) has `per_epoch` and `at(step)` too, and says so
by `rows` of None: such inputs are no rows of a split, and nothing that is known of a split's rows holds for
them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from qtrain_cli.data import TrainSplit
from qtrain_cli.inputs import Inputs, Prepare


@dataclass(frozen=True)
class Batch:
    """One step's rows: inputs as the data have them (`raw`) and normalised on the device, targets on the
    device.

    `rows` (N,) are their places in the training split, None where the inputs are not those of the split.
    """

    step: int
    raw: Inputs
    inputs: Inputs
    targets: Tensor
    rows: Tensor | None = None


class Batches(Protocol):
    """Where a loop gets its batches: the same step gives the same batch, in any process."""

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""


@dataclass(frozen=True)
class RowBatches:
    """Batches of `size` out of a split that is whole in memory; of all rows where there are fewer."""

    split: TrainSplit
    prepare: Prepare
    size: int
    seed: int
    device: torch.device

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return len(self.split) // self._size

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""
        rows = self.rows(step)
        raw = self.split.inputs[rows]
        targets = self.split.targets[rows].to(self.device)
        return Batch(step, raw, self.prepare(raw.to(self.device)), targets, rows)

    def rows(self, step: int) -> Tensor:
        """The places (size,) of a step's rows in the split."""
        epoch, position = divmod(step, self.per_epoch)
        order = epoch_order(self.seed, epoch, len(self.split))
        return order[position * self._size : (position + 1) * self._size]

    @property
    def _size(self) -> int:
        return min(self.size, len(self.split))


@functools.lru_cache(maxsize=1)
def epoch_order(seed: int, epoch: int, rows: int) -> Tensor:
    """The order (rows,) of an epoch. It is kept for the epoch's next step: not to be changed in place."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
