"""Random numbers that cost a file nothing but their seed: the words of Philox, fixed for good."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qtrain_cli.portable.kernel import Floats
from qtrain_cli.portable.streams import philox_words

#: Numbers of the largest random matrix that a processor trains with: 1 GiB in float32.
MAX_MATRIX = 2**28
#: Numbers of the largest one that a file may ask for, which a reader never has whole: 4 seconds of a core.
MAX_SEEDED = 2 * 10**9
#: The first stream of factors; those before are the methods' own.
_FACTORS = 16
#: The first stream of the tensors that a base lacks.
_FIRST = 2**20


def uniform(seed: int, stream: int, *shape: int) -> Tensor:
    """Float32 of this shape, uniform with mean 0 and variance 1, one of 2**16 values each.

    Args:
        seed: of the file.
        stream: which of a method's vectors; each stream is independent.
    """
    return torch.from_numpy(_spread(seed, stream, 0, math.prod(shape))).view(shape)


def seeded_floats(seed: int, stream: int, count: int, first: int = 0) -> Floats:
    """The same numbers in float64, from number `first` on: (count,)."""
    return _spread(seed, stream, first, count).astype(np.float64)


def whole(seed: int, stream: int, count: int, below: int) -> Tensor:
    """Int64 (count,), each in 0..below-1."""
    words = philox_words(seed, stream, count) >> np.uint64(11)
    return torch.from_numpy((words % np.uint64(below)).astype(np.int64))


def order(seed: int, stream: int, count: int) -> NDArray[np.int64]:
    """A permutation of 0..count-1, (count,): the places of the stream's words from the smallest on."""
    return philox_words(seed, stream, count).argsort(kind="stable")


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


def first_numbers(seed: int, place: int, shape: tuple[int, ...]) -> Tensor:
    """What a matrix (rows, ...) that a base lacks begins with: float32, of variance 1 / columns.

    Args:
        seed: of the file.
        place: which of those matrices it is, in the order of the layout.
        shape: its own; all axes but the first are columns.
    """
    drawn = uniform(seed, _FIRST + place, *shape).double()
    return (drawn / math.sqrt(math.prod(shape[1:]))).float()


def _spread(seed: int, stream: int, first: int, count: int) -> NDArray[np.float32]:
    skipped = first % 4  # numbers of 16 bits in a word
    words = philox_words(seed, stream, -(-(skipped + count) // 4), first // 4).astype("<u8", copy=False)
    values = words.view("<u2")[skipped : skipped + count].astype(np.float32)
    values += np.float32(0.5 - 2**15)
    values *= np.float32(math.sqrt(3) / 2**15)
    return values
