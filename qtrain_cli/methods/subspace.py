"""A random subspace (Li et al. 2018, arXiv 1804.08838; stored as PRANC does, arXiv 2206.08464).

    w = centre + scale * sqrt(3) * (u + P d / sqrt(K))      u (m,) and P (m, K) seeded, entries of variance 1

The K coefficients d start at 0, where the model has seeded random weights of an initialiser's size. P is
written out, or fast where memory does not hold it (`projection`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qtrain_cli.methods.forms import Form, Forms, Plan
from qtrain_cli.methods.generator.mapping import START_GAIN
from qtrain_cli.methods.method import Decode, Method, Numbers, Scene, scales_of
from qtrain_cli.methods.projection import check_projection, portable_products, projected, projection_plan
from qtrain_cli.methods.regenerated import Groups, scaled_in_place
from qtrain_cli.methods.seeded import seeded_floats, uniform
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.targets.entries import LayoutSpec
from qtrain_cli.targets.layout import split


def largest(scene: Scene) -> int:
    """As many coefficients as there are weights."""
    return scene.layout.generated


def forms(layout: LayoutSpec, plan: Plan) -> Forms:
    check_projection(layout.generated, plan)
    return {"d": Form((plan["k"],))}


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    return {"d": torch.zeros(plan["k"])}


def decode(layout: LayoutSpec, plan: Plan, device: torch.device) -> Decode:
    m, k = layout.generated, plan["k"]
    scale, centre = scales_of(layout, device)
    base = uniform(plan["seed"], 0, m).to(device)
    products = projected(plan, m, device, over=math.sqrt(k))

    def weights(numbers: Numbers) -> dict[str, Tensor]:
        moved = base + products(numbers["d"])  # (m,)
        return split(layout, centre + scale * START_GAIN * moved)

    return weights


def portable(layout: LayoutSpec, plan: Plan, numbers: Groups) -> Floats:
    m = layout.generated
    values = portable_products(plan, m, numbers["d"])  # (m,)
    values /= math.sqrt(plan["k"])
    values += seeded_floats(plan["seed"], 0, m)
    values *= START_GAIN
    return scaled_in_place(layout, values)


METHOD = Method(
    largest=largest, plan=projection_plan, forms=forms, start=start, decode=decode, portable=portable,
    whitened=True,
)  # fmt: skip
