"""A short measured probe of a training that has not begun: what a step takes, and what the process holds.

The steps are those of `compress`: circuits, mapping, the model with its generated weights, gradients,
descent. Its turns of the eigenbasis, which come every so many steps, are timed once and shared out. Memory
is the most that this process held, libraries included, or a GPU; the rows of the data are not in it.
Without the shape of an input it is the generator alone that runs.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from qtrain_cli.data.inputs import Inputs, tensors_in
from qtrain_cli.errors import UsageError
from qtrain_cli.files.system import most_held
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.plan import ANGLES, spec_of
from qtrain_cli.methods.method import Scene
from qtrain_cli.models.call import predict
from qtrain_cli.models.probes import RowShapes, made_inputs
from qtrain_cli.quantum.statevector import probabilities
from qtrain_cli.settings import PlanSettings
from qtrain_cli.training.batches import Batch
from qtrain_cli.training.descent import Descent, Rate, start_descent
from qtrain_cli.training.dividing import divided_circuits
from qtrain_cli.training.exchange import Exchange, StepSums
from qtrain_cli.training.generated import Generated, Sized
from qtrain_cli.training.loop import median_seconds
from qtrain_cli.training.ranks import present
from qtrain_cli.training.whitened import EVERY, WhitenedAdam, state_bytes
from qtrain_cli.training.work import work_of

PROBE_SECONDS = 1.0
PROBE_STEPS = 20
#: Of the probe's inputs: beyond any memory, and well below what torch can count with.
MAX_BATCH_NUMBERS = 2**40
#: The probe's descent: so small that the angles stay where they are.
_STILL = Rate(1e-9, whitened=True)


@dataclass(frozen=True)
class Probed:
    """Seconds of a step, and of the circuits in it; bytes; and what was measured."""

    seconds: float
    circuit_seconds: float
    memory: int
    what: str


def probe(chosen: Sized, scene: Scene, settings: PlanSettings) -> Probed:
    """Runs some steps. Raises `UsageError`, `BadInput` for inputs that cannot be."""
    circuits = divided_circuits(spec_of(chosen.layout, chosen.plan), present())
    trainee = Generated(chosen, scene, lambda kept: 0.0, circuits, settings.fit.precision)
    loss, what = _sum_of(trainee), "generator alone"
    if settings.input_shape:
        loss, what = _step_of(trainee, scene, settings)
    trained = tuple(trainee.parameters().values())
    descent, exchange = start_descent(trained, _STILL, 10**6), Exchange(present(), trained, 0)

    def step() -> None:
        with exchange.around_step(0):
            descent.optimizer.zero_grad()
            loss().backward()
            exchange.of_step(StepSums(0.0, 0.0, torch.zeros(2, dtype=torch.float64)))
        descent.step()

    seconds = _median_seconds(step, scene.device) + _turning_seconds(descent)
    circuit = _median_seconds(_circuits_of(trainee, chosen), scene.device)
    # A checkpoint is the descent's state once more, and its bytes.
    memory = peak_memory(scene.device) + 2 * state_bytes(chosen.numbers)
    return Probed(seconds, circuit, memory, what)


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process held since `forget_peak`, or were taken on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return most_held()


def forget_peak(device: torch.device) -> None:
    """Begins `peak_memory` anew, where the system can do that: what was held before is nobody's business."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _sum_of(trainee: Generated) -> Callable[[], Tensor]:
    """Of all generated weights."""

    def loss() -> Tensor:
        made = trainee.decoded_at(0)(trainee.numbers).values()
        return torch.stack([tensor.float().sum() for tensor in made]).sum()

    return loss


def _step_of(trainee: Generated, scene: Scene, settings: PlanSettings) -> tuple[Callable[[], Tensor], str]:
    """A loss of the model's outputs on inputs that were made up, and what is said of it."""
    size = (settings.fit.batch_size or 2) * _numbers(settings.input_shape)
    if size > MAX_BATCH_NUMBERS:
        raise UsageError(
            f"a batch of the --input-shape has {size} numbers; allowed: {MAX_BATCH_NUMBERS}",
            "use a smaller --batch-size or --input-shape",
        )
    few = _inputs(scene, settings, 2)
    whole = settings.fit.for_work(1, work_of(scene.module, few[:1])).batch_size
    batch = -(-whole // present().count)
    inputs = _inputs(scene, settings, batch)
    rows = Batch(0, inputs, inputs, torch.empty(batch, 0))
    numbers = all(map(Tensor.is_floating_point, tensors_in(few)))
    drawn = "" if numbers else " of tokens that were drawn"
    share = f", {batch} rows in each of {present().count} processes" if present().several else ""
    return lambda: trainee.outputs(rows).scores.square().mean(), f"training step, batch {whole}{drawn}{share}"


def _circuits_of(trainee: Generated, chosen: Sized) -> Callable[[], None]:
    """Forward and backward pass of the circuits alone, of several processes each its part of them."""
    spec, theta = spec_of(chosen.layout, chosen.plan), trainee.numbers[ANGLES].detach().requires_grad_()
    generator = Generator(spec, theta.device)
    run = trainee.circuits.at(0) if trainee.circuits else probabilities
    ones = theta.new_ones(spec.circuit.circuits, 2**spec.circuit.qubits)
    return lambda: generator.all_probabilities(theta, run).backward(ones)


def _turning_seconds(descent: Descent) -> float:
    """Of a step's share in the turns of the descent's basis."""
    if not isinstance(descent.optimizer, WhitenedAdam):
        return 0.0
    started = time.perf_counter()
    descent.optimizer.turn()
    return (time.perf_counter() - started) / EVERY


def _numbers(shapes: RowShapes) -> int:
    """How many one input has."""
    each = shapes.values() if isinstance(shapes, Mapping) else (shapes,)
    return sum(map(math.prod, each))


def _inputs(scene: Scene, settings: PlanSettings, rows: int) -> Inputs:
    """Rows of the --input-shape that the model takes. Raises `BadInput` where there are none."""

    def run(module: nn.Module, inputs: Inputs) -> Tensor:
        return predict(module, scene.teacher, inputs, lambda given: given)

    return made_inputs(settings.input_shape, rows, scene.module, run).to(scene.device)


def _median_seconds(step: Callable[[], object], device: torch.device) -> float:
    """Of a call, with what a GPU has to do for it."""

    def ended(number: int) -> None:
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return median_seconds(ended, 2, PROBE_STEPS, PROBE_SECONDS)
