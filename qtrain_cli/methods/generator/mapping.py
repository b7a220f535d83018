"""Standardised probabilities -> weights before scale and centre. One function per row of `spec.MAPPINGS`.

    linear              u = g z + c
    linear-per-tensor   u = g[t] z + c[t]                         t: the tensor the weight belongs to
    mlp                 u = g z + c + a . tanh(V bits + s z + d)    bits of the weight's number as -1, +1
    tensor-train        u = r . (v z + w),  r = a[bit 1] A2[bit 2] ... Ak[bit k]
    quantum-train       u = y - mean(y),  y = W4 (W3 (W2 (W1 (bits, q) + d1) + d2) + d3) + d4
                        q = (0.8 tanh(0.1 * 2**(n-1) p))**0.3,  2**n p = z + 1

`numbers` is the flat vector of all trained numbers of the mapping, so that one optimiser, one
checkpoint and one artifact serve every row. The gain starts at sqrt(3): with scale = 1 / sqrt(3 fan_in) and
var(z) = 1, as complex amplitudes have it, weights start at the standard deviation of an initialiser. Real
amplitudes have var(z) = 2 (Porter and Thomas 1956, one degree of freedom), and start at sqrt(2) times that.

`quantum-train` is the mapping of the Quantum-Train paper (arXiv 2405.11304) as its published code has it: no
activation, no scale, and a start that is torch's for a linear layer, uniform within 1 / sqrt(inputs). So its
four layers act as one affine map of k + 1 inputs, and the mean over all weights, which is taken off, takes
the biases with it, and the mean of q that the paper subtracts first. The biases are counted and stored as the
paper counts them, and are not computed with: their gradient is exactly 0.

`tensor-train` gives each weight a gain and a bias of its own by a matrix product state over the bits of its
number, as the distributed form of Quantum-Train does (arXiv 2409.06992). It starts as the linear mapping,
with the matrices close to 1.

Where no gradient is asked for, weights that take many numbers on the way are computed in blocks: a mapping of
4,096 hidden units would take 32 kB a weight. The bits are those of all at once (tested): no row knows of
another, and blocks are whole multiples of what matrix kernels take at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qtrain_cli.methods.generator.spec import GeneratorSpec, stack_shapes
from qtrain_cli.targets.entries import GENERATED

START_GAIN = math.sqrt(3.0)
#: Standard deviation of what the tensor train's matrices start with beside the identity.
_NEAR = 0.05
#: The paper's constants in q, and the least 2**n p that counts: at 0 the slope of q has no bound.
BETA, GAMMA, ALPHA = 0.8, 0.1, 0.3
LEAST = 1e-6
#: Numbers on the way to one block of weights, and the least rows of a block.
_BLOCK, _ROWS = 2**22, 64


@dataclass(frozen=True)
class Positions:
    """What a mapping may know of each weight besides z: its tensor and its number's bits."""

    tensor: Tensor  # (m,) int64
    tensors: int
    bits: Tensor  # (m, k) -1 or +1; in bytes where they are gone through once, in float64

    @staticmethod
    def of(spec: GeneratorSpec, device: torch.device, dtype: torch.dtype) -> Positions:
        """The positions of all m weights of a generator that computes in `dtype`."""
        counts = [entry.count for entry in spec.layout.of_role(GENERATED)]
        tensor = torch.repeat_interleave(torch.tensor(counts))
        number = torch.arange(spec.layout.generated)
        wanted = spec.position_bits if spec.mapping.row.reads_bits else 0
        bits = torch.empty(len(number), wanted, dtype=torch.int8 if dtype == torch.float64 else dtype)
        for place in range(wanted):  # all at once would take five times the memory
            bits[:, place] = ((number >> (wanted - 1 - place)) & 1) * 2 - 1
        return Positions(tensor.to(device), len(counts), bits.to(device))


def start_numbers(spec: GeneratorSpec, generator: torch.Generator) -> Tensor:
    """The mapping's numbers before training, float32 (k,), on the CPU."""
    return _START[spec.mapping.kind](spec, generator)


def apply_mapping(spec: GeneratorSpec, numbers: Tensor, z: Tensor, positions: Positions) -> Tensor:
    """u of every weight: numbers (k,), z (m,) -> (m,). Differentiable in both."""
    return _APPLY[spec.mapping.kind](numbers, z, positions, spec.mapping.hidden)


def _start_linear(spec: GeneratorSpec, generator: torch.Generator) -> Tensor:
    """Gains of sqrt(3), one or one for each tensor; biases of 0."""
    numbers = torch.zeros(spec.mapping_numbers)
    numbers[: spec.mapping_numbers // 2] = START_GAIN
    return numbers


def _start_mlp(spec: GeneratorSpec, generator: torch.Generator) -> Tensor:
    numbers = torch.zeros(spec.mapping_numbers)
    numbers[0] = START_GAIN
    numbers[2:] = torch.randn(spec.mapping_numbers - 2, generator=generator) / spec.position_bits**0.5
    numbers[-spec.mapping.hidden :] *= 0.1
    return numbers


def _start_tensor_train(spec: GeneratorSpec, generator: torch.Generator) -> Tensor:
    bonds, k = spec.mapping.hidden, spec.position_bits
    first = torch.eye(bonds)[0] + _NEAR * torch.randn(2, bonds, generator=generator)
    matrices = torch.eye(bonds) + _NEAR * torch.randn(k - 1, 2, bonds, bonds, generator=generator)
    ends = _NEAR * torch.randn(2, bonds, generator=generator)  # at 0 they would stop gradients
    ends[:, 0] = torch.tensor([START_GAIN, 0.0])
    return torch.cat([first.flatten(), matrices.flatten(), ends.flatten()])


def _start_quantum_train(spec: GeneratorSpec, generator: torch.Generator) -> Tensor:
    """Weights and biases of each layer, uniform within 1 / sqrt(inputs)."""
    shapes = stack_shapes(spec.position_bits)
    edges = torch.cat([torch.full((after * (before + 1),), before**-0.5) for after, before in shapes])
    return edges * (2 * torch.rand(spec.mapping_numbers, generator=generator) - 1)


_START: dict[str, Callable[[GeneratorSpec, torch.Generator], Tensor]] = {
    "linear": _start_linear,
    "linear-per-tensor": _start_linear,
    "mlp": _start_mlp,
    "tensor-train": _start_tensor_train,
    "quantum-train": _start_quantum_train,
}


def _linear(numbers: Tensor, z: Tensor, positions: Positions, hidden: int) -> Tensor:
    return numbers[0] * z + numbers[1]


def _linear_per_tensor(numbers: Tensor, z: Tensor, positions: Positions, hidden: int) -> Tensor:
    gain, bias = numbers.view(2, positions.tensors).index_select(1, positions.tensor)
    return gain * z + bias


def _mlp(numbers: Tensor, z: Tensor, positions: Positions, hidden: int) -> Tensor:
    k = positions.bits.shape[1]
    linear, flat, slope, shift, out = numbers.split((2, hidden * k, hidden, hidden, hidden))

    def bent(rows: slice) -> Tensor:
        bits = positions.bits[rows].to(numbers)
        inner = bits @ flat.view(k, hidden) + torch.outer(z[rows], slope) + shift  # (rows, hidden)
        return inner.tanh() @ out

    return linear[0] * z + linear[1] + _in_blocks(bent, z, len(z), k + hidden)


def _tensor_train(numbers: Tensor, z: Tensor, positions: Positions, hidden: int) -> Tensor:
    k = positions.bits.shape[1]
    first = numbers[: 2 * hidden].view(2, hidden)  # of the most significant bit
    matrices = numbers[2 * hidden : -2 * hidden].view(k - 1, 2, hidden, hidden)
    gain, bias = numbers[-2 * hidden :].view(2, hidden)
    most = 0 if torch.is_grad_enabled() else (_BLOCK // (_ROWS * hidden)).bit_length() - 1
    last = max(0, min(most, k - _ROWS.bit_length()))  # bits of a block; the others have `_ROWS` rows at least
    starts, each = _grown(first, matrices[: k - 1 - last]), 2**last  # weights of each start

    def rows_of(part: slice) -> Tensor:
        whole = -(-part.stop // _ROWS) * _ROWS
        rows = _grown(starts[part.start : whole], matrices[k - 1 - last :])
        own = z[part.start * each : part.stop * each]
        rows = rows[: len(own)]
        return rows @ gain * own + rows @ bias

    return _in_blocks(rows_of, z, -(-len(z) // each), each * hidden)


def _grown(rows: Tensor, matrices: Tensor) -> Tensor:
    """(r, hidden) by a bit more for each of the matrices: (r * 2**len(matrices), hidden)."""
    for matrix in matrices:
        rows = torch.einsum("mi,bij->mbj", rows, matrix).flatten(0, 1)
    return rows


def _quantum_train(numbers: Tensor, z: Tensor, positions: Positions, hidden: int) -> Tensor:
    q = (BETA * torch.tanh(GAMMA * (z + 1).clamp_min(LEAST) / 2)) ** ALPHA
    matrices, first = [], 0
    for after, before in stack_shapes(positions.bits.shape[1]):
        matrices.append(numbers[first : first + after * before].view(after, before))
        first += after * (before + 1)  # past the biases
    row = torch.linalg.multi_dot(matrices[::-1])[0]  # (k + 1,)
    by_bits = _in_blocks(lambda part: positions.bits[part].to(numbers) @ row[:-1], z, len(z), len(row))
    y = by_bits + row[-1] * q
    return y - y.mean()


def _in_blocks(some: Callable[[slice], Tensor], like: Tensor, count: int, wide: int) -> Tensor:
    """What `some` makes of `count` rows, each of which takes `wide` numbers on the way; in all as `like`."""
    if torch.is_grad_enabled() or count * wide <= _BLOCK:
        return some(slice(0, count))
    rows = max(_ROWS, _BLOCK // wide // _ROWS * _ROWS)
    made, place = torch.empty_like(like), 0
    for first in range(0, count, rows):  # a list of results would lie between the blocks, and keep them apart
        part = some(slice(first, first + rows))
        made[place : place + len(part)] = part
        place += len(part)
    return made


_APPLY: dict[str, Callable[[Tensor, Tensor, Positions, int], Tensor]] = {
    "linear": _linear,
    "linear-per-tensor": _linear_per_tensor,
    "mlp": _mlp,
    "tensor-train": _tensor_train,
    "quantum-train": _quantum_train,
}
