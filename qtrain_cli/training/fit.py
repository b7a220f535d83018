"""Fits a generator to task data with the trained model as the teacher.

    theta, mapping numbers --generator--> weights --functional call--> outputs --objective--> loss
                          <--------------------- one backward pass ----------------------

Adam with a one-cycle schedule on the angles and the mapping's numbers; nothing else is trained. After every
epoch the validation split chooses the best state. All that a step depends on (angles, moments,
schedule, buffers, random states, position in the epoch) is in the checkpoint, and the order of an epoch's
rows follows from the seed and its number, so a resumed run repeats the undisturbed one bit for bit.

Left out here: rounding in the loop, several devices, data augmentation.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.angles import start_angles
from qtrain_cli.errors import Interrupted, RunFailed
from qtrain_cli.files.checkpoint import (
    Checkpoint,
    load_checkpoint,
    random_states,
    restore_random_states,
    save_checkpoint,
)  # fmt: skip
from qtrain_cli.files.data import Normalisation, TrainSplit, ValidationSplit
from qtrain_cli.generator import Generator
from qtrain_cli.layout import complete, kept_tensors
from qtrain_cli.mapping import start_numbers
from qtrain_cli.settings import FitSettings
from qtrain_cli.spec import GeneratorSpec
from qtrain_cli.training.objective import Objective, predict

SECONDS_BETWEEN_CHECKPOINTS = 10.0
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


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


@dataclass(frozen=True)
class Fitted:
    """The best state by validation: angles (b, L, n, r), mapping numbers (k,), buffers; all on the CPU."""

    theta: Tensor
    numbers: Tensor
    buffers: dict[str, Tensor]


@dataclass
class _Run:
    """Everything that changes while fitting, and so everything that a checkpoint holds."""

    theta: Tensor
    numbers: Tensor
    buffers: dict[str, Tensor]
    optimizer: torch.optim.Adam
    schedule: torch.optim.lr_scheduler.OneCycleLR
    step: int = 0
    best_score: float | None = None
    best: dict[str, Tensor] = field(default_factory=dict)

    def current(self) -> dict[str, Tensor]:
        """The trained state by name, detached."""
        named = {"theta": self.theta.detach(), "numbers": self.numbers.detach()}
        return named | {f"buffer.{name}": tensor for name, tensor in self.buffers.items()}


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
        RunFailed: the loss stopped being finite; the last checkpoint is kept.
        Interrupted: Ctrl-C or SIGTERM; the state was saved.
        BadInput, Refused: the checkpoint belongs to another run, or is damaged.
    """
    device = torch.device(settings.device)
    loop = _Loop(problem, settings, recovery, show, device)
    if recovery.resume and recovery.path.exists():
        _restore(loop.run, load_checkpoint(recovery.path, recovery.identity))
    else:
        loop.save()
    with _signals() as stop:
        while loop.run.step < loop.steps:
            loop.advance()
            if stop.is_set():
                loop.save()
                raise Interrupted(f"stopped; the state is in '{recovery.path}'", "run it again with --resume")
    return _fitted(loop.run)


class _Loop:
    """One training run: constants here, everything that changes in `run`."""

    def __init__(
        self, problem: Problem, settings: FitSettings, recovery: Recovery,
        show: Callable[[Progress], None], device: torch.device,
    ) -> None:  # fmt: skip
        self.problem, self.settings, self.recovery, self.show = problem, settings, recovery, show
        self.generator = Generator(problem.spec, device)
        self.device = device
        self.batch = min(settings.batch_size, len(problem.train))
        self.per_epoch = len(problem.train) // self.batch
        self.steps = self.per_epoch * settings.epochs
        teacher = {name: tensor.to(device) for name, tensor in problem.teacher.items()}
        self.kept = kept_tensors(problem.spec.layout, teacher)
        self.teacher_outputs = predict(problem.module, teacher, problem.train.inputs, problem.prepare)
        self.run = _start(problem, settings, self.steps, device)
        self.saved = time.monotonic()
        self.order = torch.empty(0, dtype=torch.long)

    def advance(self) -> None:
        """One step, and at the end of an epoch the validation."""
        run = self.run
        epoch, position = divmod(run.step, self.per_epoch)
        if position == 0 or not len(self.order):
            self.order = _epoch_order(self.settings.seed, epoch, len(self.problem.train))
        rows = self.order[position * self.batch : (position + 1) * self.batch]
        loss, score = self.train_step(rows)
        run.step += 1
        ended = position + 1 == self.per_epoch
        validation = self.validate() if ended else None
        word = self.problem.objective.word
        epochs = self.settings.epochs
        self.show(Progress(epoch + 1, epochs, run.step, self.steps, loss, score, word, validation))
        if time.monotonic() - self.saved > SECONDS_BETWEEN_CHECKPOINTS:
            self.save()

    def train_step(self, rows: Tensor) -> tuple[float, float]:
        """Loss and score of one batch, after one step of the optimiser. Raises `RunFailed`."""
        run, problem = self.run, self.problem
        inputs = problem.prepare(problem.train.inputs[rows].to(self.device))
        targets = problem.train.targets[rows].to(self.device)
        problem.module.train()
        outputs = torch.func.functional_call(problem.module, self.state(), (inputs,))
        loss = problem.objective.loss(outputs, targets, self.teacher_outputs[rows].to(self.device))
        value = loss.item()
        if not math.isfinite(value):
            raise self._diverged(value)
        run.optimizer.zero_grad()
        loss.backward()
        run.optimizer.step()
        run.schedule.step()
        return value, problem.objective.score(outputs.detach(), targets)

    def state(self) -> dict[str, Tensor]:
        """The whole state dictionary with generated tensors in place; buffers are updated where they lie."""
        generated = self.generator.tensors(self.run.theta, self.run.numbers)
        return complete(self.problem.spec.layout, generated, self.kept | self.run.buffers)

    def validate(self) -> float:
        """The validation score of the present state, which becomes the best one if it is."""
        run, problem = self.run, self.problem
        with torch.no_grad():
            state = self.state()
        outputs = predict(problem.module, state, problem.validation.inputs, problem.prepare)
        score = problem.objective.score(outputs, problem.validation.targets)
        if math.isfinite(score) and (
            run.best_score is None or problem.objective.better(score, run.best_score)
        ):
            run.best_score = score
            run.best = {name: tensor.clone() for name, tensor in run.current().items()}
        return score

    def save(self) -> None:
        """Writes the checkpoint, whole or not at all."""
        save_checkpoint(self.recovery.path, _checkpoint(self.run, self.recovery.identity))
        self.saved = time.monotonic()

    def _diverged(self, value: float) -> RunFailed:
        epoch = self.run.step // self.per_epoch + 1
        return RunFailed(
            f"the loss is {value} at step {self.run.step + 1} (epoch {epoch});"
            f" the last good state is kept in '{self.recovery.path}'",
            "lower --lr, check --mean and --std, and begin again with --force",
        )


def _start(problem: Problem, settings: FitSettings, steps: int, device: torch.device) -> _Run:
    """The seeded start: angles from the artifact's own stream, mapping numbers, the teacher's buffers."""
    torch.manual_seed(settings.seed)
    spec = problem.spec
    theta = start_angles(spec.circuit, spec.angles.start_seed).float().to(device).requires_grad_()
    numbers = start_numbers(spec, torch.Generator().manual_seed(settings.seed)).to(device).requires_grad_()
    names = [name for name, _ in problem.module.named_buffers() if name in problem.teacher]
    buffers = {name: problem.teacher[name].detach().clone().to(device) for name in names}
    optimizer = torch.optim.Adam([theta, numbers], lr=settings.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps + 1)
    return _Run(theta, numbers, buffers, optimizer, schedule)


def _epoch_order(seed: int, epoch: int, rows: int) -> Tensor:
    """The order of an epoch's rows: a function of seed and epoch alone."""
    return torch.randperm(rows, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def _checkpoint(run: _Run, identity: dict[str, Any]) -> Checkpoint:
    tensors = {f"run.{name}": tensor for name, tensor in run.current().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in run.best.items()}
    tensors |= random_states()
    for number, moments in run.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": moments[name] for name in _MOMENTS}
    group = run.optimizer.param_groups[0]
    schedule = {name: value for name, value in run.schedule.state_dict().items() if not callable(value)}
    state = {
        "step": run.step,
        "best_score": run.best_score,
        "group": {"lr": group["lr"], "betas": list(group["betas"])},
        "schedule": schedule,
    }
    return Checkpoint(tensors, state, identity)


def _restore(run: _Run, checkpoint: Checkpoint) -> None:
    """Puts a checkpoint's values into a freshly started run."""
    kinds: dict[str, dict[str, Tensor]] = {"run": {}, "best": {}, "adam": {}, "random": {}}
    for name, tensor in checkpoint.tensors.items():
        kind, _, rest = name.partition(".")
        kinds[kind][rest] = tensor
    with torch.no_grad():
        for name, tensor in run.current().items():
            tensor.copy_(kinds["run"][name])
    run.best = {name: tensor.to(run.theta.device) for name, tensor in kinds["best"].items()}
    run.step, run.best_score = checkpoint.state["step"], checkpoint.state["best_score"]
    packed = run.optimizer.state_dict()
    for name, tensor in kinds["adam"].items():
        number, _, moment = name.partition(".")
        packed["state"].setdefault(int(number), {})[moment] = tensor
    run.optimizer.load_state_dict(packed)
    run.schedule.load_state_dict(checkpoint.state["schedule"])
    group = checkpoint.state["group"]
    run.optimizer.param_groups[0].update(lr=group["lr"], betas=tuple(group["betas"]))
    restore_random_states(checkpoint.tensors)


def _fitted(run: _Run) -> Fitted:
    best = {name: tensor.cpu() for name, tensor in (run.best or run.current()).items()}
    buffers = {name.removeprefix("buffer."): t for name, t in best.items() if name.startswith("buffer.")}
    return Fitted(best["theta"].clone(), best["numbers"].clone(), buffers)


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that a run stops between two steps and saves."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
