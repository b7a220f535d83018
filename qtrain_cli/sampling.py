"""From counts to weights: what a finite number of measurements does to a generator.

S shots of a circuit give counts, multinomial with the circuit's p, and the frequencies f = counts / S stand
in for p in ``z = 2**n p - 1``:

    z^ = 2**n f - 1          E[z^] = z          var(z^) = 4**n p (1 - p) / S, about (2**n / S) (1 + z)

So z^ is unbiased, and so are the weights of a linear mapping, ``w^ = centre + scale (gain z^ + bias)``,
without any correction. What is not unbiased is their spread: the mean of z^**2 exceeds that of z**2 by about
2**n / S, so that with S = 2**n shots the weights are as much noise as signal. Subtracting a bias from z^
would be wrong, for there is none.

A mapping that is not linear keeps a bias: ``E[u(z^)] - u(z)`` is u''(z) var(z^) / 2 to the first order in 1 /
S, with u the mlp's formula (`mapping`). It is not corrected here; it vanishes as 1 / S.

`shrunk` trades bias for variance: it multiplies z^ of a circuit by the Wiener factor

    k = V / (V + v)          v = 2**n (1 - sum f**2) / (S - 1)          V = mean(z^**2) - v, at least 0

where v estimates the mean of var(z^), and V that of z**2, each without bias. It is the linear estimate of
least mean square error (James and Stein 1961), and with a Gamma prior of ``1 + z``, which Porter-Thomas
amplitudes have, the posterior mean of z.

Left out here: who draws the counts (`quantum.trajectories` and devices supply p or f).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def frequencies(p: Tensor, shots: int, random: np.random.Generator) -> Tensor:
    """What `shots` measurements of each circuit give: p (b, 2**n) -> shares of the shots (b, 2**n),
    float64."""
    rows = p.double().clamp_min(0).numpy()
    counts = [random.multinomial(shots, row / row.sum()) for row in rows]
    return torch.from_numpy(np.stack(counts) / shots)


def standardised(p: Tensor) -> Tensor:
    """``z = 2**n p - 1`` of probabilities or frequencies, (b, 2**n)."""
    return p.double() * p.shape[1] - 1


def shot_variance(p: Tensor, shots: int | None) -> Tensor:
    """``var(z^)`` of each outcome, (b, 2**n); zero for None, which stands for exact probabilities."""
    p = p.double()
    return p * (1 - p) * (p.shape[1] ** 2 / shots) if shots else torch.zeros_like(p)


def shrunk(f: Tensor, shots: int) -> Tensor:
    """Frequencies (b, 2**n) -> z^ times the Wiener factor of its circuit, (b, 2**n)."""
    return standardised(f) * wiener_factors(f, shots)[:, None]


def wiener_factors(f: Tensor, shots: int) -> Tensor:
    """k of each circuit from its frequencies: (b, 2**n) -> (b,), in 0..1."""
    squares = standardised(f).square().mean(1)
    v = f.shape[1] * (1 - f.double().square().sum(1)) / max(1, shots - 1)
    signal = (squares - v).clamp_min(0)
    # Of one shot nothing can be told from noise.
    return torch.where(squares > 0, signal / squares.clamp_min(1e-300), 0.0) * (shots > 1)
