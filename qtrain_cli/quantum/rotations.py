"""Gates of one qubit as matrices, and the gradient of their angles (letters of adjoint.md).

A gate is ``R(theta) = exp(theta G)``. For a rotation, ``G = -i P / 2`` with a Pauli matrix P, so that
``R = cos(theta/2) + 2 sin(theta/2) G``; a phase shift is an RZ and the phase ``exp(i theta / 2)``. A qubit's
gates multiply to ``U = R_r ... R_1``. The same holds for controlled gates on the half of the state where the
control is 1 (`couplings`), so both are built here.

The U of neighbouring qubits combine to one Kronecker product, so that a layer costs a few matrix products
however many qubits it has. A block is some consecutive layers; everything here works on a whole block.

Left out here: gates of two qubits that are no controlled gate.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec

GROUP_QUBITS = 4
#: G of each gate, on its target where it has a control.
GENERATORS: dict[str, list[list[complex]]] = {
    "RY": [[0, -0.5], [0.5, 0]],
    "RZ": [[-0.5j, 0], [0, 0.5j]],
    "CRY": [[0, -0.5], [0.5, 0]],
    "ControlledPhaseShift": [[0, 0], [0, 1j]],
}
#: G is such a rotation's generator and this multiple of the identity.
_PHASES: dict[str, complex] = {"ControlledPhaseShift": 0.5j}
_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


def state_dtype(circuit: CircuitSpec, precision: torch.dtype) -> torch.dtype:
    """The dtype of amplitudes: `precision` itself (float32 or float64) for a real ansatz, else complex."""
    return precision if ANSATZE[circuit.ansatz].real else _COMPLEX[precision]


def gate_matrices(gates: Sequence[str], angles: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """R of each gate, in the order they act: angles (..., r) in radians -> r times (..., 2, 2) of `dtype`."""
    halves = (angles / 2)[..., None, None]  # (..., r, 1, 1)
    cosine, sine = halves.cos(), 2 * halves.sin()
    identity = torch.eye(2, dtype=dtype, device=angles.device)
    found = []
    for k, name in enumerate(gates):
        phase = _PHASES.get(name, 0)
        rotation = cosine[..., k, :, :] * identity
        rotation = rotation + sine[..., k, :, :] * (_generator(name, identity) - phase * identity)
        found.append(rotation * (2 * phase * halves[..., k, :, :]).exp() if phase else rotation)
    return found


def _generator(name: str, like: Tensor) -> Tensor:
    """G of a gate, with the dtype and device of `like`: (2, 2)."""
    placed = like.is_cuda
    return _placed_generator(name, like.dtype, like.device) if placed else like.new_tensor(GENERATORS[name])


@functools.cache
def _placed_generator(name: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The same on a GPU, which would wait for it each time."""
    return torch.tensor(GENERATORS[name], dtype=dtype, device=device)


def product(matrices: list[Tensor]) -> Tensor:
    """``U = R_r ... R_1`` of gates in the order they act: r times (..., 2, 2) -> (..., 2, 2)."""
    return functools.reduce(lambda before, after: after @ before, matrices)


def group_sizes(qubits: int) -> list[int]:
    """Qubits of each group: as equal as can be, none above `GROUP_QUBITS`."""
    groups = -(-qubits // GROUP_QUBITS)
    return [qubits // groups + (k < qubits % groups) for k in range(groups)]


def group_matrices(rotations: list[Tensor]) -> list[Tensor]:
    """One matrix per group of g qubits, for each layer: (l, b, d, d) per group, d = 2**g.

    Args:
        rotations: of each kind, (b, l, n, 2, 2).
    """
    qubit = product(rotations)  # (b, l, n, 2, 2)
    parts = qubit.transpose(0, 1).split(group_sizes(qubit.shape[2]), dim=2)
    return [functools.reduce(_kronecker, part.unbind(2)).contiguous() for part in parts]


def _kronecker(left: Tensor, right: Tensor) -> Tensor:
    """Batched Kronecker product: (..., a, a), (..., c, c) -> (..., a * c, a * c)."""
    product = left[..., :, None, :, None] * right[..., None, :, None, :]
    return product.flatten(-4, -3).flatten(-2, -1)


def qubit_overlaps(overlaps: list[Tensor]) -> Tensor:
    """m of every qubit from M of every group: (l, b, d, d) each -> (b, l, n, 2, 2)."""
    return torch.cat([_partial_traces(overlap) for overlap in overlaps], dim=2).transpose(0, 1)


def angle_gradient(gates: Sequence[str], matrices: list[Tensor], m: Tensor) -> Tensor:
    """``dC / dtheta = Re sum_ij A[i, j] m[i, j]`` for every angle of some qubits, (..., r).

    Args:
        gates: names, in the order they act.
        matrices: what `gate_matrices` returns for them.
        m: overlaps after all of the gates, (..., 2, 2).
    """
    return torch.einsum("...ij,...rij->...r", m, _derivatives(gates, matrices)).real


def _derivatives(gates: Sequence[str], matrices: list[Tensor]) -> Tensor:
    """``A = V G V**-1`` of each angle, V the gates that act after its own: (..., r, 2, 2)."""
    after = torch.eye(2, dtype=matrices[0].dtype, device=matrices[0].device).expand_as(matrices[0])
    found: list[Tensor] = []
    for name, matrix in zip(reversed(gates), reversed(matrices), strict=True):
        found.insert(0, after @ _generator(name, after) @ after.mH)
        after = after @ matrix
    return torch.stack(found, dim=-3)


def _partial_traces(overlap: Tensor) -> Tensor:
    """m of each qubit of a group, the partial trace of its M: (l, b, d, d) -> (l, b, g, 2, 2)."""
    g = overlap.shape[-1].bit_length() - 1
    matrix = _placed_traces(g, overlap.dtype, overlap.device) if overlap.is_cuda else _traces(g).to(overlap)
    return (overlap.flatten(-2) @ matrix).unflatten(-1, (g, 2, 2))


@functools.cache
def _placed_traces(g: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`_traces` on a GPU."""
    return _traces(g).to(device, dtype)


@functools.cache
def _traces(g: int) -> Tensor:
    """(4**g, 4 * g) zeros and ones that take a flat 2**g x 2**g matrix to each qubit's partial trace.

    Entry [i, j] of qubit q's trace is the inner product with ``1 x e_ij x 1``, e_ij at place q.
    """
    units = torch.eye(4, device="cpu").view(4, 2, 2)  # e_ij
    before = [torch.eye(2**q, device="cpu") for q in range(g)]
    columns = [_kronecker(_kronecker(before[q], units), before[g - 1 - q]) for q in range(g)]  # (4, d, d)
    return torch.stack(columns).view(4 * g, -1).T
