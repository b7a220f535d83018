"""The mapping `linear` with scales and centres, from probabilities straight to named weights.

    z = 2**n p - 1      u = g z + c      w = centre + scale u          of each tensor its own scale and centre

Step by step this is what `mapping` and `generator` do, and to the last bit the same, gradients too. There
each step leaves a vector of all weights behind, and scales and centres are vectors as well: ten of them
beside the model's own tensors. Here z is what is kept for the gradients, whose way back is one vector:

    dw -> du = scale dw    dg = sum(du z)    dc = sum(du)    dp = 2**n g du
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qtrain_cli.targets.entries import GENERATED, LayoutSpec
from qtrain_cli.targets.layout import DTYPES, in_dtype


def linear_tensors(layout: LayoutSpec, p: Tensor, numbers: Tensor) -> dict[str, Tensor]:
    """The generated tensors by name, in their own shapes and dtypes; differentiable in both.

    Args:
        layout: whose generated tensors take the first m outcomes.
        p: probabilities of all circuits, (b, 2**n).
        numbers: gain and bias, (2,).
    """
    entries = layout.of_role(GENERATED)
    made = _Linear.apply(p, numbers, layout).split([entry.count for entry in entries])
    return {
        entry.name: in_dtype(part.view(entry.shape), DTYPES[entry.dtype])
        for entry, part in zip(entries, made, strict=True)
    }


class _Linear(torch.autograd.Function):
    """(b, 2**n), (2,) -> all generated weights (m,)."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, numbers: Tensor, layout: LayoutSpec) -> Tensor:
        gain, bias = numbers[0], numbers[1]
        z = p.reshape(-1)[: layout.generated] * p.shape[-1]
        z -= 1
        entries = layout.of_role(GENERATED)
        scales = _each([entry.scale for entry in entries], numbers)
        centres = _each([entry.centre for entry in entries], numbers)
        ctx.save_for_backward(z, numbers, scales)
        ctx.counts, ctx.shape = [entry.count for entry in entries], p.shape
        made = (gain * z).add_(bias)
        for part, scale, centre in zip(made.split(ctx.counts), scales, centres, strict=True):
            torch.addcmul(centre, scale, part, out=part)
        return made

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        z, numbers, scales = ctx.saved_tensors
        back = z.new_zeros(ctx.shape)  # du first, dp in the end
        u = back.view(-1)[: z.numel()]
        for part, scale, own in zip(u.split(ctx.counts), scales, gradient.split(ctx.counts), strict=True):
            torch.mul(own, scale, out=part)
        found = torch.stack((z.mul_(u).sum(), u.sum()))  # z has served
        if not ctx.needs_input_grad[0]:
            return None, found, None
        u *= numbers[0]
        u *= ctx.shape[-1]
        return back, found, None


def _each(numbers: list[float], like: Tensor) -> Tensor:
    """One for each tensor, rounded once to the dtype of `like`."""
    return torch.tensor(numbers, dtype=torch.float64).to(like)
