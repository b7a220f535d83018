"""What a method is: a few functions, so that one loop trains, rounds and writes all of them, ours among them.

    plan(scene, size)       plain data that goes into the file; a larger size has more numbers
    forms(layout, plan)     the groups of numbers and how the file holds them
    start(scene, plan)      the numbers before training, in named groups
    decode(layout, plan)    numbers -> the generated tensors by name; differentiable, and all a reader needs
    module(scene, plan)     whose tensors these are: the model itself, or a smaller one

A budget of bytes becomes a size by `bits(scene, plan, width)`: what the numbers will take at so many bits
each. Late in training the numbers are on a grid, codes and their steps, as the file will have them (`Grid`;
`grids` has the plain one). What is left to the methods' files is what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput
from qtrain_cli.methods import grids
from qtrain_cli.methods.forms import Form, Forms, Plan, count_of
from qtrain_cli.methods.grids import Steps
from qtrain_cli.methods.regenerated import Groups, PortableDecode, PortableParts, centred
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.targets.change import Change, is_factor
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry
from qtrain_cli.targets.ground import Ground
from qtrain_cli.targets.layout import DTYPES

Numbers = Mapping[str, Tensor]
Decode = Callable[[Numbers], dict[str, Tensor]]
#: An upper bound of the bytes of the finished file with this plan.
FileBytes = Callable[[Plan], int]


class Unsuited(BadInput):
    """A method that cannot be applied to this model, and why."""


@dataclass(frozen=True)
class Scene:
    """What every method is given: the model with its own tensors, what goes in and out, a seed.

    `input_shape` is None where the model has several inputs, or tokens. `head` makes outputs like the model's
    of scores, where they are something else. `ground` is the base of a file of changes; the model is no
    teacher (`taught`) where it is that base itself.
    """

    module: nn.Module
    teacher: dict[str, Tensor]
    layout: LayoutSpec
    input_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...]
    seed: int
    device: torch.device
    head: Callable[[], nn.Module] | None = None
    ground: Ground | None = None
    taught: bool = True

    @property
    def change(self) -> Change | None:
        """How the tensors change a base, if they do."""
        return self.ground.change if self.ground else None

    @property
    def begun(self) -> dict[str, Tensor]:
        """What the generated tensors are worth before training: the model's own, or its changes to a base."""
        if self.ground is None:
            return self.teacher
        return {entry.name: self._change(entry) for entry in self.layout.of_role(GENERATED)}

    def _change(self, entry: TensorEntry) -> Tensor:
        """A difference to the base, as far as the model has it in this form: a factor begins at zero."""
        assert self.ground is not None
        if is_factor(entry.name):
            return torch.zeros(entry.shape, device=self.device)
        apart = self.teacher[entry.name].float() - self.ground.tensors[entry.name].float()
        return apart if entry.name in self.ground.new else apart / self.ground.change.scale


@dataclass(frozen=True)
class Choice:
    """What is tuned, on the validation rows: the peak learning rate, and the bits of a number (0: fixed)."""

    lr: float
    bits: int


def _own_module(scene: Scene, plan: Plan) -> nn.Module:
    return scene.module


def _zeros(plan: Plan, numbers: Numbers) -> Numbers:
    return {name: torch.zeros_like(part) for name, part in numbers.items()}


def _counted(scene: Scene, plan: Plan, forms: Forms, width: float) -> float:
    return width * count_of(forms)


@dataclass(frozen=True)
class Grid:
    """How numbers become codes, and when.

        first(plan, epochs)                 the epoch, from 0, from which on the numbers are on the grid
        fit(plan, numbers, bits)            steps for an epoch that begins, whose codes take so many bits
        settle(plan, numbers, steps, bits)  steps for a state that is scored, and stored with them
        coded(plan, name, numbers, step)    one group as whole numbers, int64 of its shape, where it lies
        decoded(plan, name, codes, step)    the numbers that codes stand for, where they lie

    `fit` names the groups that are coded; others are trained and stored as they are.
    """

    first: Callable[[Plan, int], int]
    fit: Callable[[Plan, Numbers, float], Steps]
    settle: Callable[[Plan, Numbers, Steps, float], Steps]
    coded: Callable[[Plan, str, Tensor, float], Tensor]
    decoded: Callable[[Plan, str, Tensor, float], Tensor]


def plain_grid(share: float = 0.4, limit: Callable[[Plan], int] = lambda plan: 0) -> Grid:
    """A uniform grid a group, as fine as the bytes of the file allow (`grids`).

    Args:
        share: of the epochs, the last ones, that have the rounding in the loop.
        limit: the largest code of a plan's grid; 0: any.
    """
    return Grid(
        first=lambda plan, epochs: min(epochs - 1, round(epochs * (1 - share))),
        fit=lambda plan, numbers, bits: grids.fit_steps(numbers, limit(plan), bits)[0],
        settle=lambda plan, numbers, steps, bits: grids.fit_steps(numbers, limit(plan), bits)[0],
        coded=lambda plan, name, numbers, step: grids.codes_of(numbers, step, limit(plan)),
        decoded=lambda plan, name, codes, step: grids.numbers_of(codes, step),
    )


@dataclass(frozen=True)
class Method:
    """What one row of `table.METHODS` does.

    `whitened`: it descends in the eigenbasis of its gradients, and not by plain Adam. `mask` says which
    numbers are zero at a point of training, 0 to 1. `portable` decodes what a file holds, to the same bits
    everywhere (`regenerated`), `parts` the same part by part, where a method can; files of former formats
    were decoded by `exact`, in float64, or where there is none as in training. `planned` finds the plan of a
    budget itself, given the bits of a number, the budget
    and a bound of the file's bytes; without it the largest size that fits is found by bisection. `origin`
    gives, beside given numbers, those that make nothing yet of a change (`moved`), and `layout` the tensors
    of a method that has others than the scene.
    """

    largest: Callable[[Scene], int]
    plan: Callable[[Scene, int], Plan]
    forms: Callable[[LayoutSpec, Plan], Forms]
    start: Callable[[Scene, Plan], dict[str, Tensor]]
    decode: Callable[[LayoutSpec, Plan, torch.device], Decode]
    portable: PortableDecode
    module: Callable[[Scene, Plan], nn.Module] = _own_module
    bits: Callable[[Scene, Plan, Forms, float], float] = _counted
    grid: Grid = field(default_factory=plain_grid)
    mask: Callable[[Plan, Numbers, float], dict[str, Tensor]] | None = None
    whitened: bool = False
    exact: Callable[[LayoutSpec, Plan, torch.device], Decode] | None = None
    planned: Callable[[Scene, int, int, FileBytes], Plan] | None = None
    origin: Callable[[Plan, Numbers], Numbers] = _zeros
    layout: Callable[[Scene], LayoutSpec] | None = None
    parts: PortableParts | None = None


def scales_of(layout: LayoutSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and centre of each generated weight, float32 (m,) each; as the generator has them."""
    entries = layout.of_role(GENERATED)
    counts = torch.tensor([entry.count for entry in entries])
    scales = torch.tensor([entry.scale for entry in entries])
    centres = torch.tensor([entry.centre for entry in entries])
    return scales.repeat_interleave(counts).to(device), centres.repeat_interleave(counts).to(device)


def in_place(layout: LayoutSpec, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values away from their centres (by tensor name, any shape of as many) as the tensors themselves."""
    return {
        entry.name: (values[entry.name].view(entry.shape) + entry.centre).to(DTYPES[entry.dtype])
        for entry in layout.of_role(GENERATED)
    }


def away_from_centre(layout: LayoutSpec, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `in_place`, as float32 copies."""
    return {
        entry.name: (state[entry.name].detach().float() - entry.centre).clone()
        for entry in layout.of_role(GENERATED)
    }


def whole_forms(layout: LayoutSpec, plan: Plan) -> Forms:
    """The groups of a method that stores every generated tensor itself."""
    return {entry.name: Form(entry.shape) for entry in layout.of_role(GENERATED)}


def whole_decode(layout: LayoutSpec, plan: Plan, device: torch.device) -> Decode:
    """The decoder of a method that stores every generated tensor itself."""
    return lambda numbers: in_place(layout, numbers)


def whole_portable(layout: LayoutSpec, plan: Plan, numbers: Groups) -> Floats:
    """The portable decoder of a method that stores every generated tensor itself."""
    return centred(layout, numbers)
