"""Gradients from measured probabilities, each behind one signature.

    estimate(instrument, circuit, theta, v, method) -> g          theta, g (b, L, n, r); v (b, 2**n)
    g = d/dtheta sum_i v_i p_i(theta)                             v held fixed (`estimators` has the letters)

    adjoint             exact; needs amplitudes, so the engine and no shots (statevector, adjoint.md)
    parameter-shift     exact; sum_mu c_mu C(theta + x_mu e_j) for each angle j
    spsa                (C(theta + c D) - C(theta - c D)) / 2c * D, D of random signs, averaged over some
                        samples (Spall 1992); its mean is g + O(c**2)
    finite-difference   (C(theta + h e_j) - C(theta - h e_j)) / 2h, off by h**2 / 6 third derivatives

All but the first need nothing but probabilities of shifted circuits, which any `Backend` gives: the engine,
sampled or not, or a PennyLane device. The circuits of a batch have angles of their own, so that all of them
are shifted at once. Shifted copies run as one batch, in parts that bound memory. Everything is float64: a
small step would vanish in float32.

With shots the estimates stay unbiased for the v that arrives (they are linear in frequencies, `shots`), and C
is measured anew, apart from the frequencies that v was computed from. v itself comes through the model,
which bends: its bias shrinks as 1 / shots.

Left out here: choosing the step or the samples in the run, and reusing circuits that several rules share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qtrain_cli.errors import BadInput, suggestion
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.estimators import ESTIMATORS, Cost, ShiftTerm, shift_rules
from qtrain_cli.quantum.layers import BLOCK_LAYERS
from qtrain_cli.quantum.rotations import GROUP_QUBITS
from qtrain_cli.quantum.shots import sampled
from qtrain_cli.quantum.statevector import probabilities

#: Numbers (amplitudes, matrices, angles) of the copies that run as one batch: 64 MB where they are complex.
NUMBERS_AT_ONCE = 2**22

#: (circuit, theta (k, L, n, r), generator) -> probabilities or frequencies (k, 2**n) of k copies.
Backend = Callable[[CircuitSpec, Tensor, torch.Generator], Tensor]


def run_exactly(circuit: CircuitSpec, theta: Tensor, generator: torch.Generator) -> Tensor:
    """The engine as a backend."""
    with torch.no_grad():
        return probabilities(circuit, theta)


def with_shots(shots: int) -> Backend:
    """The engine, of which so many outcomes are drawn for each circuit."""

    def run(circuit: CircuitSpec, theta: Tensor, generator: torch.Generator) -> Tensor:
        return sampled(run_exactly(circuit, theta, generator), shots, generator)

    return run


@dataclass(frozen=True)
class Instrument:
    """What runs circuits, with how many shots each (None: exact probabilities), and what that has cost."""

    backend: Backend = run_exactly
    shots: int | None = None
    cost: Cost = field(default_factory=Cost)

    def probabilities(self, circuit: CircuitSpec, theta: Tensor, generator: torch.Generator) -> Tensor:
        """Runs theta (k, L, n, r), any number of copies, and counts them: (k, 2**n)."""
        self.cost.evaluations += len(theta)
        self.cost.shots += len(theta) * (self.shots or 0)
        return self.backend(replace(circuit, circuits=len(theta)), theta, generator)


@dataclass(frozen=True)
class GradientMethod:
    """How the gradient is estimated: `samples` and `step` (c, radians) are those of spsa.

    `generator`, of the CPU, is all that is random: signs, and what a backend draws.

    Raises:
        BadInput: an unknown estimator, or adjoint with anything but the exact engine.
    """

    estimator: str
    instrument: Instrument
    generator: torch.Generator
    samples: int = 1
    step: float = 0.2

    def __post_init__(self) -> None:
        if self.estimator not in ESTIMATORS:
            raise BadInput(f"unknown gradient '{self.estimator}'", suggestion(self.estimator, ESTIMATORS))
        if not ESTIMATORS[self.estimator].measures and self.instrument.backend is not run_exactly:
            raise BadInput(
                f"the gradient {self.estimator} needs amplitudes, which no device gives",
                "choose --gradient parameter-shift or --gradient spsa",
            )


def measured_probabilities(circuit: CircuitSpec, theta: Tensor, method: GradientMethod) -> Tensor:
    """Probabilities as the instrument measures them; the backward pass asks the estimator.

    Args:
        circuit: the circuits as plain data.
        theta: angles in radians, float32 or float64, ``(b, L, n, r)``.
        method: estimator, instrument and generator.

    Returns:
        ``(b, 2**n)``, device and precision of `theta`, differentiable once.
    """
    return _Measured.apply(theta, circuit, method)


class _Measured(torch.autograd.Function):
    """Measured forwards, estimated backwards."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, circuit: CircuitSpec, method: GradientMethod) -> Tensor:
        ctx.circuit, ctx.method = circuit, method
        ctx.save_for_backward(theta)
        return method.instrument.probabilities(circuit, theta.double(), method.generator).to(theta)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, None, None]:
        (theta,) = ctx.saved_tensors
        return gradient(ctx.circuit, theta.double(), v.double(), ctx.method).to(theta), None, None


def gradient(circuit: CircuitSpec, theta: Tensor, v: Tensor, method: GradientMethod) -> Tensor:
    """g of a batch of circuits, by the method's estimator.

    Args:
        circuit: the circuits as plain data.
        theta: angles in radians, float64, ``(b, L, n, r)``.
        v: cotangent of the probabilities, float64, ``(b, 2**n)``.
        method: estimator, instrument and generator; what was spent is added to the instrument's cost.

    Returns:
        ``(b, L, n, r)``.
    """
    return _ESTIMATE[method.estimator](circuit, theta, v, method)


def _adjoint(circuit: CircuitSpec, theta: Tensor, v: Tensor, method: GradientMethod) -> Tensor:
    with torch.enable_grad():
        angles = theta.detach().requires_grad_()
        return torch.autograd.grad(probabilities(circuit, angles), angles, v)[0]


def _parameter_shift(circuit: CircuitSpec, theta: Tensor, v: Tensor, method: GradientMethod) -> Tensor:
    return _by_terms(circuit, theta, v, method, shift_rules(circuit))


def _finite_difference(circuit: CircuitSpec, theta: Tensor, v: Tensor, method: GradientMethod) -> Tensor:
    h = difference_step(method.instrument.shots)
    return _by_terms(circuit, theta, v, method, [((h, 0.5 / h), (-h, -0.5 / h))] * len(circuit.kinds))


def difference_step(shots: int | None, dtype: torch.dtype = torch.float64) -> float:
    """h in radians that minimises ``noise / h + h**2 / 6``, the two errors of a central difference.

    There ``noise / h = h**2 / 3``: the noise's error is twice the other, not its equal.
    The noise of a probability is the rounding of its dtype, or the spread of a frequency, 1 / sqrt(shots).
    """
    noise = torch.finfo(dtype).eps if shots is None else 1 / math.sqrt(shots)
    return (3 * noise) ** (1 / 3)


def _by_terms(
    circuit: CircuitSpec, theta: Tensor, v: Tensor, method: GradientMethod, rules: list[tuple[ShiftTerm, ...]]
) -> Tensor:
    """``g_j = sum over the rule's terms of c C(theta + x e_j)``: one rule for each kind of angle."""
    b, layers, n, r = circuit.angle_shape
    flat = theta.reshape(b, -1)  # (b, A), angle j of kind j % r
    moves = [(j, *term) for j in range(layers * n * r) for term in rules[j % r]]
    found = torch.zeros_like(flat)
    for first, last in _parts(len(moves), circuit):
        where = torch.tensor([move[0] for move in moves[first:last]], device=theta.device)  # (k,)
        shift, factor = theta.new_tensor([move[1:] for move in moves[first:last]]).unbind(1)
        copies = flat.repeat(last - first, 1, 1)  # (k, b, A)
        copies[torch.arange(last - first, device=theta.device), :, where] += shift[:, None]
        values = _contracted(circuit, copies, v, method)  # (k, b)
        found.index_add_(1, where, (factor[:, None] * values).T)
    return found.view_as(theta)


def _spsa(circuit: CircuitSpec, theta: Tensor, v: Tensor, method: GradientMethod) -> Tensor:
    flat = theta.reshape(len(theta), -1)  # (b, A)
    found = torch.zeros_like(flat)
    for first, last in _parts(method.samples, circuit, of=2):
        size = (last - first, *flat.shape)
        signs = torch.randint(0, 2, size, generator=method.generator).to(flat) * 2 - 1  # (k, b, A)
        both = torch.cat((flat + method.step * signs, flat - method.step * signs))  # (2k, b, A)
        up, down = _contracted(circuit, both, v, method).chunk(2)  # (k, b) each
        found += ((up - down)[..., None] * signs).sum(0) / (2 * method.step)
    return (found / method.samples).view_as(theta)


def _contracted(circuit: CircuitSpec, copies: Tensor, v: Tensor, method: GradientMethod) -> Tensor:
    """C of k copies of every circuit, measured: (k, b, A) -> (k, b)."""
    angles = copies.view(-1, *circuit.angle_shape[1:])  # (k * b, L, n, r)
    p = method.instrument.probabilities(circuit, angles, method.generator)
    return (p.view(len(copies), *v.shape) * v).sum(-1)


def _parts(count: int, circuit: CircuitSpec, of: int = 1) -> Iterator[tuple[int, int]]:
    """Ranges of what runs at once, each `of` so many copies of all circuits of the batch."""
    b, layers, n, r = circuit.angle_shape
    matrices = min(layers, BLOCK_LAYERS) * -(-n // GROUP_QUBITS) * 4**GROUP_QUBITS
    size = max(1, NUMBERS_AT_ONCE // (of * b * (2**n + matrices + layers * n * r)))
    for first in range(0, count, size):
        yield first, min(first + size, count)


_ESTIMATE: dict[str, Callable[[CircuitSpec, Tensor, Tensor, GradientMethod], Tensor]] = {
    "adjoint": _adjoint,
    "parameter-shift": _parameter_shift,
    "spsa": _spsa,
    "finite-difference": _finite_difference,
}
