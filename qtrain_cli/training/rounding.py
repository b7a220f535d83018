"""Rounding in the loop: the forward pass has the numbers that the file will hold, the backward pass ignores
it.

    forward     numbers -> the numbers that their codes stand for (`methods.method.Grid`)
    backward    the gradient goes straight through the rounding (Bengio et al. 2013)

So the numbers learn to make up for their rounding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def straight_through(numbers: Tensor, stored: Tensor) -> Tensor:
    """`stored`, with the gradient of `numbers`; both of one shape."""
    found: Tensor = _StraightThrough.apply(numbers, stored.to(numbers))
    return found


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, numbers: Tensor, stored: Tensor) -> Tensor:
        return stored

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
