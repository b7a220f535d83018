"""The convolutions of a student's front in one compiled call each way (quantum/native/front.h, kernel.md).

    images (N, C, H, W)  ->  [convolution, max-pool 2, ReLU] ..., one spatial filter a channel  ->  (N, c)

PyTorch's kernels are made for hundreds of channels; with 5 to 7 most of a vector is empty. Here the batch
fills the vectors. float32 on a CPU, and no gradient into the images; `supports` says no to the rest.
"""

from __future__ import annotations

import array
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.quantum import native

_KERNELS, _MOST_STAGES, _MOST_SIDE = (3, 5), 8, 2**14


def supports(images: Tensor, layers: Sequence[nn.Conv2d]) -> bool:
    """True when the kernel does these images and layers, the last of which is the spatial filter."""
    tensors = [images, *(part for layer in layers for part in layer.parameters())]
    if not native.available() or images.requires_grad or images.dim() != 4 or not len(images):
        return False
    if not native.holds(tensors):
        return False
    sizes = all(layer.kernel_size[0] in _KERNELS for layer in layers[:-1])
    return sizes and len(layers) - 1 <= _MOST_STAGES and max(images.shape[1:]) <= _MOST_SIDE


def convolved(images: Tensor, layers: Sequence[nn.Conv2d]) -> Tensor:
    """The filters' outputs (N, channels), differentiable once in the layers' weights and biases."""
    parameters = [part for layer in layers for part in (layer.weight, layer.bias)]
    found: Tensor = _Convolved.apply(images, *parameters)
    return found


class _Convolved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, *parameters: Tensor) -> Tensor:
        ctx.stages, kept = _stages(images, parameters)
        weights = torch.cat([part.detach().reshape(-1) for part in parameters])
        lanes = native.lanes()
        state = weights.new_empty(-(-len(images) // lanes) * kept * lanes)
        out = weights.new_empty(len(images), len(parameters[-1]))
        native.front_forward(ctx.stages, weights, images.contiguous(), out, state)
        ctx.save_for_backward(weights, state)
        ctx.shapes = [part.shape for part in parameters]
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        weights, state = ctx.saved_tensors
        gradient = torch.empty_like(weights)
        native.front_backward(ctx.stages, weights, state, v.contiguous(), gradient)
        parts = gradient.split([math.prod(shape) for shape in ctx.shapes])
        return None, *(part.view(shape) for part, shape in zip(parts, ctx.shapes, strict=True))


def _stages(images: Tensor, parameters: Sequence[Tensor]) -> tuple[Any, int]:
    """(before, after, kernel, height, width) of each stage, and the numbers that are kept of an image."""
    _, before, height, width = images.shape
    rows, kept = [], before * height * width
    for weight in parameters[:-2:2]:
        after, kernel = weight.shape[0], weight.shape[2]
        rows += [before, after, kernel, height, width]
        before, height, width = after, (height - kernel + 1) // 2, (width - kernel + 1) // 2
        kept += 2 * before * height * width
    return array.array("i", rows), kept
