"""One run of `qtrain compress`: model and data in, artifact and record out.

    model -> layout -> plan -> make (`making`) -> regenerate -> measure -> write

Everything that is measured is measured on the weights that the finished file regenerates. The test split is
used once, at the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.description import (
    RUN_DIGITS,
    Description,
    Origin,
    describe_container,
    design_of,
    record_of,
)  # fmt: skip
from qtrain_cli.artifact.expansion import LARGE, too_large
from qtrain_cli.artifact.numbers import Artifact, StoredNumbers, encode_artifact, write_artifact
from qtrain_cli.artifact.size import known_of
from qtrain_cli.data import Dataset
from qtrain_cli.errors import BadInput, QtrainError, Refused, RunFailed, UsageError
from qtrain_cli.files.checkpoint import identity_in, load_checkpoint
from qtrain_cli.methods.generator.plan import plan_of
from qtrain_cli.methods.generator.scrambling import check_start, start_variance
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.methods.table import OURS
from qtrain_cli.models import LoadedModel
from qtrain_cli.quantum.machine import recorded_machine
from qtrain_cli.results import Measured, Record
from qtrain_cli.results.versions import recorded_versions
from qtrain_cli.runs import receipts
from qtrain_cli.runs.beginning import begin
from qtrain_cli.runs.fresh import Fresh, check, check_trained, kept_or_made
from qtrain_cli.runs.grounds import ground_identity, headed
from qtrain_cli.runs.history import check_history, history_places, kept_history
from qtrain_cli.runs.identity import (
    Identity,
    data_identity,
    fingerprint,
    layout_identity,
    made_elsewhere,
    model_identity,
    run_identity,
)
from qtrain_cli.runs.layouts import said_of_kept
from qtrain_cli.runs.making import Log, Work, answers_of, finished_by, make, scene_of
from qtrain_cli.runs.materials import Materials, of_files
from qtrain_cli.runs.outputs import REPLACE, alone_at, check_run_files, input_files, read_in_the_way
from qtrain_cli.runs.sizing import Measure, planned_ours
from qtrain_cli.runs.targeting import chosen_target, tryout_of
from qtrain_cli.settings import CompressSettings, GradientSettings
from qtrain_cli.training.circuits import check_cost, check_gradient, in_words, measures
from qtrain_cli.training.descent import seed_generators
from qtrain_cli.training.devices import moved_to, usual_threads
from qtrain_cli.training.dividing import said_of_circuits
from qtrain_cli.training.loop import Show
from qtrain_cli.training.measure import measure
from qtrain_cli.training.ranks import present
from qtrain_cli.training.recovery import Recovery, checkpoint_path
from qtrain_cli.training.synced import check_shared


@dataclass(frozen=True)
class CompressJob:
    """What one call works on, once model and data are loaded and the plan is made."""

    settings: CompressSettings
    loaded: LoadedModel
    data: Dataset
    sizes: Measure
    spec: GeneratorSpec
    work: Work
    identity: Identity
    fresh: Callable[[], Fresh]

    @property
    def run(self) -> str:
        """What the artifact remembers of model, data and settings."""
        return fingerprint(self.identity, RUN_DIGITS)


@usual_threads()
def compress_model(
    settings: CompressSettings, show: Show, log: Log, materials: Materials | None = None
) -> Record:
    """Compresses one model.

    Args:
        settings: model, data, budget, fit, output.
        show: called after every training step.
        log: called with a line for each stage.
        materials: in place of the files that the settings name.

    Raises:
        UsageError, BadInput, Refused: before training, for what cannot be done.
        RunFailed: another run has this output.
        RunFailed, Interrupted: in training; the last state is kept beside the output.
    """
    with alone_at(settings.out):
        checkpoint = present().led(partial(check_compress_files, settings))
        return _compressed(settings, checkpoint, materials or model_files(settings), show, log)


def _compressed(
    settings: CompressSettings, checkpoint: Path, materials: Materials, show: Show, log: Log
) -> Record:
    started = time.monotonic()
    job = prepared_compress(settings, materials, checkpoint, log)
    done = present().led(partial(_left, job, checkpoint, log))
    if done:
        return done
    recovery = Recovery(checkpoint, job.identity, settings.resume)
    with kept_history(history_places(settings.log, settings.out), job.run, show) as shown:
        made = make(job.work, recovery, shown, log)
    if made.spent.evaluations:
        log(f"spent on gradients: {in_words(made.spent)}")
    record = present().led(partial(_measured_and_written, job, checkpoint, made.numbers, log))
    return replace(record, seconds=time.monotonic() - started)


def _left(job: CompressJob, checkpoint: Path, log: Log) -> Record | None:
    """The record of a run that was finished before; else a line where one is gone on with."""
    out, resume = job.settings.out, job.settings.resume
    done = _finished(job, checkpoint)
    if done:
        _leave(job, checkpoint, done)
        log(f"'{out}' is finished already{made_elsewhere(done.measured.versions)}; nothing to do")
    elif resume:
        log(f"{'going on from' if checkpoint.exists() else 'beginning, for there is no'} '{checkpoint}'")
    return done


def _measured_and_written(job: CompressJob, checkpoint: Path, numbers: StoredNumbers, log: Log) -> Record:
    log("measuring the regenerated weights")
    record = _written(job, numbers, log)
    if record.scores.trivial is not None:
        log(record.scores.beside_trivial)
    _leave(job, checkpoint, record)
    return record


def model_files(settings: CompressSettings) -> Materials:
    """What the settings name."""
    return of_files(settings.model, settings.data, settings.change)


def check_compress_files(settings: CompressSettings) -> Path:
    """The checkpoint's path, once neither it nor the output stands in the way."""
    checkpoint, go_on = checkpoint_path(settings.out), settings.resume or settings.force
    inputs = input_files(settings.model, settings.data)
    check_run_files(settings.out, go_on, inputs, [checkpoint] if checkpoint.exists() else [])
    check_history(history_places(settings.log, settings.out), go_on, inputs)
    return checkpoint


def prepared_compress(
    settings: CompressSettings, materials: Materials, checkpoint: Path, log: Log
) -> CompressJob:
    """All that comes before training. Raises as `compress_model` does there."""
    begun = begin(materials, settings.fit, settings.teacher_any, log)
    budget, loaded, data = settings.budget, begun.loaded, begun.data
    settings = replace(settings, fit=begun.fit)
    known = present().led(partial(_kind_before, settings, checkpoint))
    tryout = tryout_of(materials, settings.fit, settings.own_lr, known)
    base, targets = chosen_target(begun, budget, settings.model, tryout, log)
    scene = scene_of(loaded, data, settings.fit, (targets, budget.ignore), settings.model, base)
    sizes = Measure(OURS, scene, known_of(settings.fit, loaded, data, budget.bare, scene.change))
    spec = planned_ours(sizes, budget)
    if settings.own_lr:
        settings = replace(settings, fit=settings.fit.for_numbers(spec.trained_numbers, bool(scene.ground)))
    check_gradient(settings.fit.gradient, spec.circuit)
    _check_processes(settings.fit.gradient)
    check_shared(scene.module)
    unspread = "" if scene.ground else check_start(spec, start_variance(spec, scene.device))
    if unspread:
        log(unspread)
    _say(loaded, spec, data, log)
    if present().several:
        log(said_of_circuits(spec, present()))
    _log_cost(settings, spec, len(data.train), log)

    def again() -> nn.Module | None:
        return headed(materials.fresh(loaded, scene.device), scene.ground)

    checked = check(scene, again(), data.train.inputs, data.normalisation)
    if checked.note:
        log(f"{loaded.name}: {checked.note}")
    fresh = kept_or_made(checked, again)
    del checked
    chosen = sizes.sized(plan_of(spec))
    answers = answers_of(scene, data, materials.by_row(settings.fit))
    work = Work(OURS, chosen, scene, data, settings.fit, answers, None, materials.batches, materials.own)
    identity = _identity(settings, loaded, data, work) | materials.identity | ground_identity(scene.ground)
    return CompressJob(settings, loaded, data, sizes, spec, work, identity, fresh)


def _check_processes(gradient: GradientSettings) -> None:
    """Raises `UsageError` where several processes would measure the same circuits, each all of them."""
    if present().several and measures(gradient):
        raise UsageError(
            f"--gradient {gradient.method} measures circuits, which every process would do anew",
            "leave out --processes",
        )


def _kind_before(settings: CompressSettings, checkpoint: Path) -> str:
    """The target that a run took which this one goes on with, or finds finished; "" for none."""
    if not settings.resume:
        return ""
    if settings.out.exists():
        with contextlib.suppress(QtrainError):
            change = describe_container(read_container(settings.out)).change
            return change.kind if change else ""
    target = identity_in(checkpoint).get("target")
    return str(target[0]) if isinstance(target, list) and target else ""


def _say(loaded: LoadedModel, spec: GeneratorSpec, data: Dataset, log: Log) -> None:
    circuit, layout = spec.circuit, spec.layout
    log(
        f"{loaded.name}: {layout.generated:,} weights from {circuit.circuits} x {circuit.qubits} qubits"
        f" x {circuit.layers} layers{_seeded(spec)}, {spec.trained_numbers:,} trained numbers;"
        f" {layout.kept:,} numbers kept"
    )
    for line in said_of_kept(layout):
        log(line)
    log(f"data: {data.rows_in_words}")


def _seeded(spec: GeneratorSpec) -> str:
    return f", the first {spec.angles.seeded} of them seeded" if spec.angles.seeded else ""


def _log_cost(settings: CompressSettings, spec: GeneratorSpec, rows: int, log: Log) -> None:
    """What the fit will measure, before it begins. Raises `UsageError` where that is absurd."""
    cost, gradient = check_cost(settings.fit, spec.circuit, rows), settings.fit.gradient
    if measures(gradient):
        where = f" on {gradient.pennylane_device}" if gradient.pennylane_device else ""
        log(f"gradient: {gradient.method}{where}, {in_words(cost)}")


def _identity(settings: CompressSettings, loaded: LoadedModel, data: Dataset, work: Work) -> Identity:
    """Everything that the result depends on."""
    chosen = work.chosen
    own: dict[str, Any] = {
        "method": work.name, "plan": chosen.plan, "layout": layout_identity(chosen.layout),
    }  # fmt: skip
    model = model_identity(settings.model, loaded.sha256)
    return run_identity(model, data_identity(settings.data, data), settings.fit, own)


def _finished(job: CompressJob, checkpoint: Path) -> Record | None:
    """The record of an output that this very run has written before."""
    settings, out = job.settings, job.settings.out
    if not settings.resume:
        return None
    if settings.budget.bare:
        known = receipts.known_record(checkpoint, job.identity, out)
        if known:
            return known
    if not out.exists():
        return None
    origin, bare = None, settings.budget.bare
    with read_in_the_way(settings.force):
        container = read_container(out)
        description = describe_container(container)
        origin = description.origin
        if origin and origin.run == job.run and not bare:
            return record_of(description, container)
    if settings.force:
        return None
    if origin is None:
        what = "is bare, and nothing beside it says that this run wrote it"
    else:
        what = "holds a record, which --bare leaves out" if bare else "is the result of another run"
    raise UsageError(f"'{out}' {what}", REPLACE)


def _written(job: CompressJob, numbers: StoredNumbers, log: Log) -> Record:
    """Writes the artifact with the digest of its regenerated weights, once their figures are measured."""
    work, settings = job.work, job.settings
    state, digest = finished_by(work, numbers)
    measured = _measured(job, state)
    description = replace(
        work.described(numbers),
        digest=digest,
        origin=None if settings.budget.bare else Origin(measured, job.run),
    )
    if description.layout != work.chosen.layout:
        for line in said_of_kept(description.layout):
            log(line)
    artifact = Artifact(description, numbers)
    data = encode_artifact(artifact)
    _check_bytes(job, description, len(data))
    record = Record(
        design_of(description.spec, description.change), measured, len(data), hashlib.sha256(data).hexdigest()
    )
    if settings.budget.bare:
        receipts.announce(checkpoint_path(settings.out), job.identity, record)
    write_artifact(settings.out, artifact, force=settings.force)
    large = too_large(description, work.chosen.forms, len(data))
    if large:
        log(f"reading the file will take {LARGE}=1 in the environment: {large}")
    return record


def _check_bytes(job: CompressJob, description: Description, size: int) -> None:
    """Raises `RunFailed` where kept tensors grew in training, and the file with them, beyond its bound."""
    most = job.settings.budget.bytes
    if most and description.layout != job.work.chosen.layout and size > most:
        raise RunFailed(
            f"float16 no longer holds the kept tensors, and the file takes {size} bytes; allowed: {most}",
            f"give --bytes {2 * size - most} or more",
        )


def _leave(job: CompressJob, checkpoint: Path, record: Record) -> None:
    """Nothing of this run beside a file that says itself which one wrote it; a receipt beside a bare one."""
    with contextlib.suppress(BadInput, Refused):  # another run's, beside a file that was finished before
        if job.settings.budget.bare:
            receipts.shrink(checkpoint, job.identity)
        elif checkpoint.exists() and load_checkpoint(checkpoint, job.identity):
            checkpoint.unlink()


def _measured(job: CompressJob, state: dict[str, torch.Tensor]) -> Measured:
    settings, scene, data = job.settings.fit, job.work.scene, job.data
    state = moved_to(state, scene.device)
    fresh = job.fresh()
    check_trained(fresh, scene.module, state, data.shown, data.normalisation)
    seed_generators(settings.seed)
    module = scene.module if fresh.module is None else fresh.module
    teacher = scene.teacher if scene.taught else None
    figures = measure(module, state, teacher, data, job.work.objective)
    return Measured(
        model=job.loaded.name,
        scores=figures.scores,
        train_loss=figures.train_loss,
        test_loss=figures.test_loss,
        epochs=settings.epochs,
        seed=settings.seed,
        device=settings.device,
        versions=recorded_versions() | recorded_machine(settings.processes),
        data_sha256=job.data.sha256,
        model_sha256=job.loaded.sha256,
        trust=job.loaded.trust,
        figure_note=fresh.note,
        weights_entry=job.loaded.entry,
        output=job.loaded.output,
        skipped_rows=job.data.skipped_rows,
        precision=settings.precision,
    )
