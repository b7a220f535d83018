"""What a rival method is: a few functions, so that one loop trains, rounds and writes all of them.

    plan(scene, size)       plain data that goes into the file; a larger size has more numbers
    start(scene, plan)      the numbers before training, in named groups
    decode(layout, plan)    numbers -> the generated tensors by name; differentiable, and all a reader needs
    module(scene, plan)     whose tensors these are: the model itself, or a smaller one

A budget of bytes becomes a size by `bits(scene, plan, width)`: what the numbers will take at so many bits
each. The grid that they are rounded to follows from the bytes that are left (`grids`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.errors import BadInput
from qtrain_cli.methods.table import METHODS, Contender
from qtrain_cli.targets.entries import GENERATED, LayoutSpec
from qtrain_cli.targets.layout import DTYPES

Plan = dict[str, Any]
Numbers = Mapping[str, Tensor]
Decode = Callable[[Numbers], dict[str, Tensor]]
Shapes = dict[str, tuple[int, ...]]


class Unsuited(BadInput):
    """A method that cannot be applied to this model, and why."""


@dataclass(frozen=True)
class Scene:
    """What every method is given: the model with its own tensors, what goes in and out, a seed."""

    module: nn.Module
    teacher: dict[str, Tensor]
    layout: LayoutSpec
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    seed: int
    device: torch.device


@dataclass(frozen=True)
class Choice:
    """What is tuned, on the validation rows: the peak learning rate, and the bits of a number (0: fixed)."""

    lr: float
    bits: int


def count_of(shapes: Shapes) -> int:
    """How many numbers groups of these shapes have together."""
    return sum(math.prod(shape) for shape in shapes.values())


def _own_module(scene: Scene, plan: Plan) -> nn.Module:
    return scene.module


def _no_limit(plan: Plan) -> int:
    return 0


def _counted(scene: Scene, plan: Plan, shapes: Shapes, width: float) -> float:
    return width * count_of(shapes)


@dataclass(frozen=True)
class Recipe:
    """What one row of `methods.METHODS` does.

    `whitened`: descends as ours does, in the eigenbasis of its gradients, and not by plain Adam.
    `rounding` is the share of the epochs, the last ones, that have the rounding in the loop. `limit` is the
    largest code of a plan's grid (0: any). `mask` says which numbers are zero at a point of training, 0 to 1.
    """

    name: str
    largest: Callable[[Scene], int]
    plan: Callable[[Scene, int], Plan]
    shapes: Callable[[LayoutSpec, Plan], Shapes]
    start: Callable[[Scene, Plan], dict[str, Tensor]]
    decode: Callable[[LayoutSpec, Plan, torch.device], Decode]
    module: Callable[[Scene, Plan], nn.Module] = _own_module
    bits: Callable[[Scene, Plan, Shapes, float], float] = _counted
    limit: Callable[[Plan], int] = _no_limit
    mask: Callable[[Plan, Numbers, float], dict[str, Tensor]] | None = None
    rounding: float = 0.4
    whitened: bool = False

    @property
    def row(self) -> Contender:
        """The method's row in the table for people."""
        return METHODS[self.name]


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


def whole_shapes(layout: LayoutSpec, plan: Plan) -> Shapes:
    """The shapes of a method that stores every generated tensor itself."""
    return {entry.name: entry.shape for entry in layout.of_role(GENERATED)}


def whole_decode(layout: LayoutSpec, plan: Plan, device: torch.device) -> Decode:
    """The decoder of a method that stores every generated tensor itself."""
    return lambda numbers: in_place(layout, numbers)
