"""Teaches a student: labels, a teacher's soft targets, its features, or the student's own running average.

    loss = objective(outputs, labels, teacher's outputs)  +  weight * align(projection(features), teacher's
    features)

The objective is the one of `compress`: (1 - a) cross-entropy + a T**2 KL (Hinton et al. 2015); a = 0 is
labels alone. The teacher's outputs come from its own rows, computed once; or, within one training (`ema`),
from the running average of the student's parameters, w <- d w + (1 - d) theta after every step (Tarvainen &
Valpola 2017).

Adam with a one-cycle schedule; after every epoch the validation split chooses the best state. All that a step
depends on is in the checkpoint, and the order of an epoch's rows follows from seed and epoch.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qtrain_cli.data import Normalisation, TrainSplit, ValidationSplit
from qtrain_cli.errors import RunFailed
from qtrain_cli.files.checkpoint import save_checkpoint
from qtrain_cli.models.call import call_model, predict
from qtrain_cli.settings import FitSettings
from qtrain_cli.students.networks import StudentModule, is_light
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training.alignment import ALIGN_LOSSES
from qtrain_cli.training.epochs import Batches
from qtrain_cli.training.fit import Progress, Recovery
from qtrain_cli.training.stopping import stop_requests
from qtrain_cli.training.student_state import STUDENT, StudentState, checkpoint_of, restore, start_student

SECONDS_BETWEEN_CHECKPOINTS = 10.0


@dataclass(frozen=True)
class Alignment:
    """A teacher's standardised features of the training rows (N, d), the projection, loss and weight."""

    taught: Tensor
    projection: nn.Linear
    loss: str
    weight: float


@dataclass(frozen=True)
class Subject:
    """What is taught, from what: `teacher` are its outputs on the training rows (N, ...), None without one.

    `ema` is the decay of the running average that teaches; 0 for none.
    """

    module: StudentModule
    train: TrainSplit
    validation: ValidationSplit
    prepare: Normalisation
    objective: Objective
    teacher: Tensor | None = None
    alignment: Alignment | None = None
    ema: float = 0.0


@dataclass(frozen=True)
class Learned:
    """What a run found: the student's state on the CPU, its course, and what it cost in circuit runs and in
    seconds of its training steps alone (None where no more than a first step was timed)."""

    state: dict[str, Tensor]
    history: tuple[tuple[float, float], ...]
    evaluations: int
    seconds: float | None = None


def teach(
    subject: Subject, settings: FitSettings, recovery: Recovery, show: Callable[[Progress], None]
) -> Learned:
    """Trains, and returns the best state by validation. The checkpoint stays, for the caller to remove.

    Raises:
        RunFailed: the loss or a gradient stopped being finite; the last checkpoint is kept.
        Interrupted: Ctrl-C or SIGTERM; the state was saved.
        BadInput: the checkpoint belongs to another run, or an input cannot be encoded.
        Refused: the checkpoint is damaged.
    """
    checkpoint = recovery.found()
    loop = _Loop(subject, settings, recovery, show)
    if checkpoint:
        restore(loop.run, checkpoint)
    else:
        loop.save()
    with stop_requests() as asked, _fitting_threads(loop):
        while loop.run.step < loop.steps:
            loop.advance()
            if asked.is_set():
                loop.save()
                raise recovery.stopped()
    loop.save()
    history = tuple((row[0], row[1]) for row in loop.run.history)
    return Learned(loop.run.result(), history, loop.run.evaluations, loop.run.seconds_of(loop.steps))


@contextlib.contextmanager
def _fitting_threads(loop: _Loop) -> Iterator[None]:
    """One CPU thread for a light student; the caller's number of threads afterwards."""
    before = torch.get_num_threads()
    if loop.device.type == "cpu" and is_light(loop.module):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Loop:
    """One training run: constants here, everything that changes in `run`."""

    def __init__(
        self, subject: Subject, settings: FitSettings, recovery: Recovery, show: Callable[[Progress], None]
    ) -> None:
        self.subject, self.settings, self.recovery, self.show = subject, settings, recovery, show
        self.device = torch.device(settings.device)
        self.module = subject.module.to(self.device)
        self.batches = Batches(len(subject.train), settings.batch_size, settings.seed)
        self.steps = settings.steps(len(subject.train))
        parts: dict[str, nn.Module] = {STUDENT: self.module}
        if subject.alignment:
            parts["projection."] = subject.alignment.projection.to(self.device)
        named: dict[str, Tensor] = {}
        for prefix, part in parts.items():
            named |= {prefix + name: parameter for name, parameter in part.named_parameters()}
        self.run: StudentState = start_student(named, settings, self.steps, subject.ema > 0)
        self.saved = time.monotonic()
        self.warm = False

    def advance(self) -> None:
        """One step, and at the end of an epoch the validation."""
        run = self.run
        epoch, position = divmod(run.step, self.batches.per_epoch)
        loss, score = self.timed_step(self.batches.at(run.step))
        run.step += 1
        run.loss += loss
        ended = position + 1 == self.batches.per_epoch
        validation = self.validate() if ended else None
        word, epochs = self.subject.objective.word, self.settings.epochs
        self.show(Progress(epoch + 1, epochs, run.step, self.steps, loss, score, word, validation))
        if time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
            self.save()

    def timed_step(self, rows: Tensor) -> tuple[float, float]:
        """As `train_step`, with its seconds added up. The loss is that without shots, whatever the gradient
        takes, so that it means the same for every estimator; it is found outside the clock."""
        circuit = self.module.circuit
        exact = None
        if circuit is not None and circuit.execution.shots:
            with torch.no_grad(), circuit.without_shots():
                exact = self.batch_loss(rows)[0].item()
            circuit.take_count()
        started = time.perf_counter()
        loss, score = self.train_step(rows)
        # The first step of a process loads and compiles what all the others only use.
        self.run.count_time(time.perf_counter() - started if self.warm else None)
        self.warm = True
        return loss if exact is None else exact, score

    def batch_loss(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, outputs and targets of one batch."""
        subject = self.subject
        inputs = subject.prepare(subject.train.inputs[rows].to(self.device))
        targets = subject.train.targets[rows].to(self.device)
        self.module.train()
        features = self.module.features(inputs)
        outputs = self.module.head(features)
        loss = subject.objective.loss(outputs, targets, self.taught(rows, inputs, outputs))
        if subject.alignment:
            loss = loss + self.misaligned(subject.alignment, features, rows)
        return loss, outputs, targets

    def train_step(self, rows: Tensor) -> tuple[float, float]:
        """Loss and score of one batch, after one step of the optimiser."""
        run = self.run
        loss, outputs, targets = self.batch_loss(rows)
        self.differentiate(loss)
        run.descent.step()
        self.average()
        if self.module.circuit is not None:
            run.evaluations += self.module.circuit.take_count()
        return loss.item(), self.subject.objective.score(outputs.detach(), targets)

    def taught(self, rows: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
        """The teacher's outputs for a batch; where nobody teaches, the student's own, without weight."""
        subject = self.subject
        if subject.ema:
            with torch.no_grad():
                return call_model(self.module, self.run.mean, inputs)
        return outputs.detach() if subject.teacher is None else subject.teacher[rows].to(self.device)

    def misaligned(self, alignment: Alignment, features: Tensor, rows: Tensor) -> Tensor:
        """The weighted alignment loss of a batch."""
        taught = alignment.taught[rows].to(self.device)
        return alignment.weight * ALIGN_LOSSES[alignment.loss](alignment.projection(features), taught)

    def differentiate(self, loss: Tensor) -> None:
        """All gradients; nothing is changed yet when one is not finite."""
        self.run.descent.optimizer.zero_grad()
        loss.backward()
        parameters = self.run.parameters.values()
        gradients = [parameter.grad.flatten() for parameter in parameters if parameter.grad is not None]
        for what, values in (("loss", loss), ("gradient", torch.cat(gradients))):
            if not bool(values.isfinite().all()):
                raise self._diverged(what)

    def average(self) -> None:
        """Moves the running average a step towards the present parameters."""
        if not self.subject.ema:
            return
        # A young average would remember its random start.
        decay = min(self.subject.ema, self.run.step / (self.run.step + 10))
        with torch.no_grad():
            for name, tensor in self.run.student().items():
                self.run.mean[name].lerp_(tensor, 1 - decay)

    def validate(self) -> float:
        """The validation score of the present state, which becomes the best one if it is; ends the epoch."""
        run, subject = self.run, self.subject
        state = run.student()
        outputs = predict(self.module, state, subject.validation.inputs, subject.prepare)
        if self.module.circuit is not None:
            self.module.circuit.take_count()
        score = subject.objective.score(outputs, subject.validation.targets)
        if subject.objective.improves(score, run.best_score):
            run.remember_best(score)
        run.history.append([run.loss / self.batches.per_epoch, score])
        run.loss = 0.0
        return score

    def save(self) -> None:
        """Writes the checkpoint, whole or not at all."""
        save_checkpoint(self.recovery.path, checkpoint_of(self.run, self.recovery.identity))
        self.saved = time.monotonic()

    def _diverged(self, what: str) -> RunFailed:
        epoch = self.run.step // self.batches.per_epoch + 1
        return self.recovery.diverged(what, self.run.step + 1, epoch)
