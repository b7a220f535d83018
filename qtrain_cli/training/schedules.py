"""How the learning rate moves: row by row what `--schedule` may say.

    one-cycle    up to its peak and down to nearly nothing, by steps (Smith and Topin 2017)
    plateau      halved when an epoch's mean training loss has not fallen for so many epochs
    constant     as it is

Each is a scheduler of PyTorch's, with what belongs to it in a checkpoint: its state, and what of it may
have moved after so many steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from qtrain_cli.settings.fit import CONSTANT, ONE_CYCLE, PLATEAU

HALVED, PATIENCE = 0.5, 5


class Schedule(Protocol):
    """Moves the learning rate of an optimiser's one group."""

    def step(self) -> None:
        """After each step."""

    def end_epoch(self, loss: float) -> None:
        """After each epoch, given its mean training loss."""

    def state(self) -> dict[str, Any]:
        """As plain JSON."""

    def check(self, step: int, state: Mapping[str, Any], lr: float) -> None:
        """Raises `ValueError` for what no run of so many steps has, at this rate."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Puts a checked state in place."""


def schedule_of(name: str, optimizer: torch.optim.Optimizer, lr: float, steps: int) -> Schedule:
    """A row of the schedules, for a run of so many steps."""
    rows: dict[str, Callable[..., Schedule]]
    rows = {ONE_CYCLE: OneCycle, PLATEAU: Halving, CONSTANT: Constant}
    return rows[name](optimizer, lr, steps)


class OneCycle:
    """See above."""

    def __init__(self, optimizer: torch.optim.Optimizer, lr: float, steps: int) -> None:
        self.own = OneCycleLR(optimizer, lr, total_steps=steps + 1)

    def step(self) -> None:
        self.own.step()

    def end_epoch(self, loss: float) -> None:
        """By steps alone."""

    def state(self) -> dict[str, Any]:
        return {name: value for name, value in self.own.state_dict().items() if not callable(value)}

    def check(self, step: int, state: Mapping[str, Any], lr: float) -> None:
        moving = {"last_epoch": step, "_step_count": step + 1, "_last_lr": [lr]}
        if state != {**self.state(), **moving}:
            raise ValueError("a schedule of another run")

    def restore(self, state: Mapping[str, Any]) -> None:
        self.own.load_state_dict(dict(state))


class Halving:
    """See above."""

    def __init__(self, optimizer: torch.optim.Optimizer, lr: float, steps: int) -> None:
        self.lr = lr
        self.own = ReduceLROnPlateau(optimizer, factor=HALVED, patience=PATIENCE)

    def step(self) -> None:
        """By epochs alone."""

    def end_epoch(self, loss: float) -> None:
        self.own.step(loss)

    def state(self) -> dict[str, Any]:
        names = ("best", "num_bad_epochs", "last_epoch")
        found = self.own.state_dict()
        return {name: found[name] for name in names}

    def check(self, step: int, state: Mapping[str, Any], lr: float) -> None:
        if not isinstance(state, dict) or set(state) != set(self.state()):
            raise ValueError("a schedule of another run")
        best, bad, epochs = (state[name] for name in self.state())
        counts = type(bad) is type(epochs) is int and 0 <= bad <= PATIENCE and bad <= epochs <= step
        halvings = round(math.log(lr / self.lr, HALVED)) if 0 < lr <= self.lr else -1
        if not counts or type(best) is not float or halvings < 0 or lr != self.lr * HALVED**halvings:
            raise ValueError("a schedule of another run")

    def restore(self, state: Mapping[str, Any]) -> None:
        self.own.load_state_dict({**self.own.state_dict(), **state})


class Constant:
    """See above."""

    def __init__(self, optimizer: torch.optim.Optimizer, lr: float, steps: int) -> None:
        self.lr = lr

    def step(self) -> None:
        """It stays."""

    def end_epoch(self, loss: float) -> None:
        """It stays."""

    def state(self) -> dict[str, Any]:
        return {}

    def check(self, step: int, state: Mapping[str, Any], lr: float) -> None:
        if state != {} or lr != self.lr:
            raise ValueError("a schedule of another run")

    def restore(self, state: Mapping[str, Any]) -> None:
        """There is nothing."""
