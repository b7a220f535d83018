"""From trained numbers to whole ones: one uniform grid a group, as fine as the bytes of the file allow.

    number = step[g] * code          step[g] = q * rms(group g, without zeros)          one q for all groups

The finest q at which the entropy-coded file meets its budget is found by bisection, on the coder's own length
(`files.groups.group_bits`). With a `limit` (the largest code: quantisation to so many bits) the step is
the one that loses least in mean square, and q may only stretch it by half.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.files.groups import group_bits

#: The largest code of a free grid, and its finest and coarsest steps in units of a group's rms.
FREE_LIMIT, FINEST, COARSEST = 127, 1 / 24, 4.0
STRETCH = 1.5
#: Shares of the largest number that are tried as the edge of a limited grid.
_EDGES = np.linspace(0.25, 1.0, 16)
_HALVINGS = 12
LEAST_STEP = 2.0**-14  # the smallest normal float16

Steps = dict[str, float]


def fit_steps(numbers: Mapping[str, Tensor], limit: int, most_bits: float) -> tuple[Steps, float]:
    """The finest steps whose codes take at most `most_bits`, and the bits they take.

    Args:
        numbers: groups by name.
        limit: the largest code, 0 for a free grid.
        most_bits: of all groups together. When even the coarsest grid takes more, that grid is returned.
    """
    base = fine_steps(numbers, limit)
    low, high = (1.0, STRETCH) if limit else (FINEST, COARSEST)

    def at(q: float) -> tuple[Steps, float]:
        steps = {name: float(np.float16(max(q * step, LEAST_STEP))) for name, step in base.items()}
        return steps, bits_of(numbers, steps, limit)

    finest, coarsest = at(low), at(high)
    if finest[1] <= most_bits:
        return finest
    best = coarsest
    for _ in range(_HALVINGS if coarsest[1] <= most_bits else 0):
        middle = (low * high) ** 0.5
        found = at(middle)
        if found[1] <= most_bits:
            best, high = found, middle
        else:
            low = middle
    return best


def bits_of(numbers: Mapping[str, Tensor], steps: Mapping[str, float], limit: int) -> float:
    """What the codes of all groups take in a file."""
    return group_bits(
        [codes_of(part, steps[name], limit).flatten().cpu().numpy() for name, part in numbers.items()]
    )


def fine_steps(numbers: Mapping[str, Tensor], limit: int) -> Steps:
    """The step of each group that q stretches."""
    return {name: _best_step(tensor, limit) if limit else _rms(tensor) for name, tensor in numbers.items()}


def codes_of(numbers: Tensor, step: float, limit: int) -> Tensor:
    """Codes of one group, rounded half to even and clipped: int64 of its shape, where the numbers lie."""
    most = limit or FREE_LIMIT
    # Double, and by a tensor: the same code on every machine. A device may multiply by a number's inverse.
    exact = numbers.detach().double()
    return (exact / torch.full_like(exact, step)).round().clamp(-most, most).long()


def numbers_of(codes: Tensor, step: float) -> Tensor:
    """The numbers that codes stand for, float32 of their shape."""
    return codes.float() * step


def _rms(tensor: Tensor) -> float:
    """Root mean square without zeros; 1 when there is nothing but zeros."""
    values = tensor.detach()[tensor.detach() != 0]
    return float(values.double().square().mean().sqrt()) if len(values) else 1.0


def _best_step(tensor: Tensor, limit: int) -> float:
    values = tensor.detach().double().flatten().cpu().numpy()
    largest = float(np.abs(values).max()) or 1.0
    steps = largest * _EDGES / limit

    def loss(step: float) -> float:
        return float(np.square((values / step).round().clip(-limit, limit) * step - values).sum())

    return float(min(steps, key=loss))
