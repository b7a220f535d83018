"""The loop: whatever is trained (`trainee`), from whatever it learns (`course`), with the same care.

    batch --trainee--> outputs --objective, teacher--> loss --clipped gradients--> one step of the descent

After every epoch the validation rows choose the best state; without any the last one is kept. Nothing has
changed when a loss or a gradient is not finite: that ends the run. All that a step depends on (`state`) is in
the checkpoint, and the order of an epoch's rows follows from seed and epoch: a resumed run repeats the
undisturbed one bit for bit.

A device works behind this process, which would wait for it with each number that it looks at: there a step's
loss and score stay where they are until somebody shows them, and what is not finite is noticed no later than
at the end of an epoch, or before a checkpoint is written (`faults`).

Several processes run the same loop, each on its share of every batch (`ranks`, `exchange`): what they add up
once a step makes them go on with the same numbers, so that every decision is the same in all of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput, RunFailed
from qtrain_cli.files.notes import SAVED, note
from qtrain_cli.settings import FitSettings
from qtrain_cli.tasks.counting import summed
from qtrain_cli.training.batches import Batch
from qtrain_cli.training.course import Course
from qtrain_cli.training.descent import Rate, seed_generators, start_descent
from qtrain_cli.training.exchange import Exchange, Number, StepSums
from qtrain_cli.training.faults import Faults, works_behind
from qtrain_cli.training.ranks import ALONE, present
from qtrain_cli.training.recovery import Clock, Recovery
from qtrain_cli.training.state import RunState, Trained, checkpoint_of, restore, trained
from qtrain_cli.training.stopping import stop_requests
from qtrain_cli.training.trainee import Outputs, Trainee
from qtrain_cli.training.waiting import Waiting

#: Steps that are tried at most before a run is planned.
REHEARSED = 50


@dataclass(frozen=True)
class Progress:
    """One step, as it is shown; `word` says what the scores are.

    Loss and score of a step on a device are tensors of one number there, which to read is to wait for.
    `validation` (nan: no rows) and the epoch's mean loss are set at its end. `rate` is the learning rate of
    the step, `rounds` whether the numbers are on the grid of the file, `best` the best validation figure that
    counts, of `best_epoch`. `stage` names a part of a longer run, and `share` is how much of all that this
    call has to do is done, where the steps do not say it.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: Number
    score: Number
    word: str
    validation: float | None
    epoch_loss: float | None = None
    rate: float = 0.0
    rounds: bool = False
    best: float | None = None
    best_epoch: int = 0
    stage: str = ""
    share: float | None = None


Show = Callable[[Progress], None]


def train(
    trainee: Trainee, course: Course, settings: FitSettings, rate: Rate, recovery: Recovery, show: Show
) -> Trained:
    """Trains, and returns the best state by validation. The checkpoint stays, for the caller to remove.

    Args:
        trainee: what is trained.
        course: what it learns from.
        settings: epochs and seed count here; batches and devices are the course's and the trainee's matter.
        rate: of the descent, which descent it is, and where gradients are clipped.
        recovery: where checkpoints go; ``resume`` goes on from an existing one.
        show: called after every step.

    Raises:
        RunFailed: the loss or its gradient stopped being finite; the last checkpoint is kept.
        Interrupted: Ctrl-C or SIGTERM; the state was saved.
        BadInput: the checkpoint belongs to another run, or the model cannot be trained on this data.
        Refused: the checkpoint is damaged.
    """
    checkpoint = present().led(recovery.found)
    loop = _Loop(trainee, course, settings, rate, recovery)
    if checkpoint:
        restore(loop.run, checkpoint)
    else:
        loop.save()
    with stop_requests(patient=present().several) as loop.exchange.asked:
        while loop.run.step < loop.steps:
            show(loop.advance())
            stops = loop.exchange.stops
            if loop.clock.due() or stops:
                loop.save()
            if stops:
                raise recovery.stopped()
        loop.exchange.at_end()
        loop.save()
        if present().several and loop.exchange.stops:
            raise recovery.stopped()
    return replace(trained(loop.run), waited=loop.waited.share)


@dataclass(frozen=True)
class Timed:
    """A training that was tried: its epochs and steps, and the seconds of a step and of a validation."""

    epochs: int
    steps: int
    step: float
    validation: float


def rehearse(trainee: Trainee, course: Course, settings: FitSettings, rate: Rate, seconds: float) -> Timed:
    """Takes steps for about so long (two at least), and one validation; nothing is saved.

    Raises:
        RunFailed, BadInput: as `train` does in its first steps.
    """
    loop = _Loop(trainee, course, settings, rate, Recovery(Path(), {}, False))
    trainee.begin(0, settings.epochs)

    def step(number: int) -> None:
        with loop.exchange.around_step(number):
            loop.step(course.batches.at(number), None)
        loop.settle()

    each = median_seconds(step, min(2, loop.steps), min(REHEARSED, loop.per_epoch), seconds)
    started = time.perf_counter()
    loop.validate()
    return Timed(settings.epochs, loop.steps, each, time.perf_counter() - started)


def median_seconds(step: Callable[[int], object], least: int, most: int, seconds: float) -> float:
    """The median of calls, counted from 0, for about so long; the first (warm-up) is left out.

    Args:
        step: what is timed, to its end.
        least: so many calls, however long they take.
        most: no more after these.
        seconds: when no further one begins.
    """
    times: list[float] = []
    began = time.perf_counter()

    def goes_on() -> bool:
        return len(times) < most and time.perf_counter() - began < seconds

    # Clocks differ, and all processes have to take as many steps.
    while len(times) < least or present().led(goes_on):
        started = time.perf_counter()
        step(len(times))
        times.append(time.perf_counter() - started)
    return median(times[1:] or times)


class _Loop:
    """One training run: constants here, everything that changes in `run`."""

    def __init__(
        self, trainee: Trainee, course: Course, settings: FitSettings, rate: Rate, recovery: Recovery
    ) -> None:
        self.trainee, self.course, self.recovery = trainee, course, recovery
        self.epochs, self.per_epoch = settings.epochs, course.batches.per_epoch
        self.steps = self.epochs * self.per_epoch
        seed_generators(settings.seed)
        self.trained = tuple(trainee.parameters().values())
        self.run = RunState(trainee, start_descent(self.trained, rate, self.steps))
        self.clip, self.clock, self.waited = rate.clip, Clock(), Waiting()
        self.warm, self.exchange = False, Exchange(present(), self.trained, settings.seed)
        device = self.trained[0].device
        # Several processes tell each other of every step, and know it then.
        behind = works_behind(device) and not self.exchange.ranks.several
        self.faults = Faults(device) if behind else None

    def advance(self) -> Progress:
        """One step, and at the end of an epoch the validation."""
        run = self.run
        epoch, position = divmod(run.step, self.per_epoch)
        if position == 0:
            self.exchange.ranks.spread(run.current().values())
            if self.trainee.begin(epoch, self.epochs):
                run.forget_best()
        with self.waited.counted(self.warm):
            batch = self.course.batches.at(run.step)
        rate = run.descent.lr
        loss, score = self.shown_step(batch)
        run.step += 1
        run.loss += loss
        validation = None
        if position + 1 == self.per_epoch:
            self.settle()
            validation = self.validate()
        return Progress(
            epoch + 1, self.epochs, run.step, self.steps, loss, score, self.course.objective.word, validation,
            None if validation is None else run.history[-1][0], rate, self.trainee.rounds,
            run.best_score, run.best_epoch,
        )  # fmt: skip

    def shown_step(self, batch: Batch) -> tuple[Number, Number]:
        """Loss and score of one batch, with the step's seconds added up. What is only shown is outside the
        clock."""
        with self.exchange.around_step(batch.step):
            shown = self.exact_loss(batch)
            started = time.perf_counter()
            told = self.step(batch, shown)
        # The first step of a process loads and compiles what all the others only use.
        self.run.count_time(time.perf_counter() - started if self.warm else None)
        self.warm = True
        score = self.course.objective.row.figure(told.sums)
        return told.shown, score if self.faults else float(score)

    def exact_loss(self, batch: Batch) -> float | None:
        """The loss before the step, of student and teacher, where that of the step is a draw; else None."""
        exactly = self.trainee.exactly()
        if exactly is None:
            return None
        with exactly, torch.no_grad():
            return self.loss_of(self.trainee.outputs(batch), batch).item()

    def step(self, batch: Batch, shown: float | None) -> StepSums:
        """What one batch came to, after one step of the descent. Raises `RunFailed`, `BadInput`."""
        outputs = self.trainee.outputs(batch)
        loss = self.loss_of(outputs, batch)
        self.differentiate(loss)
        counts = self.course.objective.row.counts(outputs.scores.detach(), batch.targets)
        value = loss.detach().double() if self.faults else loss.item()
        told = self.exchange.of_step(StepSums(value, value if shown is None else shown, summed(counts)))
        self.check(told.loss)
        self.run.descent.step()
        return told

    def loss_of(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The objective's loss; where nobody teaches, the student's own outputs do, without weight."""
        taught = self.course.teach(batch)
        teacher = outputs.scores.detach() if taught is None else taught
        objective, whole = self.course.objective.at(batch.step / max(1, self.steps - 1)), batch.whole
        loss = objective.loss(outputs.scores, batch.targets, teacher, whole.targets if whole else None)
        if batch.mixed:
            every = whole.mixed if whole else None
            other = objective.loss(outputs.scores, batch.mixed.targets, teacher, every)
            loss = batch.mixed.share * loss + (1 - batch.mixed.share) * other
        return loss if outputs.penalty is None else loss + outputs.penalty

    def differentiate(self, loss: Tensor) -> None:
        """All gradients. Raises `BadInput` where there is nothing to find."""
        if not loss.requires_grad:
            raise BadInput(
                "the model's outputs do not depend on the generated weights",
                "widen --targets; a model that switches gradients off cannot be trained through",
            )
        self.run.descent.optimizer.zero_grad()
        loss.backward()

    def check(self, loss: Number) -> None:
        """Clips all gradients together; no parameter has changed when one, or the loss, is not finite. On a
        device such a step is noted."""
        step = self.run.step + 1
        if not isinstance(loss, Tensor) and not math.isfinite(loss):
            raise self._diverged("loss", step)
        norm = nn.utils.clip_grad_norm_(self.trained, self.clip)
        # Not finite too where finite numbers are too large for their sum.
        if self.faults and isinstance(loss, Tensor):
            self.faults.note(step, loss, norm)
        elif not bool(norm.isfinite()):
            raise self._diverged("gradient", step)

    def settle(self) -> None:
        """Waits for what a device still has to do. Raises `RunFailed` for a step that was noted."""
        started = time.perf_counter()
        found = self.faults.read() if self.faults else None
        if found:
            raise self._diverged(*found)
        if self.faults and self.warm:
            self.run.seconds += time.perf_counter() - started

    def validate(self) -> float:
        """The validation score of the present state, which becomes the best one if it is; nan of no rows."""
        run, objective, rows = self.run, self.course.objective, len(self.course.validation.targets)
        with torch.no_grad():
            score = objective.row.figure_of(self._counts(rows)) if rows else math.nan
        if objective.improves(score, run.best_score):
            run.remember_best(score)
        run.end_epoch(self.per_epoch, score)
        run.descent.schedule.end_epoch(run.history[-1][0])
        return score

    def _counts(self, count: int) -> Tensor:
        """What each validation row adds to the score (N, k); each process finds a block of them."""
        ranks = self.exchange.ranks if count >= self.exchange.ranks.count else ALONE
        block, rows = ranks.block(count), self.course.validation

        def outputs(part: slice) -> Tensor:
            place = slice(block.start + part.start, block.start + part.stop)
            return self.trainee.predict(rows.inputs[place], self.course.prepare)

        own = self.course.objective.counts_of(outputs, rows.targets[block])
        return ranks.gathered(own, count) if ranks.several else own

    def save(self) -> None:
        """Writes the checkpoint, once all steps before it are known to be good; of several processes one
        does."""
        self.settle()
        if self.exchange.ranks.first:
            self.clock.save(self.recovery.path, checkpoint_of(self.run, self.recovery.identity))
            if self.recovery.kept:
                note(SAVED)

    def _diverged(self, what: str, step: int) -> RunFailed:
        return self.recovery.diverged(what, step, (step - 1) // self.per_epoch + 1)
