"""The matched classical curve: what the circuit is, without the circuit.

    w = centre + scale * g * sqrt(2) * cos(A theta + beta)     A (m, K), beta (m,) seeded; g = sqrt(3) (1 + d)

A smooth map of K angles to m bounded numbers of mean 0 and variance 1, as a scrambling circuit's z is, but
with random frequencies in place of gates. Stored are theta (from 0) and d; the count is ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qtrain_cli.methods import subspace
from qtrain_cli.methods.forms import Form, Forms, Plan
from qtrain_cli.methods.generator.mapping import START_GAIN
from qtrain_cli.methods.method import Decode, Method, Numbers, Scene, scales_of
from qtrain_cli.methods.projection import check_projection, portable_products, projected, projection_plan
from qtrain_cli.methods.regenerated import Groups, scaled_in_place
from qtrain_cli.methods.seeded import seeded_floats, uniform
from qtrain_cli.portable.functions import sine_cosine
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.targets.entries import LayoutSpec
from qtrain_cli.targets.layout import split


def plan(scene: Scene, size: int) -> Plan:
    """`size` numbers: a gain and at least one angle."""
    return projection_plan(scene, max(1, size - 1))


def forms(layout: LayoutSpec, plan: Plan) -> Forms:
    check_projection(layout.generated, plan)
    return {"theta": Form((plan["k"],)), "gain": Form((1,))}


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    return {"theta": torch.zeros(plan["k"]), "gain": torch.zeros(1)}


def decode(layout: LayoutSpec, plan: Plan, device: torch.device) -> Decode:
    m = layout.generated
    scale, centre = scales_of(layout, device)
    beta = math.pi / math.sqrt(3) * uniform(plan["seed"], 0, m).to(device)  # uniform in (-pi, pi)
    products = projected(plan, m, device)

    def weights(numbers: Numbers) -> dict[str, Tensor]:
        z = math.sqrt(2) * (products(numbers["theta"]) + beta).cos()  # (m,)
        return split(layout, centre + scale * START_GAIN * (1 + numbers["gain"]) * z)

    return weights


def origin(plan: Plan, numbers: Numbers) -> Numbers:
    """The angles at zero; the gain is no part of a movement."""
    return {"theta": torch.zeros_like(numbers["theta"]), "gain": numbers["gain"]}


def portable(layout: LayoutSpec, plan: Plan, numbers: Groups) -> Floats:
    m, seed = layout.generated, plan["seed"]
    phases = portable_products(plan, m, numbers["theta"])  # (m,)
    phases += (math.pi / math.sqrt(3)) * seeded_floats(seed, 0, m)
    values = sine_cosine(phases)[1]
    values *= math.sqrt(2)
    values *= START_GAIN * (1.0 + float(numbers["gain"][0]))
    return scaled_in_place(layout, values)


METHOD = Method(
    largest=subspace.largest, plan=plan, forms=forms, start=start, decode=decode, portable=portable,
    whitened=True, origin=origin,
)  # fmt: skip
