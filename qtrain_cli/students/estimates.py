"""A circuit's gradient by any of four estimators, with finite shots or without, and what each costs.

`run(theta, phi)` gives the outputs e (N, k) of N circuits, theta shared, phi (N, T) the data rotations' half
angles. For a cotangent v the estimators return sum(v de / d theta) and v de / d phi, at the cost of so many
circuits whose outcomes are read, as `quantum.estimators` counts them (adjoint reads amplitudes, which cost
time and no circuit):

    adjoint              exact, by the engine's sweep: a simulation only              N circuit runs
    parameter-shift      sum of c e(a + x), exact (`estimators.shift_rule`)           N + 2 N (P + T)
    finite-difference    (e(a + h) - e(a - h)) / 2 h                                  N + 2 N (P + T)
    spsa                 (e(a + c d) - e(a - c d)) / 2 c * d, d random signs          N + 2 N

P angles of the ansatz, T data rotations (0 where no gradient enters the features, as in a qnn of amplitudes).
phi is half an angle, so it shifts by half of a rotation's rule with twice its factor. Rules and the step h
are those of `quantum.gradients`; there every circuit has angles of its own, here a batch shares them, and the
data turn with them. In SPSA (Spall 1992; c = h) theta moves in one direction for the batch, and phi in one
for each sample.

Shots: each run draws S outcomes of all qubits, and every output is read off the same ones, as on a device:
e = f @ observables^T with the frequencies f of the outcomes (`quantum.shots`, O(2**n) whatever S). So one run
costs S shots. Drawn from PyTorch's global generator, so that a checkpoint holds its state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.quantum.estimators import Cost, ShiftTerm, shift_rule, shift_rules
from qtrain_cli.quantum.gradients import difference_step
from qtrain_cli.quantum.operations import OPERATIONS
from qtrain_cli.quantum.shots import sampled
from qtrain_cli.students.layout import Execution, Layout

RunCircuit = Callable[[Tensor, Tensor], Tensor]


def measured(p: Tensor, observables: Tensor, shots: int) -> Tensor:
    """Outputs (N, k) of probabilities (N, 2**n) and diagonals (k, 2**n): of S joint outcomes; exact for 0."""
    if shots:
        broken = 0 * p.detach().sum(1, keepdim=True)  # 0, or not a number: which must not become outcomes
        p = sampled(p, shots, torch.default_generator) + broken
    return p @ observables.T


def differentiated(
    run: RunCircuit, theta: Tensor, phi: Tensor, layout: Layout, how: Execution, cost: Cost
) -> Tensor:
    """``run(theta, phi)`` with the gradient that `how` asks for; without gradients it just runs.

    Circuit runs, one on one sample each, are added to the cost.
    """
    needed = torch.is_grad_enabled() and (theta.requires_grad or phi.requires_grad)
    if how.gradient == "adjoint" or not needed:
        cost.evaluations += len(phi)
        return run(theta, phi)
    found: Tensor = _Estimated.apply(theta, phi, run, layout, how, cost)
    return found


class _Estimated(torch.autograd.Function):
    """Outputs by running the circuit; gradients by running it again."""

    @staticmethod
    def forward(
        ctx: Any, theta: Tensor, phi: Tensor, run: RunCircuit, layout: Layout, how: Execution, cost: Cost
    ) -> Tensor:
        ctx.save_for_backward(theta, phi)
        ctx.run, ctx.layout, ctx.how, ctx.cost = run, layout, how, cost
        cost.evaluations += len(phi)
        return run(theta, phi)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor | None, None, None, None, None]:
        theta, phi = ctx.saved_tensors

        def counted(moved: Tensor, angles: Tensor) -> Tensor:
            """v e of every sample, (N,)."""
            ctx.cost.evaluations += len(phi)
            found: Tensor = (v * ctx.run(moved, angles)).sum(1)
            return found

        wants_phi = ctx.needs_input_grad[1]
        step = difference_step(ctx.how.shots or None, theta.dtype)
        if ctx.how.gradient == "spsa":
            return *_spsa(counted, theta, phi, wants_phi, step), None, None, None, None
        rules = _rules(ctx.layout, ctx.how, step)
        return *_shifted(counted, theta, phi, wants_phi, rules), None, None, None, None


def _rules(layout: Layout, how: Execution, step: float) -> list[tuple[ShiftTerm, ...]]:
    """Of each of a qubit's r angles, and, the last one, of a data rotation's full angle."""
    if how.gradient == "finite-difference":
        return [((step, 0.5 / step), (-step, -0.5 / step))] * (len(layout.circuit.kinds) + 1)
    return [*shift_rules(layout.circuit), shift_rule(OPERATIONS["RZ"].frequencies)]


def _shifted(
    run: RunCircuit, theta: Tensor, phi: Tensor, wants_phi: bool, rules: list[tuple[ShiftTerm, ...]]
) -> tuple[Tensor, Tensor | None]:
    """A few runs an angle: its rule's terms, ``sum of c C(a + x)``."""
    by_theta = torch.zeros_like(theta)
    for index, unit in _units(theta):
        rule = rules[index % theta.shape[-1]]
        by_theta.view(-1)[index] = sum(c * run(theta + x * unit, phi).sum() for x, c in rule)
    if not wants_phi:
        return by_theta, None
    by_phi = torch.zeros_like(phi)
    for index, unit in _units(phi[0]):
        by_phi[:, index] = sum(2 * c * run(theta, phi + x / 2 * unit) for x, c in rules[-1])
    return by_theta, by_phi


def _units(like: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each entry's number with a tensor that is 1 there and 0 elsewhere."""
    for index in range(like.numel()):
        unit = torch.zeros_like(like)
        unit.view(-1)[index] = 1
        yield index, unit


def _spsa(
    run: RunCircuit, theta: Tensor, phi: Tensor, wants_phi: bool, step: float
) -> tuple[Tensor, Tensor | None]:
    """Two runs in all: every angle moves at once, by random signs."""
    signs = torch.randint(0, 2, theta.shape).to(theta) * 2 - 1
    per_sample = torch.randint(0, 2, phi.shape).to(phi) * 2 - 1 if wants_phi else torch.zeros_like(phi)
    up = run(theta + step * signs, phi + step * per_sample)
    down = run(theta - step * signs, phi - step * per_sample)
    slope = (up - down) / (2 * step)  # (N,)
    return slope.sum() * signs, slope[:, None] * per_sample if wants_phi else None
