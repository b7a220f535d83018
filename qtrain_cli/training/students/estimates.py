"""A circuit's gradient by any of four estimators, with finite shots or without, and what each costs.

`run(theta, phi)` gives the outputs e (N, k) of N circuits, theta shared, phi (N, T) the data rotations' half
angles. For a cotangent v the estimators return sum(v de / d theta) and v de / d phi:

    adjoint              exact, by the engine's sweep: a simulation only              3 N circuit runs
    parameter-shift      e(a + s) - e(a - s), exact for Pauli rotations               N + 2 N (P + T)
    finite-difference    (e(a + h) - e(a - h)) / 2 h                                  N + 2 N (P + T)
    spsa                 (e(a + c d) - e(a - c d)) / 2 c * d, d random signs          N + 2 N

P angles of the ansatz, T data rotations (0 where no gradient enters the features, as in a qnn of amplitudes).
A rotation exp(-i a P / 2) shifts by pi/2 with factor 1/2; phi is half an angle, so it shifts by pi/4 with
factor 1 (arXiv 1811.11184). In SPSA (Spall 1992) theta moves in one direction for the batch, and phi in one
for each sample.

Shots: each run draws S outcomes of all qubits, and every output is read off the same ones, as on a device:
e = f @ observables^T with the frequencies f of the outcomes (`quantum.shots`, O(2**n) whatever S). So one run
costs S shots. Drawn from PyTorch's global generator, so that a checkpoint holds its state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.quantum.shots import sampled
from qtrain_cli.training.students.layout import Execution

#: Steps of the finite difference and of SPSA, in radians: small for exact runs, large against the noise of
#: shots.
EXACT_STEP, SAMPLED_STEP = 0.01, 0.3

Run = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Count:
    """How many circuits have run, one on one sample each."""

    runs: int = 0


def measured(p: Tensor, observables: Tensor, shots: int) -> Tensor:
    """Outputs (N, k) of probabilities (N, 2**n) and diagonals (k, 2**n): of S joint outcomes; exact for 0."""
    if shots:
        broken = 0 * p.detach().sum(1, keepdim=True)  # 0, or not a number: which must not become outcomes
        p = sampled(p, shots, torch.default_generator) + broken
    return p @ observables.T


def differentiated(run: Run, theta: Tensor, phi: Tensor, how: Execution, count: Count) -> Tensor:
    """``run(theta, phi)`` with the gradient that `how` asks for; without gradients it just runs."""
    needed = torch.is_grad_enabled() and (theta.requires_grad or phi.requires_grad)
    if how.gradient == "adjoint" or not needed:
        count.runs += len(phi) * (3 if needed else 1)
        return run(theta, phi)
    found: Tensor = _Estimated.apply(theta, phi, run, how, count)
    return found


class _Estimated(torch.autograd.Function):
    """Outputs by running the circuit; gradients by running it again."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, phi: Tensor, run: Run, how: Execution, count: Count) -> Tensor:
        ctx.save_for_backward(theta, phi)
        ctx.run, ctx.how, ctx.count = run, how, count
        count.runs += len(phi)
        return run(theta, phi)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        theta, phi = ctx.saved_tensors

        def counted(moved: Tensor, angles: Tensor) -> Tensor:
            """v e of every sample, (N,)."""
            ctx.count.runs += len(phi)
            found: Tensor = (v * ctx.run(moved, angles)).sum(1)
            return found

        wants_phi = ctx.needs_input_grad[1]
        estimate = _spsa if ctx.how.gradient == "spsa" else _shifted
        by_theta, by_phi = estimate(counted, theta, phi, wants_phi, ctx.how)
        return by_theta, by_phi, None, None, None


def _shifted(
    run: Run, theta: Tensor, phi: Tensor, wants_phi: bool, how: Execution
) -> tuple[Tensor, Tensor | None]:
    """Two runs an angle: parameter-shift or a central difference."""
    by_theta = torch.empty_like(theta)
    step, factor = _rule(how, half=False)
    for index, shift in _units(theta, step):
        by_theta.view(-1)[index] = ((run(theta + shift, phi) - run(theta - shift, phi)) * factor).sum()
    if not wants_phi:
        return by_theta, None
    by_phi = torch.empty_like(phi)
    step, factor = _rule(how, half=True)
    for index, shift in _units(phi[0], step):
        by_phi[:, index] = (run(theta, phi + shift) - run(theta, phi - shift)) * factor
    return by_theta, by_phi


def _rule(how: Execution, *, half: bool) -> tuple[float, float]:
    """Shift and factor for a rotation's angle, or for half of one."""
    if how.gradient == "parameter-shift":
        return (math.pi / 4, 1.0) if half else (math.pi / 2, 0.5)
    step = _step(how)
    return step, 0.5 / step


def _step(how: Execution) -> float:
    return SAMPLED_STEP if how.shots else EXACT_STEP


def _units(like: Tensor, step: float) -> Iterator[tuple[int, Tensor]]:
    """Each entry's number with a tensor that is `step` there and 0 elsewhere."""
    for index in range(like.numel()):
        shift = torch.zeros_like(like)
        shift.view(-1)[index] = step
        yield index, shift


def _spsa(
    run: Run, theta: Tensor, phi: Tensor, wants_phi: bool, how: Execution
) -> tuple[Tensor, Tensor | None]:
    """Two runs in all: every angle moves at once, by random signs."""
    step = _step(how)
    signs = torch.randint(0, 2, theta.shape).to(theta) * 2 - 1
    per_sample = torch.randint(0, 2, phi.shape).to(phi) * 2 - 1 if wants_phi else torch.zeros_like(phi)
    up = run(theta + step * signs, phi + step * per_sample)
    down = run(theta - step * signs, phi - step * per_sample)
    slope = (up - down) / (2 * step)  # (N,)
    return slope.sum() * signs, slope[:, None] * per_sample if wants_phi else None
