"""Losses and gradients that are no numbers, on a device that works behind this process.

To look at a number of a step is to wait for the step. So the first fault of all steps is noted where they
run, and read with the next figure that is needed anyway: at an epoch's end, or before a state is saved.

    fault    0 none   1 the loss   2 the gradient        and the step that it was in, counted from 1
"""

from __future__ import annotations

import torch
from torch import Tensor

_NAMES = ("", "loss", "gradient")


def works_behind(device: torch.device) -> bool:
    """Whether what is asked of a device is done later."""
    return device.type != "cpu"


class Faults:
    """The first one, on a device."""

    def __init__(self, device: torch.device) -> None:
        self._first = torch.zeros(2, dtype=torch.int64, device=device)
        self._unread = False

    def note(self, step: int, loss: Tensor, norm: Tensor) -> None:
        """Takes a step's loss and the norm of all its gradients; nothing is read."""
        what = torch.where(loss.isfinite(), torch.where(norm.isfinite(), 0, 2), 1)
        this = torch.stack([what, torch.full_like(what, step)])
        self._first = torch.where(self._first[0] > 0, self._first, this * (what > 0))
        self._unread = True

    def read(self) -> tuple[str, int] | None:
        """What was no number first, and in which step; None where all are numbers. Waits for the device."""
        if not self._unread:
            return None
        self._unread = False
        what, step = self._first.tolist()
        return (_NAMES[what], step) if what else None
