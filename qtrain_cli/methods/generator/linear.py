"""The mapping `linear` with scales and centres, from probabilities straight to named weights.

    z = 2**n p - 1      u = g z + c      w = centre + scale u          of each tensor its own scale and centre

Step by step this is what `mapping` and `generator` do, and to the last bit the same, gradients too. There
each step leaves a vector of all weights behind, and scales and centres are vectors as well: ten of them
beside the model's own tensors. Here nothing is kept but p, whose memory the way back writes over:

    dw -> du = scale dw    dg = sum(du z)    dc = sum(du)    dp = 2**n g du
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.targets.entries import GENERATED, LayoutSpec
from qtrain_cli.targets.layout import DTYPES, in_dtype

#: Gradients that are scaled at a time.
_AT_ONCE = 2**20


def linear_tensors(layout: LayoutSpec, p: Tensor, numbers: Tensor) -> dict[str, Tensor]:
    """The generated tensors by name, in their own shapes and dtypes; differentiable in both.

    Args:
        layout: whose generated tensors take the first m outcomes.
        p: probabilities of all circuits, (b, 2**n). The way back writes over them: of no use then.
        numbers: gain and bias, (2,).
    """
    entries = layout.of_role(GENERATED)
    made = _Linear.apply(p.contiguous(), numbers, layout)
    return {
        entry.name: in_dtype(part, DTYPES[entry.dtype]) for entry, part in zip(entries, made, strict=True)
    }


class _Linear(torch.autograd.Function):
    """(b, 2**n), (2,) -> each generated tensor in its own shape. The gradient is taken once: it writes
    over p, unless that is a leaf or has no gradient."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, numbers: Tensor, layout: LayoutSpec) -> tuple[Tensor, ...]:
        gain, bias = numbers[0], numbers[1]
        entries = layout.of_role(GENERATED)
        scales = _each([entry.scale for entry in entries], numbers)
        centres = _each([entry.centre for entry in entries], numbers)
        ctx.save_for_backward(p, numbers, scales)
        ctx.set_materialize_grads(False)
        ctx.counts = [entry.count for entry in entries]
        made = []
        each = zip(entries, _in_use(p, ctx.counts).split(ctx.counts), scales, centres, strict=True)
        for entry, part, scale, centre in each:
            u = (part * p.shape[-1]).sub_(1).mul_(gain).add_(bias)
            made.append(torch.addcmul(centre, scale, u, out=u).view(entry.shape))
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, Tensor, None]:
        p, numbers, scales = ctx.saved_tensors
        wanted: bool = ctx.needs_input_grad[0]
        back = p if wanted and not p.is_leaf else p.clone()  # z and its products, then du, dp in the end
        used = _in_use(back, ctx.counts)
        each = list(zip(used.split(ctx.counts), gradients, scales, strict=True))
        used.mul_(p.shape[-1]).sub_(1)
        for part, own, scale in each:
            _scaled_into(part, own, scale, torch.Tensor.mul_)
        by_gain = used.sum()
        for part, own, scale in each:
            _scaled_into(part, own, scale, torch.Tensor.copy_)
        found = torch.stack((by_gain, used.sum()))
        if not wanted:
            return None, found, None
        used.mul_(numbers[0]).mul_(p.shape[-1])
        back.view(-1)[len(used) :] = 0
        return back.detach(), found, None


def _in_use(p: Tensor, counts: list[int]) -> Tensor:
    """The outcomes that tensors of so many weights take, (m,), of all circuits' (b, 2**n)."""
    return p.view(-1)[: sum(counts)]


def _scaled_into(
    part: Tensor, own: Tensor | None, scale: Tensor, put: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Puts scale times a tensor's gradient, or zeros, into its outcomes: multiplied with them, or copied."""
    if own is None:
        part.zero_()
        return
    for place, values in zip(part.split(_AT_ONCE), own.reshape(-1).split(_AT_ONCE), strict=True):
        put(place, scale * values)


def _each(numbers: list[float], like: Tensor) -> Tensor:
    """One for each tensor, rounded once to the dtype of `like`."""
    return torch.tensor(numbers, dtype=torch.float64).to(like)
