"""Fits a generator to task data with the trained model as the teacher.

    theta, mapping numbers --generator--> weights --functional call--> outputs --objective--> loss
                          <--------------------- one backward pass ----------------------

Adam in the eigenbasis of the gradients (`whitened`; plain for rough gradients) with a one-cycle schedule and
clipped gradients, on the angles and the mapping's numbers; nothing else is trained. Late in training the
angles are rounded in the loop (`rounding`). After every epoch the validation split chooses the best state, of
the rounded ones if there are any. All that a step depends on (`state`) is in the checkpoint, and the order
of an epoch's rows follows from seed and epoch: a resumed run repeats the undisturbed one bit for bit.

Left out here: several devices, data augmentation.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.data import Normalisation, TrainSplit, ValidationSplit
from qtrain_cli.errors import BadInput, Interrupted, RunFailed
from qtrain_cli.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from qtrain_cli.methods.generator.generator import Generator, Run
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.models.call import call_model, predict
from qtrain_cli.quantum.statevector import probabilities
from qtrain_cli.settings import FitSettings
from qtrain_cli.targets.layout import complete, kept_tensors
from qtrain_cli.tasks.objective import Objective, check_outputs
from qtrain_cli.training.devices import on_device
from qtrain_cli.training.epochs import Batches
from qtrain_cli.training.measuring import StepCircuits, fit_cost
from qtrain_cli.training.rounding import Rounding
from qtrain_cli.training.state import Fitted, checkpoint_of, restore, start_state
from qtrain_cli.training.stopping import stop_requests

SECONDS_BETWEEN_CHECKPOINTS = 10.0
#: Norms are some tens on the way; at the peak learning rate single steps of hundreds threw whole runs off.
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Problem:
    """What is fitted, to what: the model with its own weights, the generator, two splits of the data."""

    module: nn.Module
    teacher: dict[str, Tensor]
    spec: GeneratorSpec
    train: TrainSplit
    validation: ValidationSplit
    prepare: Normalisation
    objective: Objective


@dataclass(frozen=True)
class Progress:
    """One step, as it is shown; `word` says what the scores are, `validation` is set at an epoch's end."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    score: float
    word: str
    validation: float | None


@dataclass(frozen=True)
class Recovery:
    """Where checkpoints go, whose they are, and whether to go on from one."""

    path: Path
    identity: dict[str, Any]
    resume: bool

    def found(self) -> Checkpoint | None:
        """The checkpoint to go on from, if that is wanted and there is one. Raises `BadInput`, `Refused`."""
        going_on = self.resume and self.path.exists()
        return load_checkpoint(self.path, self.identity) if going_on else None

    def stopped(self) -> Interrupted:
        """What a run ends with that was asked to stop, once it has saved."""
        return Interrupted(f"stopped; the state is in '{self.path}'", "run it again with --resume")

    def diverged(self, what: str, step: int, epoch: int) -> RunFailed:
        """What a run ends with whose loss or gradient is not finite; step and epoch count from 1."""
        return RunFailed(
            f"the {what} is not finite at step {step} (epoch {epoch});"
            f" the last good state is kept in '{self.path}'",
            "lower --lr, check --mean and --std, and begin again with --force",
        )


def fit(
    problem: Problem, settings: FitSettings, recovery: Recovery, show: Callable[[Progress], None]
) -> Fitted:
    """Trains, and returns the best state by validation.

    Args:
        problem: model, generator and data.
        settings: epochs, batch size, learning rate, seed, device.
        recovery: where checkpoints go; ``resume`` goes on from an existing one.
        show: called after every step.

    Raises:
        RunFailed: the loss or its gradient stopped being finite; the last checkpoint is kept.
        Interrupted: Ctrl-C or SIGTERM; the state was saved.
        BadInput: the checkpoint belongs to another run, or the model cannot be trained on this data.
        Refused: the checkpoint is damaged.
    """
    checkpoint = recovery.found()
    loop = _Loop(problem, settings, recovery, show)
    if checkpoint:
        restore(loop.run, checkpoint)
        loop.count_steps_before()
    else:
        loop.save()
    with stop_requests() as asked:
        while loop.run.step < loop.steps:
            loop.advance()
            if asked.is_set():
                loop.save()
                raise recovery.stopped()
    return replace(loop.run.fitted(), cost=loop.circuits.cost)


class _Loop:
    """One training run: constants here, everything that changes in `run`."""

    def __init__(
        self, problem: Problem, settings: FitSettings, recovery: Recovery, show: Callable[[Progress], None]
    ) -> None:
        self.problem, self.settings, self.recovery, self.show = problem, settings, recovery, show
        self.device = torch.device(settings.device)
        self.generator = Generator(problem.spec, self.device)
        self.circuits = StepCircuits(settings.gradient, settings.seed)
        self.rounding = Rounding(problem.spec, settings.epochs)
        self.batches = Batches(len(problem.train), settings.batch_size, settings.seed)
        self.steps = settings.steps(len(problem.train))
        teacher = on_device(problem.teacher, self.device)
        self.kept = kept_tensors(problem.spec.layout, teacher)
        self.teacher_outputs = predict(problem.module, teacher, problem.train.inputs, problem.prepare)
        check_outputs(problem.objective.task, self.teacher_outputs, problem.train.targets, None)
        buffers = {name: teacher[name] for name, _ in problem.module.named_buffers() if name in teacher}
        self.run = start_state(problem.spec, buffers, settings, self.steps)
        self.saved = time.monotonic()

    def advance(self) -> None:
        """One step, and at the end of an epoch the validation."""
        run = self.run
        epoch, position = divmod(run.step, self.batches.per_epoch)
        if position == 0 and epoch >= self.rounding.first:
            run.round_with(self.rounding.step_for(run.theta))
        loss, score = self.train_step(self.batches.at(run.step))
        run.step += 1
        ended = position + 1 == self.batches.per_epoch
        validation = self.validate() if ended else None
        word = self.problem.objective.word
        epochs = self.settings.epochs
        self.show(Progress(epoch + 1, epochs, run.step, self.steps, loss, score, word, validation))
        if time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
            self.save()

    def train_step(self, rows: Tensor) -> tuple[float, float]:
        """Loss and score of one batch, after one step of the optimiser. Raises `RunFailed`, `BadInput`."""
        run, problem = self.run, self.problem
        inputs = problem.prepare(problem.train.inputs[rows].to(self.device))
        targets = problem.train.targets[rows].to(self.device)
        problem.module.train()
        state = self.state(self.circuits.at(run.step))
        outputs = call_model(problem.module, state, inputs)
        loss = problem.objective.loss(outputs, targets, self.teacher_outputs[rows].to(self.device))
        self.differentiate(loss)
        run.descent.step()
        run.keep_buffers(state)
        return loss.item(), problem.objective.score(outputs.detach(), targets)

    def differentiate(self, loss: Tensor) -> None:
        """The gradients of angles and mapping numbers; nothing is changed yet when one is not finite."""
        run = self.run
        if not loss.requires_grad:
            raise BadInput(
                "the model's outputs do not depend on the generated weights",
                "widen --targets; a model that switches gradients off cannot be trained through",
            )
        run.descent.optimizer.zero_grad()
        loss.backward()
        for what, value in (("loss", loss), ("gradient", run.theta.grad), ("gradient", run.numbers.grad)):
            if value is not None and not bool(value.isfinite().all()):
                raise self._diverged(what)
        trained = [value for value in (run.theta, run.numbers) if value.grad is not None]
        norm = nn.utils.clip_grad_norm_(trained, MAX_GRADIENT_NORM)
        if not bool(norm.isfinite()):  # finite numbers, too large for their sum
            raise self._diverged("gradient")

    def state(self, circuits: Run = probabilities) -> dict[str, Tensor]:
        """The whole state dictionary with generated tensors in place."""
        theta, step = self.run.theta, float(self.run.grid)
        angles = self.rounding.rounded(theta, step) if step else theta
        generated = self.generator.tensors(angles, self.run.numbers, circuits)
        return complete(self.problem.spec.layout, generated, self.kept | self.run.buffers)

    def validate(self) -> float:
        """The validation score of the present state, which becomes the best one if it is."""
        run, problem = self.run, self.problem
        if run.grid:
            run.round_with(self.rounding.refitted(run.theta, float(run.grid)))
        with torch.no_grad():
            state = self.state()
        outputs = predict(problem.module, state, problem.validation.inputs, problem.prepare)
        score = problem.objective.score(outputs, problem.validation.targets)
        if problem.objective.improves(score, run.best_score):
            run.remember_best(score)
        return score

    def count_steps_before(self) -> None:
        """Puts down what the steps of a restored run have measured."""
        before = fit_cost(self.settings.gradient, self.problem.spec.circuit, self.run.step)
        self.circuits.cost.evaluations, self.circuits.cost.shots = before.evaluations, before.shots

    def save(self) -> None:
        """Writes the checkpoint, whole or not at all."""
        save_checkpoint(self.recovery.path, checkpoint_of(self.run, self.recovery.identity))
        self.saved = time.monotonic()

    def _diverged(self, what: str) -> RunFailed:
        epoch = self.run.step // self.batches.per_epoch + 1
        return self.recovery.diverged(what, self.run.step + 1, epoch)
