"""Inputs averaged down without trained numbers: (N, ...) -> (N, slots).

An image (N, C, H, W) is averaged over a grid of equal cells (PyTorch's adaptive average pooling), a vector
(N, d) over equal runs. The cells fill the slots in turn: again from the first where slots are left over, or
with zeros for amplitudes, where a repeated number would change the others' share.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def averaged(inputs: Tensor, cells: tuple[int, ...]) -> Tensor:
    """(N, C, H, W) over (rows, columns) cells, or (N, ...) over runs: (N, cells in all)."""
    if len(cells) == 2:
        return F.adaptive_avg_pool2d(inputs, cells).flatten(1)
    flat = inputs.flatten(1)
    return flat if flat.shape[1] == cells[0] else F.adaptive_avg_pool1d(flat[:, None], cells[0])[:, 0]


def filled(numbers: Tensor, slots: int, *, cyclic: bool) -> Tensor:
    """(N, k) -> (N, slots), k at most `slots`: again from the first, or zeros."""
    k = numbers.shape[1]
    if cyclic:
        return numbers[:, torch.arange(slots, device=numbers.device) % k]
    return F.pad(numbers, (0, slots - k))
