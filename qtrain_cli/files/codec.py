"""Whole numbers in few bytes: an adaptive arithmetic coder (Witten, Neal, Cleary 1987), carries as in LZMA.

Each row of numbers is a sequence over low..high. Encoder and decoder count what came before,

    P(symbol s) = (first(s) + 2 count of s so far) / (sum of first + 2 numbers so far)
    first(s)    = max(1, 32 q**4 // (q**2 + s**2)**2)          s: the number itself; q: the row's `spread`

so that no table is stored; 0 as spread is first(s) = 1. The bell of `first` stands for what numbers around
zero do: on normal ones it comes within 0.03 bits a number of knowing their deviation, from 300 numbers on.
The bits that a row takes follow from its histogram alone (`bits_needed`), to about two bytes for the whole
message: that is what a size is planned with before anything is coded.

    range coder     low 33 bits, range 32 bits, bytes go out from the top; counts are halved at 2**16

Left out: contexts, and alphabets beyond 2**12 symbols.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from qtrain_cli.errors import BadInput

MAX_ALPHABET = 2**12
#: The largest code on either side of 0, so that the alphabet is no larger.
MAX_CODE = MAX_ALPHABET // 2 - 1
MAX_SPREAD = 255
_GAIN = 2
_BLOCK = 64
#: What the symbol 0 counts before any was seen.
_BELL = 32
#: Spreads that are tried, as shares of the numbers' deviation.
_SPREADS = (1.0, 1.3, 1.5, 1.7, 2.0, 2.5)
_MOST = 2**16
_TOP = 2**24
_MASK = 2**32 - 1


@dataclass
class _Counts:
    """The adaptive model of one row or, shared, of several."""

    counts: list[int]
    blocks: list[int] = field(default_factory=list)
    total: int = 0

    def __post_init__(self) -> None:
        # Sums of 64 counts each, so that a wide alphabet is not searched from its beginning.
        self.blocks = [sum(self.counts[at : at + _BLOCK]) for at in range(0, len(self.counts), _BLOCK)]
        self.total = sum(self.blocks)

    def before(self, symbol: int) -> int:
        """The counts of all symbols below one."""
        block = symbol // _BLOCK
        return sum(self.blocks[:block]) + sum(self.counts[block * _BLOCK : symbol])

    def find(self, wanted: int) -> tuple[int, int]:
        """The symbol whose share of the counts holds number `wanted`, and the counts below it."""
        start = block = 0
        while start + self.blocks[block] <= wanted:
            start += self.blocks[block]
            block += 1
        symbol = block * _BLOCK
        while start + self.counts[symbol] <= wanted:
            start += self.counts[symbol]
            symbol += 1
        return symbol, start

    def seen(self, symbol: int) -> None:
        """Counts a symbol; halves all counts (rounded up) when they are many."""
        self.counts[symbol] += _GAIN
        self.blocks[symbol // _BLOCK] += _GAIN
        self.total += _GAIN
        if self.total >= _MOST:
            self.counts = [(count + 1) // 2 for count in self.counts]
            self.__post_init__()


@dataclass(frozen=True)
class Row:
    """Numbers to code: whole numbers, each in `low`..`high`; rows of one `model` share their counts."""

    codes: NDArray[np.int64]
    low: int
    high: int
    model: int = 0
    spread: int = 0


@dataclass(frozen=True)
class RowForm:
    """What a decoder has to know of a row: how many numbers, their range, and whose counts they share."""

    count: int
    low: int
    high: int
    model: int = 0
    spread: int = 0


def form_of(row: Row) -> RowForm:
    """The form of a row that is there."""
    return RowForm(len(row.codes), row.low, row.high, row.model, row.spread)


def encode_rows(rows: Sequence[Row]) -> bytes:
    """All rows as one message. Raises `BadInput` for a number outside its row's range."""
    models = _models([form_of(row) for row in rows])
    coder = _Encoder()
    for row in rows:
        if len(row.codes) and not row.low <= row.codes.min() <= row.codes.max() <= row.high:
            raise BadInput(f"a number to code lies outside {row.low} to {row.high}")
        counts = models[row.model]
        for symbol in (row.codes - row.low).tolist():
            coder.put(counts.before(symbol), counts.counts[symbol], counts.total)
            counts.seen(symbol)
    return coder.finished()


def decode_rows(message: bytes, forms: Sequence[RowForm]) -> list[NDArray[np.int64]]:
    """The inverse of `encode_rows`. Bytes that no encoder wrote give some numbers within their ranges."""
    models = _models(forms)
    coder = _Decoder(message)
    found = []
    for form in forms:
        counts = models[form.model]
        codes = np.empty(form.count, np.int64)
        for place in range(form.count):
            symbol = coder.take(counts)
            counts.seen(symbol)
            codes[place] = symbol + form.low
        found.append(codes)
    return found


@lru_cache(maxsize=256)
def first_counts(low: int, high: int, spread: int) -> tuple[int, ...]:
    """What the symbols low..high count before any was seen. Whole numbers, the same on every machine."""
    q = spread**2
    return tuple(max(1, _BELL * q**2 // (q + s**2) ** 2) if q else 1 for s in range(low, high + 1))


def bits_needed(histogram: NDArray[np.int64], low: int = 0, spread: int = 0) -> float:
    """The bits of all numbers of one model with this histogram over low, low + 1, ...: (size,) -> bits.

    The length of the Dirichlet code that starts from half of `first_counts` (Krichevsky and Trofimov),
    whatever the order of the numbers.
    """
    first = first_counts(low, low + len(histogram) - 1, spread)
    start, count = sum(first) / _GAIN, int(histogram.sum())
    seen = [(n, f / _GAIN) for n, f in zip(histogram.tolist(), first, strict=True) if n]
    whole = math.lgamma(count + start) - math.lgamma(start)
    return (whole - sum(math.lgamma(n + f) - math.lgamma(f) for n, f in seen)) / math.log(2)


def best_spread(histogram: NDArray[np.int64], low: int) -> int:
    """The spread with which numbers of this histogram take fewest bits, of a few near their deviation."""
    symbols = np.arange(low, low + len(histogram))
    deviation = math.sqrt(float((histogram * symbols**2).sum()) / max(1, int(histogram.sum())))
    tried = {min(MAX_SPREAD, max(1, round(share * deviation))) for share in _SPREADS}
    return min((0, *sorted(tried)), key=lambda spread: bits_needed(histogram, low, spread))


def _models(forms: Iterable[RowForm]) -> dict[int, _Counts]:
    shapes: dict[int, tuple[int, int, int]] = {}
    for form in forms:
        size, shape = form.high - form.low + 1, (form.low, form.high, form.spread)
        if not 1 <= size <= MAX_ALPHABET or shapes.setdefault(form.model, shape) != shape:
            raise BadInput(f"an alphabet of {size} symbols; allowed: 1 to {MAX_ALPHABET}, one a model")
    return {model: _Counts(list(first_counts(*shape))) for model, shape in shapes.items()}


class _Encoder:
    """Range coder: `low` may carry into bytes that are held back in `held` and `cache`."""

    def __init__(self) -> None:
        self.low, self.range, self.cache, self.held = 0, _MASK, 0, 1
        self.out = bytearray()

    def put(self, start: int, width: int, total: int) -> None:
        part = self.range // total
        self.low += start * part
        self.range = width * part
        while self.range < _TOP:
            self.range <<= 8
            self._shift()

    def _shift(self) -> None:
        if self.low < 0xFF000000 or self.low > _MASK:
            carry = self.low >> 32
            self.out.append((self.cache + carry) & 0xFF)
            self.out += bytes([(0xFF + carry) & 0xFF]) * (self.held - 1)
            self.held, self.cache = 0, (self.low >> 24) & 0xFF
        self.held += 1
        self.low = (self.low << 8) & _MASK

    def finished(self) -> bytes:
        """The message; its first byte is always 0, and zeros at its end are what a decoder reads anyway."""
        # Any number in low..low+range-1 will do: take the one with the most zeros at its end.
        for shift in (24, 16, 8, 0):
            rounded = -(-self.low >> shift) << shift
            if rounded < self.low + self.range:
                self.low = rounded
                break
        for _ in range(5):
            self._shift()
        return bytes(self.out[1:]).rstrip(b"\0")


class _Decoder:
    def __init__(self, message: bytes) -> None:
        self.message, self.place = message, 4
        self.range, self.code = _MASK, int.from_bytes(message[:4].ljust(4, b"\0"), "big")

    def take(self, counts: _Counts) -> int:
        part = self.range // counts.total
        wanted = min(self.code // part, counts.total - 1)
        symbol, start = counts.find(wanted)
        self.code -= start * part
        self.range = counts.counts[symbol] * part
        while self.range < _TOP:
            byte = self.message[self.place] if self.place < len(self.message) else 0
            self.code, self.range = (self.code << 8 | byte) & _MASK, self.range << 8
            self.place += 1
        return symbol
