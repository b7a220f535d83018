"""Which rows a step takes: an epoch is one random order of all rows, in whole batches.

    step = epoch * per_epoch + position        rows = order[position * size : (position + 1) * size]

The order follows from seed and epoch alone, so a run that goes on from a checkpoint needs no more than its
step. Rows that fill no batch are left out of that epoch.

Rows of texts share a batch with others of like length, which spares padding: `BUCKET` batches of an epoch's
order are sorted by length and cut into batches, and all batches of the epoch are put in another random order.

Whatever else gives batches (streamed rows, transformed ones) has `per_epoch` and `at(step)` too, and says so
by `rows` of None: such inputs are no rows of a split, and nothing that is known of a split's rows holds for
them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from qtrain_cli.data import TrainSplit
from qtrain_cli.data.augment import Augment, Mixed
from qtrain_cli.data.inputs import Inputs, Prepare, lengths_of
from qtrain_cli.files.spilled import let_go
from qtrain_cli.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Whole:
    """What everybody knows of a batch that several processes share: all targets, and all other targets of
    rows that are two in one."""

    targets: Tensor
    mixed: Tensor | None = None


@dataclass(frozen=True)
class Drawn:
    """One step's rows as the data have them, or as they became: in memory, whoever drew them.

    Fields are those of `Batch`.
    """

    step: int
    raw: Inputs
    targets: Tensor
    rows: Tensor | None = None
    mixed: Mixed | None = None
    whole: Whole | None = None


@dataclass(frozen=True)
class Batch:
    """One step's rows: inputs as the data have them (`raw`) and normalised on the device, targets on the
    device.

    `rows` (N,) are their places in the training split, None where the inputs are not those of the split.
    `mixed` has the other targets of rows that are two in one. `whole` is there where these rows are a share
    of the step's.
    """

    step: int
    raw: Inputs
    inputs: Inputs
    targets: Tensor
    rows: Tensor | None = None
    mixed: Mixed | None = None
    whole: Whole | None = None


class Batches(Protocol):
    """Where a loop gets its batches: the same step gives the same batch, in any process."""

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""


@dataclass(frozen=True)
class RowBatches:
    """Batches of `size` out of a split that is whole in memory; of all rows where there are fewer.

    What `augment` makes of them are no rows of the split any more. Of several processes (`ranks`) each draws
    its share, of augmented batches the whole, of which it keeps its share: rows may be mixed with any other.
    """

    split: TrainSplit
    prepare: Prepare
    size: int
    seed: int
    device: torch.device
    augment: Augment | None = None
    ranks: Ranks = ALONE

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return len(self.split) // self.whole_size

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""
        return self.placed(self.drawn(step))

    def drawn(self, step: int) -> Drawn:
        """Its rows, which nothing but the step decides: in whatever process they are drawn."""
        rows = self.rows(step)
        own = rows if self.augment else rows[self.ranks.share]
        raw, targets = self.split.inputs[own], self.split.targets[own]
        let_go()
        if self.augment is None or not isinstance(raw, Tensor):
            whole = Whole(self.split.targets[rows]) if self.ranks.several else None
            return Drawn(step, raw, targets, own, whole=whole)
        found = self.augment(raw, targets, step)
        drawn = Drawn(step, found.inputs, found.targets, None, found.mixed)
        return _share_of(drawn, self.ranks) if self.ranks.several else drawn

    def placed(self, drawn: Drawn) -> Batch:
        """The same on the device, inputs normalised."""
        device, mixed, raw = self.device, drawn.mixed, drawn.raw
        # Where a batch ends with its longest row, that is found here: a device would have to tell it.
        cut = lengths_of(self.prepare, raw) is not None
        inputs = self.prepare(raw).to(device) if cut else self.prepare(raw.to(device))
        return Batch(
            drawn.step,
            raw,
            inputs,
            drawn.targets.to(device),
            drawn.rows,
            mixed and replace(mixed, targets=mixed.targets.to(device)),
            drawn.whole,
        )

    def rows(self, step: int) -> Tensor:
        """The places (size,) of a step's rows in the split."""
        epoch, position = divmod(step, self.per_epoch)
        order = _order_of(self, epoch)
        return order[position * self.whole_size : (position + 1) * self.whole_size]

    @property
    def whole_size(self) -> int:
        """The rows of every batch."""
        return min(self.size, len(self.split))


def _share_of(drawn: Drawn, ranks: Ranks) -> Drawn:
    """One process's rows of an augmented batch."""
    own, mixed = ranks.share, drawn.mixed
    return replace(
        drawn,
        raw=drawn.raw[own],
        targets=drawn.targets[own],
        mixed=mixed and replace(mixed, targets=mixed.targets[own]),
        whole=Whole(drawn.targets, mixed.targets if mixed else None),
    )


#: Batches whose rows are sorted by length together.
BUCKET = 50


@functools.lru_cache(maxsize=1)
def _order_of(batches: RowBatches, epoch: int) -> Tensor:
    """The order (rows,) of an epoch, by length where rows have one."""
    order = epoch_order(batches.seed, epoch, len(batches.split))
    lengths = lengths_of(batches.prepare, batches.split.inputs)
    if lengths is None:
        return order
    size = batches.whole_size
    return bucketed(order[: batches.per_epoch * size], lengths, size, batches.seed * 1_000_003 + epoch)


def bucketed(order: Tensor, lengths: Tensor, size: int, seed: int) -> Tensor:
    """The same rows with those of like length in one batch of `size`, the batches in a random order."""
    sorted_parts = [part[lengths[part].argsort(stable=True)] for part in order.split(BUCKET * size)]
    batches = torch.cat(sorted_parts).reshape(-1, size)
    places = torch.randperm(len(batches), generator=torch.Generator().manual_seed(seed))
    return batches[places].reshape(-1)


@functools.lru_cache(maxsize=1)
def epoch_order(seed: int, epoch: int, rows: int) -> Tensor:
    """The order (rows,) of an epoch. It is kept for the epoch's next step: not to be changed in place."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
