"""Everything that changes while training, and so everything that a checkpoint holds.

    run.*      the trainee's parameters (`parameter.NAME`) and its state (`state.NAME`)
    best.*     the same, of the best epoch so far
    JSON       step, best score and its epoch, history, the epoch's summed loss, how many steps took how many
               seconds

and what every run's `descent` adds: moments, random states, learning rate, the schedule. A checkpoint put
into a freshly started run of the same identity continues it bit for bit. A finished run's checkpoint gives
its result at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from qtrain_cli.files.checkpoint import Checkpoint, restore_random_states
from qtrain_cli.training.descent import Descent, refusing_what_no_run_saves
from qtrain_cli.training.trainee import Trainee

#: Fields that are in a checkpoint's JSON as they are, beside step and best score.
_COURSE = ("history", "loss", "timed", "seconds", "best_epoch")
_PARAMETER, _STATE = "parameter.", "state."


@dataclass
class RunState:
    """The state of one run; `best` holds copies by the names of `current`, of `best_epoch`, from 1 on. The
    sum of an epoch's losses lies where they do."""

    trainee: Trainee
    descent: Descent
    step: int = 0
    best_score: float | None = None
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[list[float]] = field(default_factory=list)
    loss: float | Tensor = 0.0
    timed: int = 0
    seconds: float = 0.0
    best_epoch: int = 0

    def current(self) -> dict[str, Tensor]:
        """All tensors of the trainee, detached, sharing memory with it."""
        parameters = self.trainee.parameters().items()
        named = {_PARAMETER + name: tensor.detach() for name, tensor in parameters}
        return named | {_STATE + name: tensor for name, tensor in self.trainee.state().items()}

    def remember_best(self, score: float) -> None:
        """Copies the present tensors, of the epoch that ends, as the best ones so far."""
        self.best_score, self.best_epoch = score, len(self.history) + 1
        self.best = {name: tensor.clone() for name, tensor in self.current().items()}

    def forget_best(self) -> None:
        """What comes is of another kind: nothing before it can be compared."""
        self.best_score, self.best, self.best_epoch = None, {}, 0

    def count_time(self, seconds: float | None) -> None:
        """Adds a step's time; None is a step that is not timed."""
        if seconds is not None:
            self.timed, self.seconds = self.timed + 1, self.seconds + seconds

    def end_epoch(self, steps: int, score: float) -> None:
        """Puts an epoch's mean loss and validation score down."""
        self.history.append([float(self.loss) / steps, score])
        self.loss = 0.0


@dataclass(frozen=True)
class Trained:
    """What a run found: the best state by validation, or the last one when no score was finite.

    `parameters` and `state` are on the CPU, by the trainee's names; `history` has loss and validation score
    of each epoch, `seconds` what all steps took (None where no more than a first step was timed), `waited`
    the share of its time that a step waited for its batch.
    """

    parameters: dict[str, Tensor]
    state: dict[str, Tensor]
    score: float | None
    history: tuple[tuple[float, float], ...]
    seconds: float | None = None
    waited: float = 0.0


def trained(run: RunState) -> Trained:
    """The result of a run that has ended."""
    best = {name: tensor.cpu().clone() for name, tensor in (run.best or run.current()).items()}
    return Trained(
        parameters=_stripped(best, _PARAMETER),
        state=_stripped(best, _STATE),
        score=run.best_score,
        history=tuple((row[0], row[1]) for row in run.history),
        seconds=run.seconds / run.timed * run.step if run.timed else None,
    )


def _stripped(named: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): part for name, part in named.items() if name.startswith(prefix)}


def checkpoint_of(run: RunState, identity: dict[str, Any]) -> Checkpoint:
    """The whole state as a checkpoint of the run that `identity` describes."""
    kinds = {"run": run.current(), "best": run.best}
    state = {name: getattr(run, name) for name in ("step", "best_score", *_COURSE)}
    state["loss"] = float(run.loss)
    return run.descent.checkpoint(kinds, state, identity)


def restore(run: RunState, checkpoint: Checkpoint) -> None:
    """Puts a checkpoint's values into a freshly started run, and its random states into the generators.

    Raises:
        Refused: values that no run has saved. A checkpoint's SHA-256 finds damage, and no forger.
        BadInput: it needs a CUDA device that is not there.
    """
    with refusing_what_no_run_saves():
        # Before 0.7.0 the epoch of the best score was not kept.
        state, current = {"best_epoch": 0} | checkpoint.state, run.current()
        best = {} if state["best_score"] is None else current
        kinds = run.descent.checked(checkpoint, {"run": current, "best": best})
        _check_course(state)
        for name, tensor in current.items():
            tensor.copy_(kinds["run"][name])
        run.best = {name: tensor.to(current[name].device) for name, tensor in kinds["best"].items()}
        for name in ("step", "best_score", *_COURSE):
            setattr(run, name, state[name])
        run.descent.restore(kinds["adam"], state)
        restore_random_states(checkpoint.tensors)


def _check_course(state: dict[str, Any]) -> None:
    """Raises `ValueError` for a course that no run has saved."""
    if type(state["history"]) is not list:
        raise ValueError("a history that is no list")
    rows = [value for row in state["history"] for value in row]
    if not all(type(number) is float for number in (state["loss"], state["seconds"], *rows)):
        raise ValueError("a loss, a time or a history that are no numbers")
    if type(state["timed"]) is not int or any(len(row) != 2 for row in state["history"]):
        raise ValueError("a count or a history that is none")
    if state["best_epoch"] not in range(1 + len(state["history"])) or type(state["best_epoch"]) is not int:
        raise ValueError("an epoch that has not been")
