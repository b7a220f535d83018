"""All 2**n probabilities of a batch of circuits, and their vector-Jacobian product, in plain PyTorch.

    theta (b, L, n, r)  ->  p (b, 2**n)          p = |psi|**2, summing to 1 for each circuit

The rotations of one layer act on different qubits, so `g` neighbouring qubits share one 2**g x 2**g matrix
(a Kronecker product, built for a block of layers at once), and a layer is one matrix product per group.
Each product also moves its group from the front of the index to the back, so that every group in turn
stands at the front without a copy, and after all of them the qubits are in order again:

    out[rest, i] = sum_j U[i, j] psi[j, rest]                         # (2**n / d, d) <- (d, 2**n / d)

The entangler is one index permutation (CNOT ring) or one sign vector (CZ ring). The backward sweep is
the adjoint method for the diagonal observable diag(v); `adjoint.md` beside this file derives it in these
letters. Memory is a handful of state vectors whatever the depth. Circuits of real gates stay in real
arithmetic. The device and the precision (float32 or float64) are those of `theta`.

Left out here: shots, noise, expectation values, gradients of gradients.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec, ring_pairs

GROUP_QUBITS = 5
BLOCK_LAYERS = 16
_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


def probabilities(circuit: CircuitSpec, theta: Tensor) -> Tensor:
    """Measurement probabilities of every circuit, differentiable once with respect to `theta`.

    Args:
        circuit: the circuits as plain data.
        theta: angles in radians, float32 or float64, shape ``(b, L, n, r)``.

    Returns:
        ``(b, 2**n)``, same device and precision. Wire 0 is the most significant bit of an outcome.

    Raises:
        BadInput: angles of another shape or dtype.
    """
    if tuple(theta.shape) != circuit.angle_shape or theta.dtype not in _COMPLEX:
        raise BadInput(
            f"the angles are {theta.dtype} of shape {list(theta.shape)};"
            f" needed: float32 or float64 of shape {list(circuit.angle_shape)}"
        )
    return _Probabilities.apply(theta, circuit)


class _Probabilities(torch.autograd.Function):
    """p = |psi|**2 with the adjoint sweep as its backward (adjoint.md)."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, circuit: CircuitSpec) -> Tensor:
        psi = _final_state(circuit, theta)
        ctx.circuit = circuit
        ctx.save_for_backward(theta, psi)
        return _squared(psi)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None]:
        theta, psi = ctx.saved_tensors
        return _adjoint_sweep(ctx.circuit, theta, psi, v), None


def _squared(psi: Tensor) -> Tensor:
    return psi.square() if not psi.is_complex() else torch.view_as_real(psi).square().sum(-1)


def _final_state(circuit: CircuitSpec, theta: Tensor) -> Tensor:
    """|psi> after all layers, shape (b, 2**n), real for a real ansatz."""
    b, n = circuit.circuits, circuit.qubits
    entangle = _entangler(circuit.entangler, n, theta.device)
    psi = torch.zeros(b, 2**n, dtype=_state_dtype(circuit, theta), device=theta.device)
    psi[:, 0] = 1
    for first, last in _blocks(circuit.layers):
        matrices = _group_matrices(circuit, theta[:, first:last])
        for layer in range(last - first):
            for group in matrices:
                d = group.shape[-1]
                psi = torch.bmm(psi.view(b, d, -1).mT, group[layer].mT)  # (b, 2**n / d, d)
            psi = entangle.forward(psi.view(b, -1))
    return psi


def _adjoint_sweep(circuit: CircuitSpec, theta: Tensor, psi: Tensor, v: Tensor) -> Tensor:
    """Gradient of sum(v * p) with respect to `theta`, shape (b, L, n, r)."""
    b, n = circuit.circuits, circuit.qubits
    entangle = _entangler(circuit.entangler, n, theta.device)
    both = torch.stack((psi, 2 * v * psi), dim=1).view(2 * b, -1)  # psi and lambda of each circuit
    gradient = torch.empty_like(theta)
    for first, last in reversed(list(_blocks(circuit.layers))):
        block = theta[:, first:last]
        matrices = [_inverse_pairs(group) for group in _group_matrices(circuit, block)]
        overlaps: list[list[Tensor]] = [[] for _ in matrices]
        for layer in reversed(range(last - first)):
            both = entangle.inverse(both)
            for group, collected in zip(reversed(matrices), reversed(overlaps), strict=True):
                d = group.shape[-1]
                pair = both.view(b, 2, -1, d)
                collected.append(torch.bmm(pair[:, 1].mH, pair[:, 0]))  # (b, d, d): conj(lambda) psi
                both = torch.bmm(group[layer], both.view(2 * b, -1, d).mT).view(2 * b, -1)
        reduced = torch.cat([_per_qubit(found) for found in overlaps], dim=2)  # (b, layers, n, 2, 2)
        gradient[:, first:last] = torch.einsum(
            "blqij,blqrij->blqr", reduced, _generators(circuit, block)
        ).real
    return gradient


def _blocks(layers: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most `BLOCK_LAYERS` layers, so that matrices do not grow with depth."""
    for first in range(0, layers, BLOCK_LAYERS):
        yield first, min(first + BLOCK_LAYERS, layers)


def _group_sizes(qubits: int) -> list[int]:
    """Qubits of each group: as equal as can be, none above `GROUP_QUBITS`."""
    groups = -(-qubits // GROUP_QUBITS)
    return [qubits // groups + (k < qubits % groups) for k in range(groups)]


def _rotations(circuit: CircuitSpec, block: Tensor) -> list[Tensor]:
    """The 2x2 matrices exp(-i theta/2 P) of each rotation kind: r times (b, l, n, 2, 2)."""
    cosine, sine = (block / 2).cos(), (block / 2).sin()
    built = []
    for k, name in enumerate(ANSATZE[circuit.ansatz].rotations):
        c, s = cosine[..., k], sine[..., k]
        zero = torch.zeros_like(c)
        entries = (c, -s, s, c) if name == "RY" else (c - 1j * s, zero, zero, c + 1j * s)
        built.append(torch.stack(entries, -1).unflatten(-1, (2, 2)).to(_state_dtype(circuit, block)))
    return built


def _group_matrices(circuit: CircuitSpec, block: Tensor) -> list[Tensor]:
    """Each group's matrices for a block of layers: (l, b, d, d) per group, d = 2**(qubits in the group)."""
    qubit = functools.reduce(lambda before, after: after @ before, _rotations(circuit, block))
    groups = []
    for parts in qubit.transpose(0, 1).split(_group_sizes(circuit.qubits), dim=2):
        groups.append(functools.reduce(_kronecker, parts.unbind(2)).contiguous())
    return groups


def _kronecker(left: Tensor, right: Tensor) -> Tensor:
    """Batched Kronecker product: (..., a, a), (..., c, c) -> (..., a*c, a*c)."""
    product = left[..., :, None, :, None] * right[..., None, :, None, :]
    return product.flatten(-4, -3).flatten(-2, -1)


def _inverse_pairs(group: Tensor) -> Tensor:
    """Inverse matrices, repeated for psi and lambda: (l, b, d, d) -> (l, 2b, d, d)."""
    return group.mH.unsqueeze(2).expand(-1, -1, 2, -1, -1).flatten(1, 2).contiguous()


def _generators(circuit: CircuitSpec, block: Tensor) -> Tensor:
    """(dU/dtheta) U**-1 of each qubit's rotation product U and each of its angles: (b, l, n, r, 2, 2).

    With U = R_r ... R_1 this is V G V**-1, where V are the rotations after the k-th and G = -i P / 2.
    """
    rotations = _rotations(circuit, block)
    after = torch.eye(2, dtype=rotations[0].dtype, device=block.device)
    found = []
    for name, rotation in zip(reversed(ANSATZE[circuit.ansatz].rotations), reversed(rotations), strict=True):
        pauli = [[0, -0.5], [0.5, 0]] if name == "RY" else [[-0.5j, 0], [0, 0.5j]]
        generator = torch.tensor(pauli, dtype=rotation.dtype, device=block.device)
        found.append((after @ generator @ after.mH).expand_as(rotation))
        after = after @ rotation
    return torch.stack(found[::-1], dim=3)


def _per_qubit(overlaps: list[Tensor]) -> Tensor:
    """Partial traces of a group's overlaps, last layer first: l times (b, d, d) -> (b, l, g, 2, 2)."""
    stacked = torch.stack(overlaps[::-1], dim=1)  # (b, l, d, d)
    g = stacked.shape[-1].bit_length() - 1
    return (stacked.flatten(-2) @ _partial_trace(g).to(stacked)).unflatten(-1, (g, 2, 2))


@functools.lru_cache(maxsize=16)
def _partial_trace(g: int) -> Tensor:
    """(4**g, 4g) matrix that takes a flat 2**g x 2**g matrix to each qubit's 2x2 partial trace."""
    index = torch.arange(2**g)
    trace = torch.zeros(2**g, 2**g, g, 2, 2)
    for q in range(g):
        bit = 1 << (g - 1 - q)
        for i in (0, 1):
            for j in (0, 1):
                row = index[(index & bit != 0) == bool(i)]
                trace[row, row ^ (bit * (i ^ j)), q, i, j] = 1
    return trace.view(4**g, 4 * g)


def _state_dtype(circuit: CircuitSpec, theta: Tensor) -> torch.dtype:
    return theta.dtype if ANSATZE[circuit.ansatz].real else _COMPLEX[theta.dtype]


@dataclass(frozen=True)
class _Entangler:
    """A layer's entangler on states (k, 2**n): an index permutation, a sign vector, or nothing."""

    source: Tensor | None = None
    target: Tensor | None = None
    signs: Tensor | None = None

    def forward(self, psi: Tensor) -> Tensor:
        return self._apply(psi, self.source)

    def inverse(self, psi: Tensor) -> Tensor:
        return self._apply(psi, self.target)

    def _apply(self, psi: Tensor, index: Tensor | None) -> Tensor:
        if index is not None:
            return psi.index_select(1, index)
        return psi if self.signs is None else psi * self.signs


@functools.lru_cache(maxsize=16)
def _entangler(name: str, qubits: int, device: torch.device) -> _Entangler:
    """Tables of one entangler; cached, since a training run asks for the same one at every step."""
    pairs = ring_pairs(qubits)
    index = torch.arange(2**qubits, device=device)
    if not pairs:
        return _Entangler()
    if name == "cz-ring":
        both = [(index >> (qubits - 1 - a)) & (index >> (qubits - 1 - c)) & 1 for a, c in pairs]
        flips = torch.stack(both).sum(0)
        return _Entangler(signs=(1 - 2 * (flips % 2)).to(torch.int8))
    target = index
    for control, flipped in pairs:
        target = target ^ (((target >> (qubits - 1 - control)) & 1) << (qubits - 1 - flipped))
    return _Entangler(source=torch.argsort(target), target=target)
