"""All 2**n probabilities of a batch of circuits, and their vector-Jacobian product, in plain PyTorch.

    theta (b, L, n, r)  ->  p (b, 2**n)          p = |psi|**2, summing to 1 for each circuit

The rotations of one layer act on different qubits, so `g` neighbouring qubits share one 2**g x 2**g matrix
(`rotations`), and a layer is one matrix product per group. Each product also moves its group from the front
of the index to the back, so that every group in turn stands at the front without a copy, and after all of
them the qubits are in order again:

    out[rest, i] = sum_j U[i, j] psi[j, rest]                         # (2**n / d, d) <- (d, 2**n / d)

The entangler is one index permutation or one sign vector (`entanglers`). The backward sweep is the adjoint
method for the diagonal observable diag(v); `adjoint.md` beside this file derives it in these letters. Memory
is a handful of state vectors whatever the depth, taken once: each step writes into the spare of two buffers,
because fresh memory for a large state costs more than the step itself. Small states run on one CPU thread.
Circuits of real gates stay in real arithmetic. Device and precision (float32, float64) are those of `theta`.
float32 on a CPU runs on the compiled kernel (`native`) where that was built.

Left out here: shots, noise, expectation values, gradients of gradients.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum import native
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.entanglers import entangler
from qtrain_cli.quantum.rotations import angle_gradient, group_matrices, rotation_matrices, state_dtype

BLOCK_LAYERS = 16
#: Below so many amplitudes in all, waking a second thread for a step costs about as much as it saves, and far
#: more where threads sleep while they wait (13 qubits, 16 layers: 17 ms on two such threads, 4 ms on one).
THREADED_OUTCOMES = 2**16


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
    if tuple(theta.shape) != circuit.angle_shape or theta.dtype not in (torch.float32, torch.float64):
        raise BadInput(
            f"the angles are {theta.dtype} of shape {list(theta.shape)};"
            f" needed: float32 or float64 of shape {list(circuit.angle_shape)}"
        )
    return _Probabilities.apply(theta, circuit)


class _Probabilities(torch.autograd.Function):
    """p = |psi|**2 with the adjoint sweep as its backward (adjoint.md)."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, circuit: CircuitSpec) -> Tensor:
        # The compiled kernel where it can, the code below where not; either sweeps back what it ran forward.
        run, ctx.sweep = (
            (native.forward, native.backward) if native.supports(circuit, theta) else (_run, _sweep)
        )
        p, psi = run(circuit, theta)
        ctx.circuit = circuit
        ctx.save_for_backward(theta, psi)
        return p

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None]:
        theta, psi = ctx.saved_tensors
        return _Gradient.apply(theta, psi, v, ctx.circuit, ctx.sweep), None


class _Gradient(torch.autograd.Function):
    """The adjoint sweep, as a function of its own so that a second derivative is refused and never zero."""

    @staticmethod
    def forward(
        ctx: Any, theta: Tensor, psi: Tensor, v: Tensor, circuit: CircuitSpec, sweep: Callable[..., Tensor]
    ) -> Tensor:
        return sweep(circuit, theta, psi, v)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> None:
        raise RuntimeError("the gradient of the probabilities cannot be differentiated again")


def _run(circuit: CircuitSpec, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities and the final state."""
    with _fitting_threads(circuit, theta.device):
        psi = _final_state(circuit, theta)
        return _squared(psi), psi


def _sweep(circuit: CircuitSpec, theta: Tensor, psi: Tensor, v: Tensor) -> Tensor:
    """Gradient of sum(v * p) from the final state."""
    with _fitting_threads(circuit, theta.device):
        return _adjoint_sweep(circuit, theta, psi, v)


@contextlib.contextmanager
def _fitting_threads(circuit: CircuitSpec, device: torch.device) -> Iterator[None]:
    """One CPU thread while a small circuit runs; the caller's number of threads afterwards."""
    before = torch.get_num_threads()
    if device.type == "cpu" and circuit.outcomes < THREADED_OUTCOMES:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _squared(psi: Tensor) -> Tensor:
    return psi.square() if not psi.is_complex() else torch.view_as_real(psi).square().sum(-1)


def _final_state(circuit: CircuitSpec, theta: Tensor) -> Tensor:
    """|psi> after all layers, shape (b, 2**n), real for a real ansatz."""
    b, n = circuit.circuits, circuit.qubits
    psi = torch.zeros(b, 2**n, dtype=state_dtype(circuit, theta.dtype), device=theta.device)
    psi[:, 0] = 1
    spare = torch.empty_like(psi)
    for first, last in _blocks(circuit.layers):
        groups = group_matrices(rotation_matrices(circuit, theta[:, first:last]))
        for layer in range(last - first):
            for group in groups:
                d = group.shape[-1]
                torch.bmm(psi.view(b, d, -1).mT, group[layer].mT, out=spare.view(b, -1, d))
                psi, spare = spare, psi
            if (entangle := entangler(circuit, first + layer, psi.dtype, psi.device)) is not None:
                entangle.forward(psi, out=spare)
                psi, spare = spare, psi
    return psi


def _adjoint_sweep(circuit: CircuitSpec, theta: Tensor, psi: Tensor, v: Tensor) -> Tensor:
    """Gradient of sum(v * p) with respect to `theta`, shape (b, L, n, r)."""
    b, n = circuit.circuits, circuit.qubits
    # The adjoint state is held as the bra <lambda|: conjugated once here instead of in every overlap.
    both = torch.stack((psi, 2 * v * psi.conj()), dim=1).view(2 * b, -1)
    spare = torch.empty_like(both)
    gradient = torch.empty_like(theta)
    for first, last in reversed(list(_blocks(circuit.layers))):
        rotations = rotation_matrices(circuit, theta[:, first:last])
        groups = group_matrices(rotations)
        inverses = [_inverse_pairs(group) for group in groups]
        overlaps = [torch.empty_like(group) for group in groups]
        for layer in reversed(range(last - first)):
            if (entangle := entangler(circuit, first + layer, psi.dtype, psi.device)) is not None:
                entangle.inverse(both, out=spare)
                both, spare = spare, both
            for inverse, overlap in zip(reversed(inverses), reversed(overlaps), strict=True):
                d = overlap.shape[-1]
                pair = both.view(b, 2, -1, d)
                torch.bmm(pair[:, 1].mT, pair[:, 0], out=overlap[layer])
                torch.bmm(inverse[layer], both.view(2 * b, -1, d).mT, out=spare.view(2 * b, d, -1))
                both, spare = spare, both
        gradient[:, first:last] = angle_gradient(circuit, rotations, overlaps)
    return gradient


def _inverse_pairs(group: Tensor) -> Tensor:
    """What undoes each matrix on the ket and on the bra of its circuit: (l, b, d, d) -> (l, 2 * b, d, d)."""
    return torch.stack((group.mH, group.mT), dim=2).flatten(1, 2)


def _blocks(layers: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most `BLOCK_LAYERS` layers, so that matrices do not grow with depth."""
    for first in range(0, layers, BLOCK_LAYERS):
        yield first, min(first + BLOCK_LAYERS, layers)
