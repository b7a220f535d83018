"""How each kept tensor lies in a file, by its values, and back.

    F16      running statistics, each element within 1e-3 of itself, or of a thousandth of the mean size
             if that is more; a tensor that half precision does not hold so stays as it is
    bits     every element is 0 or 1, as the masks of pruning are
    same     every element is the one that is stored
    range    along the last axis: first + j * step, the two that are stored
    band     of the last two axes: the first stored element where low <= j - i <= high, else the second
    given    a new module of the model's architecture has it: its digest and a weighted sum,
             sum((x[i] + 2 |x[i]|) (i % 17 + 1) / 17), of which another machine may miss 1e-6

A pattern is taken where deflating the tensor costs more, so that masks and counts of places regenerate
anywhere; what only the architecture can give is left out where it costs more than some dozens of bytes.
"""

from __future__ import annotations

import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from qtrain_cli.errors import BadInput
from qtrain_cli.targets.entries import (
    BAND,
    BIT_EACH,
    GENERATED,
    HALF,
    KEPT,
    LEFT_OUT,
    PATTERNS,
    RANGE,
    RUNNING,
    SAME,
    LayoutSpec,
    TensorEntry,
)
from qtrain_cli.targets.layout import DTYPES, kept_tensors

#: Tensors of a new module of the architecture; none where it cannot be had.
FreshTensors = Callable[[], Mapping[str, Tensor]]

RELATIVE, NEAR_ZERO = 1e-3, 1e-3
GIVEN_TOLERANCE = 1e-6
#: Deflated, a tensor of fewer bytes stays whole: a pattern would save nothing, an architecture be a burden.
LEAST_FOR_PATTERN, LEAST_FOR_GIVEN = 24, 64
#: What all patterns of a file may become; every reader makes as much for nothing.
MAX_PATTERN_BYTES = 2**26
#: Deflated whole, to know what a tensor costs; more is never little.
_TRIED_BYTES = 2**24
#: Bytes that a reader makes of patterns for each byte of the kept tensors, with some room (`payload`: 32).
_MADE_OF_A_BYTE = 30
_COUNTER = "num_batches_tracked"
_DIGEST = 8


def settled(layout: LayoutSpec, state: Mapping[str, Tensor], fresh: FreshTensors) -> LayoutSpec:
    """The layout with the form of each kept tensor that costs a file least.

    Args:
        layout: as `layout_of` gives it.
        state: the model's tensors, parameters as such, on the CPU.
        fresh: asked at most once, and only where it would save something.
    """
    known: list[Mapping[str, Tensor]] = []
    room, entries = MAX_PATTERN_BYTES, []
    for entry in layout.entries:
        found = entry
        if entry.role == GENERATED and entry.row >= 0 and bool(state[entry.name][entry.row].any()):
            found = replace(entry, stored=entry.dtype)
        elif entry.role == KEPT and entry.name.rpartition(".")[2] not in (*RUNNING, _COUNTER):
            found = _settled(entry, state[entry.name], room, lambda: _once(fresh, known))
            room -= _room_of(found, state[entry.name])
        entries.append(found)
    return final(LayoutSpec(tuple(entries)), kept_tensors(layout, state))


def final(layout: LayoutSpec, kept: Mapping[str, Tensor]) -> LayoutSpec:
    """The layout with everything whole that these values, after training, do not allow otherwise."""
    return LayoutSpec(
        tuple(
            entry if entry.role != KEPT or _holds(entry, kept[entry.name]) else kept_whole(entry)
            for entry in layout.entries
        )
    )


def kept_whole(entry: TensorEntry) -> TensorEntry:
    """A kept tensor as it is, in its own dtype."""
    return replace(entry, stored="", band=())


def kept_as_stored(layout: LayoutSpec, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Kept tensors as a file gives them back: in half precision where that holds them."""
    return {entry.name: _as_stored(entry, kept[entry.name]) for entry in layout.stored}


def in_file(entry: TensorEntry, tensor: Tensor) -> Tensor:
    """The numbers of a kept tensor that lie in the file."""
    if entry.stored == HALF:
        most = torch.finfo(torch.float16).max
        return tensor.clamp(-most, most).half()
    if entry.stored == LEFT_OUT:
        return torch.frombuffer(bytearray(reference_of(tensor)), dtype=torch.uint8)
    if entry.stored == BIT_EACH:
        return torch.from_numpy(np.packbits(_flat(tensor).numpy() == 1, bitorder="little"))
    return _numbers(entry, tensor) if entry.stored in PATTERNS else tensor


def out_of_file(entry: TensorEntry, stored: Tensor) -> Tensor:
    """The inverse of `in_file`, but for a tensor that the architecture gives.

    Raises:
        BadInput: bits behind the last element.
    """
    if entry.stored == BIT_EACH:
        found = np.unpackbits(stored.numpy(), bitorder="little")
        if found[entry.count :].any():
            raise BadInput(f"tensor '{entry.name}' has bits behind its last element")
        return torch.from_numpy(found[: entry.count]).to(DTYPES[entry.dtype]).view(entry.shape)
    if entry.stored in PATTERNS:
        return _made(entry, stored)
    return stored.to(DTYPES[entry.dtype])


def reference_of(tensor: Tensor) -> bytes:
    """What a tensor of the architecture is recognised by: 8 bytes of SHA-256, a weighted sum as float32."""
    total = _sum(tensor)
    return _digest(tensor) + struct.pack("<f", total if abs(total) < 3e38 else math.nan)


def is_given(reference: bytes, tensor: Tensor) -> bool:
    """Whether this is the tensor: exactly, or as another machine computes it."""
    if _digest(tensor) == reference[:_DIGEST]:
        return True
    (expected,), found = struct.unpack("<f", reference[_DIGEST:]), _sum(tensor)
    near = math.isfinite(found) and abs(found - expected) <= GIVEN_TOLERANCE * abs(found)
    return tensor.is_floating_point() and near


def _once(fresh: FreshTensors, known: list[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    if not known:
        known.append(fresh())
    return known[0]


def _settled(entry: TensorEntry, value: Tensor, room: int, fresh: FreshTensors) -> TensorEntry:
    cost = _deflated(value)
    pattern = _pattern(entry, value) if cost > LEAST_FOR_PATTERN else None
    if pattern and cost > LEAST_FOR_PATTERN + pattern.stored_bytes and pattern.pattern_bytes <= room:
        return pattern
    if cost > LEAST_FOR_PATTERN and _holds(bits := replace(entry, stored=BIT_EACH), value):
        packed = _deflated(in_file(bits, value))
        if cost > LEAST_FOR_PATTERN + packed and _room_of(bits, value) <= room:
            entry, cost = bits, packed
    # A parameter that could be trained is no constant of the class.
    if cost > LEAST_FOR_GIVEN and not value.requires_grad:
        own = fresh().get(entry.name)
        if own is not None and (own.dtype, own.shape) == (value.dtype, value.shape) and _same(own, value):
            return replace(entry, stored=LEFT_OUT)
    return entry


def _room_of(entry: TensorEntry, value: Tensor) -> int:
    """What a form takes of what a reader makes for nothing: bits are paid for by their own bytes."""
    paid = _MADE_OF_A_BYTE * _deflated(in_file(entry, value)) if entry.stored == BIT_EACH else 0
    return max(0, entry.pattern_bytes - paid)


def _deflated(tensor: Tensor) -> int:
    data = _bits(tensor).numpy().tobytes() if tensor.nbytes <= _TRIED_BYTES else b""
    return len(zlib.compress(data)) if data or not tensor.nbytes else tensor.nbytes


def _pattern(entry: TensorEntry, value: Tensor) -> TensorEntry | None:
    """The entry with a pattern that gives exactly these bits."""
    tries = [replace(entry, stored=SAME)]
    if value.dim() and not value.is_complex() and value.dtype.itemsize and entry.dtype not in _COARSE:
        tries.append(replace(entry, stored=RANGE))
    band = _band(value)
    if band:
        tries.append(replace(entry, stored=BAND, band=band))
    return next((found for found in tries if _holds(found, value)), None)


#: Half precision cannot count, a truth value neither.
_COARSE = ("F16", "BF16", "BOOL")


def _band(value: Tensor) -> tuple[int, int] | None:
    """First and last diagonal of the band that a matrix (its first, of several) may be."""
    if value.dim() < 2 or not value.numel():
        return None
    matrix = value.detach().flatten(0, -3)[0] if value.dim() > 2 else value.detach()
    rows, columns = matrix.shape
    diagonals = torch.cat([matrix[:, 0].flip(0), matrix[0, 1:]])  # j - i from 1 - rows to columns - 1
    changes = (diagonals[1:] != diagonals[:-1]).nonzero().flatten().tolist()
    if len(changes) not in (1, 2):
        return None
    return changes[0] + 2 - rows, (changes[1] + 1 - rows if len(changes) == 2 else columns - 1)


def _numbers(entry: TensorEntry, value: Tensor) -> Tensor:
    """The stored numbers of a pattern."""
    flat = value.detach().cpu().flatten()
    if entry.stored == SAME:
        return flat[:1]
    if entry.stored == RANGE:
        return torch.stack([flat[0], flat[1] - flat[0] if entry.shape[-1] > 1 else flat[0] * 0])
    rows, columns = entry.shape[-2:]
    low, high = entry.band
    matrix = value.detach().cpu().flatten()[: rows * columns].view(rows, columns)
    inside = torch.ones(rows, columns, dtype=torch.bool).triu(low).tril(high)
    return torch.stack([_first(matrix[inside]), _first(matrix[~inside])])


def _first(values: Tensor) -> Tensor:
    return values[0] if len(values) else values.new_zeros(())


def _made(entry: TensorEntry, numbers: Tensor) -> Tensor:
    """The tensor of a pattern's numbers."""
    if entry.stored == SAME:
        return numbers[0].expand(entry.shape).clone()
    if entry.stored == RANGE:
        wide = torch.float64 if numbers.is_floating_point() else torch.int64
        first, step = numbers.to(wide)
        along = first + torch.arange(entry.shape[-1], dtype=wide) * step
        return along.to(numbers.dtype).expand(entry.shape).clone()
    rows, columns = entry.shape[-2:]
    inside = torch.ones(rows, columns, dtype=torch.bool).triu(entry.band[0]).tril(entry.band[1])
    return torch.where(inside, numbers[0], numbers[1]).expand(entry.shape).clone()


def _holds(entry: TensorEntry, value: Tensor) -> bool:
    """Whether a kept tensor may be stored in its form."""
    if entry.stored in PATTERNS:
        return _same(_made(entry, _numbers(entry, value)), value)
    if entry.stored == BIT_EACH:
        return value.numel() > 0 and _same((_flat(value) == 1).to(value.dtype), _flat(value))
    return entry.stored != HALF or _half_holds(value)


def _half_holds(value: Tensor) -> bool:
    wide = value.detach().double()
    size = wide.abs() if wide.numel() else wide.new_zeros(1)
    allowed = RELATIVE * torch.clamp_min(size, NEAR_ZERO * float(size.mean()))
    return bool(((wide.half().double() - wide).abs() <= allowed).all())


def _as_stored(entry: TensorEntry, value: Tensor) -> Tensor:
    return value.half().to(value.dtype) if entry.stored == HALF and _half_holds(value) else value


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(_bits(one), _bits(other))


def _flat(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().flatten()


def _bits(tensor: Tensor) -> Tensor:
    """All bytes, on the CPU."""
    flat = _flat(tensor)
    return flat.view(torch.uint8) if flat.numel() else flat.new_zeros(0, dtype=torch.uint8)


def _digest(tensor: Tensor) -> bytes:
    return hashlib.sha256(_bits(tensor).numpy().data).digest()[:_DIGEST]


def _sum(tensor: Tensor) -> float:
    flat = tensor.detach().cpu().double().flatten()
    weights = (torch.arange(flat.numel()) % 17 + 1).double() / 17
    return float((flat + 2 * flat.abs()) @ weights)
