"""The numbers of a method as a trainee: ours or a rival's, it makes no difference here.

    numbers --mask, rounding--> decode --> tensors --target--> state dictionary --in place--> outputs

Late in training (`Grid.first`) the numbers are on the grid of the file, with straight-through gradients; what
is scored on validation rows is what the file will give back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.data.inputs import Inputs, Prepare
from qtrain_cli.methods.forms import Forms, Plan, count_of
from qtrain_cli.methods.method import Decode, Method, Scene
from qtrain_cli.methods.moved import decoder
from qtrain_cli.models.call import call_model, predict
from qtrain_cli.settings import FLOAT32
from qtrain_cli.targets.entries import LayoutSpec
from qtrain_cli.targets.ground import whole_state
from qtrain_cli.targets.kept import kept_as_stored
from qtrain_cli.targets.layout import kept_tensors
from qtrain_cli.training.batches import Batch
from qtrain_cli.training.circuits import StepCircuits
from qtrain_cli.training.devices import moved_to
from qtrain_cli.training.dividing import DividedCircuits
from qtrain_cli.training.rounding import straight_through
from qtrain_cli.training.state import Trained
from qtrain_cli.training.trainee import Outputs

_STEP, _MASK, _BUFFER, SPENT = "step.", "mask.", "buffer.", "spent"


@dataclass(frozen=True)
class Sized:
    """A method at one size: its plan, the module whose tensors it gives, and their layout."""

    method: Method
    plan: Plan
    module: nn.Module
    layout: LayoutSpec

    @property
    def forms(self) -> Forms:
        """Its groups of numbers."""
        return self.method.forms(self.layout, self.plan)

    @property
    def numbers(self) -> int:
        """How many numbers are trained."""
        return count_of(self.forms)


class Generated:
    """The trainee.

    Args:
        chosen: the method at its size.
        scene: the model, its tensors, device and seed.
        room: the bits that the coded numbers may take in the file beside these kept tensors.
        circuits: what runs circuits in the place of the engine, where something does.
        precision: in which the model multiplies in training (`models.mixed`).
    """

    def __init__(
        self,
        chosen: Sized,
        scene: Scene,
        room: Callable[[Mapping[str, Tensor]], float],
        circuits: StepCircuits | DividedCircuits | None = None,
        precision: str = FLOAT32,
    ) -> None:
        self.chosen, self.scene, self.room, self.circuits = chosen, scene, room, circuits
        self.precision = precision
        method, plan, device = chosen.method, chosen.plan, scene.device
        self.decode = decoder(method, chosen.layout, plan, device, bool(scene.ground))
        begin = method.start(scene, plan).items()
        self.numbers = {name: part.to(device).clone().requires_grad_() for name, part in begin}
        own = scene.teacher if chosen.module is scene.module else chosen.module.state_dict()
        self.kept = kept_tensors(chosen.layout, moved_to(own, device))
        names = [name for name, _ in chosen.module.named_buffers() if name in self.kept]
        self.buffers = {name: self.kept[name].clone() for name in names}
        coded = [name for name, form in chosen.forms.items() if form.coded]
        self.steps = {name: torch.zeros((), dtype=torch.float64) for name in coded}
        parts = self.numbers.items() if method.mask else ()
        self.masks = {name: torch.ones_like(part.detach()) for name, part in parts}
        self.spent = torch.zeros(2, dtype=torch.int64)

    def parameters(self) -> dict[str, Tensor]:
        """The numbers by group."""
        return self.numbers

    def state(self) -> dict[str, Tensor]:
        """Steps of the grid (0: not rounded yet), masks, buffers, circuits and shots that were spent."""
        self._count()
        return {
            **{_STEP + name: step for name, step in self.steps.items()},
            **{_MASK + name: mask for name, mask in self.masks.items()},
            **{_BUFFER + name: buffer for name, buffer in self.buffers.items()},
            SPENT: self.spent,
        }

    def begin(self, epoch: int, epochs: int) -> bool:
        """Narrows the masks, and fits the grid anew from its first epoch on."""
        method, plan = self.chosen.method, self.chosen.plan
        if method.mask:
            for name, mask in method.mask(plan, self.numbers, epoch / epochs).items():
                self.masks[name].copy_(mask)
        if epoch < method.grid.first(plan, epochs):
            return False
        fresh = not self.rounds
        self._set(method.grid.fit(plan, self.masked(), self.room(self.kept | self.buffers)))
        return fresh

    def outputs(self, batch: Batch) -> Outputs:
        """Of the model with generated tensors in training mode; the buffers that it leaves are kept."""
        module = self.chosen.module
        module.train(self.scene.ground is None)  # a base's statistics stay, and so little needs no dropout
        state = self.whole(self.decoded_at(batch.step)(self.rounded()), self.kept | self.buffers)
        if self.scene.ground:  # what a layer changes in its buffers all the same is not the base's
            state |= {name: state[name].clone() for name, _ in module.named_buffers() if name in state}
        scores = call_model(module, state, batch.inputs, self.precision)
        # Most layers change a buffer where it lies; a layer that assigns a new tensor leaves that one here.
        self.buffers = {name: state[name].detach() for name in self.buffers}
        return Outputs(scores)

    def exactly(self) -> None:
        """A method's outputs are what they are."""

    def predict(self, inputs: Inputs, prepare: Prepare) -> Tensor:
        """Of the tensors that the file would give back, once the numbers are on the grid."""
        kept = self.kept | self.buffers
        if self.rounds:
            self._set(self.settled(kept))
        state = self.whole(self.decode(self.rounded()), kept_as_stored(self.chosen.layout, kept))
        return predict(self.chosen.module, state, inputs, prepare)

    def settled(self, kept: Mapping[str, Tensor]) -> dict[str, float]:
        """The steps that the present numbers are stored with, beside these kept tensors."""
        grid, plan = self.chosen.method.grid, self.chosen.plan
        steps = {name: float(step) for name, step in self.steps.items()} if self.rounds else {}
        return grid.settle(plan, self.masked(), steps, self.room(kept))

    def load(self, found: Trained) -> None:
        """Takes a run's best state for its own."""
        for name, part in self.parameters().items():
            part.detach().copy_(found.parameters[name])
        for name, part in self.state().items():
            if name != SPENT:
                part.copy_(found.state[name])

    def masked(self) -> dict[str, Tensor]:
        """The numbers with the pruned ones at zero."""
        return {name: part * self.masks[name] if self.masks else part for name, part in self.numbers.items()}

    def rounded(self) -> dict[str, Tensor]:
        """The numbers as the file will have them, with the gradient of the numbers themselves."""
        grid, plan, numbers = self.chosen.method.grid, self.chosen.plan, self.masked()
        for name, step in self.steps.items() if self.rounds else ():
            codes = grid.coded(plan, name, numbers[name], float(step))
            numbers[name] = straight_through(numbers[name], grid.decoded(plan, name, codes, float(step)))
        return numbers

    def whole(self, made: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dictionary of the model."""
        return whole_state(self.chosen.layout, kept, made, self.scene.ground)

    @property
    def rounds(self) -> bool:
        """Whether the numbers are on the grid."""
        return any(float(step) > 0 for step in self.steps.values())

    def _set(self, steps: Mapping[str, float]) -> None:
        for name, step in steps.items():
            self.steps[name].fill_(step)

    def decoded_at(self, step: int) -> Decode:
        """What makes tensors of the numbers in a step, counted from 0."""
        if self.circuits is None:
            return self.decode
        decode: Any = self.decode  # ours, which runs circuits
        return partial(decode, run=self.circuits.at(step))

    def _count(self) -> None:
        if self.circuits is not None:
            self.spent += torch.tensor(self.circuits.take())
