"""Independent answers that the engine is held to: circuits as dense matrices, built gate by gate.

Nothing here comes from the engine or its tables: gates, rings and the order of wires are written out a second
time, from the textbook definitions, in float64. Slow on purpose, for up to 5 or 6 qubits.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

ROTATIONS = {"real-amplitudes": "Y", "efficient-su2": "YZ"}
PAULI = {
    "I": torch.tensor([[1, 0], [0, 1]], dtype=torch.complex128),
    "X": torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128),
    "Y": torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128),
    "Z": torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128),
}


def on_wires(gates: dict[int, Tensor], n: int) -> Tensor:
    """The gates on their wires, identities elsewhere; wire 0 is the leftmost factor: (2**n, 2**n)."""
    return functools.reduce(torch.kron, [gates.get(wire, PAULI["I"]) for wire in range(n)])


def rotation(axis: str, angle: Tensor) -> Tensor:
    """``exp(-i angle P / 2)``."""
    return torch.cos(angle / 2) * PAULI["I"] - 1j * torch.sin(angle / 2) * PAULI[axis]


def controlled(axis: str, control: int, target: int, n: int) -> Tensor:
    """Pauli `axis` on `target` where `control` is 1."""
    zero, one = (PAULI["I"] + PAULI["Z"]) / 2, (PAULI["I"] - PAULI["Z"]) / 2
    return on_wires({control: zero}, n) + on_wires({control: one, target: PAULI[axis]}, n)


def ring(entangler: str, n: int) -> Tensor:
    """The entangler of one layer: a gate from each wire to the next and back to the first."""
    axis = {"cnot-ring": "X", "cz-ring": "Z"}[entangler]
    pairs = {1: [], 2: [(0, 1)]}.get(n, [(wire, (wire + 1) % n) for wire in range(n)])
    unitary = torch.eye(2**n, dtype=torch.complex128)
    for control, target in pairs:
        unitary = controlled(axis, control, target, n) @ unitary
    return unitary


def dense_probabilities(ansatz: str, entangler: str, theta: Tensor) -> Tensor:
    """Probabilities of one circuit, differentiable by autograd: theta (L, n, r) float64 -> (2**n,)."""
    n = theta.shape[1]
    psi = torch.zeros(2**n, dtype=torch.complex128)
    psi[0] = 1
    entangle = ring(entangler, n)
    for layer in theta:
        for wire, angles in enumerate(layer):
            for axis, angle in zip(ROTATIONS[ansatz], angles, strict=True):
                psi = on_wires({wire: rotation(axis, angle)}, n) @ psi
        psi = entangle @ psi
    return (psi.conj() * psi).real


def parameter_shift(run, theta: Tensor, v: Tensor) -> Tensor:
    """``d sum(v * run(theta)) / d theta`` from runs alone, exact for Pauli rotations (arXiv 1811.11184).

    Args:
        run: theta -> probabilities, of any shapes.
    """
    gradient = torch.empty_like(theta)
    for k in range(theta.numel()):
        shift = torch.zeros(theta.numel(), dtype=theta.dtype)
        shift[k] = math.pi / 2
        shift = shift.view_as(theta)
        gradient.view(-1)[k] = (v * (run(theta + shift) - run(theta - shift))).sum() / 2
    return gradient
