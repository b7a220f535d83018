"""Sums in a fixed order: a term after the other, or by halves; never as a library thinks best.

    product    out[i, c] = ((left[i, 0] right[0, c]) + left[i, 1] right[1, c]) + ...
    total      x[0 : h] + x[h : 2 h], h the power of two below the size, and so on; zeros behind the end
    hadamard   of pairs that are h apart, x + y and x - y, for h = 1, 2, 4, ...

The product is compiled too (`kernel`): the same steps, the same bits.
"""

from __future__ import annotations

import numpy as np

from qtrain_cli.portable import kernel
from qtrain_cli.portable.kernel import Floats

#: Numbers of a block of rows, so that it stays in the cache.
_BLOCK = 2**15


def ordered_product(left: Floats, right: Floats) -> Floats:
    """left (a, r), right (r, c) -> (a, c), float64; the r terms are summed from the first on."""
    rows, terms = left.shape
    if not terms:
        return np.zeros((rows, right.shape[1]))
    out = np.empty((rows, right.shape[1]))
    left, right = (np.ascontiguousarray(part, dtype=np.float64) for part in (left, right))
    if kernel.is_built():
        kernel.fill_product(left, right, out)
        return out
    step = max(1, _BLOCK // (right.shape[1] + terms))
    for first in range(0, rows, step):
        _rows(left[first : first + step], right, out[first : first + step])
    return out


def _rows(left: Floats, right: Floats, out: Floats) -> None:
    columns = np.ascontiguousarray(left.T)  # (r, a)
    np.multiply(columns[0][:, None], right[0], out=out)
    for column, row in zip(columns[1:], right[1:], strict=True):
        out += column[:, None] * row


def ordered_total(values: Floats) -> float:
    """The sum of one axis of numbers, 0 of none."""
    if not values.size:
        return 0.0
    left = values
    while left.size > 1:
        half = 1 << (left.size - 1).bit_length() - 1
        behind = left[half:]
        left = left[:half].copy()
        left[: behind.size] += behind
    return float(left[0])


def hadamard(values: Floats) -> Floats:
    """Each row (any, n), n a power of two, times the Hadamard matrix of n, in its place: float64."""
    n = values.shape[1]
    apart = 1
    while apart < n:
        pairs = values.reshape(-1, 2, apart)  # a view
        first, second = pairs[:, 0], pairs[:, 1]
        less = first - second
        first += second
        second[:] = less
        apart *= 2
    return values
