"""Finite shots: outcomes drawn from exact probabilities, and counted.

    f = counts / S         E[f] = p,    Cov[f_i, f_j] = (p_i [i = j] - p_i p_j) / S

The frequencies f are what a device returns. They are unbiased, and so are ``z = 2**n f - 1`` and every linear
function of z. A function that bends (an mlp mapping, the model, its loss) is not: its mean is off by
``1/2 trace(H Cov[f])``, which shrinks as 1 / S. Nothing here corrects that; more shots do.

Left out here: noise of a device.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Outcomes drawn at once, over all circuits: 16 MB of uniform numbers and their places.
DRAWN_AT_ONCE = 2**20


def sampled(p: Tensor, shots: int, generator: torch.Generator) -> Tensor:
    """Frequencies of `shots` outcomes of every circuit.

    Args:
        p: probabilities, (b, 2**n); drawn from as float64, whatever they sum to.
        shots: outcomes drawn for each circuit, at least 1.
        generator: of the CPU; the same state gives the same frequencies.

    Returns:
        (b, 2**n), with the dtype and device of `p`; each row sums to 1.
    """
    edges = p.detach().cpu().double().cumsum(-1)  # (b, 2**n)
    rows = torch.stack([_counts(row, shots, generator) for row in edges])
    return (rows.double() / shots).to(p)


def _counts(edges: Tensor, shots: int, generator: torch.Generator) -> Tensor:
    """How often each outcome is drawn: (2**n,) cumulative -> (2**n,) whole numbers."""
    counts = torch.zeros(len(edges), dtype=torch.int64)
    for first in range(0, shots, DRAWN_AT_ONCE):
        drawn = torch.rand(min(DRAWN_AT_ONCE, shots - first), dtype=torch.float64, generator=generator)
        # The first edge above a draw: an outcome of probability 0 has none of its own.
        places = torch.searchsorted(edges, drawn * edges[-1], right=True).clamp(max=len(edges) - 1)
        counts += torch.bincount(places, minlength=len(edges))
    return counts
