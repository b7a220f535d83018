"""The file of a rival method: everything that gives back the model's tensors, in as few bytes as will do.

    "QP1" | header | groups | kept | coded numbers              each of the first with its length before it

    header    canonical JSON [method, plan, layout rows], deflated
    groups    one byte (1: all groups share their counts), then for each group: its step (float16), and what
              its counts need, once if they are shared: lowest and highest code, spread (one byte)
    kept      running statistics and other tensors that are stored as they are: floats as float16, deflated
    numbers   all codes in order as one message of `codec`; a number is step * code

How many groups there are, and how many numbers each has, follows from method, plan and layout; the reader is
told. Lengths and codes are unsigned or zigzag base-128 numbers, low digits first.

Left out: a record of the run and a digest, which an artifact has. A rival's file is smaller for it.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qtrain_cli.errors import BadInput
from qtrain_cli.files.codec import SLACK, Form, Row, decode_rows, encode_rows
from qtrain_cli.files.groups import model_bytes_of, model_of, read_unsigned, sharing_pays, unsigned, unzigzag
from qtrain_cli.methods.grids import decoded
from qtrain_cli.methods.recipes import RECIPES
from qtrain_cli.targets.entries import (
    DTYPE_BYTES,
    FLOAT_DTYPES,
    GENERATED,
    KEPT,
    TIED,
    LayoutSpec,
    TensorEntry,
)
from qtrain_cli.targets.layout import DTYPES, complete

MAGIC = b"QP1"


@dataclass(frozen=True)
class Group:
    """Numbers of one grid: codes (count,) int64 and the step, a float16."""

    codes: NDArray[np.int64]
    step: float


@dataclass(frozen=True)
class Packed:
    """The content of a file. `plan` is plain data; `kept` holds the layout's kept tensors by name."""

    method: str
    plan: dict[str, Any]
    layout: LayoutSpec
    groups: tuple[Group, ...]
    kept: dict[str, Tensor]


#: Numbers of each group, from method, plan and layout.
Counts = Callable[[str, dict[str, Any], LayoutSpec], Sequence[int]]


def write_packed(packed: Packed) -> bytes:
    """The file's bytes; the same content gives the same bytes."""
    codes = [group.codes for group in packed.groups]
    shared = sharing_pays(codes)
    models = [model_of(np.concatenate(codes))] if shared else [model_of(part) for part in codes]
    table, rows = bytes([shared]), []
    for number, group in enumerate(packed.groups):
        place = 0 if shared else number
        table += np.float16(group.step).tobytes() + (
            model_bytes_of(models[number]) if place == number else b""
        )
        low, high, spread = models[place]
        rows.append(Row(group.codes, low, high, place, spread))
    header = _header(packed.method, packed.plan, packed.layout)
    return MAGIC + header + table + _counted(_kept_bytes(packed.layout, packed.kept)) + encode_rows(rows)


def read_packed(data: bytes, counts: Counts) -> Packed:
    """The content of a file that `write_packed` wrote. Raises `BadInput` for anything else."""
    try:
        return _read(data, counts)
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError, zlib.error) as error:
        raise BadInput(f"the file of a rival is malformed ({type(error).__name__}: {error})") from None


def frame_bytes(
    method: str, plan: dict[str, Any], layout: LayoutSpec, kept: Mapping[str, Tensor] | None
) -> int:
    """An upper bound of all bytes but those of the groups; no `kept`: whatever its values are."""
    stored = _counted(_kept_bytes(layout, kept)) if kept is not None else bytes(_most_kept(layout))
    return len(MAGIC) + len(_header(method, plan, layout)) + len(stored) + 1 + SLACK


def _most_kept(layout: LayoutSpec) -> int:
    """Bytes of kept tensors that deflate does not shrink, with its own overhead and their length."""
    widths = {dtype: 2 if dtype in FLOAT_DTYPES else size for dtype, size in DTYPE_BYTES.items()}
    raw = sum(entry.count * widths[entry.dtype] for entry in layout.of_role(KEPT))
    return raw + raw // 1000 + 16


def header_bytes(data: bytes) -> int:
    """How many bytes of a file that `write_packed` wrote come before its first number."""
    return _taken(data, len(MAGIC))[1]


def _read(data: bytes, counts: Counts) -> Packed:
    if data[:3] != MAGIC:
        raise BadInput("this is not the file of a rival")
    text, place = _taken(data, 3)
    method, plan, rows = json.loads(zlib.decompress(text, -15))
    layout = _layout(rows)
    shared, place = data[place], place + 1
    steps: list[float] = []
    forms: list[Form] = []
    for number, count in enumerate(counts(method, plan, layout)):
        steps.append(float(np.frombuffer(data[place : place + 2], np.float16)[0]))
        place += 2
        if not (shared and forms):
            low, place = unzigzag(data, place)
            high, place = unzigzag(data, place)
            spread, place = data[place], place + 1
        forms.append(Form(count, low, high, 0 if shared else number, spread))
    kept, place = _taken(data, place)
    codes = decode_rows(data[place:], forms)
    groups = tuple(Group(*pair) for pair in zip(codes, steps, strict=True))
    return Packed(method, plan, layout, groups, _kept(layout, kept))


def _header(method: str, plan: dict[str, Any], layout: LayoutSpec) -> bytes:
    rows = [_row(entry) for entry in layout.entries]
    text = json.dumps([method, plan, rows], sort_keys=True, separators=(",", ":")).encode()
    return _counted(_deflated(text))


def _row(entry: TensorEntry) -> list[Any]:
    """[name, source] tied, [name, shape, dtype] kept, [name, shape, fan-in, centre, dtype] generated."""
    if entry.role == TIED:
        return [entry.name, entry.source]
    if entry.role == KEPT:
        return [entry.name, list(entry.shape), entry.dtype]
    return [entry.name, list(entry.shape), entry.fan_in, entry.centre, entry.dtype]


def _layout(rows: list[list[Any]]) -> LayoutSpec:
    own = {row[0]: _entry(row) for row in rows if len(row) != 2}
    tied = {
        name: TensorEntry(name, own[source].shape, own[source].dtype, TIED, source=source)
        for name, source in (row for row in rows if len(row) == 2)
    }
    return LayoutSpec(tuple((own | tied)[row[0]] for row in rows))


def _entry(row: list[Any]) -> TensorEntry:
    name, *rest = row
    if len(rest) == 2:
        return TensorEntry(name, tuple(rest[0]), rest[1], KEPT)
    return TensorEntry(name, tuple(rest[0]), rest[3], GENERATED, rest[1], rest[2])


def _kept_bytes(layout: LayoutSpec, kept: Mapping[str, Tensor]) -> bytes:
    parts = [kept[entry.name].detach().cpu() for entry in layout.of_role(KEPT)]
    narrow = [part.half() if part.dtype in (torch.float32, torch.float64) else part for part in parts]
    raw = b"".join(part.contiguous().flatten().view(torch.uint8).numpy().tobytes() for part in narrow)
    return _deflated(raw) if raw else b""


def _kept(layout: LayoutSpec, deflated: bytes) -> dict[str, Tensor]:
    raw, place = bytearray(zlib.decompress(deflated, -15)) if deflated else bytearray(), 0
    kept = {}
    for entry in layout.of_role(KEPT):
        dtype = DTYPES[entry.dtype]
        stored = torch.float16 if dtype in (torch.float32, torch.float64) else dtype
        size = math.prod(entry.shape) * stored.itemsize
        tensor = torch.frombuffer(raw, dtype=torch.uint8, count=size, offset=place).clone() if size else None
        shaped = torch.empty(0, dtype=stored) if tensor is None else tensor.view(stored)
        kept[entry.name] = shaped.view(entry.shape).to(dtype)
        place += size
    return kept


def _deflated(data: bytes) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -15)
    return coder.compress(data) + coder.flush()


def _counted(data: bytes) -> bytes:
    return unsigned(len(data)) + data


def _taken(data: bytes, place: int) -> tuple[bytes, int]:
    length, place = read_unsigned(data, place)
    if place + length > len(data):
        raise BadInput("the file of a rival is truncated")
    return data[place : place + length], place + length


def restored(data: bytes) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """The method, plan and state dictionary of a rival's file; nothing but the file is used.

    Raises:
        BadInput: this is no such file.
    """
    packed = read_packed(data, _counts)
    method = RECIPES[packed.method]
    shapes = method.shapes(packed.layout, packed.plan)
    codes = {name: group.codes for name, group in zip(shapes, packed.groups, strict=True)}
    steps = {name: group.step for name, group in zip(shapes, packed.groups, strict=True)}
    numbers = {name: value.view(shapes[name]) for name, value in decoded(codes, steps).items()}
    with torch.no_grad():
        generated = method.decode(packed.layout, packed.plan, torch.device("cpu"))(numbers)
    return packed.method, packed.plan, complete(packed.layout, generated, packed.kept)


def _counts(method: str, plan: dict[str, Any], layout: LayoutSpec) -> list[int]:
    return [math.prod(shape) for shape in RECIPES[method].shapes(layout, plan).values()]
