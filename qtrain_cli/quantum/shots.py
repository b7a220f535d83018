"""Finite shots: outcomes drawn from exact probabilities, and counted.

    f = counts / S         E[f] = p,    Cov[f_i, f_j] = (p_i [i = j] - p_i p_j) / S

The frequencies f are what a device returns. They are unbiased, and so are ``z = 2**n f - 1`` and every linear
function of z. A function that bends (an mlp mapping, the model, its loss) is not: its mean is off by
``1/2 trace(H Cov[f])``, which shrinks as 1 / S. Nothing here corrects that; more shots do.

No shot is drawn by itself: all S start at the root of the tree of bits, and at each node a binomial number of
them takes the 0, which gives the counts of a multinomial. The cost is that of 2**n numbers, whatever S.

Left out here: noise of a device.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sampled(p: Tensor, shots: int, generator: torch.Generator) -> Tensor:
    """Frequencies of `shots` outcomes of every circuit.

    Args:
        p: probabilities, (b, 2**n); drawn from as float64, whatever they sum to.
        shots: outcomes drawn for each circuit, at least 1.
        generator: of the CPU; the same state gives the same frequencies.

    Returns:
        (b, 2**n), with the dtype and device of `p`; each row sums to 1.
    """
    exact = p.detach().cpu().double()
    counts = torch.full((len(exact), 1), float(shots), dtype=torch.float64)
    while counts.shape[1] < exact.shape[1]:
        halves = exact.view(*counts.shape, 2, -1).sum(-1)  # (b, 2**k, 2)
        share = (halves[..., 0] / halves.sum(-1)).nan_to_num(0)  # 0 / 0 where no shot arrives
        zeros = torch.binomial(counts, share, generator)  # (b, 2**k)
        counts = torch.stack((zeros, counts - zeros), -1).flatten(1)  # (b, 2**(k + 1))
    return (counts / shots).to(p)
