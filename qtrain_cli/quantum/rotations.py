"""The rotations of a block of layers as matrices, and the gradient of their angles (letters of adjoint.md).

A rotation is ``R(theta) = exp(theta G) = cos(theta/2) + 2 sin(theta/2) G``, ``G = -i P / 2`` the generator of
its Pauli matrix P. A qubit's rotations multiply to ``U = R_r ... R_1``, and the U of neighbouring qubits
combine to one Kronecker product, so that a layer costs a few matrix products however many qubits it has. A
block is some consecutive layers of angles, (b, l, n, r); everything here works on a whole block at once.

Left out here: rotations of two qubits, and generators that do not square to -1/4.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec

GROUP_QUBITS = 4
GENERATORS: dict[str, list[list[complex]]] = {
    "RY": [[0, -0.5], [0.5, 0]],
    "RZ": [[-0.5j, 0], [0, 0.5j]],
}
_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


def state_dtype(circuit: CircuitSpec, precision: torch.dtype) -> torch.dtype:
    """The dtype of amplitudes: `precision` itself (float32 or float64) for a real ansatz, else complex."""
    return precision if ANSATZE[circuit.ansatz].real else _COMPLEX[precision]


def rotation_matrices(circuit: CircuitSpec, block: Tensor) -> list[Tensor]:
    """R of each rotation kind of the ansatz, in the order they act: r times (b, l, n, 2, 2)."""
    dtype = state_dtype(circuit, block.dtype)
    halves = (block / 2)[..., None, None]  # (b, l, n, r, 1, 1)
    cosine, sine = halves.cos().unbind(3), 2 * halves.sin()
    identity = torch.eye(2, dtype=dtype, device=block.device)
    return [
        cosine[k] * identity + sine[:, :, :, k] * generator
        for k, generator in enumerate(_generators(circuit, identity))
    ]


def _generators(circuit: CircuitSpec, like: Tensor) -> list[Tensor]:
    """G of each rotation kind, with the dtype and device of `like`: r times (2, 2)."""
    return [like.new_tensor(GENERATORS[name]) for name in ANSATZE[circuit.ansatz].rotations]


def group_sizes(qubits: int) -> list[int]:
    """Qubits of each group: as equal as can be, none above `GROUP_QUBITS`."""
    groups = -(-qubits // GROUP_QUBITS)
    return [qubits // groups + (k < qubits % groups) for k in range(groups)]


def group_matrices(rotations: list[Tensor]) -> list[Tensor]:
    """One matrix per group of g qubits, for each layer: (l, b, d, d) per group, d = 2**g.

    Args:
        rotations: what `rotation_matrices` returns.
    """
    qubit = functools.reduce(lambda before, after: after @ before, rotations)  # (b, l, n, 2, 2)
    parts = qubit.transpose(0, 1).split(group_sizes(qubit.shape[2]), dim=2)
    return [functools.reduce(_kronecker, part.unbind(2)).contiguous() for part in parts]


def _kronecker(left: Tensor, right: Tensor) -> Tensor:
    """Batched Kronecker product: (..., a, a), (..., c, c) -> (..., a * c, a * c)."""
    product = left[..., :, None, :, None] * right[..., None, :, None, :]
    return product.flatten(-4, -3).flatten(-2, -1)


def angle_gradient(circuit: CircuitSpec, rotations: list[Tensor], overlaps: list[Tensor]) -> Tensor:
    """``dC / dtheta = Re sum_ij A[i, j] m[i, j]`` for every angle of the block, (b, l, n, r).

    Args:
        circuit: the circuits as plain data.
        rotations: what `rotation_matrices` returns for the block.
        overlaps: M of each group, (l, b, d, d).
    """
    m = torch.cat([_partial_traces(overlap) for overlap in overlaps], dim=2)  # (l, b, n, 2, 2)
    return torch.einsum("lbqij,blqrij->blqr", m, _derivatives(circuit, rotations)).real


def _derivatives(circuit: CircuitSpec, rotations: list[Tensor]) -> Tensor:
    """``A = V G V**-1`` of each angle, V the rotations that act after its own: (b, l, n, r, 2, 2)."""
    after = torch.eye(2, dtype=rotations[0].dtype, device=rotations[0].device).expand_as(rotations[0])
    found: list[Tensor] = []
    for rotation, generator in zip(reversed(rotations), reversed(_generators(circuit, after)), strict=True):
        found.insert(0, after @ generator @ after.mH)
        after = after @ rotation
    return torch.stack(found, dim=3)


def _partial_traces(overlap: Tensor) -> Tensor:
    """m of each qubit of a group, the partial trace of its M: (l, b, d, d) -> (l, b, g, 2, 2)."""
    g = overlap.shape[-1].bit_length() - 1
    return (overlap.flatten(-2) @ _partial_trace_matrix(g).to(overlap)).unflatten(-1, (g, 2, 2))


@functools.cache
def _partial_trace_matrix(g: int) -> Tensor:
    """(4**g, 4 * g) zeros and ones that take a flat 2**g x 2**g matrix to each qubit's partial trace.

    Entry [i, j] of qubit q's trace is the inner product with ``1 x e_ij x 1``, e_ij at place q.
    """
    units = torch.eye(4, device="cpu").view(4, 2, 2)  # e_ij
    before = [torch.eye(2**q, device="cpu") for q in range(g)]
    columns = [_kronecker(_kronecker(before[q], units), before[g - 1 - q]) for q in range(g)]  # (4, d, d)
    return torch.stack(columns).view(4 * g, -1).T
