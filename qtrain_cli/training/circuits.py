"""How a fit runs its circuits: in the engine, or measured (sampled, or on a PennyLane device), at what cost.

Measured, a step runs every circuit once for the weights and some more for their gradient
(`quantum.gradients`). All that is random in step k follows from the seed and k alone, so a resumed run draws
what the undisturbed one would have drawn. Validation uses exact probabilities: it chooses angles for an
artifact that is regenerated exactly, and the luck of a draw must not choose.

z from frequencies, ``2**n f - 1``, is unbiased with a spread of about ``sqrt(2**n / shots)``. So are the
weights of a linear mapping; the mlp's, and the loss, are off by something that shrinks as 1 / shots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from qtrain_cli.errors import UsageError, suggestion
from qtrain_cli.methods.generator.generator import Simulate
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.estimators import ESTIMATORS, Cost
from qtrain_cli.quantum.gradients import (
    GradientMethod,
    Instrument,
    measured_probabilities,
    run_exactly,
    with_shots,
)
from qtrain_cli.quantum.pennylane_bridge import on_device, open_device
from qtrain_cli.quantum.statevector import probabilities
from qtrain_cli.settings import FitSettings, GradientSettings

#: Circuits that a fit may run in the engine: hours at 10 qubits. A device takes milliseconds for each.
MAX_EVALUATIONS, MAX_DEVICE_EVALUATIONS = 10**7, 10**6


class StepCircuits:
    """Runs the circuits of each training step."""

    def __init__(self, settings: GradientSettings, seed: int) -> None:
        self._settings, self._seed = settings, seed
        self._instrument = Instrument(_backend(settings), settings.shots)

    def take(self) -> tuple[int, int]:
        """Circuits and shots since the last call, which begins a new count."""
        cost = self._instrument.cost
        taken = cost.evaluations, cost.shots
        cost.evaluations = cost.shots = 0
        return taken

    def at(self, step: int) -> Simulate:
        """What gives the probabilities of this step, counted from 0."""
        if not measures(self._settings):
            return probabilities
        generator = torch.Generator().manual_seed(_step_seed(self._seed, step))
        chosen = self._settings
        method = GradientMethod(chosen.method, self._instrument, generator, chosen.spsa_samples)
        return partial(measured_probabilities, method=method)


def measures(settings: GradientSettings) -> bool:
    """Whether circuits are measured, and so counted."""
    return ESTIMATORS[settings.method].measures


def check_gradient(settings: GradientSettings, circuit: CircuitSpec) -> None:
    """Raises `UsageError` for what does not go together, `BadInput` for a device that is not there."""
    if settings.method not in ESTIMATORS:
        raise UsageError(
            f"--gradient '{settings.method}' does not exist", suggestion(settings.method, ESTIMATORS)
        )
    given = {"--shots": settings.shots, "--pennylane-device": settings.pennylane_device}
    options = [option for option, value in given.items() if value is not None]
    if options and not measures(settings):
        raise UsageError(
            f"--gradient {settings.method} needs amplitudes and cannot go with {' and '.join(options)}",
            "add --gradient parameter-shift or --gradient spsa",
        )
    if settings.method != "spsa" and settings.spsa_samples != GradientSettings.spsa_samples:
        raise UsageError(
            f"--spsa-samples does not go with --gradient {settings.method}",
            "leave it out, or add --gradient spsa",
        )
    if settings.pennylane_device is not None:
        open_device(settings.pennylane_device, circuit.qubits)


def fit_cost(settings: GradientSettings, circuit: CircuitSpec, steps: int) -> Cost:
    """What so many steps measure: circuits and shots, none in the engine."""
    if not measures(settings):
        return Cost()
    a_step = circuit.circuits + ESTIMATORS[settings.method].evaluations(circuit, settings.spsa_samples)
    return Cost(a_step * steps, a_step * steps * (settings.shots or 0))


def check_cost(settings: FitSettings, circuit: CircuitSpec, rows: int) -> Cost:
    """What the whole fit measures. Raises `UsageError` where nobody would wait for it."""
    gradient, steps = settings.gradient, settings.steps(rows)
    cost = fit_cost(gradient, circuit, steps)
    most = MAX_DEVICE_EVALUATIONS if gradient.pennylane_device else MAX_EVALUATIONS
    if cost.evaluations > most:
        raise UsageError(
            f"--gradient {gradient.method} would run {cost.evaluations:,} circuits"
            f" ({cost.evaluations // steps:,} in each of {steps:,} steps); allowed: {most:,}",
            "use --gradient spsa, fewer --layers or --params, fewer --epochs, or a larger --batch-size",
        )
    return cost


def in_words(cost: Cost) -> str:
    """``12,000 circuits, 1,200,000 shots``."""
    shots = f", {cost.shots:,} shots" if cost.shots else ", exact probabilities"
    return f"{cost.evaluations:,} circuits{shots}"


def _backend(settings: GradientSettings) -> Callable[[CircuitSpec, Tensor, torch.Generator], Tensor]:
    if settings.pennylane_device:
        return on_device(settings.pennylane_device, settings.shots)
    return with_shots(settings.shots) if settings.shots else run_exactly


def _step_seed(seed: int, step: int) -> int:
    """A seed of its own for each step. Torch's generator uses 32 bits of it, so those are mixed well."""
    return int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:4], "big")
