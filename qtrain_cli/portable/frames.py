"""The leading singular directions of a matrix, as nearly as a few steps find them, in fixed steps.

    X <- seeded;   4 times:  Y = orthonormal(W X),  X = orthonormal(W^T Y)
    right = X^T (r, columns)         left = W X (rows, r): singular vectors times singular values

Subspace iteration (Golub and Van Loan, Matrix Computations, 8.2.4). A library's singular value decomposition
would be nearer, and have other last bits on each machine, other signs even: these are the same anywhere. What
a file needs is that both ends have the same directions, not that they are the very leading ones.
"""

from __future__ import annotations

import numpy as np

from qtrain_cli.portable.kernel import Floats
from qtrain_cli.portable.sums import ordered_product, ordered_total

ITERATIONS = 4
#: So small a part of a column is what rounding makes of it.
ROUNDING = 1e-10


def leading_frames(matrix: Floats, start: Floats) -> tuple[Floats, Floats]:
    """Left (rows, r) and right (r, columns) in float64; zeros in directions that the matrix lacks.

    Args:
        matrix: (rows, columns), float64.
        start: (columns, r), r at most rows and columns.
    """
    turned = np.ascontiguousarray(matrix.T)
    x = start
    for _ in range(ITERATIONS):
        x = _orthonormal(ordered_product(turned, _orthonormal(ordered_product(matrix, x))))
    return ordered_product(matrix, x), np.ascontiguousarray(x.T)


def _orthonormal(columns: Floats) -> Floats:
    """Gram-Schmidt, each column less its share of those before it, one after the other, and once more for
    what rounding left; zeros where nothing but rounding is left."""
    done: list[Floats] = []
    for column in columns.T.copy():
        before = np.sqrt(ordered_total(column * column))
        for other in (*done, *done):
            column -= ordered_total(other * column) * other
        length = np.sqrt(ordered_total(column * column))
        done.append(column / length if length > ROUNDING * before else np.zeros_like(column))
    return np.stack(done, axis=1)
