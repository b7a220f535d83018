"""Everything that changes while fitting, and so everything that a checkpoint holds.

    run.*      angles, their step (0: not rounded yet), mapping numbers, buffers
    best.*     the same, of the best state so far
    adam.*     first and second moments, step counts         random.*  torch, Python, NumPy
    JSON       step, best score, learning rate and betas of the moment, the schedule's own state

A checkpoint put into a freshly started run of the same identity continues it bit for bit.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.angles import start_angles
from qtrain_cli.errors import Refused
from qtrain_cli.files.checkpoint import START_AGAIN, Checkpoint, random_states, restore_random_states
from qtrain_cli.mapping import start_numbers
from qtrain_cli.quantum.estimators import Cost
from qtrain_cli.settings import FitSettings
from qtrain_cli.spec import GeneratorSpec

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_BUFFER = "buffer."


@dataclass(frozen=True)
class Fitted:
    """What a run found: angles (b, L, n, r), mapping numbers (k,), buffers by name; all on the CPU.

    `grid` is the step that the angles were rounded with, in radians; 0 if they were not. `cost` is what its
    steps have measured, nothing where the engine gave the gradient.
    """

    theta: Tensor
    numbers: Tensor
    buffers: dict[str, Tensor]
    grid: float = 0.0
    cost: Cost = field(default_factory=Cost)


@dataclass
class RunState:
    """The state of one run: `theta` (b, L, n, r) and `numbers` (k,) are trained, `best` is by name.

    `grid` () is the step in radians that the angles are rounded with, float64; 0 until they are.
    """

    theta: Tensor
    numbers: Tensor
    buffers: dict[str, Tensor]
    optimizer: torch.optim.Adam
    schedule: torch.optim.lr_scheduler.OneCycleLR
    grid: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    step: int = 0
    best_score: float | None = None
    best: dict[str, Tensor] = field(default_factory=dict)

    def current(self) -> dict[str, Tensor]:
        """The trained tensors and the buffers by name, detached, sharing memory with the run."""
        named = {"theta": self.theta.detach(), "numbers": self.numbers.detach(), "grid": self.grid}
        return named | {_BUFFER + name: tensor for name, tensor in self.buffers.items()}

    def remember_best(self, score: float) -> None:
        """Copies the present tensors as the best ones so far."""
        self.best_score = score
        self.best = {name: tensor.clone() for name, tensor in self.current().items()}

    def round_with(self, step: float) -> None:
        """Sets the angles' step. With the first one, what was best before it no longer counts."""
        if not self.grid:
            self.best_score, self.best = None, {}
        self.grid.fill_(step)

    def keep_buffers(self, state: dict[str, Tensor]) -> None:
        """Takes the buffers out of a state dictionary that the model has run with.

        Most layers change a buffer where it lies; a layer that assigns a new tensor leaves that one here.
        """
        self.buffers = {name: state[name].detach() for name in self.buffers}

    def fitted(self) -> Fitted:
        """The best state, or the present one when no validation score was finite."""
        best = {name: tensor.cpu().clone() for name, tensor in (self.best or self.current()).items()}
        buffers = {name: best[_BUFFER + name] for name in self.buffers}
        return Fitted(best["theta"], best["numbers"], buffers, float(best["grid"]))


def start_state(
    spec: GeneratorSpec, buffers: dict[str, Tensor], settings: FitSettings, steps: int
) -> RunState:
    """The seeded start: angles from the artifact's own stream, mapping numbers, copies of `buffers`.

    Every generator that the model may draw from is seeded: torch's on all devices, Python's and NumPy's.
    """
    torch.manual_seed(settings.seed)
    random.seed(settings.seed)
    np.random.seed(settings.seed)
    device = torch.device(settings.device)
    theta = start_angles(spec.circuit, spec.angles.start_seed).float().to(device).requires_grad_()
    numbers = start_numbers(spec, torch.Generator().manual_seed(settings.seed)).to(device).requires_grad_()
    copies = {name: tensor.detach().clone() for name, tensor in buffers.items()}
    optimizer = torch.optim.Adam([theta, numbers], lr=settings.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=steps + 1)
    return RunState(theta, numbers, copies, optimizer, schedule)


def checkpoint_of(run: RunState, identity: dict[str, Any]) -> Checkpoint:
    """The whole state as a checkpoint of the run that `identity` describes."""
    tensors = {f"run.{name}": tensor for name, tensor in run.current().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in run.best.items()}
    tensors |= random_states()
    for number, moments in run.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{name}": moments[name] for name in _MOMENTS}
    group = run.optimizer.param_groups[0]
    state = {
        "step": run.step,
        "best_score": run.best_score,
        "group": {"lr": group["lr"], "betas": list(group["betas"])},
        "schedule": _plain_schedule(run),
    }
    return Checkpoint(tensors, state, identity)


def restore(run: RunState, checkpoint: Checkpoint) -> None:
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


def _require_saved_by_a_run(run: RunState, checkpoint: Checkpoint) -> None:
    """Raises `ValueError` or a relative of it for a state that would fail, or never end, later."""
    state, fresh = checkpoint.state, _plain_schedule(run)
    step, schedule, group = state["step"], state["schedule"], state["group"]
    if type(step) is not int or not 0 <= step < fresh["total_steps"]:
        raise ValueError(f"the step {step!r}")
    moving = {"last_epoch": step, "_step_count": step + 1, "_last_lr": [group["lr"]]}
    if schedule != {**fresh, **moving}:
        raise ValueError("a schedule of another run")
    numbers = [group["lr"], *group["betas"], 0.0 if state["best_score"] is None else state["best_score"]]
    if len(group["betas"]) != 2 or not all(type(number) is float for number in numbers):
        raise ValueError("a learning rate, betas or a best score that are no numbers")
    current = run.current()
    expected = {
        **{f"run.{name}": tensor for name, tensor in current.items()},
        **{f"best.{name}": tensor for name, tensor in current.items() if state["best_score"] is not None},
        **{f"adam.{number}.{name}": like for number, name, like in _moments(run) if step},
    }
    found = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.startswith("random.")}
    if {name: _form(tensor) for name, tensor in found.items()} != {n: _form(t) for n, t in expected.items()}:
        raise ValueError("tensors of other names, shapes or dtypes")


def _moments(run: RunState) -> Iterator[tuple[int, str, Tensor]]:
    """What the optimiser keeps once it has made a step: parameter's number, name, a tensor of its form."""
    for number, parameter in enumerate((run.theta, run.numbers)):
        for name in _MOMENTS:
            yield number, name, torch.tensor(0.0) if name == "step" else parameter


def _form(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _plain_schedule(run: RunState) -> dict[str, Any]:
    return {name: value for name, value in run.schedule.state_dict().items() if not callable(value)}


def _restore(run: RunState, checkpoint: Checkpoint) -> None:
    kinds: dict[str, dict[str, Tensor]] = {"run": {}, "best": {}, "adam": {}, "random": {}}
    for name, tensor in checkpoint.tensors.items():
        kind, _, rest = name.partition(".")
        kinds[kind][rest] = tensor
    with torch.no_grad():
        for name, tensor in run.current().items():
            tensor.copy_(kinds["run"][name])
    run.best = {name: tensor.to(run.theta.device) for name, tensor in kinds["best"].items()}
    run.step, run.best_score = checkpoint.state["step"], checkpoint.state["best_score"]
    _restore_optimizer(run, kinds["adam"], checkpoint.state)
    restore_random_states(checkpoint.tensors)


def _restore_optimizer(run: RunState, moments: dict[str, Tensor], state: dict[str, Any]) -> None:
    packed = run.optimizer.state_dict()
    for name, tensor in moments.items():
        number, _, moment = name.partition(".")
        packed["state"].setdefault(int(number), {})[moment] = tensor
    run.optimizer.load_state_dict(packed)
    run.schedule.load_state_dict(state["schedule"])
    group = state["group"]
    run.optimizer.param_groups[0].update(lr=group["lr"], betas=tuple(group["betas"]))
