"""`qtrain plan`: what a budget buys, before any training, with a short measured probe.

Seconds a step and memory are measured on this machine (`runs.probing`): of a whole training step when the
shape of an input is known, otherwise of the generator alone (the record says which).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from qtrain_cli.artifact.description import design_of
from qtrain_cli.artifact.size import Known
from qtrain_cli.methods.generator.angles import trained_start
from qtrain_cli.methods.generator.plan import plan_of
from qtrain_cli.methods.generator.planning import said_of_faster
from qtrain_cli.methods.generator.scrambling import check_start, start_variance
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.methods.method import Scene
from qtrain_cli.methods.table import OURS
from qtrain_cli.models import LoadedModel, load_model
from qtrain_cli.models.call import file_state
from qtrain_cli.runs.grounds import base_beside, changed_layout
from qtrain_cli.runs.layouts import layout_for
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.materials import asked_change
from qtrain_cli.runs.probing import forget_peak, probe
from qtrain_cli.runs.sizing import Measure, planned_ours
from qtrain_cli.runs.targeting import said_of_candidates
from qtrain_cli.settings import PlanSettings
from qtrain_cli.training.devices import moved_to, resolve_device
from qtrain_cli.training.dividing import said_of_circuits, timed
from qtrain_cli.training.ranks import present


@dataclass(frozen=True)
class PlanRecord:
    """What `compress` would train. `artifact_bytes` is an upper bound, `seconds_per_step` measured on
    what `probe` says, of which `circuit_seconds` are the circuits', `memory_bytes` the process's without the
    rows of the data; `start_variance` is that of z, near 2 for real and 1 for complex amplitudes."""

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
    circuit_seconds: float = 0.0
    start_variance: float = 0.0
    processes: int = 1


def run(settings: PlanSettings, log: Log = lambda line: None) -> PlanRecord:
    """Plans one model; `log` is called with what was chosen or left out of its file.

    Raises:
        UsageError, BadInput, Refused: as loading and planning do.
    """
    budget, device = settings.budget, resolve_device(settings.fit.device)
    forget_peak(device)
    loaded = load_model(settings.model, settings.change.base if settings.change else None)
    for line in loaded.said:
        log(line)
    scene = _scene(loaded, settings, device)
    if scene.change and settings.change.target is None and not budget.targets:
        said = said_of_candidates(loaded.module)
        if said:
            log(said)
    known = Known(
        loaded.name, bare=budget.bare, entry=loaded.entry, output=loaded.output, change=scene.change,
        precision=settings.fit.precision, processes=settings.fit.processes,
    )  # fmt: skip
    sizes = Measure(OURS, scene, known)
    spec = planned_ours(sizes, budget)
    variance = start_variance(spec, device)
    for line in filter(None, ("" if scene.change else check_start(spec, variance), said_of_faster(spec))):
        log(line)
    if present().several:
        _say_of_circuits(spec, device, log)
    found = probe(sizes.sized(plan_of(spec)), scene, settings)
    design, artifact_bytes = design_of(spec, scene.change), sizes.bytes(plan_of(spec), spec.angles.bits)
    return PlanRecord(
        **vars(design),
        model=loaded.name,
        trust=loaded.trust,
        entangler=spec.circuit.entangler,
        parameter_ratio=design.parameter_ratio,
        artifact_bytes=artifact_bytes,
        bytes_ratio=design.bytes_ratio(artifact_bytes),
        memory_bytes=found.memory,
        seconds_per_step=found.seconds,
        probe=found.what,
        device=str(device),
        circuit_seconds=found.circuit_seconds,
        start_variance=variance,
        processes=settings.fit.processes,
    )


def _say_of_circuits(spec: GeneratorSpec, device: torch.device, log: Log) -> None:
    """Which circuits each process is going to run and why, and what either way took just now."""
    log(said_of_circuits(spec, present()))
    if spec.circuit.circuits >= present().count:
        every, part = timed(spec, trained_start(spec).float().to(device), present())
        log(f"measured: all circuits {1e3 * every:.3g} ms, a part and the exchange {1e3 * part:.3g} ms")


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
