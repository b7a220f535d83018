"""Everything that changes while fitting, and so everything that a checkpoint holds.

    run.*      angles, their step (0: not rounded yet), mapping numbers, buffers
    best.*     the same, of the best state so far
    JSON       step, best score

and what every run's `descent` adds: moments, random states, learning rate, the schedule. A checkpoint put
into a freshly started run of the same identity continues it bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.files.checkpoint import Checkpoint, restore_random_states
from qtrain_cli.methods.generator.angles import start_angles
from qtrain_cli.methods.generator.mapping import start_numbers
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.quantum.estimators import Cost
from qtrain_cli.settings import FitSettings
from qtrain_cli.training.descent import Descent, refusing_what_no_run_saves, seed_generators, start_descent

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
    descent: Descent
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

    Every generator that the model may draw from is seeded.
    """
    seed_generators(settings.seed)
    device = torch.device(settings.device)
    theta = start_angles(spec.circuit, spec.angles.start_seed).float().to(device).requires_grad_()
    numbers = start_numbers(spec, torch.Generator().manual_seed(settings.seed)).to(device).requires_grad_()
    copies = {name: tensor.detach().clone() for name, tensor in buffers.items()}
    # A gradient's own noise would be taken for what makes it steep.
    descent = start_descent((theta, numbers), settings.lr, steps, whitened=not settings.gradient.rough)
    return RunState(theta, numbers, copies, descent)


def checkpoint_of(run: RunState, identity: dict[str, Any]) -> Checkpoint:
    """The whole state as a checkpoint of the run that `identity` describes."""
    kinds = {"run": run.current(), "best": run.best}
    return run.descent.checkpoint(kinds, {"step": run.step, "best_score": run.best_score}, identity)


def restore(run: RunState, checkpoint: Checkpoint) -> None:
    """Puts a checkpoint's values into a freshly started run, and its random states into the generators.

    Raises:
        Refused: values that no run has saved. A checkpoint's SHA-256 finds damage, and no forger.
        BadInput: it needs a CUDA device that is not there.
    """
    with refusing_what_no_run_saves():
        state, current = checkpoint.state, run.current()
        best = {} if state["best_score"] is None else current
        kinds = run.descent.checked(checkpoint, {"run": current, "best": best})
        for name, tensor in current.items():
            tensor.copy_(kinds["run"][name])
        run.best = {name: tensor.to(run.theta.device) for name, tensor in kinds["best"].items()}
        run.step, run.best_score = state["step"], state["best_score"]
        run.descent.restore(kinds["adam"], state)
        restore_random_states(checkpoint.tensors)
