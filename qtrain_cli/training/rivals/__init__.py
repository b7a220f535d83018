"""What a user would pick instead of a generator, each trained with the same care and written to a real file.

    method          the interface, and what all share         grids     numbers on grids that fit the budget
    RECIPES         the table, one file a row                  loop      the one training loop
    restored        a file -> the tensors it holds

Ours is a row of `methods.METHODS` without a recipe here: `qtrain compress` itself makes it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qtrain_cli.files.packed import read_packed
from qtrain_cli.layout import complete
from qtrain_cli.spec import LayoutSpec
from qtrain_cli.training.rivals import (
    curve,
    fixed_random,
    hashing,
    low_rank,
    narrow,
    pruning,
    quantisation,
    small_dense,
    subspace,
)  # fmt: skip
from qtrain_cli.training.rivals.grids import decoded
from qtrain_cli.training.rivals.method import Plan, Recipe

RECIPES: dict[str, Recipe] = {
    row.RECIPE.name: row.RECIPE
    for row in (
        pruning,
        quantisation,
        low_rank,
        hashing,
        subspace,
        narrow,
        small_dense,
        curve,
        fixed_random,
    )
}


def restored(data: bytes) -> tuple[str, Plan, dict[str, Tensor]]:
    """The method, plan and state dictionary of a rival's file; nothing but the file is used.

    Raises:
        BadInput: this is no such file.
    """
    packed = read_packed(data, _counts)
    method = RECIPES[packed.method]
    shapes = method.shapes(packed.layout, packed.plan)
    codes = {name: group.codes for name, group in zip(shapes, packed.groups, strict=True)}
    steps = {name: group.step for name, group in zip(shapes, packed.groups, strict=True)}
    numbers = {name: value.view(shapes[name]) for name, value in decoded(codes, steps).items()}
    with torch.no_grad():
        generated = method.decode(packed.layout, packed.plan, torch.device("cpu"))(numbers)
    return packed.method, packed.plan, complete(packed.layout, generated, packed.kept)


def _counts(method: str, plan: Plan, layout: LayoutSpec) -> list[int]:
    return [math.prod(shape) for shape in RECIPES[method].shapes(layout, plan).values()]
