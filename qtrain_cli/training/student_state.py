"""Everything that changes while a student learns, and so everything that a checkpoint holds.

    run.*     parameters of student and projection      best.*   the student's, of the best epoch so far
    mean.*    their running average, if there is one    adam.*   moments and step counts
    random.*  torch, Python, NumPy
    JSON      step, best score, the schedule's state, history, circuit evaluations, the epoch's summed loss,
              and how many steps took how many seconds

A checkpoint put into a freshly started run of the same identity continues it bit for bit. A finished run's
checkpoint gives its result at once, which is how generations go on after an interruption.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.errors import Refused
from qtrain_cli.files.checkpoint import START_AGAIN, Checkpoint, random_states, restore_random_states
from qtrain_cli.settings import FitSettings

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
#: Parameters under these names are the student's; others (the projection) are thrown away at the end.
STUDENT = "student."


@dataclass
class StudentState:
    """The state of one run: `parameters` by name, `best` the student's part of the best ones."""

    parameters: dict[str, Tensor]
    optimizer: torch.optim.Adam
    schedule: torch.optim.lr_scheduler.OneCycleLR
    mean: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    best_score: float | None = None
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[list[float]] = field(default_factory=list)
    evaluations: int = 0
    loss: float = 0.0
    timed: int = 0
    seconds: float = 0.0

    def count_time(self, seconds: float | None) -> None:
        """Adds a step's time; None is a step that is not timed."""
        if seconds is not None:
            self.timed, self.seconds = self.timed + 1, self.seconds + seconds

    def seconds_of(self, steps: int) -> float | None:
        """Of so many steps, by the mean of those that were timed; None where none was."""
        return self.seconds / self.timed * steps if self.timed else None

    def student(self) -> dict[str, Tensor]:
        """The student's parameters by their own names, detached, sharing memory with the run."""
        return {
            name.removeprefix(STUDENT): tensor.detach()
            for name, tensor in self.parameters.items()
            if name.startswith(STUDENT)
        }

    def remember_best(self, score: float) -> None:
        """Copies the present parameters as the best ones so far."""
        self.best_score = score
        self.best = {name: tensor.clone() for name, tensor in self.student().items()}

    def result(self) -> dict[str, Tensor]:
        """The best state, or the present one when no score was finite; on the CPU."""
        return {name: tensor.cpu().clone() for name, tensor in (self.best or self.student()).items()}


def start_student(
    parameters: dict[str, Tensor], settings: FitSettings, steps: int, average: bool
) -> StudentState:
    """A seeded start: Adam with a one-cycle schedule, and a running average where one is wanted."""
    torch.manual_seed(settings.seed)
    random.seed(settings.seed)
    np.random.seed(settings.seed)
    optimizer = torch.optim.Adam(list(parameters.values()), lr=settings.lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps + 1)
    state = StudentState(parameters, optimizer, schedule)
    if average:
        state.mean = {name: tensor.clone() for name, tensor in state.student().items()}
    return state


def checkpoint_of(run: StudentState, identity: dict[str, Any]) -> Checkpoint:
    """The whole state as a checkpoint of the run that `identity` describes."""
    tensors = {f"run.{name}": tensor.detach() for name, tensor in run.parameters.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in run.best.items()}
    tensors |= {f"mean.{name}": tensor for name, tensor in run.mean.items()}
    tensors |= random_states()
    for number, moments in run.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": moments[name] for name in _MOMENTS}
    group = run.optimizer.param_groups[0]
    state = {
        "step": run.step,
        "best_score": run.best_score,
        "group": {"lr": group["lr"], "betas": list(group["betas"])},
        "schedule": _plain_schedule(run),
        "history": run.history,
        "evaluations": run.evaluations,
        "loss": run.loss,
        "timed": run.timed,
        "seconds": run.seconds,
    }
    return Checkpoint(tensors, state, identity)


def restore(run: StudentState, checkpoint: Checkpoint) -> None:
    """Puts a checkpoint's values into a freshly started run, and its random states into the generators.

    Raises:
        Refused: values that no run has saved. A checkpoint's SHA-256 finds damage, and no forger.
        BadInput: it needs a CUDA device that is not there.
    """
    try:
        _require_saved_by_a_run(run, checkpoint)
        _restore(run, checkpoint)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise Refused(
            f"the checkpoint holds what no run saves: {type(error).__name__}: {error}", START_AGAIN
        ) from error


def _plain_schedule(run: StudentState) -> dict[str, Any]:
    return {name: value for name, value in run.schedule.state_dict().items() if not callable(value)}


def _require_saved_by_a_run(run: StudentState, checkpoint: Checkpoint) -> None:
    """Raises `ValueError` for a state that would fail, or never end, later."""
    state, fresh = checkpoint.state, _plain_schedule(run)
    step, group = state["step"], state["group"]
    if type(step) is not int or not 0 <= step < fresh["total_steps"]:
        raise ValueError(f"the step {step!r}")
    moving = {"last_epoch": step, "_step_count": step + 1, "_last_lr": [group["lr"]]}
    if state["schedule"] != {**fresh, **moving}:
        raise ValueError("a schedule of another run")
    numbers = [
        group["lr"],
        *group["betas"],
        state["loss"],
        state["seconds"],
        0.0 if state["best_score"] is None else state["best_score"],
    ]
    rows = [value for row in state["history"] for value in row]
    if len(group["betas"]) != 2 or not all(type(number) is float for number in (*numbers, *rows)):
        raise ValueError("a learning rate, betas, a score or a history that are no numbers")
    counts = (state["evaluations"], state["timed"])
    if any(type(count) is not int for count in counts) or any(len(row) != 2 for row in state["history"]):
        raise ValueError("a count or a history that is none")
    _require_tensors(run, checkpoint)


def _require_tensors(run: StudentState, checkpoint: Checkpoint) -> None:
    student = run.student()
    expected = {f"run.{name}": tensor for name, tensor in run.parameters.items()}
    expected |= {f"mean.{name}": tensor for name, tensor in run.mean.items()}
    if checkpoint.state["best_score"] is not None:
        expected |= {f"best.{name}": tensor for name, tensor in student.items()}
    if checkpoint.state["step"]:
        for number, parameter in enumerate(run.parameters.values()):
            expected |= {
                f"adam.{number}.{name}": torch.tensor(0.0) if name == "step" else parameter
                for name in _MOMENTS
            }
    found = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.startswith("random.")}
    if {name: _form(tensor) for name, tensor in found.items()} != {n: _form(t) for n, t in expected.items()}:
        raise ValueError("tensors of other names, shapes or dtypes")


def _form(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _restore(run: StudentState, checkpoint: Checkpoint) -> None:
    kinds: dict[str, dict[str, Tensor]] = {"run": {}, "best": {}, "mean": {}, "adam": {}, "random": {}}
    for name, tensor in checkpoint.tensors.items():
        kind, _, rest = name.partition(".")
        kinds[kind][rest] = tensor
    device = next(iter(run.parameters.values())).device
    with torch.no_grad():
        for name, tensor in run.parameters.items():
            tensor.copy_(kinds["run"][name])
    run.best = {name: tensor.to(device) for name, tensor in kinds["best"].items()}
    run.mean = {name: tensor.to(device) for name, tensor in kinds["mean"].items()}
    state = checkpoint.state
    run.step, run.best_score = state["step"], state["best_score"]
    run.history, run.evaluations, run.loss = state["history"], state["evaluations"], state["loss"]
    run.timed, run.seconds = state["timed"], state["seconds"]
    packed = run.optimizer.state_dict()
    for name, tensor in kinds["adam"].items():
        number, _, moment = name.partition(".")
        packed["state"].setdefault(int(number), {})[moment] = tensor
    run.optimizer.load_state_dict(packed)
    run.schedule.load_state_dict(state["schedule"])
    group = state["group"]
    run.optimizer.param_groups[0].update(lr=group["lr"], betas=tuple(group["betas"]))
    restore_random_states(checkpoint.tensors)
