"""What a student learns in one run: one training, or generation after generation, each taught by the last.

generation 0     from labels, or from the teacher's outputs and features (or from its own running average)
generation k     from the outputs of generation k - 1, with a seed of its own                 (born again)
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qtrain_cli.artifact.container import RUN_DIGITS
from qtrain_cli.data import Dataset
from qtrain_cli.data.inputs import Inputs, single
from qtrain_cli.models.call import predict
from qtrain_cli.runs.identity import (
    Identity,
    fingerprint,
)
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.teachers import Teacher
from qtrain_cli.settings import FitSettings
from qtrain_cli.settings.students import TeachSettings
from qtrain_cli.students.layout import Execution
from qtrain_cli.students.networks import StudentModule, build, is_light
from qtrain_cli.students.spec import Student
from qtrain_cli.training.ahead import row_batches
from qtrain_cli.training.alignment import Alignment, projection, teacher_features
from qtrain_cli.training.course import Answers, Course, Teach, answers_on, nobody
from qtrain_cli.training.descent import Rate
from qtrain_cli.training.devices import moved_to, usual_threads
from qtrain_cli.training.loop import Progress, Show, train
from qtrain_cli.training.recovery import (
    Recovery,
    checkpoint_path,
    of_generation,
)
from qtrain_cli.training.student import EVALUATIONS, Taught, of_student

#: Between the seeds of two generations; a prime, so that the seeds of neighbouring runs stay apart.
GENERATION_SEEDS = 7919
#: A student's gradients are clipped to this norm: soft targets bring a factor T**2, so that norms of some
#: units are what it learns by (clipped to 1, distilled hybrids lost 7 points of accuracy); beyond ten lies
#: what throws it off.
STUDENTS_CLIP = 10.0


@dataclass(frozen=True)
class Teaching:
    """What one run works on, once everything is loaded and checked."""

    settings: TeachSettings
    student: Student
    data: Dataset
    teacher: Teacher | None
    identity: Identity

    @property
    def run(self) -> str:
        """What the file remembers of data, teacher and settings."""
        return fingerprint(self.identity, RUN_DIGITS)

    @property
    def device(self) -> torch.device:
        """Where it is taught."""
        return torch.device(self.settings.fit.device)

    @property
    def generations(self) -> int:
        """How many trainings follow the first one."""
        itself = self.settings.itself
        return itself.generations if itself and itself.method == "born-again" else 0


@dataclass(frozen=True)
class Learned:
    """One generation's student, its course, the circuits that all of them have run, seconds of its steps."""

    state: dict[str, Tensor]
    history: tuple[tuple[float, float], ...]
    evaluations: int
    seconds: float | None


def learn(job: Teaching, show: Show, log: Log) -> Learned:
    """The last generation of a run, with the circuit runs of all; each one after the first is taught by the
    one before it."""
    augment = job.settings.fit.augment
    if augment:
        log(f"training batches are augmented: {', '.join(augment)}")
    learned, before = _generation(job, 0, first_teacher(job), show), 0
    for number in range(1, job.generations + 1):
        figure = learned.history[-1][1]
        known = "" if math.isnan(figure) else f": validation {figure:.4f}"
        log(f"generation {number - 1}{known}; it teaches the next")
        module = student_of(job, number - 1)
        state = moved_to(learned.state, job.device)
        ask = functools.partial(predict, module, state, prepare=job.data.normalisation)
        answers = _answers(ask, job)
        taken = module.circuit.take_count() if module.circuit is not None else 0
        before += taken + learned.evaluations
        learned = _generation(job, number, answers, show)
    return replace(learned, evaluations=before + learned.evaluations)


def _staged(show: Show, job: Teaching, number: int) -> Show:
    """`show`, told which of several generations it is shown."""
    if not job.generations:
        return show

    def shown(step: Progress) -> None:
        share = (number + step.step / step.steps) / (job.generations + 1)
        show(replace(step, stage=f"generation {number}", share=share))

    return shown


def _answers(ask: Callable[[Inputs], Tensor], job: Teaching) -> Answers:
    """A teacher that has answered for every row of train, if rows stay what they are."""
    return Answers(ask) if job.settings.fit.augment else answers_on(ask, job.data.train)


def _generation(job: Teaching, number: int, teach: Answers | None, show: Show) -> Learned:
    """One training. All generations are aligned with the teacher from outside, if there is one and a layer is
    named."""
    settings = job.settings
    trainee, course, fit = lesson_of(job, number, teach)
    identity = of_generation(job.identity, number)
    recovery = Recovery(checkpoint_path(settings.out, number), identity, settings.resume)
    rate = students_rate(fit)
    with students_threads(job, trainee.module):
        found = train(trainee, course, fit, rate, recovery, _staged(show, job, number))
    evaluations = int(trainee.state()[EVALUATIONS])
    return Learned(of_student(found.parameters), found.history, evaluations, found.seconds)


@contextmanager
def students_threads(job: Teaching, module: StudentModule) -> Iterator[None]:
    """As long as the block lasts, a light student has one thread on the CPU."""
    with usual_threads():
        if job.device.type == "cpu" and is_light(module):
            torch.set_num_threads(1)
        yield


def lesson_of(job: Teaching, number: int, teach: Answers | None) -> tuple[Taught, Course, FitSettings]:
    """One generation's student, what it learns from, and its fit."""
    itself = job.settings.itself
    fit = replace(job.settings.fit, seed=_seed(job, number))
    averaging = itself is not None and itself.method == "running-average"
    module = student_of(job, number)
    decay = itself.decay if itself and averaging else 0.0
    trainee = Taught(module, _alignment(job, module), decay, fit.precision)
    return trainee, _course(job, fit, trainee.teach_itself if averaging else teach), fit


def students_rate(fit: FitSettings) -> Rate:
    """How students descend."""
    return Rate(fit.lr, False, True, fit.clipped(STUDENTS_CLIP), fit.schedule, fit.weight_decay, fit.eps)


def first_teacher(job: Teaching) -> Answers | None:
    """Who teaches the first generation; None where nobody does."""
    return _answers(job.teacher.outputs, job) if job.teacher else None


def _course(job: Teaching, fit: FitSettings, teach: Teach | None) -> Course:
    """Labels alone, where nobody teaches: then the teacher's outputs have no weight, unless labels stand in
    their place."""
    data = job.data
    sharpened = job.settings.sharpened
    weight = fit.distill if teach or sharpened else 0.0
    objective = data.objective(weight, fit.temperature, fit.temperature_end)
    objective = replace(objective, sharpened=sharpened)
    batches = row_batches(data, fit, job.device)
    return Course(batches, data.validation, data.normalisation, objective, teach or nobody)


def _seed(job: Teaching, generation: int) -> int:
    return (job.settings.fit.seed + generation * GENERATION_SEEDS) % 2**31


def student_of(job: Teaching, generation: int) -> StudentModule:
    settings = job.settings
    module = build(job.student, _seed(job, generation))
    if module.circuit is not None:
        how = settings.circuit
        module.circuit.execution = Execution(how.gradient, how.shots, how.noise)
    return module.to(job.device)


def _alignment(job: Teaching, module: StudentModule) -> Alignment | None:
    settings, teacher, data = job.settings.align, job.teacher, job.data
    if settings is None or teacher is None:
        return None
    taught, width = teacher_features(
        teacher.module, teacher.state, settings.layer, data.train, teacher.prepare
    )
    with torch.no_grad():
        rows = single(data.normalisation(data.train.inputs[:2].to(job.device)))
        features = module.features(rows).shape[1]
    layer = projection(features, width, job.settings.fit.seed).to(job.device)
    return Alignment(taught, layer, settings.loss, settings.weight)
