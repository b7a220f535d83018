"""Everything that changes while a student learns, and so everything that a checkpoint holds.

    run.*     parameters of student and projection      best.*   the student's, of the best epoch so far
    mean.*    their running average, if there is one
    JSON      step, best score, history, circuit evaluations, the epoch's summed loss, and how many steps took
              how many seconds

and what every run's `descent` adds: moments, random states, learning rate, the schedule. A checkpoint put
into a freshly started run of the same identity continues it bit for bit. A finished run's checkpoint gives
its result at once, which is how generations go on after an interruption.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from qtrain_cli.files.checkpoint import Checkpoint, restore_random_states
from qtrain_cli.settings import FitSettings
from qtrain_cli.training.descent import Descent, refusing_what_no_run_saves, seed_generators, start_descent

#: Fields that are in a checkpoint's JSON as they are, beside step and best score.
_COURSE = ("history", "evaluations", "loss", "timed", "seconds")
#: Parameters under these names are the student's; others (the projection) are thrown away at the end.
STUDENT = "student."


@dataclass
class StudentState:
    """The state of one run: `parameters` by name, `best` the student's part of the best ones."""

    parameters: dict[str, Tensor]
    descent: Descent
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

    def detached(self) -> dict[str, Tensor]:
        """All parameters by name, sharing memory with the run."""
        return {name: tensor.detach() for name, tensor in self.parameters.items()}

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
    """A seeded start, with a running average where one is wanted."""
    seed_generators(settings.seed)
    descent = start_descent(tuple(parameters.values()), settings.lr, steps, fused=True)
    state = StudentState(parameters, descent)
    if average:
        state.mean = {name: tensor.clone() for name, tensor in state.student().items()}
    return state


def checkpoint_of(run: StudentState, identity: dict[str, Any]) -> Checkpoint:
    """The whole state as a checkpoint of the run that `identity` describes."""
    kinds = {"run": run.detached(), "best": run.best, "mean": run.mean}
    state = {name: getattr(run, name) for name in ("step", "best_score", *_COURSE)}
    return run.descent.checkpoint(kinds, state, identity)


def restore(run: StudentState, checkpoint: Checkpoint) -> None:
    """Puts a checkpoint's values into a freshly started run, and its random states into the generators.

    Raises:
        Refused: values that no run has saved. A checkpoint's SHA-256 finds damage, and no forger.
        BadInput: it needs a CUDA device that is not there.
    """
    with refusing_what_no_run_saves():
        state, current = checkpoint.state, run.detached()
        best = {} if state["best_score"] is None else run.student()
        kinds = run.descent.checked(checkpoint, {"run": current, "best": best, "mean": run.mean})
        _check_course(state)
        device = next(iter(current.values())).device
        for name, tensor in current.items():
            tensor.copy_(kinds["run"][name])
        run.best = {name: tensor.to(device) for name, tensor in kinds["best"].items()}
        run.mean = {name: tensor.to(device) for name, tensor in kinds["mean"].items()}
        for name in ("step", "best_score", *_COURSE):
            setattr(run, name, state[name])
        run.descent.restore(kinds["adam"], state)
        restore_random_states(checkpoint.tensors)


def _check_course(state: dict[str, Any]) -> None:
    """Raises `ValueError` for a course that no run has saved."""
    rows = [value for row in state["history"] for value in row]
    if not all(type(number) is float for number in (state["loss"], state["seconds"], *rows)):
        raise ValueError("a loss, a time or a history that are no numbers")
    counts = (state["evaluations"], state["timed"])
    if any(type(count) is not int for count in counts) or any(len(row) != 2 for row in state["history"]):
        raise ValueError("a count or a history that is none")
