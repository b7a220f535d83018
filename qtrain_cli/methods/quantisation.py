"""Quantisation to 8, 4, 3 or 2 bits with the rounding in the loop from the first step (straight-through).

Each tensor has one symmetric grid of 2**b - 1 levels (2 bits: -1, 0, 1), whose step loses least in mean
square. The most bits whose entropy-coded file fits are taken; steps may grow by half to make a file fit, no
more, so that "2 bits" stays what the word means. Below that the method does not reach a budget.

torchao's `quantize_` converts the weights of linear layers, for the speed of their kernels. Here convolutions
count as much, and 3 and 2 bits, and what is compared is a file.
"""

from __future__ import annotations

from torch import Tensor

from qtrain_cli.methods.forms import Forms, Plan
from qtrain_cli.methods.grids import bits_of, fine_steps
from qtrain_cli.methods.method import (
    Method,
    Scene,
    away_from_centre,
    plain_grid,
    whole_decode,
    whole_forms,
    whole_portable,
)

BITS = (2, 3, 4, 8)
#: Training on a grid leaves more zeros than the teacher has: about as many as on a grid so much coarser.
_TYPICAL = 1.2


def largest(scene: Scene) -> int:
    """One size for each number of bits."""
    return len(BITS)


def plan(scene: Scene, size: int) -> Plan:
    """2, 3, 4 or 8 bits."""
    return {"bits": BITS[size - 1]}


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    return away_from_centre(scene.layout, scene.begun)


def bits(scene: Scene, plan: Plan, forms: Forms, width: float) -> float:
    """What the teacher's own weights take on this grid, stretched by a part of what a budget may ask for."""
    values = start(scene, plan)
    limit = highest(plan)
    steps = {name: _TYPICAL * step for name, step in fine_steps(values, limit).items()}
    return bits_of(values, steps, limit)


def highest(plan: Plan) -> int:
    """The largest code: 2**(b-1) - 1."""
    return 2 ** (plan["bits"] - 1) - 1


METHOD = Method(
    largest=largest, plan=plan, forms=whole_forms, start=start, decode=whole_decode,
    portable=whole_portable, bits=bits,
    grid=plain_grid(1.0, highest),
)  # fmt: skip
