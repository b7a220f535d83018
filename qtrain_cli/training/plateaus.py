"""How a random circuit's gradient shrinks with its size: barren plateaus (arXiv 1803.11173).

    variance over random angles of  d <Z_0> / d theta[0, 0]         one fixed angle: the first RY of qubit 0

The variance falls as 2**-n once a circuit is deep enough to scramble, so that an estimator with S shots,
whose own variance is about 1 / S, sees nothing of it. All samples run as one batch of the engine.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec
from qtrain_cli.quantum.statevector import expectations, probabilities

SAMPLES = 200


@dataclass(frozen=True)
class Plateau:
    """One size: the variance of the fixed angle's gradient, and the mean of it over all angles."""

    qubits: int
    layers: int
    variance: float
    mean_variance: float


def gradient_variance(ansatz: str, entangler: str, qubits: int, layers: int, seed: int) -> Plateau:
    """From `SAMPLES` circuits with angles uniform in -pi .. pi."""
    circuit = CircuitSpec(ansatz, entangler, qubits, layers, SAMPLES)
    generator = torch.Generator().manual_seed(seed)
    theta = (torch.rand(circuit.angle_shape, generator=generator, dtype=torch.float64) * 2 - 1) * torch.pi
    theta.requires_grad_()
    expectations(probabilities(circuit, theta))[:, 0].sum().backward()
    assert theta.grad is not None
    spread = theta.grad.var(0)  # (L, n, r)
    first = ANSATZE[ansatz].rotations.index("RY")
    return Plateau(qubits, layers, float(spread[0, 0, first]), float(spread.mean()))
