"""How a random circuit's gradient shrinks with its size: barren plateaus (arXiv 1803.11173).

    mean over all angles theta_j of  Var(d <Z_0> / d theta_j)        the variance over random circuits

The mean, since any one angle may be dead, or outside what qubit 0 sees, in a shallow circuit. The variance
falls as 2**-n once a circuit is deep enough to scramble, so that an estimator whose own variance is as large
sees nothing of it: parameter-shift with S shots a run, the mean of two variances of at most 1 / S, has
1 / 2 S. All samples run as one batch of the engine.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.statevector import expectations, probabilities

SAMPLES = 200


@dataclass(frozen=True)
class Plateau:
    """One size: the gradient's variance over random circuits, its mean over all angles."""

    qubits: int
    layers: int
    variance: float


def gradient_variance(ansatz: str, entangler: str, qubits: int, layers: int, seed: int) -> Plateau:
    """From `SAMPLES` circuits with angles uniform in -pi .. pi."""
    circuit = CircuitSpec(ansatz, entangler, qubits, layers, SAMPLES)
    generator = torch.Generator().manual_seed(seed)
    theta = (torch.rand(circuit.angle_shape, generator=generator, dtype=torch.float64) * 2 - 1) * torch.pi
    theta.requires_grad_()
    expectations(probabilities(circuit, theta))[:, 0].sum().backward()
    assert theta.grad is not None
    return Plateau(qubits, layers, float(theta.grad.var(0).mean()))  # var: (L, n, r)
