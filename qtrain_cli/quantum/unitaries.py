"""A few qubits' circuits as whole matrices, and their vector-Jacobian product: for batches that share the
angles.

    R_l = (E_l K_l R_l-1^T)^T        K_l the Kronecker product of layer l's rotations, E_l its entangler

R is kept for rows of states: ``psi <- psi @ R``. Up to `MAX_UNITARY_QUBITS` qubits a layer is one product of
2**n x 2**n matrices and one permutation or sign vector, which takes less time than starting the steps of a
general circuit. The backward sweep is the engine's (adjoint.md) with the 2**n rows of R as its states: undo
the entangler on R and on the conjugated cotangent, read M = bra^T R, undo the rotations.

Left out here: entanglers with angles, more qubits (`statevector.evolve` does both).
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec
from qtrain_cli.quantum.entanglers import Permutation, entangler
from qtrain_cli.quantum.rotations import angle_gradient, gate_matrices, product

MAX_UNITARY_QUBITS = 6


def has_matrix(circuit: CircuitSpec) -> bool:
    """Whether `matrices` takes this circuit."""
    return circuit.qubits <= MAX_UNITARY_QUBITS and not ENTANGLERS[circuit.entangler].parametrised


def matrices(circuit: CircuitSpec, theta: Tensor) -> Tensor:
    """Each circuit as a matrix for rows of states, differentiable once in the angles.

    Args:
        theta: (b, L, n, r), radians, float32 or float64.

    Returns:
        (b, 2**n, 2**n), complex.
    """
    found: Tensor = _Matrices.apply(theta, circuit)
    return found


class _Matrices(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, theta: Tensor, circuit: CircuitSpec) -> Tensor:
        dtype = theta.dtype.to_complex()
        gates = gate_matrices(ANSATZE[circuit.ansatz].rotations, theta, dtype)
        layers = functools.reduce(_kronecker, product(gates).unbind(2))  # (b, L, d, d)
        rows: Tensor | None = None
        for layer in range(circuit.layers):
            turn = layers[:, layer].mT
            rows = turn if rows is None else rows @ turn
            rows = _entangled(circuit, layer, rows)
        assert rows is not None
        ctx.circuit, ctx.gates = circuit, gates
        ctx.save_for_backward(rows, layers)
        return rows

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:
        rows, layers = ctx.saved_tensors
        circuit, bra = ctx.circuit, cotangent.conj()
        overlaps = torch.empty_like(layers)
        for layer in reversed(range(circuit.layers)):
            rows, bra = (_entangled(circuit, layer, part, back=True) for part in (rows, bra))
            overlaps[:, layer] = bra.mT @ rows
            rows, bra = rows @ layers[:, layer].conj(), bra @ layers[:, layer]
        m = (overlaps.flatten(-2) @ _traces(circuit.qubits, overlaps.dtype)).unflatten(-1, (-1, 2, 2))
        return angle_gradient(ANSATZE[circuit.ansatz].rotations, ctx.gates, m), None


def _entangled(circuit: CircuitSpec, layer: int, rows: Tensor, back: bool = False) -> Tensor:
    """The layer's entangler, or its inverse, on rows of states."""
    table = entangler(circuit, layer, rows.dtype, rows.device)
    if table is None:
        return rows
    if isinstance(table, Permutation):
        return rows[..., table.target if back else table.source]
    return rows * table.signs


@functools.cache
def _traces(qubits: int, dtype: torch.dtype) -> Tensor:
    """(4**n, 4 n) zeros and ones that take a flat matrix to the partial trace of each qubit, (n, 2, 2)."""
    index = torch.arange(2**qubits)
    columns = []
    for qubit in range(qubits):
        bit = (index >> (qubits - 1 - qubit)) & 1
        rest = index - (bit << (qubits - 1 - qubit))
        same = rest[:, None] == rest
        columns += [same & (bit[:, None] == i) & (bit == j) for i in (0, 1) for j in (0, 1)]
    return torch.stack(columns).flatten(1).T.to(dtype).contiguous()


def _kronecker(left: Tensor, right: Tensor) -> Tensor:
    """(b, L, a, a), (b, L, c, c) -> (b, L, a c, a c)."""
    whole = left[:, :, :, None, :, None] * right[:, :, None, :, None, :]
    return whole.flatten(4, 5).flatten(2, 3)
