"""A method's tensors as a movement: what its numbers make, less what they made where training began.

    made = decode(numbers) - decode(origin(numbers))

So a file of changes is the base exactly while nothing has moved, whichever method wrote it. What is no part
of the movement, a gain, counts on both sides: g z - g z_0 = g (z - z_0).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qtrain_cli.methods.forms import Plan
from qtrain_cli.methods.method import Decode, Method, Numbers
from qtrain_cli.targets.entries import LayoutSpec


def decoder(method: Method, layout: LayoutSpec, plan: Plan, device: torch.device, moves: bool) -> Decode:
    """The decoder to train with, of the movement where the tensors are changes (`moves`)."""
    decode: Any = method.decode(layout, plan, device)
    if not moves:
        found: Decode = decode
        return found

    def moved(numbers: Numbers, **how: Any) -> dict[str, Tensor]:
        now, begun = decode(numbers, **how), decode(method.origin(plan, numbers))
        parts = torch._foreach_sub(list(now.values()), [begun[name] for name in now])
        return dict(zip(now, parts, strict=True))

    return moved
