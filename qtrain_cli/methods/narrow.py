"""The same architecture with every layer narrower, distilled from the same teacher, quantised.

    channels -> max(1, round(channels * size / 256))       but not the model's inputs and outputs

Works on models whose convolutions, linear and BatchNorm layers are all that have weights, and whose forward
takes the widths from its layers: a copy gets narrower layers and has to give outputs of the right shape. Any
other model is unsuited, which is said. The widths stand in the file, as the shapes of its tensors.
"""

from __future__ import annotations

from typing import Any

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
from qtrain_cli.models.in_place import twin_of
from qtrain_cli.targets.entries import TIED
from qtrain_cli.targets.layout import layout_of

_WHOLE = 256
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def largest(scene: Scene) -> int:
    """Just below the whole width."""
    narrowed(scene, _WHOLE // 2)
    return _WHOLE - 1


def plan(scene: Scene, size: int) -> Plan:
    """`size` / 256 of the width; the seed is of the student's start."""
    return {"width": size, "seed": scene.seed}


def module(scene: Scene, plan: Plan) -> nn.Module:
    """The narrow network with its own seeded start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan["seed"])
        return narrowed(scene, plan["width"]).to(scene.device)


def start(scene: Scene, plan: Plan) -> dict[str, Tensor]:
    student = module(scene, plan)
    return away_from_centre(layout_of(student), student.state_dict())


def narrowed(scene: Scene, width: int) -> nn.Module:
    """A copy whose layers have `width` / 256 of their channels. Raises `Unsuited`."""
    if scene.layout.of_role(TIED):
        raise Unsuited("tied tensors cannot be narrowed")
    if scene.input_shape is None:
        raise Unsuited("a model of several inputs, or of tokens, is not narrowed")
    student = twin_of(scene.module).cpu()
    layers = [
        (path, layer)
        for path, layer in student.named_modules()
        if next(layer.parameters(False), None) is not None
    ]
    weighted = [layer for _, layer in layers if isinstance(layer, (nn.Linear, *_CONVOLUTIONS))]
    if len(weighted) < 2:
        raise Unsuited("a model of fewer than two convolutions and linear layers has no width")
    before = 0
    for path, layer in layers:
        first, last = layer is weighted[0], layer is weighted[-1]
        new = _narrower(layer, width, before, first, last)
        parent, _, name = path.rpartition(".")
        setattr(student.get_submodule(parent), name, new)
        before = _outputs(layer) or before
    _check(scene, student)
    return student


def _outputs(layer: nn.Module) -> int:
    if isinstance(layer, _CONVOLUTIONS):
        return layer.out_channels
    return layer.out_features if isinstance(layer, nn.Linear) else 0


def _narrower(layer: nn.Module, width: int, before: int, first: bool, last: bool) -> nn.Module:
    def less(channels: int) -> int:
        return max(1, round(channels * width / _WHOLE))

    if isinstance(layer, _NORMS):
        return type(layer)(
            less(layer.num_features), layer.eps, layer.momentum, layer.affine, layer.track_running_stats
        )
    if isinstance(layer, nn.Linear):
        flat = before and layer.in_features % before == 0
        inputs = less(before) * (layer.in_features // before) if flat else less(layer.in_features)
        outputs = layer.out_features if last else less(layer.out_features)
        return nn.Linear(layer.in_features if first else inputs, outputs, layer.bias is not None)
    if isinstance(layer, _CONVOLUTIONS) and layer.groups == 1:
        inputs = layer.in_channels if first else less(layer.in_channels)
        outputs = layer.out_channels if last else less(layer.out_channels)
        build: Any = type(layer)
        return build(
            inputs, outputs, layer.kernel_size, layer.stride, layer.padding, layer.dilation,
            bias=layer.bias is not None, padding_mode=layer.padding_mode,
        )  # fmt: skip
    raise Unsuited(f"a layer of the class {type(layer).__name__} cannot be narrowed")


def _check(scene: Scene, student: nn.Module) -> None:
    student.eval()
    try:
        with torch.no_grad():
            shape = tuple(student(torch.zeros(2, *scene.input_shape or ())).shape[1:])
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise Unsuited(f"its forward does not run with narrower layers ({type(error).__name__})") from None
    if shape != scene.output_shape:
        raise Unsuited(f"narrower, it has outputs of the shape {list(shape)}")


METHOD = Method(
    largest=largest, plan=plan, forms=whole_forms, start=start, decode=whole_decode,
    portable=whole_portable, module=module,
)  # fmt: skip
