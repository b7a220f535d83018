"""Batches of a loader of somebody's own, the same in every process that goes to the same step.

    epoch e        one pass through the loader
    its draws      order, augmentation: from torch's, NumPy's and Python's streams, which are set for each
                   step from seed and step, and are as before afterwards; a generator of the loader's own too

To go on at a step in the middle of an epoch, the batches before it are drawn and dropped. Such inputs are
rows of no split: the teacher is asked for each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.data.inputs import Inputs, Prepare
from qtrain_cli.errors import BadInput
from qtrain_cli.models.in_place import own_streams
from qtrain_cli.training.batches import Batch


class LoaderBatches:
    """The batches of a loader.

    Args:
        loader: gives `per_epoch` batches each time that it is gone through.
        per_epoch: steps of an epoch.
        read: a batch -> inputs and targets, as the data have them.
        prepare: normalises inputs.
        placed: the run's seed, and the device of what is trained.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        per_epoch: int,
        read: Callable[[Any], tuple[Inputs, Tensor]],
        prepare: Prepare,
        placed: tuple[int, torch.device],
    ) -> None:
        self.loader, self._per_epoch, self.read, self.prepare = loader, per_epoch, read, prepare
        self.seed, self.device = placed
        self._next = -1
        self._left: Iterator[Any] = iter(())

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self._per_epoch

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs. Raises `BadInput` where there is none."""
        first = step - step % self._per_epoch
        if step != self._next or step == first:
            self._begin(first)
            for skipped in range(first, step):
                self._drawn(skipped)
        raw, targets = self.read(self._drawn(step))
        self._next = step + 1
        return Batch(step, raw, self.prepare(raw.to(self.device)), targets.to(self.device))

    def _begin(self, first: int) -> None:
        generator = getattr(self.loader, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(self._stream(first))
        with own_streams(self._stream(first)):
            self._left = iter(self.loader)

    def _drawn(self, step: int) -> Any:
        with own_streams(self._stream(step)):
            try:
                return next(self._left)
            except StopIteration:
                raise BadInput(
                    f"the training loader ended after {step % self._per_epoch} batches; it had"
                    f" {self._per_epoch} before",
                    "give as many each time",
                ) from None

    def _stream(self, step: int) -> int:
        return (self.seed * 1_000_003 + step) % 2**31
