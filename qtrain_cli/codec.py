"""Whole numbers in few bytes: an adaptive arithmetic coder (Witten, Neal, Cleary 1987), carries as in LZMA.

Each row of numbers is a sequence over low..high. Encoder and decoder count what came before,

    P(symbol s) = (1 + 2 count of s so far) / (size of the alphabet + 2 numbers so far)

so that no table is stored. The bits that a row takes follow from its histogram alone (`bits_needed`), to
about two bytes for the whole message: that is what a size is planned with before anything is coded.

    range coder     low 33 bits, range 32 bits, bytes go out from the top; counts are halved at 2**16

Left out: contexts, and alphabets beyond 2**12 symbols.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qtrain_cli.errors import BadInput

MAX_ALPHABET = 2**12
_GAIN = 2
_MOST = 2**16
_TOP = 2**24
_MASK = 2**32 - 1
#: Bytes by which a coded message may exceed the sum of `bits_needed`: its end, and rounding.
SLACK = 4


@dataclass
class _Counts:
    """The adaptive model of one row or, shared, of several."""

    size: int
    counts: list[int] = field(default_factory=list)
    total: int = 0

    def __post_init__(self) -> None:
        self.counts, self.total = [1] * self.size, self.size

    def seen(self, symbol: int) -> None:
        self.counts[symbol] += _GAIN
        self.total += _GAIN
        if self.total >= _MOST:
            self.counts = [(count + 1) // 2 for count in self.counts]
            self.total = sum(self.counts)


@dataclass(frozen=True)
class Row:
    """Numbers to code: whole numbers, each in `low`..`high`; rows of one `model` share their counts."""

    codes: NDArray[np.int64]
    low: int
    high: int
    model: int


@dataclass(frozen=True)
class Form:
    """What a decoder has to know of a row: how many numbers, their range, and whose counts they share."""

    count: int
    low: int
    high: int
    model: int


def form_of(row: Row) -> Form:
    """The form of a row that is there."""
    return Form(len(row.codes), row.low, row.high, row.model)


def encode_rows(rows: Sequence[Row]) -> bytes:
    """All rows as one message. Raises `BadInput` for a number outside its row's range."""
    models = _models([form_of(row) for row in rows])
    coder = _Encoder()
    for row in rows:
        if len(row.codes) and not row.low <= row.codes.min() <= row.codes.max() <= row.high:
            raise BadInput(f"a number to code lies outside {row.low} to {row.high}")
        counts = models[row.model]
        for symbol in (row.codes - row.low).tolist():
            coder.put(sum(counts.counts[:symbol]), counts.counts[symbol], counts.total)
            counts.seen(symbol)
    return coder.finished()


def decode_rows(message: bytes, forms: Sequence[Form]) -> list[NDArray[np.int64]]:
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


def bits_needed(histogram: NDArray[np.int64]) -> float:
    """The bits of all numbers of one model with this histogram over its alphabet: (size,) -> bits.

    The length of the Dirichlet code with 1/2 a symbol (Krichevsky and Trofimov), whatever the order.
    """
    size, total = len(histogram), int(histogram.sum())
    whole = math.lgamma(total + size / 2) - math.lgamma(size / 2)
    each = sum(math.lgamma(int(n) + 0.5) - math.lgamma(0.5) for n in histogram[histogram > 0])
    return (whole - each) / math.log(2)


def _models(forms: Iterable[Form]) -> dict[int, _Counts]:
    sizes: dict[int, int] = {}
    for form in forms:
        size = form.high - form.low + 1
        if not 1 <= size <= MAX_ALPHABET or sizes.setdefault(form.model, size) != size:
            raise BadInput(f"an alphabet of {size} symbols; allowed: 1 to {MAX_ALPHABET}, one a model")
    return {model: _Counts(size) for model, size in sizes.items()}


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
        start = symbol = 0
        while start + counts.counts[symbol] <= wanted:
            start += counts.counts[symbol]
            symbol += 1
        self.code -= start * part
        self.range = counts.counts[symbol] * part
        while self.range < _TOP:
            byte = self.message[self.place] if self.place < len(self.message) else 0
            self.code, self.range = (self.code << 8 | byte) & _MASK, self.range << 8
            self.place += 1
        return symbol
