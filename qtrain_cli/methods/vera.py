"""VeRA (Kopiczko et al. 2023, arXiv 2310.11454): random factors of each matrix, two vectors that scale them.

    W + s B A,  B = b (B_0 d)         b (rows,) from 0, d (r,) from 0.1, B_0 (rows, r) and A seeded

What the base lacks, a head, is stored itself (`direct`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qtrain_cli.methods.direct import LEAST_BITS, factors_of, layout_with
from qtrain_cli.methods.forms import Form, Forms, Plan, count_of
from qtrain_cli.methods.method import Decode, Method, Numbers, Scene, in_place
from qtrain_cli.methods.regenerated import Groups, centred
from qtrain_cli.methods.seeded import seeded_floats, uniform
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.targets.change import is_factor
from qtrain_cli.targets.entries import GENERATED, LayoutSpec

_BEGIN = 0.1
#: The first stream of B_0: A has others, with the same seed (`seeded`).
_STREAM = 2**21


def layout(scene: Scene) -> LayoutSpec:
    """Every factor, and what the base lacks."""
    return layout_with(scene, factors_of)


def plan(scene: Scene, size: int) -> Plan:
    """One size."""
    return {"seed": scene.seed}


def forms(layout: LayoutSpec, plan: Plan) -> Forms:
    found: Forms = {}
    for number, entry in enumerate(layout.of_role(GENERATED)):
        if is_factor(entry.name):
            rows, rank = entry.shape
            found |= {f"b{number}": Form((rows,)), f"d{number}": Form((rank,))}
        else:
            found[f"w{number}"] = Form(entry.shape)
    return found


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    return {
        name: torch.full(form.shape, _BEGIN if name.startswith("d") else 0.0)
        for name, form in forms(layout(scene), plan).items()
    }


def decode(layout: LayoutSpec, plan: Plan, device: torch.device) -> Decode:
    entries = layout.of_role(GENERATED)
    random = {
        number: (uniform(plan["seed"], _STREAM + number, *entry.shape) / math.sqrt(entry.shape[1])).to(device)
        for number, entry in enumerate(entries)
        if is_factor(entry.name)
    }

    def weights(numbers: Numbers) -> dict[str, Tensor]:
        values = {
            entry.name: numbers[f"b{number}"][:, None] * (random[number] * numbers[f"d{number}"])
            if number in random
            else numbers[f"w{number}"]
            for number, entry in enumerate(entries)
        }
        return in_place(layout, values)

    return weights


def portable(layout: LayoutSpec, plan: Plan, numbers: Groups) -> Floats:
    values = {}
    for number, entry in enumerate(layout.of_role(GENERATED)):
        if is_factor(entry.name):
            drawn = seeded_floats(plan["seed"], _STREAM + number, entry.count).reshape(entry.shape)
            drawn /= math.sqrt(entry.shape[1])
            values[entry.name] = numbers[f"b{number}"][:, None] * (drawn * numbers[f"d{number}"])
        else:
            values[entry.name] = numbers[f"w{number}"]
    return centred(layout, values)


def bits(scene: Scene, plan: Plan, forms: Forms, width: float) -> float:
    return LEAST_BITS * count_of(forms)


METHOD = Method(
    largest=lambda scene: 1, plan=plan, forms=forms, start=start, decode=decode, portable=portable, bits=bits,
    layout=layout,
)  # fmt: skip
