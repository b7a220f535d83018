"""The numbers of a method, group by group, as bytes and back. NumPy, no torch.

    stored as they are    the groups that are not coded, one after the other, in their dtypes
    shared                1 byte, beside several coded groups: 1 if all share their counts, else 0
    for each coded group  its step, in its dtype; lowest code, highest code, spread: once if they are shared
    message               of all codes in order (`files.codec`), to the end

Codes are whole numbers from -2047 to 2047; a number is step * code, or what its method makes of that. Lowest
and highest are zigzag base-128 numbers, the spread is one byte. There is one right way to write given codes
with given counts, and nothing else is read.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qtrain_cli.errors import BadInput
from qtrain_cli.files import codec
from qtrain_cli.files.codec import MAX_CODE
from qtrain_cli.files.groups import model_of, sharing_pays
from qtrain_cli.files.varints import model_bytes_of, unzigzag
from qtrain_cli.methods.forms import Form, Forms

_STEPS = {"F16": struct.Struct("<e"), "F32": struct.Struct("<f")}
#: No code in range has a longer zigzag number; a little more, so that a wrong range is named.
_LONGEST_ZIGZAG = 3

Model = tuple[int, int, int]


@dataclass(frozen=True)
class Codes:
    """One group: int64 codes (count,) and their step."""

    codes: NDArray[np.int64]
    step: float


def pack(forms: Forms, groups: dict[str, Codes]) -> bytes:
    """Coded groups (of `coded_forms`) as bytes, with the counts that take fewest."""
    if not forms:
        return b""
    codes = [groups[name].codes for name in forms]
    shared = sharing_pays(codes) if len(codes) > 1 else True
    models = [model_of(np.concatenate(codes))] if shared else [model_of(part) for part in codes]
    return _written(forms, groups, models)


def unpack(forms: Forms, data: bytes) -> dict[str, Codes]:
    """The inverse of `pack`. Raises `BadInput` for bytes that no writer writes."""
    if not forms:
        return {}
    steps, models, place = _table(forms, data)
    rows = [
        codec.RowForm(form.count, low, high, 0 if len(models) == 1 else number, spread)
        for number, (form, (low, high, spread)) in enumerate(_each(forms, models))
    ]
    found = codec.decode_rows(data[place:], rows)
    groups = {name: Codes(*pair) for name, pair in zip(forms, zip(found, steps, strict=True), strict=True)}
    _check_range([np.concatenate(found)] if len(models) == 1 else found, models)
    if _written(forms, groups, models) != data:
        raise BadInput("its coded numbers hold bytes that mean nothing")
    return groups


def _written(forms: Forms, groups: dict[str, Codes], models: list[Model]) -> bytes:
    """With these counts: one for all, or one for each group."""
    table = bytes([len(models) == 1]) if len(forms) > 1 else b""
    rows = []
    for number, (name, (form, model)) in enumerate(zip(forms, _each(forms, models), strict=True)):
        own = number < len(models)
        table += _STEPS[form.dtype].pack(groups[name].step) + (model_bytes_of(model) if own else b"")
        low, high, spread = model
        rows.append(codec.Row(groups[name].codes, low, high, 0 if len(models) == 1 else number, spread))
    return table + codec.encode_rows(rows)


def _each(forms: Forms, models: list[Model]) -> list[tuple[Form, Model]]:
    """Every group's form with its counts."""
    every = models * len(forms) if len(models) == 1 else models
    return list(zip(forms.values(), every, strict=True))


def _table(forms: Forms, data: bytes) -> tuple[list[float], list[Model], int]:
    """Steps, counts, and where the message begins."""
    place = 1 if len(forms) > 1 else 0
    shared = data[:place] in (b"", b"\1")
    if not shared and data[:1] != b"\0":
        raise BadInput(f"its counts are shared or not; found: {data[0]}")
    steps: list[float] = []
    models: list[Model] = []
    for form in forms.values():
        struct_ = _STEPS[form.dtype]
        steps.append(_step(struct_, data[place : place + struct_.size]))
        place += struct_.size
        if not (shared and models):
            model, place = _model(data, place)
            models.append(model)
    return steps, models, place


def _step(packed: Any, data: bytes) -> float:
    if len(data) < packed.size:
        raise BadInput("its coded numbers are cut short")
    step = float(packed.unpack(data)[0])
    if not 0 < step < math.inf:
        raise BadInput(f"its step is {step}; allowed: above 0, finite")
    return step


def _model(data: bytes, place: int) -> tuple[Model, int]:
    """Lowest code, highest code and spread at this place, and what comes after them."""
    try:
        low, after = unzigzag(data[place : place + _LONGEST_ZIGZAG], 0)
        high, last = unzigzag(data[place + after : place + after + _LONGEST_ZIGZAG], 0)
        spread = data[place + after + last]
    except IndexError:
        raise BadInput("its coded numbers are cut short") from None
    if not -MAX_CODE <= low <= high <= MAX_CODE:
        raise BadInput(f"its codes range from {low} to {high}; allowed: {-MAX_CODE} to {MAX_CODE}")
    return (low, high, spread), place + after + last + 1


def _check_range(parts: list[NDArray[np.int64]], models: list[Model]) -> None:
    for codes, (low, high, _) in zip(parts, models, strict=True):
        if (codes.min(), codes.max()) != (low, high):
            raise BadInput(f"its codes do not range from {low} to {high}")
