"""Independent answers that the engine is held to: circuits as dense matrices, built gate by gate.

Nothing here comes from the engine or its tables: gates, pairs and the order of wires are written out a second
time, from the textbook definitions, in float64. Slow on purpose, for up to 5 or 6 qubits.
"""

from __future__ import annotations

import functools
import itertools
import math

import torch
from torch import Tensor

ROTATIONS = {
    "real-amplitudes": "Y", "efficient-su2": "YZ", "su2-rz-ry": "ZY", "strongly-entangling": "ZYZ",
    "u3-cu3": "ZYZ",
}  # fmt: skip
PAULI = {
    "I": torch.tensor([[1, 0], [0, 1]], dtype=torch.complex128),
    "X": torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128),
    "Y": torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128),
    "Z": torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128),
}
ZERO, ONE = (PAULI["I"] + PAULI["Z"]) / 2, (PAULI["I"] - PAULI["Z"]) / 2


def on_wires(gates: dict[int, Tensor], n: int) -> Tensor:
    """The gates on their wires, identities elsewhere; wire 0 is the leftmost factor: (2**n, 2**n)."""
    return functools.reduce(torch.kron, [gates.get(wire, PAULI["I"]) for wire in range(n)])


def rotation(axis: str, angle: Tensor) -> Tensor:
    """``exp(-i angle P / 2)``."""
    return torch.cos(angle / 2) * PAULI["I"] - 1j * torch.sin(angle / 2) * PAULI[axis]


def u3(theta: Tensor, phi: Tensor, lam: Tensor) -> Tensor:
    """The general gate of one qubit as OpenQASM 2 defines it, entry by entry."""
    cosine, sine = torch.cos(theta / 2) + 0j, torch.sin(theta / 2) + 0j
    top = torch.stack((cosine, -torch.exp(1j * lam) * sine))
    low = torch.stack((torch.exp(1j * phi) * sine, torch.exp(1j * (phi + lam)) * cosine))
    return torch.stack((top, low))


def controlled(gate: Tensor, control: int, target: int, n: int) -> Tensor:
    """The gate (2, 2) on `target` where `control` is 1."""
    return on_wires({control: ZERO}, n) + on_wires({control: ONE, target: gate}, n)


def pairs(entangler: str, n: int, layer: int) -> list[tuple[int, int]]:
    """Control and target of each gate, written out."""
    pattern = entangler.partition("-")[2]
    if n == 1:
        return []
    if pattern == "ring" and n == 2:
        return [(0, 1), (1, 0)] if entangler == "cu3-ring" else [(0, 1)]
    steps = [(q, q + 1) for q in range(n - 1)]
    if pattern == "ring":
        return [*steps, (n - 1, 0)]
    if pattern == "circular":
        return steps if n == 2 else [(n - 1, 0), *steps]
    if pattern == "full":
        return [(a, c) for a in range(n) for c in range(a + 1, n)]
    if pattern == "ranges":
        distance = layer % (n - 1) + 1
        return [(q, (q + distance) % n) for q in range(n)]
    return {"linear": steps, "reverse-linear": steps[::-1]}[pattern]


def entangling(entangler: str, n: int, layer: int = 0, angles: Tensor | None = None) -> Tensor:
    """The entangler of one layer: its gates on one pair after the other. `angles` (n, 3) for CU3."""
    if not entangler.startswith("cu3"):
        return _without_angles(entangler, n, layer)
    assert angles is not None
    unitary = torch.eye(2**n, dtype=torch.complex128)
    for k, (control, target) in enumerate(pairs(entangler, n, layer)):
        lam, theta, phi = angles[k]
        unitary = controlled(u3(theta, phi, lam), control, target, n) @ unitary
    return unitary


@functools.cache
def _without_angles(entangler: str, n: int, layer: int) -> Tensor:
    gate = PAULI["X" if entangler.startswith("cnot") else "Z"]
    unitary = torch.eye(2**n, dtype=torch.complex128)
    for control, target in pairs(entangler, n, layer):
        unitary = controlled(gate, control, target, n) @ unitary
    return unitary


def unitary(ansatz: str, entangler: str, theta: Tensor, final_rotation: bool = False) -> Tensor:
    """The whole circuit's matrix: theta (L, n, r) float64 -> (2**n, 2**n)."""
    n, own = theta.shape[1], len(ROTATIONS[ansatz])
    whole = torch.eye(2**n, dtype=torch.complex128)
    for number, layer in enumerate(theta):
        turns = {}
        for wire, angles in enumerate(layer):
            axes = zip(ROTATIONS[ansatz], angles[:own], strict=True)
            turns[wire] = functools.reduce(
                lambda first, then: then @ first, itertools.starmap(rotation, axes)
            )
        whole = on_wires(turns, n) @ whole
        if not (final_rotation and number == len(theta) - 1):
            whole = entangling(entangler, n, number, layer[:, own:]) @ whole
    return whole


def dense_probabilities(ansatz: str, entangler: str, theta: Tensor, final_rotation: bool = False) -> Tensor:
    """Probabilities of one circuit, differentiable by autograd: theta (L, n, r) float64 -> (2**n,)."""
    psi = unitary(ansatz, entangler, theta, final_rotation)[:, 0]
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


def dead_angles(ansatz: str, entangler: str, layers: int, qubits: int) -> list[tuple[int, int, int]]:
    """(layer, qubit, kind) of every angle that no probability feels, by reasoning.

    An RZ on |0> is a phase of the whole state. After the last RY, RZ and CZ are diagonal and CNOT permutes,
    so a last RZ is lost in the absolute value. A phase shift that ends a coupling is diagonal on both its
    qubits, which are mere controls in the later couplings of its layer; only qubit 0 is turned once more.
    """
    axes = ROTATIONS[ansatz]
    dead = [(0, q, 0) for q in range(qubits) if axes[0] == "Z"]
    if entangler == "cu3-ring":
        return dead + [(layers - 1, pair, 5) for pair in range(1, qubits)]
    return dead + [(layers - 1, q, len(axes) - 1) for q in range(qubits) if axes[-1] == "Z"]
