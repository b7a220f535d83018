"""Magnitude pruning: the K largest weights survive, are fine-tuned, and stored with their positions.

The mask is global, as `torch.nn.utils.prune.global_unstructured` with `L1Unstructured` makes it, but not at
one stroke: it narrows over the first half of training along a cubic curve (Zhu and Gupta, arXiv 1710.01878),

    survivors(t) = K + (m - K) (1 - t / 0.5)**3

A pruned weight is the code 0 of its tensor's grid, so that positions and values are one entropy-coded stream.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from qtrain_cli.methods.forms import Forms, Plan
from qtrain_cli.methods.method import (
    Method,
    Numbers,
    Scene,
    away_from_centre,
    whole_decode,
    whole_forms,
    whole_portable,
)

_PRUNED_AT = 0.5


def largest(scene: Scene) -> int:
    """All of the weights."""
    return scene.layout.generated


def plan(scene: Scene, size: int) -> Plan:
    """`size` survivors."""
    return {"survivors": size}


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    return away_from_centre(scene.layout, scene.begun)


def bits(scene: Scene, plan: Plan, forms: Forms, width: float) -> float:
    """m H(K / m) for the positions and `width` for each survivor."""
    m, k = scene.layout.generated, plan["survivors"]
    share = k / m
    entropy = -sum(p * math.log2(p) for p in (share, 1 - share) if p > 0)
    return m * entropy + k * width


def mask(plan: Plan, numbers: Numbers, progress: float) -> dict[str, Tensor]:
    """Ones where a weight survives at this point of training, 0 to 1."""
    sizes = torch.cat([tensor.detach().abs().flatten() for tensor in numbers.values()])
    left = max(0.0, 1 - progress / _PRUNED_AT) ** 3
    survivors = plan["survivors"] + round((len(sizes) - plan["survivors"]) * left)
    least = sizes.kthvalue(len(sizes) - survivors + 1).values
    return {name: (tensor.detach().abs() >= least).float() for name, tensor in numbers.items()}


METHOD = Method(
    largest=largest, plan=plan, forms=whole_forms, start=start, decode=whole_decode,
    portable=whole_portable, bits=bits, mask=mask,
    whitened=True,
)  # fmt: skip
