"""`qtrain plan`: what a budget buys, before any training, with a short measured probe.

Seconds a step are measured on this machine: of a whole training step when the shape of an input is known,
otherwise of the generator alone (the record says which). Memory is the generator's part.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qtrain_cli.artifact.description import design_of
from qtrain_cli.artifact.size import Known, bytes_bound
from qtrain_cli.errors import UsageError
from qtrain_cli.methods.generator.angles import start_angles
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.mapping import start_numbers
from qtrain_cli.methods.generator.planning import plan_generator
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.models import LoadedModel, load_model
from qtrain_cli.models.call import call_model, predict
from qtrain_cli.quantum.circuit import ANSATZE
from qtrain_cli.results.ratios import bytes_ratio as bytes_ratio_of
from qtrain_cli.results.ratios import parameter_ratio as parameter_ratio_of
from qtrain_cli.settings import PlanSettings
from qtrain_cli.targets.layout import complete, kept_tensors, layout_of
from qtrain_cli.training.devices import on_device, resolve_device
from qtrain_cli.training.whitened import state_bytes

PROBE_SECONDS = 1.0
PROBE_STEPS = 20
#: Of the probe's inputs: beyond any memory, and well below what torch can count with.
MAX_BATCH_NUMBERS = 2**40
#: State vectors alive at once in the backward sweep: psi, the pair (psi, lambda), its spare, p and v.
LIVE_STATES = 7


@dataclass(frozen=True)
class PlanRecord:
    """What `compress` would train. `artifact_bytes` is an upper bound, `seconds_per_step` measured on
    what `probe` says, `memory_bytes` the generator's share."""

    model: str
    trust: str
    weights: int
    kept_weights: int
    qubits: int
    layers: int
    circuits: int
    ansatz: str
    entangler: str
    mapping: str
    angle_bits: int
    trained_numbers: int
    parameter_ratio: float
    artifact_bytes: int
    model_bytes: int
    bytes_ratio: float
    memory_bytes: int
    seconds_per_step: float
    probe: str
    device: str


def run(settings: PlanSettings) -> PlanRecord:
    """Plans one model. Raises as loading and planning do: UsageError, BadInput, Refused."""
    device = resolve_device(settings.fit.device)
    loaded = load_model(settings.model)
    layout = layout_of(loaded.module, settings.budget.targets, settings.budget.ignore)

    def file_bytes(spec: GeneratorSpec) -> int:
        return bytes_bound(spec, Known(loaded.name, bare=settings.budget.bare))

    spec = plan_generator(layout, settings.budget, settings.fit.seed, file_bytes)
    seconds, probe = _probe(spec, loaded, settings, device)
    design, artifact_bytes = design_of(spec), file_bytes(spec)
    return PlanRecord(
        **vars(design),
        model=loaded.name,
        trust=loaded.trust,
        entangler=spec.circuit.entangler,
        parameter_ratio=parameter_ratio_of(layout.generated, layout.kept, spec.trained_numbers),
        artifact_bytes=artifact_bytes,
        bytes_ratio=bytes_ratio_of(design.model_bytes, artifact_bytes),
        memory_bytes=_memory(spec),
        seconds_per_step=seconds,
        probe=probe,
        device=str(device),
    )


def _memory(spec: GeneratorSpec) -> int:
    """Bytes of the state vectors, of the weights with their scales, centres and gradients (float32), and of
    what the descent keeps of the trained numbers."""
    amplitude = 4 if ANSATZE[spec.circuit.ansatz].real else 8
    states = LIVE_STATES * amplitude * spec.circuit.outcomes
    return states + 6 * 4 * spec.layout.generated + state_bytes(spec.trained_numbers)


def _probe(
    spec: GeneratorSpec, loaded: LoadedModel, settings: PlanSettings, device: torch.device
) -> tuple[float, str]:
    """Median seconds of a step, forward and backward, and what was measured."""
    generator = Generator(spec, device)
    theta = start_angles(spec.circuit, settings.fit.seed).float().to(device).requires_grad_()
    numbers = (
        start_numbers(spec, torch.Generator().manual_seed(settings.fit.seed)).to(device).requires_grad_()
    )
    if not settings.input_shape:
        return _median_seconds(lambda: generator.weights(theta, numbers).sum(), device), "generator alone"
    state = on_device(loaded.module.to(device).state_dict(keep_vars=True), device)
    size = settings.fit.batch_size * math.prod(settings.input_shape)
    if size > MAX_BATCH_NUMBERS:
        raise UsageError(
            f"a batch of the --input-shape has {size} numbers; allowed: {MAX_BATCH_NUMBERS}",
            "use a smaller --batch-size or --input-shape",
        )
    inputs = torch.rand(settings.fit.batch_size, *settings.input_shape, device=device)
    predict(loaded.module, state, inputs[:2], lambda batch: batch)
    loaded.module.train()
    kept = kept_tensors(spec.layout, state)

    def step() -> Tensor:
        whole = complete(spec.layout, generator.tensors(theta, numbers), kept)
        return call_model(loaded.module, whole, inputs).square().mean()

    return _median_seconds(step, device), f"training step, batch {settings.fit.batch_size}"


def _median_seconds(loss: Callable[[], Tensor], device: torch.device) -> float:
    """The median of repeated forward and backward passes, the first (warm-up) left out."""
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 2 or (len(times) < PROBE_STEPS and time.perf_counter() - began < PROBE_SECONDS):
        started = time.perf_counter()
        loss().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])
