"""The classical front of a hybrid: an input down to n features in -pi/2 .. pi/2.

    linear    average over a grid -> mix (linear)                                                -> (N, n)
    conv      [convolution -> max-pool 2 -> ReLU] ... -> one spatial filter a channel -> mix     -> (N, n)

The features are ``pi / 2 * tanh`` of the mix, so that a rotation by them stays within half a turn, and the
data map ``(pi - x)(pi - y)`` of several qubits within a few turns.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qtrain_cli.students import convolutions
from qtrain_cli.students.front_sizes import Front
from qtrain_cli.students.reduction import averaged


class LinearFront(nn.Module):
    """(N, ...) -> (N, n)."""

    def __init__(self, front: Front, channels: int, features: int) -> None:
        super().__init__()
        self.grid = front.grid
        self.mix = nn.Linear(math.prod(front.grid) * channels, features)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features in -pi/2 .. pi/2."""
        return bounded(self.mix(averaged(inputs, self.grid)))


class ConvFront(nn.Module):
    """(N, C, H, W) -> (N, n)."""

    def __init__(self, front: Front, channels: int, features: int) -> None:
        super().__init__()
        before = channels
        self.count = len(front.channels)
        for number, (width, kernel) in enumerate(zip(front.channels, front.kernels, strict=True)):
            self.add_module(f"conv{number}", nn.Conv2d(before, width, kernel))
            before = width
        self.spatial = nn.Conv2d(before, before, front.sides[-1], groups=before)
        self.mix = nn.Linear(before, features)

    def forward(self, images: Tensor) -> Tensor:
        """Features in -pi/2 .. pi/2."""
        layers = [cast(nn.Conv2d, self.get_submodule(f"conv{number}")) for number in range(self.count)]
        if convolutions.supports(images, [*layers, self.spatial]):
            return bounded(self.mix(convolutions.convolved(images, [*layers, self.spatial])))
        x = images
        for layer in layers:
            x = F.relu(F.max_pool2d(layer(x), 2))
        return bounded(self.mix(self.spatial(x).flatten(1)))


def bounded(x: Tensor) -> Tensor:
    """``pi / 2 tanh x``."""
    return torch.tanh(x) * (math.pi / 2)
