"""Standardised probabilities -> weights before scale and centre. One function per row of `spec.MAPPINGS`.

    linear              u = g z + c
    linear-per-tensor   u = g[t] z + c[t]                         t: the tensor the weight belongs to
    mlp                 u = g z + c + a . tanh(V bits + s z + d)    bits of the weight's number as -1, +1

`numbers` is the flat vector of all trained numbers of the mapping, so that one optimiser, one
checkpoint and one artifact serve every row. The gain starts at sqrt(3): with scale = 1 / sqrt(3 fan_in) and
var(z) = 1, as complex amplitudes have it, weights start at the standard deviation of an initialiser. Real
amplitudes have var(z) = 2 (Porter and Thomas 1956, one degree of freedom), and start at sqrt(2) times that.

Left out here: tensor trains.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qtrain_cli.spec import GENERATED, GeneratorSpec

START_GAIN = math.sqrt(3.0)


@dataclass(frozen=True)
class Positions:
    """What a mapping may know of each weight besides z: its tensor and its number's bits."""

    tensor: Tensor  # (m,) int64
    tensors: int
    bits: Tensor  # (m, k) -1 or +1

    @staticmethod
    def of(spec: GeneratorSpec, device: torch.device, dtype: torch.dtype) -> Positions:
        """The positions of all m weights of a generator."""
        counts = [entry.count for entry in spec.layout.of_role(GENERATED)]
        tensor = torch.repeat_interleave(torch.tensor(counts))
        number = torch.arange(spec.layout.generated)
        wanted = spec.position_bits if spec.mapping.kind == "mlp" else 0
        shifts = torch.arange(wanted - 1, -1, -1)
        bits = ((number[:, None] >> shifts) & 1) * 2 - 1
        return Positions(tensor.to(device), len(counts), bits.to(device, dtype))


def start_numbers(spec: GeneratorSpec, generator: torch.Generator) -> Tensor:
    """The mapping's numbers before training, float32 (k,), on the CPU."""
    numbers = torch.zeros(spec.mapping_numbers)
    gains = len(spec.layout.of_role(GENERATED)) if spec.mapping.kind == "linear-per-tensor" else 1
    numbers[:gains] = START_GAIN
    if spec.mapping.kind == "mlp":
        numbers[2:] = torch.randn(spec.mapping_numbers - 2, generator=generator) / spec.position_bits**0.5
        numbers[-spec.mapping.hidden :] *= 0.1
    return numbers


def apply_mapping(spec: GeneratorSpec, numbers: Tensor, z: Tensor, positions: Positions) -> Tensor:
    """u of every weight: numbers (k,), z (m,) -> (m,). Differentiable in both."""
    return _APPLY[spec.mapping.kind](numbers, z, positions, spec.mapping.hidden)


def _linear(numbers: Tensor, z: Tensor, positions: Positions, hidden: int) -> Tensor:
    return numbers[0] * z + numbers[1]


def _linear_per_tensor(numbers: Tensor, z: Tensor, positions: Positions, hidden: int) -> Tensor:
    gain, bias = numbers.view(2, positions.tensors).index_select(1, positions.tensor)
    return gain * z + bias


def _mlp(numbers: Tensor, z: Tensor, positions: Positions, hidden: int) -> Tensor:
    k = positions.bits.shape[1]
    linear, flat, slope, shift, out = numbers.split((2, hidden * k, hidden, hidden, hidden))
    inner = positions.bits @ flat.view(k, hidden) + torch.outer(z, slope) + shift  # (m, hidden)
    return linear[0] * z + linear[1] + inner.tanh() @ out


_APPLY: dict[str, Callable[[Tensor, Tensor, Positions, int], Tensor]] = {
    "linear": _linear,
    "linear-per-tensor": _linear_per_tensor,
    "mlp": _mlp,
}
