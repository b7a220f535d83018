"""A random subspace (Li et al. 2018, arXiv 1804.08838; stored as PRANC does, arXiv 2206.08464).

    w = centre + scale * sqrt(3) * (u + P d / sqrt(K))      u (m,) and P (m, K) seeded, entries of variance 1

The K coefficients d start at 0, where the model has seeded random weights of an initialiser's size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput
from qtrain_cli.methods.forms import Form, Forms, Plan
from qtrain_cli.methods.generator.mapping import START_GAIN
from qtrain_cli.methods.method import Decode, Method, Numbers, Scene, Unsuited, scales_of
from qtrain_cli.methods.regenerated import Groups, scaled_in_place, seeded_product
from qtrain_cli.methods.seeded import MAX_MATRIX, MAX_SEEDED, seeded_floats, uniform
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.targets.entries import LayoutSpec
from qtrain_cli.targets.layout import split


def largest(scene: Scene) -> int:
    """As many coefficients as there are weights, and as memory holds."""
    most = min(scene.layout.generated, _held(scene.device) // scene.layout.generated)
    if most < 1:
        raise Unsuited(f"a random matrix of {scene.layout.generated} rows does not fit in memory")
    return most


def plan(scene: Scene, size: int) -> Plan:
    """`size` coefficients."""
    return {"k": size, "seed": scene.seed}


def forms(layout: LayoutSpec, plan: Plan) -> Forms:
    check_matrix(layout, plan)
    return {"d": Form((plan["k"],))}


def check_matrix(layout: LayoutSpec, plan: Plan) -> None:
    """Raises `BadInput` for a matrix that takes long to go through; a small file can ask for it."""
    if layout.generated * plan["k"] > MAX_SEEDED:
        raise BadInput(
            f"a random matrix of {layout.generated} x {plan['k']} has more than {MAX_SEEDED:,} entries",
            "ask for fewer bytes, or for fewer tensors with --targets",
        )


def _held(device: torch.device) -> int:
    """Entries, float32, that training may hold: a quarter of a GPU's memory, 1 GB elsewhere."""
    if device.type != "cuda":
        return MAX_MATRIX
    quarter = torch.cuda.get_device_properties(device).total_memory // (4 * torch.float32.itemsize)
    return min(MAX_SEEDED, quarter)


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    return {"d": torch.zeros(plan["k"])}


def decode(layout: LayoutSpec, plan: Plan, device: torch.device) -> Decode:
    m, k = layout.generated, plan["k"]
    scale, centre = scales_of(layout, device)
    base = uniform(plan["seed"], 0, m).to(device)
    matrix = (uniform(plan["seed"], 1, m, k) / math.sqrt(k)).to(device)

    def weights(numbers: Numbers) -> dict[str, Tensor]:
        moved = base + matrix @ numbers["d"]  # (m,)
        return split(layout, centre + scale * START_GAIN * moved)

    return weights


def portable(layout: LayoutSpec, plan: Plan, numbers: Groups) -> Floats:
    m, k, seed = layout.generated, plan["k"], plan["seed"]
    values = seeded_product(seed, 1, m, numbers["d"])  # (m,)
    values /= math.sqrt(k)
    values += seeded_floats(seed, 0, m)
    values *= START_GAIN
    return scaled_in_place(layout, values)


METHOD = Method(
    largest=largest, plan=plan, forms=forms, start=start, decode=decode, portable=portable, whitened=True,
)  # fmt: skip
