"""The sizes of a student's classical front, and grids of equal cells: plain data, standard library only.

A convolutional front halves an image until its side is at most `SMALL_SIDE`; a linear one averages it over a
grid. `students.spec` picks the largest that a budget pays for.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass

#: A convolutional front stops halving at this side, and opens with 5 x 5 filters from this side on.
SMALL_SIDE, LARGE_SIDE = 7, 16


@dataclass(frozen=True)
class Front:
    """What stands before the n features: an average over `grid` cells (linear), or convolutions.

    `channels` and `kernels` are those of each convolution, `sides` what is left of the image behind each one
    and its halving (where `halved` says so); a linear front has none.
    """

    grid: tuple[int, ...] = ()
    channels: tuple[int, ...] = ()
    kernels: tuple[int, ...] = ()
    sides: tuple[tuple[int, int], ...] = ()

    @property
    def kind(self) -> str:
        """``conv`` or ``linear``."""
        return "conv" if self.channels else "linear"


@dataclass(frozen=True)
class Family:
    """`size` fronts in order of their counts of numbers, made one at a time: `at(k)` is the k-th."""

    size: int
    at: Callable[[int], Front]


def families(inputs: tuple[int, ...], conv: bool) -> list[Family]:
    """Every front of a kind for these inputs; none where an image is too small for convolutions."""
    if conv:
        return _conv_families(inputs[1:]) if len(inputs) == 3 else []
    if len(inputs) != 3:
        return [Family(1, lambda _: Front(grid=(math.prod(inputs),)))]
    height, width = inputs[1:]
    return [Family(max(height, width), lambda k: Front(grid=(min(k + 1, height), min(k + 1, width))))]


def largest_front(found: list[Family], count: Callable[[Front], int], most: int) -> Front | None:
    """The front with the largest count up to `most`; a family is halved, not walked through."""
    best = None
    for family in found:
        places = range(family.size)
        fitting = bisect.bisect_right(places, most, key=lambda k: count(family.at(k)))
        if fitting:
            front = family.at(fitting - 1)
            best = front if best is None or count(front) > count(best) else best
    return best


def _conv_families(sides: tuple[int, ...]) -> list[Family]:
    """Families of growing width: convolution k has k + 1 times the first one's channels, the last fewer."""
    kernels: list[int] = []
    left: list[tuple[int, int]] = []
    side = (sides[0], sides[1])
    while not left or max(side) > SMALL_SIDE:
        kernel = 5 if min(side) >= LARGE_SIDE else 3
        side = ((side[0] - kernel + 1) // 2, (side[1] - kernel + 1) // 2)
        if min(side) < 1:
            return []
        kernels.append(kernel)
        left.append(side)

    def family(width: int) -> Family:
        before = tuple(width * (k + 1) for k in range(len(kernels) - 1))
        size = width * (len(kernels) - 1) + 1
        return Family(size, lambda k: Front((), (*before, width + k), tuple(kernels), tuple(left)))

    return [family(width) for width in range(1, 65)]


def grid(sides: tuple[int, ...], most: int) -> tuple[int, int]:
    """The most cells (rows, columns) within image and `most`, at most twice as long as wide."""
    best, height, width = (1, 1), sides[0], sides[1]
    for rows in range(1, min(height, most) + 1):
        for columns in range(1, min(width, most // rows) + 1):
            square = max(rows, columns) <= 2 * min(rows, columns)
            if square and rows * columns >= best[0] * best[1]:
                best = (rows, columns)
    return best
