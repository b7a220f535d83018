"""`qtrain compress`: model and data in, artifact and record out.

    model -> layout -> plan -> fit -> code the angles -> regenerate -> measure -> write

Everything that is measured is measured on the weights that the finished file regenerates. The test split is
used once, at the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.description import (
    RUN_DIGITS,
    Description,
    Origin,
    describe_container,
    design_of,
    record_of,
)
from qtrain_cli.artifact.numbers import Artifact, Coded, Numbers, as_stored, forms_of, write_artifact
from qtrain_cli.artifact.rows import rows_of
from qtrain_cli.artifact.size import bytes_bound, example_of, known_of
from qtrain_cli.data import Dataset, load_data
from qtrain_cli.errors import UsageError
from qtrain_cli.files.atomic import check_output
from qtrain_cli.files.checkpoint import Checkpoint
from qtrain_cli.files.hashing import architecture_identity
from qtrain_cli.methods.generator.angles import encode, finest_step, movement, start_angles
from qtrain_cli.methods.generator.plan import ANGLES, MAPPING, plan_of
from qtrain_cli.methods.generator.planning import plan_generator
from qtrain_cli.methods.generator.sizes import angle_bytes, mapping_bytes
from qtrain_cli.methods.generator.spec import RAW_BITS, GeneratorSpec
from qtrain_cli.methods.table import OURS
from qtrain_cli.models import LoadedModel, load_model
from qtrain_cli.models.call import predict
from qtrain_cli.results import Measured, Record
from qtrain_cli.results.versions import VERSION, recorded_versions
from qtrain_cli.runs.regenerate import digest_of, generated, state_dict
from qtrain_cli.settings import CompressSettings
from qtrain_cli.targets.layout import layout_of
from qtrain_cli.tasks.objective import Objective, check_outputs
from qtrain_cli.training import TRAINING
from qtrain_cli.training.devices import on_device, resolve_device
from qtrain_cli.training.fit import Problem, Progress, Recovery, fit
from qtrain_cli.training.measure import measure
from qtrain_cli.training.measuring import check_cost, check_gradient, in_words, measures
from qtrain_cli.training.state import Fitted
from qtrain_cli.training.statistics import has_statistics, re_estimated


@dataclass(frozen=True)
class _Job:
    """What one call works on, once model and data are loaded and the plan is made."""

    settings: CompressSettings
    loaded: LoadedModel
    data: Dataset
    spec: GeneratorSpec
    objective: Objective
    identity: dict[str, Any]

    @property
    def run(self) -> str:
        """What the artifact remembers of model, data and settings."""
        return Checkpoint({}, {}, self.identity).fingerprint[:RUN_DIGITS]


def run(settings: CompressSettings, show: Callable[[Progress], None], log: Callable[[str], None]) -> Record:
    """Compresses one model.

    Args:
        settings: model, data, budget, fit, output.
        show: called after every training step.
        log: called with a line for each stage.

    Raises:
        UsageError, BadInput, Refused: before training, for what cannot be done.
        RunFailed, Interrupted: in training; the last state is kept beside the output.
    """
    started = time.monotonic()
    checkpoint = _check_files(settings)
    job = _prepare(settings, log)
    done = _finished(job)
    if done:
        log(f"'{settings.out}' is finished already; nothing to do")
        return done
    if settings.resume:
        where = "going on from" if checkpoint.exists() else "beginning, for there is no"
        log(f"{where} '{checkpoint}'")
    fitted = _train(job, checkpoint, show)
    if fitted.cost.evaluations:
        log(f"spent on gradients: {in_words(fitted.cost)}")
    numbers = _stored(job, fitted)
    tensors = generated(OURS, plan_of(job.spec), job.spec.layout, numbers)
    numbers = _with_fresh_statistics(job, tensors, numbers, log)
    log("measuring the regenerated weights")
    artifact, measured = _described(job, tensors, numbers)
    written = write_artifact(settings.out, artifact, force=settings.force)
    checkpoint.unlink(missing_ok=True)
    seconds = time.monotonic() - started
    return Record(design_of(job.spec), measured, len(written.data), written.sha256, seconds)


def checkpoint_path(out: Path) -> Path:
    """Where a run keeps its state until its output is finished: ``net.qtrain`` -> ``net.qtrain.ckpt``.

    Never another tool's ``net.ckpt``, whatever the output is called.
    """
    return out.with_name(out.name.removesuffix(".qtrain") + ".qtrain.ckpt")


def _check_files(settings: CompressSettings) -> Path:
    """The checkpoint's path, once neither it nor the output stands in the way."""
    go_on = settings.resume or settings.force
    named = (settings.model.arch or "", settings.data.source)
    code = [text.rpartition(":")[0] for text in named]  # of file.py:Name
    inputs = [settings.model.path, *map(Path, filter(None, (settings.data.source, *code)))]
    check_output(settings.out, force=go_on, inputs=inputs)
    checkpoint = checkpoint_path(settings.out)
    check_output(checkpoint, force=True, inputs=inputs)
    if checkpoint.exists() and not go_on:
        raise UsageError(
            f"'{checkpoint}' holds the state of an interrupted run",
            "go on from it with --resume, or begin anew with --force",
        )
    return checkpoint


def _prepare(settings: CompressSettings, log: Callable[[str], None]) -> _Job:
    device = resolve_device(settings.fit.device)
    loaded = load_model(settings.model)
    layout = layout_of(loaded.module, settings.budget.targets, settings.budget.ignore)
    data = load_data(settings.data, settings.fit.seed).for_lookups(loaded.looks_up)
    settings = replace(settings, fit=replace(settings.fit, device=str(device)).for_rows(len(data.train)))
    known = known_of(settings.fit, loaded, data, settings.budget.bare)

    def file_bytes(spec: GeneratorSpec) -> int:
        bits = 8 * (mapping_bytes(spec) + angle_bytes(spec))
        return bytes_bound(OURS, plan_of(spec), layout, known, bits)

    spec = plan_generator(layout, settings.budget, settings.fit.seed, file_bytes)
    if settings.own_lr:
        settings = replace(settings, fit=settings.fit.for_numbers(spec.trained_numbers))
    circuit = spec.circuit
    check_gradient(settings.fit.gradient, circuit)
    log(
        f"{loaded.name}: {layout.generated:,} weights from {circuit.circuits} x {circuit.qubits} qubits"
        f" x {circuit.layers} layers, {spec.trained_numbers:,} trained numbers; {layout.kept:,} numbers kept"
    )
    log(f"data: {len(data.train):,} train, {len(data.validation):,} validation, {len(data.test):,} test rows")
    _log_cost(settings, spec, len(data.train), log)
    loaded.module.to(device)
    objective = Objective(data.task, settings.fit.distill, settings.fit.temperature)
    sample = predict(loaded.module, _teacher(loaded, device), data.train.inputs[:2], data.normalisation)
    check_outputs(data.task, sample, data.train.targets[:2], data.classes)
    return _Job(settings, loaded, data, spec, objective, _identity(settings, loaded, data, spec))


def _log_cost(settings: CompressSettings, spec: GeneratorSpec, rows: int, log: Callable[[str], None]) -> None:
    """What the fit will measure, before it begins. Raises `UsageError` where that is absurd."""
    cost, gradient = check_cost(settings.fit, spec.circuit, rows), settings.fit.gradient
    if measures(gradient):
        where = f" on {gradient.pennylane_device}" if gradient.pennylane_device else ""
        log(f"gradient: {gradient.method}{where}, {in_words(cost)}")


def _teacher(loaded: LoadedModel, device: torch.device) -> dict[str, Tensor]:
    return on_device(loaded.module.state_dict(keep_vars=True), device)


def _identity(
    settings: CompressSettings, loaded: LoadedModel, data: Dataset, spec: GeneratorSpec
) -> dict[str, Any]:
    """Everything that the result depends on."""
    return {
        "model": loaded.sha256,
        "weights": settings.model.weights or "",
        "arch": architecture_identity(settings.model.arch),
        "arch_args": settings.model.arch_args,
        "data": data.sha256,
        "normalisation": [list(settings.data.mean), list(settings.data.std)],
        "validation": settings.data.validation,
        "generator": {**plan_of(spec), "layout": rows_of(spec.layout)},
        "fit": asdict(settings.fit),
        "training": TRAINING,
        "versions": {"qtrain": VERSION, "torch": str(torch.__version__)},
    }


def _finished(job: _Job) -> Record | None:
    """The record of an output that this very run has written before."""
    settings, out = job.settings, job.settings.out
    if not (settings.resume and out.exists()):
        return None
    container = read_container(out)
    description = describe_container(container)
    origin, bare = description.origin, settings.budget.bare
    if origin and origin.run == job.run and not bare:
        return record_of(description, container)
    if settings.force:
        return None
    if origin is None:
        what = "is bare, so that it does not say which run wrote it"
    else:
        what = "holds a record, which --bare leaves out" if bare else "is the result of another run"
    raise UsageError(f"'{out}' {what}", "name another output, or replace it with --force")


def _train(job: _Job, checkpoint: Path, show: Callable[[Progress], None]) -> Fitted:
    device = torch.device(job.settings.fit.device)
    problem = Problem(
        module=job.loaded.module,
        teacher=_teacher(job.loaded, device),
        spec=job.spec,
        train=job.data.train,
        validation=job.data.validation,
        prepare=job.data.normalisation,
        objective=job.objective,
    )
    recovery = Recovery(checkpoint, job.identity, job.settings.resume)
    return fit(problem, job.settings.fit, recovery, show)


def _stored(job: _Job, fitted: Fitted) -> Numbers:
    """What the artifact stores: angles as codes and a step (or as they are), mapping, kept tensors."""
    spec, teacher = job.spec, _teacher(job.loaded, torch.device("cpu"))
    angles: Coded | Tensor = fitted.theta
    if spec.angles.bits != RAW_BITS:
        moved = movement(fitted.theta, start_angles(spec.circuit, spec.angles.start_seed))
        step = fitted.grid or finest_step(moved, spec.angles.bits)
        angles = Coded(encode(moved, step), step)
    groups = {MAPPING: fitted.numbers, ANGLES: angles}
    forms = forms_of(OURS, plan_of(spec), spec.layout)
    return as_stored(forms, spec.layout, groups, teacher | fitted.buffers)


def _with_fresh_statistics(
    job: _Job, tensors: dict[str, Tensor], numbers: Numbers, log: Callable[[str], None]
) -> Numbers:
    """The same with running statistics estimated anew, where the validation rows say that it is better."""
    module, data, settings = job.loaded.module, job.data, job.settings.fit
    if not has_statistics(module):
        return numbers
    log("estimating running statistics anew")

    def state_of(one: Numbers) -> dict[str, Tensor]:
        whole = state_dict(job.spec.layout, tensors, one.kept)
        return on_device(whole, torch.device(settings.device))

    def score(state: dict[str, Tensor]) -> float:
        outputs = predict(module, state, data.validation.inputs, data.normalisation)
        return job.objective.score(outputs, data.validation.targets)

    state, inputs = state_of(numbers), data.train.inputs
    found = re_estimated(module, state, inputs, data.normalisation, settings.batch_size)
    forms = forms_of(OURS, plan_of(job.spec), job.spec.layout)
    kept = numbers.kept | on_device(found, torch.device("cpu"))
    other = as_stored(forms, job.spec.layout, numbers.groups, kept)
    before, after = score(state), score(state_of(other))
    if not job.objective.improves(after, before):
        return numbers
    log(f"they are better: validation {job.objective.word} {before:.4g} -> {after:.4g}")
    return other


def _described(job: _Job, tensors: dict[str, Tensor], numbers: Numbers) -> tuple[Artifact, Measured]:
    """The finished artifact with the digest of its regenerated weights, and their figures."""
    measured = _measured(job, state_dict(job.spec.layout, tensors, numbers.kept))
    description = Description(
        method=OURS,
        plan=plan_of(job.spec),
        layout=job.spec.layout,
        digest=digest_of(job.spec.layout, tensors),
        example=example_of(job.data),
        origin=None if job.settings.budget.bare else Origin(measured, job.run),
    )
    return Artifact(description, numbers), measured


def _measured(job: _Job, state: dict[str, Tensor]) -> Measured:
    settings, device = job.settings.fit, torch.device(job.settings.fit.device)
    figures = measure(
        job.loaded.module, on_device(state, device), _teacher(job.loaded, device), job.data, job.objective
    )
    return Measured(
        model=job.loaded.name,
        scores=figures.scores,
        train_loss=figures.train_loss,
        test_loss=figures.test_loss,
        epochs=settings.epochs,
        seed=settings.seed,
        device=settings.device,
        versions=recorded_versions(),
        data_sha256=job.data.sha256,
        model_sha256=job.loaded.sha256,
        trust=job.loaded.trust,
    )
