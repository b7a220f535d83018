"""Seeded numbers of a fixed stream: those of one seed and stream are the same for good, on every machine.

The words are those of the counter-based generator Philox 4x64-10 (Salmon et al. 2011) with the key (seed,
stream): word number j is word ``j mod 4`` of the block with the counter ``1 + j div 4``, as NumPy's bit
generator gives them (NEP 19 keeps that stream). Any part of a stream is found without the numbers before it.

    uniform    u = ((word >> 12) + 1/2) 2**-52                          in (0, 1), never an end
    normal     sqrt(-2 log u) cos 2 pi v,  sqrt(-2 log u) sin 2 pi v    of each two words, u and v
    sign       bit ``j mod 64`` of word ``j div 64``: 1 is +, 0 is -

The normal numbers are those of Box and Muller (1958).

Nothing here depends on the state of another generator.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qtrain_cli.portable.functions import natural_logarithm, sine_cosine
from qtrain_cli.portable.kernel import Floats

_BLOCK = 4  # words that one counter gives


def philox_words(seed: int, stream: int, count: int, first: int = 0) -> NDArray[np.uint64]:
    """Words number `first` to ``first + count - 1``, uint64 (count,).

    Args:
        seed: 0 to 2**64 - 1, as `stream`, which tells apart what one seed is used for.
    """
    generator = np.random.Philox(key=np.array([seed, stream], dtype=np.uint64))
    generator.advance(first // _BLOCK)
    skipped = first % _BLOCK
    return generator.random_raw(skipped + count)[skipped:]


def uniform_stream(seed: int, stream: int, count: int, first: int = 0) -> Floats:
    """Numbers of a uniform distribution between 0 and 1, from number `first` on: float64 (count,)."""
    words = philox_words(seed, stream, count, first)
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normal_stream(seed: int, stream: int, count: int, first: int = 0) -> Floats:
    """Numbers of a normal distribution (mean 0, variance 1), from number `first` on: float64 (count,)."""
    skipped = first % 2
    pairs = (skipped + count + 1) // 2
    u = uniform_stream(seed, stream, 2 * pairs, first - skipped).reshape(pairs, 2)
    radius = np.sqrt(-2.0 * natural_logarithm(u[:, 0]))
    sine, cosine = sine_cosine(2.0 * math.pi * u[:, 1])
    both = np.stack((radius * cosine, radius * sine), axis=1)  # (pairs, 2)
    return both.reshape(-1)[skipped : skipped + count]


def sign_stream(seed: int, stream: int, count: int, first: int = 0) -> Floats:
    """Numbers that are +1 or -1, from number `first` on: float64 (count,)."""
    skipped = first % 64
    words = philox_words(seed, stream, -(-(skipped + count) // 64), first // 64)
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
    return 2.0 * bits[skipped : skipped + count].astype(np.float64) - 1.0
