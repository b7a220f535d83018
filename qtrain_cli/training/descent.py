"""Descent from a seed, and its place in a checkpoint: Adam, plain or `whitened`, with one of the `schedules`.

    KIND.NAME         what a run keeps by name, each kind a group: `run`, `best`, ...
    adam.NUMBER.NAME  moments and step count of a trained tensor, from the first step on
    random.*          torch, Python, NumPy
    JSON              step, best score, `group`: learning rate and betas of the moment, `schedule`: its own
                      state; and what else a run adds

A checkpoint is put into a freshly started run, which says what its tensors must look like. What no run saves
is refused before anything has changed, so that it cannot fail, or never end, later.

Left out: what a run keeps, and why (`state`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.errors import Refused
from qtrain_cli.files.checkpoint import START_AGAIN, Checkpoint, random_states
from qtrain_cli.settings.fit import ADAM_EPS, ONE_CYCLE
from qtrain_cli.training.schedules import Schedule, schedule_of
from qtrain_cli.training.uncompiled import Adam
from qtrain_cli.training.whitened import WhitenedAdam

_ADAM, _RANDOM = "adam", "random."

#: Kind -> name -> tensor.
Kinds = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Rate:
    """How steep and how safe a descent is: the peak learning rate of its schedule, what descends
    (`WhitenedAdam`, or Adam, `fused` as there), the norm to which all gradients together are clipped, the
    schedule by its name, what share of each number is added to its gradient, and Adam's epsilon."""

    lr: float
    whitened: bool = False
    fused: bool | None = None
    clip: float = math.inf
    schedule: str = ONE_CYCLE
    decay: float = 0.0
    eps: float = ADAM_EPS


@dataclass(frozen=True)
class Descent:
    """The trained tensors with their optimiser and schedule, which move together."""

    trained: tuple[Tensor, ...]
    optimizer: Adam | WhitenedAdam
    schedule: Schedule
    steps: int

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self) -> None:
        """Moves the trained tensors by their gradients, and the learning rate."""
        self.optimizer.step()
        self.schedule.step()

    def checkpoint(self, kinds: Kinds, state: dict[str, Any], identity: dict[str, Any]) -> Checkpoint:
        """A run as a checkpoint: its tensors by kind, its JSON with step and best score, whose it is."""
        moments = self.optimizer.state_dict()["state"]
        adam = {f"{number}.{name}": moments[number][name] for number in moments for name in moments[number]}
        group = self.optimizer.param_groups[0]
        moving = {
            "group": {"lr": group["lr"], "betas": list(group["betas"])},
            "schedule": self.schedule.state(),
        }
        tensors = _joined({**kinds, _ADAM: adam}) | random_states()
        return Checkpoint(tensors, {**state, **moving}, identity)

    def checked(self, checkpoint: Checkpoint, like: Kinds) -> Kinds:
        """The tensors of a checkpoint by kind, once a run of so many steps could have saved it.

        Args:
            checkpoint: of any origin; its SHA-256 finds damage, and no forger.
            like: for every kind but `adam`, tensors of the names, shapes and dtypes that must be there.

        Raises:
            ValueError, KeyError, TypeError and the like: it holds what no run saves.
        """
        state = checkpoint.state
        self._check_schedule(state["step"], state["schedule"], state["group"])
        group, best = state["group"], state["best_score"]
        numbers = [group["lr"], *group["betas"], 0.0 if best is None else best]
        if len(group["betas"]) != 2 or not all(type(number) is float for number in numbers):
            raise ValueError("a learning rate, betas or a best score that are no numbers")
        if not all(0 <= beta < 1 for beta in group["betas"]):
            raise ValueError(f"the betas {group['betas']}")
        expected = {**like, _ADAM: self._moments_after(state["step"])}
        found = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.startswith(_RANDOM)}
        if _forms(found) != _forms(_joined(expected)):
            raise ValueError("tensors of other names, shapes or dtypes")
        return _by_kind(found, expected)

    def restore(self, moments: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Puts the moments, `adam` of what was `checked`, and the JSON of a checkpoint in place."""
        packed = self.optimizer.state_dict()
        for name, tensor in moments.items():
            number, _, moment = name.partition(".")
            packed["state"].setdefault(int(number), {})[moment] = tensor
        self.optimizer.load_state_dict(packed)
        self.schedule.restore(state["schedule"])
        group = state["group"]
        self.optimizer.param_groups[0].update(lr=group["lr"], betas=tuple(group["betas"]))

    def _check_schedule(self, step: Any, schedule: Any, group: Any) -> None:
        if type(step) is not int or not 0 <= step <= self.steps:
            raise ValueError(f"the step {step!r}")
        self.schedule.check(step, schedule, group["lr"])

    def _moments_after(self, step: int) -> dict[str, Tensor]:
        """Tensors of the form of the moments; before the first step there are none."""
        return {
            f"{number}.{name}": moment
            for number, tensor in enumerate(self.trained if step else ())
            for name, moment in self._moments(tensor.detach()).items()
        }

    def _moments(self, tensor: Tensor) -> dict[str, Tensor]:
        if isinstance(self.optimizer, WhitenedAdam):
            return self.optimizer.moments(tensor)
        return {"step": torch.tensor(0.0), "exp_avg": tensor, "exp_avg_sq": tensor}


def start_descent(trained: Sequence[Tensor], rate: Rate, steps: int) -> Descent:
    """A fresh descent of so many steps."""
    tensors, lr, decay = list(trained), rate.lr, rate.decay
    optimizer: Adam | WhitenedAdam = (
        WhitenedAdam(tensors, lr, decay)
        if rate.whitened
        else Adam(tensors, lr=lr, eps=rate.eps, fused=rate.fused, weight_decay=decay)
    )
    return Descent(tuple(trained), optimizer, schedule_of(rate.schedule, optimizer, lr, steps), steps)


def seed_generators(seed: int) -> None:
    """Seeds every generator that a model may draw from: torch's on all devices, Python's and NumPy's."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


@contextmanager
def refusing_what_no_run_saves() -> Iterator[None]:
    """Around `Descent.checked` and all that follows from it. Raises `Refused` for what fails inside."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise Refused(
            f"the checkpoint holds what no run saves: {type(error).__name__}: {error}", START_AGAIN
        ) from error


def _joined(kinds: Kinds) -> dict[str, Tensor]:
    return {f"{kind}.{name}": tensor for kind, named in kinds.items() for name, tensor in named.items()}


def _by_kind(tensors: Mapping[str, Tensor], kinds: Iterable[str]) -> Kinds:
    """The inverse of `_joined`, for tensors of these kinds."""
    found: Kinds = {kind: {} for kind in kinds}
    for whole, tensor in tensors.items():
        kind, _, name = whole.partition(".")
        found[kind][name] = tensor
    return found


def _forms(tensors: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
