"""The best one-to-one assignment of columns to rows, by shortest augmenting paths (Kuhn 1955; Jonker and
Volgenant 1987): O(k**3), its inner loop in NumPy, exact for whole numbers.

    cost (k, k)    potentials u, v with u_i + v_j <= cost_ij, equal where i is assigned to j

Every row in turn looks for the cheapest path to a free column; the potentials keep what was found before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def best_assignment(worth: np.ndarray) -> list[int]:
    """For each row of a square table of whole numbers (k, k) its column, so that the sum is largest."""
    import numpy as np

    cost, size = -worth.astype(np.int64), len(worth)
    u, v = np.zeros(size + 1, np.int64), np.zeros(size + 1, np.int64)
    row_of, before = np.full(size + 1, -1), np.zeros(size + 1, np.int64)  # the last column stands for none
    for row in range(size):
        row_of[size] = row
        column = _augmented(cost, (u, v), row_of, before)
        while column != size:
            row_of[column] = row_of[before[column]]
            column = before[column]
    return [int(column) for column in np.argsort(row_of[:size])]


def _augmented(
    cost: np.ndarray, potentials: tuple[np.ndarray, np.ndarray], row_of: np.ndarray, before: np.ndarray
) -> int:
    """The free column that the cheapest path from the new row leads to; `before` gets the path."""
    import numpy as np

    (u, v), size = potentials, len(cost)
    far = np.iinfo(np.int64).max // 4
    least, used, column = np.full(size, far), np.zeros(size + 1, bool), size
    while row_of[column] >= 0:
        used[column] = True
        row = row_of[column]
        slack = cost[row] - u[row] - v[:size]
        nearer = ~used[:size] & (slack < least)
        least[nearer], before[:size][nearer] = slack[nearer], column
        column = int(np.argmin(np.where(used[:size], 2 * far, least)))
        step = least[column]
        u[row_of[used]] += step
        v[used] -= step
        least[~used[:size]] -= step
    return column
