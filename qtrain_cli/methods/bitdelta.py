"""BitDelta (Liu et al. 2024, arXiv 2402.10193): signs of all differences to a fine-tune, scales by tensor.

    W_base + step sign(d)         d from W - W_base; trained on, straight through, as every other method is

The original keeps the signs and trains the scales alone; here the step is the mean of |d|, fitted anew each
epoch, and d goes on moving, which can only help it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qtrain_cli.methods.forms import Forms, Plan
from qtrain_cli.methods.grids import LEAST_STEP, Steps
from qtrain_cli.methods.method import (
    Grid,
    Method,
    Numbers,
    Scene,
    Unsuited,
    away_from_centre,
    whole_decode,
    whole_forms,
    whole_portable,
)


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    """Raises `Unsuited` where no fine-tune is known whose differences these could be."""
    if not scene.taught:
        raise Unsuited("it stores the signs of a fine-tune's differences, and there is no fine-tune")
    return away_from_centre(scene.layout, scene.begun)


def bits(scene: Scene, plan: Plan, forms: Forms, width: float) -> float:
    """One a weight."""
    start(scene, plan)
    return scene.layout.generated


def steps(plan: Plan, numbers: Numbers, *rest: object) -> Steps:
    """The mean of the absolute values, by tensor, as the file has it."""
    means = {name: float(part.detach().abs().mean()) for name, part in numbers.items()}
    return {name: float(torch.tensor(max(mean, LEAST_STEP)).half()) for name, mean in means.items()}


def signs(plan: Plan, name: str, numbers: Tensor, step: float) -> Tensor:
    """1 or -1: int64 of its shape, on the CPU."""
    return torch.where(numbers.detach().cpu() < 0, -1, 1)


def from_signs(plan: Plan, name: str, codes: Tensor, step: float) -> Tensor:
    return codes.float() * step


METHOD = Method(
    largest=lambda scene: 1, plan=lambda scene, size: {}, forms=whole_forms, start=start, decode=whole_decode,
    portable=whole_portable, bits=bits,
    grid=Grid(lambda plan, epochs: 0, steps, steps, signs, from_signs),
)  # fmt: skip
