"""Random numbers that cost a file nothing but their seed: the words of Philox, fixed for good."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.portable.streams import philox_words

#: Numbers of the largest random matrix: 1 GiB in float32.
MAX_MATRIX = 2**28


def uniform(seed: int, stream: int, *shape: int) -> Tensor:
    """Float32 of this shape, uniform with mean 0 and variance 1, one of 2**16 values each.

    Args:
        seed: of the file.
        stream: which of a method's vectors; each stream is independent.
    """
    count = math.prod(shape)
    words = philox_words(seed, stream, -(-count // 4)).astype("<u8", copy=False)
    values = words.view("<u2")[:count].astype(np.float32)
    values += np.float32(0.5 - 2**15)
    values *= np.float32(math.sqrt(3) / 2**15)
    return torch.from_numpy(values).view(shape)


def whole(seed: int, stream: int, count: int, below: int) -> Tensor:
    """Int64 (count,), each in 0..below-1."""
    words = philox_words(seed, stream, count) >> np.uint64(11)
    return torch.from_numpy((words % np.uint64(below)).astype(np.int64))
