"""The mappings as a file's weights are regenerated: the formulas of `mapping`, in a fixed order of steps.

    linear              u = g z + c
    linear-per-tensor   u = g[t] z + c[t]
    mlp                 i[h] = ((d[h] +- V[0, h]) +- V[1, h]) ... + s[h] z       + where the bit is 1
                        u = (((g z + c) + a[0] tanh i[0]) + a[1] tanh i[1]) + ...
    tensor-train        r = ((a[bit 1] A2[bit 2]) A3[bit 3]) ...,  u = (r . v) z + (r . w)
    quantum-train       row = ((W4 W3) W2) W1,  y = ((0 +- row[0]) +- row[1]) ... + row[k] q,  u = y - mean(y)

Products and means are those of `portable.sums`. Bits of a weight's number come most significant first, so
that weights that share the first bits share those sums, which are made once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from qtrain_cli.methods.generator.mapping import ALPHA, BETA, GAMMA, LEAST
from qtrain_cli.methods.generator.spec import GeneratorSpec, stack_shapes
from qtrain_cli.methods.regenerated import weight_parts
from qtrain_cli.portable.functions import power, tangent
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.portable.sums import ordered_product, ordered_total

#: Bits of the weights of one block, and hidden units that are worked on at a time.
_LOW_BITS, _UNITS = 12, 16
#: What grows a table by a bit: (h, rows) and a bit's place -> (h, rows * 2).
_Grow = Callable[[Floats, int], Floats]


def mapped_portably(spec: GeneratorSpec, numbers: Floats, z: Floats, first: int = 0) -> Floats:
    """u of the weights from number `first` on: numbers (k,), z (any,) -> (any,), float64; written over z.

    `first` is a multiple of 2**12, the weights of a block; all weights at once where a mapping is not
    `local`.
    """
    return _MAPPED[spec.mapping.kind](spec, numbers, z, first)


def _linear(spec: GeneratorSpec, numbers: Floats, z: Floats, first: int) -> Floats:
    z *= numbers[0]
    z += numbers[1]
    return z


def _linear_per_tensor(spec: GeneratorSpec, numbers: Floats, z: Floats, first: int) -> Floats:
    gains, biases = numbers.reshape(2, -1)
    for (_, part), gain, bias in zip(weight_parts(spec.layout, z, first), gains, biases, strict=True):
        part *= gain
        part += bias
    return z


def _mlp(spec: GeneratorSpec, numbers: Floats, z: Floats, first: int) -> Floats:
    k, hidden = spec.position_bits, spec.mapping.hidden
    matrix = numbers[2 : 2 + hidden * k].reshape(k, hidden)
    slopes, shifts, outs = numbers[2 + hidden * k :].reshape(3, hidden)
    u = z * numbers[0]
    u += numbers[1]
    for unit in range(0, hidden, _UNITS):
        units = slice(unit, unit + _UNITS)
        grow = _signed(matrix[:, units])
        for rows, inner in _tables(shifts[units, None], grow, k, (first, z.size)):
            bent = tangent(inner + slopes[units, None] * z[rows])
            for out, values in zip(outs[units], bent, strict=True):
                u[rows] += out * values
    return u


def _tensor_train(spec: GeneratorSpec, numbers: Floats, z: Floats, first: int) -> Floats:
    k, bonds = spec.position_bits, spec.mapping.hidden
    begin = numbers[: 2 * bonds].reshape(2, bonds)
    matrices = numbers[2 * bonds : -2 * bonds].reshape(k - 1, 2, bonds, bonds)
    ends = numbers[-2 * bonds :].reshape(2, bonds)

    def grow(table: Floats, place: int) -> Floats:
        if place == 0:
            return begin.T
        both = [ordered_product(table.T, matrix) for matrix in matrices[place - 1]]  # (rows, h) each
        return np.stack(both, axis=1).reshape(-1, bonds).T

    for rows, table in _tables(np.zeros((bonds, 1)), grow, k, (first, z.size)):
        gain, bias = (ordered_product(table.T, end[:, None])[:, 0] for end in ends)
        z[rows] *= gain
        z[rows] += bias
    return z


def _quantum_train(spec: GeneratorSpec, numbers: Floats, z: Floats, first: int) -> Floats:
    k, matrices, place = spec.position_bits, [], 0
    for after, before in stack_shapes(k):
        matrices.append(numbers[place : place + after * before].reshape(after, before))
        place += after * (before + 1)  # past the biases
    row = matrices[-1]
    for matrix in matrices[-2::-1]:
        row = ordered_product(row, matrix)
    grow = _signed(row.T)
    for rows, table in _tables(np.zeros((1, 1)), grow, k, (first, z.size)):
        bent = BETA * tangent(GAMMA * np.maximum(z[rows] + 1.0, LEAST) / 2.0)
        z[rows] = table[0] + row[0, k] * power(bent, ALPHA)
    z -= ordered_total(z) / z.size
    return z


def _signed(matrix: Floats) -> _Grow:
    """Takes off the row of a bit's place where the bit is 0, and adds it where it is 1: matrix (k, h)."""

    def grow(table: Floats, place: int) -> Floats:
        row = matrix[place, :, None]
        return np.stack((table - row, table + row), axis=2).reshape(len(table), -1)

    return grow


def _tables(start: Floats, grow: _Grow, bits: int, part: tuple[int, int]) -> Iterator[tuple[slice, Floats]]:
    """For each block of weights their places in the part and their table (h, rows), grown bit by bit from
    (h, 1). The part: the number of its first weight, whole blocks, and how many it has."""
    low, (begin, count) = min(bits, _LOW_BITS), part
    for place in range(bits - low):
        start = grow(start, place)
    for first in range(0, count, 2**low):
        table = start[:, (begin + first) >> low, None]
        for place in range(bits - low, bits):
            table = grow(table, place)
        rows = slice(first, min(count, first + 2**low))
        yield rows, table[:, : rows.stop - first]


_MAPPED: dict[str, Callable[[GeneratorSpec, Floats, Floats, int], Floats]] = {
    "linear": _linear,
    "linear-per-tensor": _linear_per_tensor,
    "mlp": _mlp,
    "tensor-train": _tensor_train,
    "quantum-train": _quantum_train,
}
