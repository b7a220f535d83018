"""From a model, its data and a method at its size to the numbers of a file: what `compress` and each cell of
a comparison do alike, for ours and for rivals.

    scene, plan --train--> best state --codes--> stored numbers --fresh statistics?--> what the file holds

Running statistics of the finished weights are estimated anew, and taken where the validation rows say that it
is better and the file still fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from qtrain_cli.artifact.description import DIGEST_DIGITS, Description, Digest
from qtrain_cli.artifact.numbers import (
    Artifact,
    Coded,
    Group,
    StoredNumbers,
    as_stored,
    encode_artifact,
    final_layout,
)
from qtrain_cli.artifact.size import example_of, frame_bytes
from qtrain_cli.data import Dataset
from qtrain_cli.errors import UsageError
from qtrain_cli.methods.generator.plan import spec_of
from qtrain_cli.methods.method import Scene
from qtrain_cli.methods.table import OURS
from qtrain_cli.models import LoadedModel
from qtrain_cli.models.call import file_state, outputs_of, predict
from qtrain_cli.models.mixed import said_of_products
from qtrain_cli.quantum.estimators import Cost
from qtrain_cli.runs.grounds import BaseModel, changed_layout, on_cpu
from qtrain_cli.runs.layouts import layout_for
from qtrain_cli.runs.materials import Batching, OwnRow, as_it_is
from qtrain_cli.runs.regenerate import digest_of, generated, state_dict
from qtrain_cli.runs.streaming import finished, made_tensors
from qtrain_cli.settings import FitSettings, ModelSettings
from qtrain_cli.settings.fit import EIGENBASIS
from qtrain_cli.targets.ground import whole_state
from qtrain_cli.targets.kept import final, kept_as_stored
from qtrain_cli.tasks import TASKS
from qtrain_cli.tasks.objective import Objective, check_outputs
from qtrain_cli.training.ahead import row_batches
from qtrain_cli.training.circuits import StepCircuits, measures
from qtrain_cli.training.course import Answers, Course, Teach, nobody
from qtrain_cli.training.descent import Rate
from qtrain_cli.training.devices import moved_to
from qtrain_cli.training.dividing import DividedCircuits, divided_circuits
from qtrain_cli.training.generated import SPENT, Generated, Sized
from qtrain_cli.training.loop import Show, train
from qtrain_cli.training.ranks import present
from qtrain_cli.training.recovery import Recovery
from qtrain_cli.training.state import Trained
from qtrain_cli.training.statistics import has_statistics, re_estimated
from qtrain_cli.training.waiting import said_of_waiting
from qtrain_cli.training.work import said_of_work, work_of

Log = Callable[[str], None]
#: Norms are some tens on the way; at the peak learning rate single steps of hundreds threw whole runs off.
CLIP = 1.0
#: More numbers of a teacher's outputs, 1 GB in float32, are asked for batch by batch.
KNOWN_ANSWERS = 2**28


@dataclass(frozen=True)
class Work:
    """What is made: `name` of the method, at its size, for these rows.

    `answers` are the teacher's, `batches` what it learns from, `own` the row that it learns by; `budget` is
    a bound in bytes that the finished file has to keep, None where the plan keeps it by itself.
    """

    name: str
    chosen: Sized
    scene: Scene
    data: Dataset
    fit: FitSettings
    answers: Teach
    budget: int | None = None
    batches: Batching = row_batches
    own: OwnRow = as_it_is

    @property
    def objective(self) -> Objective:
        """The loss with the teacher's weight."""
        return self.data.objective(self.fit.distill, self.fit.temperature, self.fit.temperature_end)

    @property
    def trained_by(self) -> Objective:
        """The same with a caller's own loss and metric, if there are."""
        return replace(self.objective, own=self.own(self.objective.row))

    @property
    def blank(self) -> Description:
        """The description of a bare file whose digest is not known yet, as long as the finished one."""
        chosen, digest = self.chosen, Digest("0" * DIGEST_DIGITS)
        example, change = example_of(self.data), self.scene.change
        return Description(self.name, chosen.plan, chosen.layout, digest, example, None, change)

    def described(self, numbers: StoredNumbers) -> Description:
        """`blank` with the layout of the file: how its kept tensors lie there follows from their values."""
        return replace(self.blank, layout=final_layout(self.chosen.layout, numbers))


@dataclass(frozen=True)
class Made:
    """What came out: the stored numbers, their score by validation, circuits and shots spent."""

    numbers: StoredNumbers
    score: float | None
    spent: Cost


def scene_of(
    loaded: LoadedModel,
    data: Dataset,
    fit: FitSettings,
    patterns: tuple[tuple[str, ...], ...],
    model: ModelSettings | None = None,
    base: BaseModel | None = None,
) -> Scene:
    """The model on the fit's device, with what goes in and out of it.

    Args:
        loaded: the model; it is moved to the device.
        data: whose rows it takes.
        fit: device and seed.
        patterns: `--targets` and `--ignore`.
        model: whose architecture gives what need not be stored.
        base: what the model changes, where it does.

    Raises:
        BadInput: the model does not take the rows, or its outputs do not fit the targets.
    """
    device, module = torch.device(fit.device), loaded.module
    ground = None
    if base is None:
        layout = layout_for(module, patterns, model)
    else:
        layout, ground = changed_layout(module, base, (patterns[0], patterns[1]), fit.seed)
        ground = ground.moved_to(device)
    module.to(device)
    teacher = teacher_of(loaded, device)
    sample = predict(module, teacher, data.train.inputs[:2], data.normalisation)
    check_outputs(data.task, sample, data.train.targets[:2], data.classes)
    inputs = data.train.inputs
    shape = tuple(inputs.shape[1:]) if isinstance(inputs, Tensor) else None
    shape = None if data.normalisation.tokens else shape
    return Scene(
        module, teacher, layout, shape, tuple(sample.shape[1:]), fit.seed, device, TASKS[data.task].head,
        ground, base is None or base.taught,
    )  # fmt: skip


def fit_for(
    fit: FitSettings, module: nn.Module, data: Dataset, log: Log, change: bool = False
) -> FitSettings:
    """The fit with the rows of a step and the epochs that these rows take in this module, whether all of it
    or changes to a base are trained; a line where it takes long, and one where this processor is slow in the
    precision. Both numbers are counted, not timed: another machine chooses the same."""
    device, rows = torch.device(fit.device), len(data.train)
    if slow := said_of_products(fit.precision, device):
        log(slow)
    work = work_of(module, data.normalisation(data.train.inputs[:1].to(device)))
    if said := said_of_work(fit, rows, work, change):
        log(said)
    return fit.for_work(rows, work, change)


def check_temperature(fit: FitSettings, data: Dataset) -> None:
    """Raises `UsageError` for a temperature that moves where the loss has none."""
    if fit.temperature_end is not None and not data.row.tempered:
        raise UsageError(
            f"--temperature-end does nothing for the task {data.task}, whose loss has no temperature",
            "leave it away",
        )


def teacher_of(loaded: LoadedModel, device: torch.device) -> dict[str, Tensor]:
    """The model's own tensors on a device."""
    return moved_to(file_state(loaded.module), device)


def answers_of(scene: Scene, data: Dataset, by_row: bool = True) -> Teach:
    """The model as the teacher of its training rows, or of batches that are no rows of theirs; nobody, where
    it is none.

    Raises:
        BadInput: its outputs are not finite.
    """

    if not scene.taught:
        return nobody

    ask = partial(predict, scene.module, scene.teacher, prepare=data.normalisation)
    of_batch = partial(ask, there=True)
    if not by_row or len(data.train) * data.output_numbers > KNOWN_ANSWERS:
        return Answers(of_batch)
    known = ask(data.train.inputs)
    check_outputs(data.task, known, data.train.targets, None)
    return Answers(of_batch, known)


def make(work: Work, recovery: Recovery, show: Show, log: Log) -> Made:
    """Trains, and returns what a file is to hold.

    Raises:
        RunFailed, Interrupted, BadInput, Refused: as `training.loop.train`.
    """
    fit = work.fit
    if fit.augment:
        log(f"training batches are augmented: {', '.join(fit.augment)}")
    trainee, course, rate = training_of(work)
    found = train(trainee, course, fit, rate, recovery, show)
    waited = said_of_waiting(found.waited, fit.workers)
    if waited and work.batches is row_batches:  # a loader of the caller's own has workers of its own
        log(waited)
    stored = _stored(work, trainee, found)
    numbers, score = present().led(lambda: _with_fresh_statistics(work, stored, found.score, log))
    return Made(numbers, score, Cost(*trainee.state()[SPENT].tolist()))


def training_of(work: Work) -> tuple[Generated, Course, Rate]:
    """What is trained, from what it learns, and how it descends."""
    fit, gradient = work.fit, work.fit.gradient
    trainee = Generated(work.chosen, work.scene, _room(work), _circuits(work), fit.precision)
    # A gradient's own noise would be taken for what makes it steep.
    whitened = work.chosen.method.whitened and not gradient.rough and fit.optimizer == EIGENBASIS
    rate = Rate(fit.lr, whitened, None, fit.clipped(CLIP), fit.schedule, fit.weight_decay, fit.eps)
    return trainee, _course(work), rate


def _circuits(work: Work) -> StepCircuits | DividedCircuits | None:
    """What runs ours in the place of the engine: what measures, or each process its part."""
    gradient, ranks = work.fit.gradient, present()
    if work.name != OURS:
        return None
    if measures(gradient):
        return StepCircuits(gradient, work.fit.seed)
    return divided_circuits(spec_of(work.chosen.layout, work.chosen.plan), ranks)


def _course(work: Work) -> Course:
    data, fit = work.data, work.fit
    batches = work.batches(data, fit, work.scene.device)
    return Course(batches, data.validation, data.normalisation, work.trained_by, work.answers)


def _room(work: Work) -> Callable[[Mapping[str, Tensor]], float]:
    """The bits that are left for coded numbers beside these kept tensors."""
    if work.budget is None:
        return lambda kept: float("inf")
    budget, blank = work.budget, work.blank

    def room(kept: Mapping[str, Tensor]) -> float:
        described = replace(blank, layout=final(blank.layout, kept))
        return 8.0 * (budget - frame_bytes(described, kept, budget))

    return room


def _stored(work: Work, trainee: Generated, found: Trained) -> StoredNumbers:
    """Codes and steps of coded groups, others as they are, and kept tensors: as the file gives them back."""
    trainee.load(found)
    chosen, kept = work.chosen, trainee.kept | trainee.buffers
    steps, values = trainee.settled(kept), trainee.masked()
    groups: dict[str, Group] = {}
    for name, form in chosen.forms.items():
        value = values[name].detach().cpu()
        coded = form.coded and chosen.method.grid.coded(chosen.plan, name, value, steps[name])
        groups[name] = Coded(coded, steps[name]) if isinstance(coded, Tensor) else value
    return as_stored(chosen.forms, chosen.layout, groups, kept, trainee.kept)


def _with_fresh_statistics(
    work: Work, numbers: StoredNumbers, chosen_by: float | None, log: Log
) -> tuple[StoredNumbers, float | None]:
    """The same with running statistics estimated anew, where the validation rows say that it is better; and
    the score of what is returned, which was chosen by one."""
    module, data = work.chosen.module, work.data
    if not has_statistics(module) or work.scene.ground or not len(data.validation):
        return numbers, chosen_by
    log("estimating running statistics anew")
    chosen = work.chosen
    made = {
        entry.name: tensor for entry, tensor in made_tensors(work.name, chosen.plan, chosen.layout, numbers)
    }

    def state_of(kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return moved_to(whole_state(chosen.layout, kept, made, None), work.scene.device)

    def score(kept: Mapping[str, Tensor]) -> float:
        found = outputs_of(module, state_of(kept), data.validation.inputs, data.normalisation)
        return work.trained_by.score_of(found, data.validation.targets)

    size, inputs = work.fit.batch_size, data.train.inputs
    found = re_estimated(module, state_of(numbers.kept), inputs, data.normalisation, size)
    other = kept_as_stored(work.chosen.layout, numbers.kept | moved_to(found, torch.device("cpu")))
    before, after = score(numbers.kept), score(other)
    fresh = replace(numbers, kept=other)
    if not work.trained_by.improves(after, before) or not fits(work, fresh):
        return numbers, chosen_by
    log(f"they are better: validation {work.trained_by.word} {before:.4g} -> {after:.4g}")
    return fresh, after


def fits(work: Work, numbers: StoredNumbers) -> bool:
    """Whether a file of these numbers keeps the budget, if there is one."""
    return work.budget is None or _bytes(work, numbers) <= work.budget


def _bytes(work: Work, numbers: StoredNumbers) -> int:
    return len(encode_artifact(Artifact(work.described(numbers), numbers)))


def finished_by(work: Work, numbers: StoredNumbers) -> tuple[dict[str, Tensor], Digest]:
    """The whole state dictionary that stored numbers stand for, on the CPU, and the digest of their file."""
    chosen, ground = work.chosen, on_cpu(work.scene.ground)
    if ground is None:
        return finished(work.name, chosen.plan, chosen.layout, numbers)
    made = generated(work.name, chosen.plan, chosen.layout, numbers, moves=True)
    state = state_dict(chosen.layout, made, numbers.kept, ground)
    return state, digest_of(chosen.layout, made, numbers.kept, ground)
