"""Which rows a step takes: an epoch is one random order of all rows, in whole batches.

    step = epoch * per_epoch + position        rows = order[position * size : (position + 1) * size]

The order follows from seed and epoch alone, so a run that goes on from a checkpoint needs no more than its
step. Rows that fill no batch are left out of that epoch.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batches:
    """Batches of `size` out of `rows` training rows; of all of them where there are fewer."""

    rows: int
    size: int
    seed: int

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.rows // min(self.size, self.rows)

    def at(self, step: int) -> Tensor:
        """The rows (size,) of a step, counted from 0 over all epochs."""
        epoch, position = divmod(step, self.per_epoch)
        size = min(self.size, self.rows)
        return epoch_order(self.seed, epoch, self.rows)[position * size : (position + 1) * size]


@functools.lru_cache(maxsize=1)
def epoch_order(seed: int, epoch: int, rows: int) -> Tensor:
    """The order (rows,) of an epoch. It is kept for the epoch's next step: not to be changed in place."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
