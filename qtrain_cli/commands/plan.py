"""`qtrain plan`: what a budget buys, before any training, with a short measured probe.

Seconds a step are measured on this machine: of a whole training step when the shape of an input is known,
otherwise of the generator alone (the record says which). Memory is the generator's part.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qtrain_cli.artifact.description import design_of
from qtrain_cli.artifact.size import Known
from qtrain_cli.data.inputs import Inputs, tensors_in
from qtrain_cli.errors import UsageError
from qtrain_cli.methods.generator.plan import plan_of
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.methods.method import Scene
from qtrain_cli.methods.table import OURS
from qtrain_cli.models import LoadedModel, load_model
from qtrain_cli.models.call import file_state, predict
from qtrain_cli.models.probes import RowShapes, made_inputs
from qtrain_cli.quantum.circuit import ANSATZE
from qtrain_cli.runs.grounds import base_beside, changed_layout
from qtrain_cli.runs.layouts import layout_for
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.materials import asked_change
from qtrain_cli.runs.sizing import Measure, planned_ours
from qtrain_cli.runs.targeting import said_of_candidates
from qtrain_cli.settings import PlanSettings
from qtrain_cli.training.batches import Batch
from qtrain_cli.training.devices import moved_to, resolve_device
from qtrain_cli.training.generated import Generated, Sized
from qtrain_cli.training.whitened import state_bytes
from qtrain_cli.training.work import work_of

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
    kept_tensors: dict[str, str]
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
    target: str | None = None
    base: str | None = None
    base_sha256: str | None = None
    finetune_bytes: int | None = None
    lora_numbers: int | None = None
    seeded_layers: int = 0


def run(settings: PlanSettings, log: Log = lambda line: None) -> PlanRecord:
    """Plans one model; `log` is called with what was chosen or left out of its file.

    Raises:
        UsageError, BadInput, Refused: as loading and planning do.
    """
    budget, device = settings.budget, resolve_device(settings.fit.device)
    loaded = load_model(settings.model)
    for line in loaded.said:
        log(line)
    scene = _scene(loaded, settings, device)
    if scene.change and settings.change.target is None and not budget.targets:
        said = said_of_candidates(loaded.module)
        if said:
            log(said)
    known = Known(
        loaded.name, bare=budget.bare, entry=loaded.entry, output=loaded.output, change=scene.change,
        precision=settings.fit.precision,
    )  # fmt: skip
    sizes = Measure(OURS, scene, known)
    spec = planned_ours(sizes, budget)
    seconds, probe = _probe(sizes.sized(plan_of(spec)), scene, settings)
    design, artifact_bytes = design_of(spec, scene.change), sizes.bytes(plan_of(spec), spec.angles.bits)
    return PlanRecord(
        **vars(design),
        model=loaded.name,
        trust=loaded.trust,
        entangler=spec.circuit.entangler,
        parameter_ratio=design.parameter_ratio,
        artifact_bytes=artifact_bytes,
        bytes_ratio=design.bytes_ratio(artifact_bytes),
        memory_bytes=_memory(spec),
        seconds_per_step=seconds,
        probe=probe,
        device=str(device),
    )


def _scene(loaded: LoadedModel, settings: PlanSettings, device: torch.device) -> Scene:
    """The model for a plan, which knows no data, and so no head that a base may lack."""
    budget, module, ground = settings.budget, loaded.module, None
    patterns = (budget.targets, budget.ignore)
    change = asked_change(settings.model, settings.change)
    if change is None:
        layout = layout_for(module, patterns, settings.model)
    else:
        layout, ground = changed_layout(module, base_beside(change, loaded), patterns, settings.fit.seed)
        ground = ground.moved_to(device)
    module.to(device)
    teacher = moved_to(file_state(module), device)
    return Scene(module, teacher, layout, None, (), settings.fit.seed, device, ground=ground)


def _memory(spec: GeneratorSpec) -> int:
    """Bytes of the state vectors, of the weights with their scales, centres and gradients (float32), and of
    what the descent keeps of the trained numbers."""
    amplitude = 4 if ANSATZE[spec.circuit.ansatz].real else 8
    states = LIVE_STATES * amplitude * spec.circuit.outcomes
    return states + 6 * 4 * spec.layout.generated + state_bytes(spec.trained_numbers)


def _probe(chosen: Sized, scene: Scene, settings: PlanSettings) -> tuple[float, str]:
    """Median seconds of a step, forward and backward, and what was measured."""
    trainee = Generated(chosen, scene, lambda kept: 0.0, precision=settings.fit.precision)
    if not settings.input_shape:
        return _median_seconds(lambda: _sum(trainee), scene.device), "generator alone"
    size = (settings.fit.batch_size or 2) * _numbers(settings.input_shape)
    if size > MAX_BATCH_NUMBERS:
        raise UsageError(
            f"a batch of the --input-shape has {size} numbers; allowed: {MAX_BATCH_NUMBERS}",
            "use a smaller --batch-size or --input-shape",
        )
    few = _inputs(scene, settings, 2)
    batch = settings.fit.for_work(1, work_of(scene.module, few[:1])).batch_size
    inputs = _inputs(scene, settings, batch)
    rows = Batch(0, inputs, inputs, torch.empty(batch, 0))
    numbers = all(map(Tensor.is_floating_point, tensors_in(few)))
    what = "" if numbers else " of tokens that were drawn"
    return _median_seconds(
        lambda: trainee.outputs(rows).scores.square().mean(), scene.device
    ), f"training step, batch {batch}{what}"


def _numbers(shapes: RowShapes) -> int:
    """How many one input has."""
    each = shapes.values() if isinstance(shapes, Mapping) else (shapes,)
    return sum(map(math.prod, each))


def _inputs(scene: Scene, settings: PlanSettings, rows: int) -> Inputs:
    """Rows of the --input-shape that the model takes. Raises `BadInput` where there are none."""

    def run(module: nn.Module, inputs: Inputs) -> Tensor:
        return predict(module, scene.teacher, inputs, lambda given: given)

    return made_inputs(settings.input_shape, rows, scene.module, run).to(scene.device)


def _sum(trainee: Generated) -> Tensor:
    """Of all generated weights."""
    made = trainee.decode(trainee.numbers).values()
    return torch.stack([tensor.float().sum() for tensor in made]).sum()


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
