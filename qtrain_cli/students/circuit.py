"""One circuit a sample, with angles that the whole batch shares: features (N, B n) -> outputs (N, k).

    psi_0 = |0...0>      psi_b = U_b E(x_b) psi_b-1      p = |psi_B|**2      e = p @ observables^T

B blocks of an encoding E, which differs by sample, and an ansatz U, which does not: each U is one (2**n,
2**n) matrix a step, made by the engine from the identity (its adjoint sweep gives the angles' gradient),
merged with the constant matrix that ends the encoding, and applied to the whole batch as one matrix product.
A batch of 128 of 6 qubits is 128 x 64 numbers, so that a step costs about as much as a dense layer of that
size. Where the batch has fewer rows than the matrix, the engine runs the ansatz on the states themselves.

`observables` are diagonal: Pauli-Z of each qubit, or the projectors of classes (outcome i belongs to class i
mod k). How it is differentiated and sampled is the matter of `estimates`, noise that of `noise`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum import batches
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.encodings import amplitudes, apply, program
from qtrain_cli.quantum.estimators import Cost
from qtrain_cli.quantum.feature_maps import AMPLITUDE
from qtrain_cli.quantum.statevector import evolve
from qtrain_cli.quantum.unitaries import has_matrix, matrices
from qtrain_cli.students.estimates import differentiated, measured
from qtrain_cli.students.layout import Execution, Layout
from qtrain_cli.students.noise import noisy_student_probabilities


def unitaries(circuit: CircuitSpec, theta: Tensor) -> Tensor:
    """Each circuit as a matrix for rows of states: (b, L, n, r) -> (b, 2**n, 2**n), complex."""
    if has_matrix(circuit):
        return matrices(circuit, theta)
    identity = torch.eye(2**circuit.qubits, dtype=theta.dtype.to_complex(), device=theta.device)
    return evolve(circuit, theta, identity.expand(circuit.circuits, -1, -1))


def states(layout: Layout, theta: Tensor, phi: Tensor) -> Tensor:
    """The final states: theta (B, L, n, r), phi (N, B T) -> (N, 2**n), complex."""
    small = 2**layout.circuit.qubits <= len(phi)
    whole = unitaries(layout.circuit, theta) if small else None
    dtype = phi.dtype.to_complex()
    if layout.encoding.name == AMPLITUDE:
        psi = amplitudes(layout.encoding, phi).to(dtype)
        return psi @ whole[0] if whole is not None else _evolved(layout, theta, psi, 0)
    constants, running = program(layout.encoding, dtype, phi.device), None
    for block, part in enumerate(phi.chunk(layout.blocks, 1)):
        if whole is not None:
            running = apply(constants, part, running, last=whole[block])
        else:
            running = _evolved(layout, theta, apply(constants, part, running), block)
    assert running is not None
    return running


def _evolved(layout: Layout, theta: Tensor, psi: Tensor, block: int) -> Tensor:
    """One block's ansatz on states (N, 2**n) that are fewer than its matrix has rows."""
    circuit = replace(layout.circuit, circuits=1)
    return evolve(circuit, theta[block : block + 1], psi[None])[0]


def probabilities_of(psi: Tensor) -> Tensor:
    """``|psi|**2``."""
    return torch.view_as_real(psi).square().sum(-1)


def exact_probabilities(layout: Layout, theta: Tensor, phi: Tensor, noise: float) -> Tensor:
    """Probabilities of all outcomes (N, 2**n), without shots; differentiable."""
    if noise:
        return noisy_student_probabilities(layout, theta, phi, noise)
    return probabilities_of(states(layout, theta, phi))


class CircuitLayer(nn.Module):
    """The circuit as a module; `theta` is its only parameter, (B, L, n, r), in radians.

    `execution` may be changed between two calls. Circuit runs, one circuit on one sample, are counted.
    """

    observables: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.execution = Execution()
        self.theta = nn.Parameter(torch.zeros(layout.circuit.angle_shape))
        self.register_buffer("observables", layout.observables(), persistent=False)
        self.batched = batches.Batched(layout.encoding, layout.circuit)
        self._cost = Cost()

    def reset(self, generator: torch.Generator) -> None:
        """Angles uniform in -pi/4 .. pi/4: a short circuit near the identity has gradients to begin with."""
        start = torch.rand(self.theta.shape, generator=generator) * 2 - 1
        with torch.no_grad():
            self.theta.copy_(start * math.pi / 4)

    def take_count(self) -> int:
        """Circuit runs since the last call, which begins a new count."""
        taken, self._cost.evaluations = self._cost.evaluations, 0
        return taken

    @contextmanager
    def without_shots(self) -> Iterator[None]:
        """Runs of this block are exact, noise included."""
        before, self.execution = self.execution, replace(self.execution, shots=0)
        try:
            yield
        finally:
            self.execution = before

    def forward(self, features: Tensor) -> Tensor:
        """(N, B n) -> (N, k), float32 anywhere: expectations in -1..1, or class probabilities."""
        with torch.autocast(features.device.type, enabled=False):
            return self._forward(features.to(self.theta.dtype))

    def _forward(self, features: Tensor) -> Tensor:
        how = self.execution
        if how == Execution() and batches.supports_batch(self.batched, self.theta, features):
            self._cost.evaluations += len(features)
            return batches.batch_expectations(self.batched, self.theta, features, self.observables)
        phi = self.layout.half_angles(features)
        if self.layout.encoding.name == AMPLITUDE and phi.requires_grad and how.gradient != "adjoint":
            raise BadInput(
                f"amplitudes are no angles that {how.gradient} could shift", "use the gradient adjoint"
            )

        def run(theta: Tensor, angles: Tensor) -> Tensor:
            p = exact_probabilities(self.layout, theta, angles, how.noise)
            return measured(p, self.observables, how.shots)

        return differentiated(run, self.theta, phi, self.layout, how, self._cost)
