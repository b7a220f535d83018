"""Whole numbers in groups, as a file holds them: what their counts need, and whether groups share them.

Each group of codes has a model (lowest and highest code, spread of `codec`), or all groups share one where
that takes fewer bits. Lengths and codes are unsigned or zigzag base-128 numbers, low digits first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qtrain_cli.files.codec import best_spread, bits_needed
from qtrain_cli.files.varints import model_bytes_of

#: Bits of a group's step.
_STEP_BITS = 16


def group_bits(codes: Sequence[NDArray[np.int64]]) -> float:
    """The bits that groups of these codes take in a file, with their steps, ranges and spreads."""
    return min(_bits_shared(codes), _bits_apart(codes)) + _STEP_BITS * len(codes)


def model_of(codes: NDArray[np.int64]) -> tuple[int, int, int]:
    """Lowest code, highest code, and spread."""
    low = int(codes.min())
    return low, int(codes.max()), best_spread(np.bincount(codes - low), low)


def _bits(codes: NDArray[np.int64]) -> float:
    """The bits of all codes of one model, its range and spread included."""
    low, high, spread = model_of(codes)
    return bits_needed(np.bincount(codes - low), low, spread) + 8 * len(model_bytes_of((low, high, spread)))


def sharing_pays(codes: Sequence[NDArray[np.int64]]) -> bool:
    return _bits_shared(codes) <= _bits_apart(codes)


def _bits_shared(codes: Sequence[NDArray[np.int64]]) -> float:
    return _bits(np.concatenate(codes))


def _bits_apart(codes: Sequence[NDArray[np.int64]]) -> float:
    return sum(map(_bits, codes))
