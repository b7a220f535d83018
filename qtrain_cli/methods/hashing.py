"""HashedNets (Chen et al. 2015, arXiv 1504.04788): a seeded hash gives each weight one of K shared values.

    w[i] = centre + scale * sqrt(3) * sign(i) * (start[h(i)] + v[h(i)])         h(i) in 0..K-1, sign(i) = +-1

One table serves all tensors, each at its own scale. Stored is v, the movement from a seeded start.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.methods.forms import Form, Forms, Plan
from qtrain_cli.methods.generator.mapping import START_GAIN
from qtrain_cli.methods.method import Decode, Method, Numbers, Scene, scales_of
from qtrain_cli.methods.regenerated import Groups, scaled_in_place
from qtrain_cli.methods.seeded import seeded_floats, uniform, whole
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.targets.entries import LayoutSpec
from qtrain_cli.targets.layout import split


def largest(scene: Scene) -> int:
    """As many values as there are weights."""
    return scene.layout.generated


def plan(scene: Scene, size: int) -> Plan:
    """`size` shared values."""
    return {"k": size, "seed": scene.seed}


def forms(layout: LayoutSpec, plan: Plan) -> Forms:
    return {"v": Form((plan["k"],))}


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    return {"v": torch.zeros(plan["k"])}


def decode(layout: LayoutSpec, plan: Plan, device: torch.device) -> Decode:
    m, k, seed = layout.generated, plan["k"], plan["seed"]
    scale, centre = scales_of(layout, device)
    buckets = whole(seed, 0, m, k).to(device)  # (m,)
    factor = scale * START_GAIN * uniform(seed, 1, m).to(device).sign()
    begin = uniform(seed, 2, k).to(device)

    def weights(numbers: Numbers) -> dict[str, Tensor]:
        return split(layout, centre + factor * (begin + numbers["v"]).index_select(0, buckets))

    return weights


def portable(layout: LayoutSpec, plan: Plan, numbers: Groups) -> Floats:
    m, k, seed = layout.generated, plan["k"], plan["seed"]
    values = (seeded_floats(seed, 2, k) + numbers["v"])[whole(seed, 0, m, k).numpy()]  # (m,)
    values *= np.sign(seeded_floats(seed, 1, m))
    values *= START_GAIN
    return scaled_in_place(layout, values)


METHOD = Method(
    largest=largest, plan=plan, forms=forms, start=start, decode=decode, portable=portable,
)  # fmt: skip
