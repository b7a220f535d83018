"""Rounding in the loop: late in training the circuits run with the angles that the file will hold.

    forward     theta -> start + step * round((theta - start) / step)
    backward    the gradient goes straight through the rounding (Bengio et al. 2013)

So the angles learn to make up for their rounding. The step is fitted anew at the beginning of every such
epoch, because what fits into so many bits changes as the angles move, and once more before a state is
validated, if the codes no longer fit: whatever validation chooses can be stored as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qtrain_cli.methods.generator.angles import decode, encode, finest_step, fits, movement, start_angles
from qtrain_cli.methods.generator.spec import RAW_BITS, GeneratorSpec

#: From this share of the epochs on angles are rounded; the first epoch never is.
ROUND_FROM = 0.8
#: Room that a step fitted at an epoch's beginning leaves for the epoch's movement.
_ROOM = 0.985


class Rounding:
    """The rounding of one run: its start, its bits, and the epoch from which on it acts."""

    def __init__(self, spec: GeneratorSpec, epochs: int) -> None:
        self.bits = spec.angles.bits
        self.start = start_angles(spec.circuit, spec.angles.start_seed)
        self.first = max(1, round(ROUND_FROM * epochs)) if self.bits != RAW_BITS else epochs

    def step_for(self, theta: Tensor) -> float:
        """The step of an epoch that begins with these angles."""
        return finest_step(self.moved(theta), _ROOM * self.bits)

    def refitted(self, theta: Tensor, step: float) -> float:
        """The step itself where the codes fit, else the finest that fits."""
        moved = self.moved(theta)
        codes = encode(moved, step).flatten().numpy()
        return step if fits(codes, self.bits) else finest_step(moved, self.bits)

    def moved(self, theta: Tensor) -> Tensor:
        """How far the angles are from their start, in radians, float64 on the CPU."""
        return movement(theta.detach().cpu(), self.start)

    def rounded(self, theta: Tensor, step: float) -> Tensor:
        """The angles as they are stored; gradients go straight through: (b, L, n, r) -> the same."""
        stored = decode(encode(self.moved(theta), step), step, self.start)
        return _StraightThrough.apply(theta, stored.to(theta))


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, theta: Tensor, stored: Tensor) -> Tensor:
        return stored

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
