"""A small dense network with the model's inputs and outputs, distilled from the same teacher, quantised.

x -> flatten -> Linear(h) -> ReLU -> Linear -> outputs                  h hidden units, as many as fit

Where the model's outputs are probabilities, these are too: a softmax or sigmoid follows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from qtrain_cli.methods.forms import Plan
from qtrain_cli.methods.method import (
    Method,
    Scene,
    Unsuited,
    away_from_centre,
    whole_decode,
    whole_forms,
    whole_portable,
)
from qtrain_cli.targets.layout import layout_of

MAX_WIDTH = 4096


def largest(scene: Scene) -> int:
    """Beyond that it is no small network."""
    return MAX_WIDTH


def plan(scene: Scene, size: int) -> Plan:
    """`size` hidden units; the seed is of the start."""
    return {"hidden": size, "seed": scene.seed}


def module(scene: Scene, plan: Plan) -> nn.Module:
    """The network with its own seeded start."""
    if scene.input_shape is None:
        raise Unsuited(
            "a small dense network reads one tensor of numbers, and the model has several inputs, or tokens"
        )
    inputs, outputs = math.prod(scene.input_shape), math.prod(scene.output_shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan["seed"])
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(inputs, plan["hidden"]), nn.ReLU()]
        layers += [nn.Linear(plan["hidden"], outputs)]
        if len(scene.output_shape) != 1:
            layers += [nn.Unflatten(1, scene.output_shape)]
        layers += [scene.head()] if scene.head else []
        return nn.Sequential(*layers).to(scene.device)


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    student = module(scene, plan)
    return away_from_centre(layout_of(student), student.state_dict())


METHOD = Method(
    largest=largest, plan=plan, forms=whole_forms, start=start, decode=whole_decode,
    portable=whole_portable, module=module,
)  # fmt: skip
