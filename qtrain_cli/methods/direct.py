"""Numbers of a fine-tune stored themselves, as coarse as the bytes of the file demand: several rivals.

    linear-probe    the head alone, on the features of the base
    bitfit          every bias, and the head                       (Ben Zaken et al. 2022, arXiv 2106.10199)
    lora            B of every matrix, A seeded, and the head      (Hu et al. 2021, arXiv 2106.09685)
    lora-xs         R between every matrix's own directions        (Balazy et al. 2024, arXiv 2405.17604)

They differ in the tensors that they have. All start at the base; what is pruned away by a coarse grid is a
zero, which costs next to nothing, so that a budget is met by the grid and not by a size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from qtrain_cli.methods.forms import Forms, Plan
from qtrain_cli.methods.method import Method, Scene, Unsuited, whole_decode, whole_forms, whole_portable
from qtrain_cli.targets.change import is_factor
from qtrain_cli.targets.entries import GENERATED, LayoutSpec, TensorEntry
from qtrain_cli.targets.layout import layout_of

#: Bits of a number at which its grid still says something.
LEAST_BITS = 0.3

Choose = Callable[[Scene], list[TensorEntry]]


def direct(choose: Choose) -> Method:
    """The method that stores these tensors' changes."""

    def layout(scene: Scene) -> LayoutSpec:
        return layout_with(scene, choose)

    def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
        return {entry.name: torch.zeros(entry.shape) for entry in layout(scene).entries}

    def bits(scene: Scene, plan: Plan, forms: Forms, width: float) -> float:
        return LEAST_BITS * layout(scene).generated

    return Method(
        largest=lambda scene: 1,
        plan=lambda scene, size: {},
        forms=whole_forms,
        start=start,
        decode=whole_decode,
        portable=whole_portable,
        bits=bits,
        layout=layout,
    )


def layout_with(scene: Scene, choose: Choose) -> LayoutSpec:
    """Those tensors, and what the base lacks. Raises `Unsuited` for none, or without a base."""
    if scene.ground is None:
        raise Unsuited("it changes a base, and there is none")
    entries = [*choose(scene), *new_entries(scene)]
    if not entries:
        raise Unsuited("the model has no tensors of this kind")
    return LayoutSpec(tuple(entries))


def new_entries(scene: Scene) -> list[TensorEntry]:
    """What the base lacks."""
    ground = scene.ground
    return [entry for entry in scene.layout.of_role(GENERATED) if ground and entry.name in ground.new]


def biases(scene: Scene) -> list[TensorEntry]:
    """Every parameter of one axis that is no scale, but those that the base lacks."""
    assert scene.ground is not None
    found = layout_of(scene.module).of_role(GENERATED)
    return [
        replace(entry, dtype="F32", centre=0.0)
        for entry in found
        if len(entry.shape) == 1 and entry.name.endswith("bias") and entry.name not in scene.ground.new
    ]


def factors_of(scene: Scene) -> list[TensorEntry]:
    """The factors that ours generates. Raises `Unsuited` for a target of differences."""
    factors = [entry for entry in scene.layout.of_role(GENERATED) if is_factor(entry.name)]
    if not factors:
        raise Unsuited("the target has no factors")
    return factors
