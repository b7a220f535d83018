"""The sizes of a student's classical front, and grids of equal cells: plain data, standard library only.

A convolutional front halves an image until its side is at most `SMALL_SIDE`; a linear one averages it over a
grid. `student_spec` picks the largest that a budget pays for.
"""

from __future__ import annotations

import math
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


def fronts(inputs: tuple[int, ...], conv: bool) -> list[Front]:
    """Every front of a kind for these inputs; none where an image is too small for convolutions."""
    if conv:
        return _conv_fronts(inputs[1:]) if len(inputs) == 3 else []
    if len(inputs) != 3:
        return [Front(grid=(math.prod(inputs),))]
    sides = range(1, max(inputs[1:]) + 1)
    return [Front(grid=(min(side, inputs[1]), min(side, inputs[2]))) for side in sides]


def _conv_fronts(sides: tuple[int, ...]) -> list[Front]:
    """Fronts of growing width: convolution k has k + 1 times the first one's channels, the last one fewer."""
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
    return [
        Front((), (*(width * (k + 1) for k in range(len(kernels) - 1)), last), tuple(kernels), tuple(left))
        for width in range(1, 65)
        for last in range(width, width * len(kernels) + 1)
    ]


def grid(sides: tuple[int, ...], most: int) -> tuple[int, int]:
    """The most cells (rows, columns) within image and `most`, at most twice as long as wide."""
    best, height, width = (1, 1), sides[0], sides[1]
    for rows in range(1, min(height, most) + 1):
        for columns in range(1, min(width, most // rows) + 1):
            square = max(rows, columns) <= 2 * min(rows, columns)
            if square and rows * columns >= best[0] * best[1]:
                best = (rows, columns)
    return best
