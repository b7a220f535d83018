"""The circuit under depolarising noise, exactly: one density matrix a sample, (N, 2**n, 2**n).

    rho  <-  (1 - 4 p / 3) rho + (4 p / 3) tr_q(rho) x 1/2         on every qubit q

after every encoding and after every layer of the ansatz (p / 3 each of X, Y and Z: PennyLane's
DepolarizingChannel). Everything is plain PyTorch, so that autograd differentiates through the noise. The cost
is 4**n numbers a sample; `MAX_NOISY_QUBITS` bounds it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from qtrain_cli.quantum.encodings import amplitudes, program
from qtrain_cli.quantum.feature_maps import AMPLITUDE
from qtrain_cli.quantum.statevector import evolve
from qtrain_cli.students.layout import Layout

MAX_NOISY_QUBITS = 7


def noisy_student_probabilities(layout: Layout, theta: Tensor, phi: Tensor, noise: float) -> Tensor:
    """Probabilities of all outcomes: theta (B, L, n, r), phi (N, B T), noise p -> (N, 2**n)."""
    layers = layer_unitaries(layout, theta)
    n, rho = layout.circuit.qubits, None
    for block, part in enumerate(phi.chunk(layout.blocks, 1)):
        rho = depolarised(_encoded(layout, part, rho), n, noise)
        for layer in layers:
            rho = depolarised(_turned(rho, layer[block]), n, noise)
    assert rho is not None
    return rho.diagonal(dim1=1, dim2=2).real.clamp_min(0)


def layer_unitaries(layout: Layout, theta: Tensor) -> list[Tensor]:
    """Each layer of every block as a matrix for rows of states: (B, 2**n, 2**n), L of them."""
    circuit = layout.circuit
    identity = torch.eye(2**circuit.qubits, dtype=theta.dtype.to_complex(), device=theta.device)
    found = []
    for layer in range(circuit.layers):
        last = circuit.final_rotation and layer == circuit.layers - 1
        one = replace(circuit, layers=1, final_rotation=last)
        found.append(evolve(one, theta[:, layer : layer + 1], identity.expand(circuit.circuits, -1, -1)))
    return found


def depolarised(rho: Tensor, qubits: int, noise: float) -> Tensor:
    """The channel on every qubit in turn: (N, 2**n, 2**n) -> the same."""
    for qubit in range(qubits):
        split = (2**qubit, 2, 2 ** (qubits - qubit - 1))
        parts = rho.unflatten(2, split).unflatten(1, split)  # (N, a, 2, c, a, 2, c)
        trace = parts[:, :, 0, :, :, 0] + parts[:, :, 1, :, :, 1]  # (N, a, c, a, c)
        mixed = torch.einsum("nacbd,ij->naicbjd", trace, torch.eye(2, dtype=rho.dtype, device=rho.device) / 2)
        share = 4 * noise / 3
        rho = ((1 - share) * parts + share * mixed).reshape(rho.shape)
    return rho


def _turned(rho: Tensor, matrix: Tensor) -> Tensor:
    """U rho U^H, the matrix being that for rows of states (U^T)."""
    return matrix.mT @ rho @ matrix.conj()


def _encoded(layout: Layout, phi: Tensor, rho: Tensor | None) -> Tensor:
    """E rho E^H, sample by sample; None is |0...0>."""
    dtype = phi.dtype.to_complex()
    if layout.encoding.name == AMPLITUDE:
        psi = amplitudes(layout.encoding, phi).to(dtype)
        return psi[:, :, None] * psi[:, None, :].conj()
    constants = program(layout.encoding, dtype, phi.device)
    if rho is None:
        start = constants.first.whole[0]
        rho = (start[:, None] * start.conj())[None]
    else:
        rho = _turned(rho, constants.first.whole)
    parts = phi.split([len(signs) for signs in constants.signs], 1)
    for signs, part, turn in zip(constants.signs, parts, constants.turns, strict=True):
        phases = part @ signs
        diagonal = torch.polar(torch.ones_like(phases), -phases)
        rho = _turned(diagonal[:, :, None] * rho * diagonal[:, None, :].conj(), turn.whole)
    return rho
