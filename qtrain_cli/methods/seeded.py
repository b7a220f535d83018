"""Random numbers that cost a file nothing but their seed: NumPy's raw Philox 4x64 words, fixed for good."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

#: Numbers of the largest random matrix: 1 GiB in float32.
MAX_MATRIX = 2**28
#: The first stream of factors; those before are the methods' own.
_FACTORS = 16


def uniform(seed: int, stream: int, *shape: int) -> Tensor:
    """Float32 of this shape, uniform with mean 0 and variance 1, one of 2**16 values each.

    Args:
        seed: of the file.
        stream: which of a method's vectors; each stream is independent.
    """
    count = math.prod(shape)
    values = _words(seed, stream, -(-count // 4)).view("<u2")[:count].astype(np.float32)
    values += np.float32(0.5 - 2**15)
    values *= np.float32(math.sqrt(3) / 2**15)
    return torch.from_numpy(values).view(shape)


def whole(seed: int, stream: int, count: int, below: int) -> Tensor:
    """Int64 (count,), each in 0..below-1."""
    words = _words(seed, stream, count) >> np.uint64(11)
    return torch.from_numpy((words % np.uint64(below)).astype(np.int64))


def _words(seed: int, stream: int, count: int) -> np.ndarray:
    return np.random.Philox(key=[seed, stream]).random_raw(count).astype("<u8", copy=False)


def factors(seed: int, shapes: Mapping[str, tuple[int, int]]) -> dict[str, Tensor]:
    """A of each matrix, (r, columns) in float64 by its name: variance 1 / columns, a stream for each.

    Args:
        seed: of the file.
        shapes: in the order of the file's layout.
    """
    return {
        name: uniform(seed, _FACTORS + place, rows, columns).double() / math.sqrt(columns)
        for place, (name, (rows, columns)) in enumerate(shapes.items())
    }
