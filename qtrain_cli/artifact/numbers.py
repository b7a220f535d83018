"""The stored numbers of a compressed model, and the file as a whole: writing it and reading it.

    groups    of its method, by name: numbers as they are, or codes and their step     (`coded` has the bytes)
    kept      tensors that are stored, by name, and constant rows of generated ones
    given     what a tensor is recognised by that a module of the model's architecture gives

The library of safetensors writes the file. Its bytes are read here, by the header that was validated: a
second reader may understand a crafted header in another way than the one that checked it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from qtrain_cli.artifact.coded import Codes, pack, unpack
from qtrain_cli.artifact.container import KEY, Container, read_container, sealed
from qtrain_cli.artifact.description import Description, taken_apart, tensor_of
from qtrain_cli.artifact.expansion import check_expansion
from qtrain_cli.artifact.extents import check_forms, check_size, coded_forms, raw_bytes, raw_forms
from qtrain_cli.artifact.formats import metadata
from qtrain_cli.artifact.payload import TENSOR
from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.files.atomic import replacing
from qtrain_cli.methods.forms import Form, Forms, Plan
from qtrain_cli.methods.table import method_of
from qtrain_cli.targets.entries import BIT_EACH, HALF, KEPT, LEFT_OUT, LayoutSpec, TensorEntry
from qtrain_cli.targets.kept import final, in_file, kept_as_stored, kept_whole, out_of_file, reference_of
from qtrain_cli.targets.layout import DTYPES


@dataclass(frozen=True)
class Coded:
    """A group on a grid: int64 codes of its form's shape, on the CPU, and their step."""

    codes: Tensor
    step: float


Group = Coded | Tensor


@dataclass(frozen=True)
class StoredNumbers:
    """Everything stored, on the CPU, by name: groups (float32 where they are not coded), kept tensors.

    A tensor of `given` is among the kept ones once a module has given it.
    """

    groups: dict[str, Group]
    kept: dict[str, Tensor]
    given: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """A whole file in memory."""

    description: Description
    numbers: StoredNumbers


def forms_of(method: str, plan: Plan, layout: LayoutSpec) -> Forms:
    """How a file holds the groups of a method.

    Raises:
        BadInput: a plan that is none of this method's, or that asks for more than is read.
    """
    try:
        forms = method_of(method).forms(layout, plan)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise BadInput(f"its plan is none of '{method}' ({type(error).__name__}: {error})") from None
    check_forms(forms)
    return forms


def as_stored(
    forms: Forms,
    layout: LayoutSpec,
    groups: Mapping[str, Group],
    kept: Mapping[str, Tensor],
    begin: Mapping[str, Tensor] | None = None,
) -> StoredNumbers:
    """Groups and kept tensors as a file gives them back: rounded to the dtypes of the file.

    What those cannot hold becomes their largest number; kept tensors are whole where theirs does not hold
    them. `begin`: the kept tensors before training, by which those of the architecture are recognised.
    """
    rounded = kept_as_stored(layout, kept)
    stored = {name: _group_as_stored(form, groups[name]) for name, form in forms.items()}
    given = {name: reference_of((begin or kept)[name]) for name in layout.given}
    return StoredNumbers(stored, {name: tensor.detach().cpu() for name, tensor in rounded.items()}, given)


def final_layout(layout: LayoutSpec, numbers: StoredNumbers) -> LayoutSpec:
    """The layout of the file: whole where training changed what had another form before (`kept.final`)."""
    changed = {name for name, known in numbers.given.items() if reference_of(numbers.kept[name]) != known}
    entries = tuple(kept_whole(entry) if entry.name in changed else entry for entry in layout.entries)
    return final(replace(layout, entries=entries), numbers.kept)


def encode_artifact(artifact: Artifact) -> bytes:
    """The file's bytes. The same artifact gives the same bytes."""
    description, numbers = artifact.description, artifact.numbers
    forms = forms_of(description.method, description.plan, description.layout)
    kept = kept_bytes(description.layout, numbers.kept, numbers.given)
    return file_of(tensor_of(description, kept, _group_bytes(forms, numbers.groups)))


def file_of(data: bytes) -> bytes:
    """The file whose one tensor has these bytes, its check set."""
    return sealed(save({TENSOR: torch.frombuffer(bytearray(data), dtype=torch.uint8)}, {KEY: metadata()}))


def write_artifact(path: Path, artifact: Artifact, force: bool = False) -> Container:
    """Writes the file under a temporary name, reads it back, renames it into place; returns what was read."""
    with replacing(path, force=force) as temporary:
        temporary.write_bytes(encode_artifact(artifact))
        written = read_container(temporary)
        decode_artifact(written, own=True)
    return written


def read_artifact(path: Path) -> Artifact:
    """The whole artifact. Raises as `describe`, and `Refused` for stored numbers that cannot be."""
    return decode_artifact(read_container(path))


def decode_artifact(container: Container, own: bool = False) -> Artifact:
    """`read_artifact` for a file that was read before; `own`: this run wrote it, however much it asks for."""
    description, kept, numbers = taken_apart(container)
    try:
        forms = forms_of(description.method, description.plan, description.layout)
        check_size(forms, len(numbers))
        if not own:
            check_expansion(description, forms, len(container.data))
        groups = _groups(forms, numbers)
        tensors = _kept(description.layout, kept)
    except BadInput as error:
        raise container.refused(error.message) from None
    except Refused as error:
        raise Refused(f"'{container.path}' is refused: {error.message}", error.advice) from None
    return Artifact(description, StoredNumbers(groups, *tensors))


def kept_bytes(
    layout: LayoutSpec, kept: Mapping[str, Tensor], given: Mapping[str, bytes] | None = None
) -> bytes:
    """The kept tensors' bytes, one after the other, in the forms of the file."""
    known = given or {}
    return b"".join(
        known[entry.name]
        if entry.stored == LEFT_OUT and entry.name in known
        else bytes_of(in_file(entry, kept[entry.name]))
        for entry in layout.stored
    )


def bytes_of(tensor: Tensor) -> bytes:
    """A tensor's bytes, little-endian, row-major."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def tensor_from(data: bytes, place: int, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """The tensor that begins at this byte, copied out of them."""
    count = math.prod(shape)
    if not count:
        return torch.empty(shape, dtype=dtype)
    own = bytearray(data[place : place + count * dtype.itemsize])
    return torch.frombuffer(own, dtype=dtype).view(shape)


def _group_as_stored(form: Form, group: Group) -> Group:
    dtype = DTYPES[form.dtype]
    if isinstance(group, Coded):
        return Coded(group.codes.detach().cpu(), float(_clamped(torch.tensor(group.step), dtype)))
    return _clamped(group.detach().cpu(), dtype).float()


def _clamped(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in the dtype of the file; what it cannot hold becomes its largest number."""
    most = torch.finfo(dtype).max
    return numbers.clamp(-most, most).to(dtype)


def _group_bytes(forms: Forms, groups: Mapping[str, Group]) -> bytes:
    raw, codes = b"", {}
    for name, form in forms.items():
        group = groups[name]
        if isinstance(group, Coded):
            codes[name] = Codes(group.codes.flatten().numpy(), group.step)
        else:
            raw += bytes_of(group.to(DTYPES[form.dtype]))
    return raw + pack(coded_forms(forms), codes)


def _groups(forms: Forms, data: bytes) -> dict[str, Group]:
    """All groups in their order. Raises `BadInput` for numbers that are not finite."""
    place, groups = 0, dict[str, Group]()
    for name, form in raw_forms(forms).items():
        stored = tensor_from(data, place, DTYPES[form.dtype], form.shape).float()
        if not bool(stored.isfinite().all()):
            raise BadInput(f"a number of its {name} is not finite")
        groups[name] = stored
        place += raw_bytes({name: form})
    for name, part in unpack(coded_forms(forms), data[place:]).items():
        groups[name] = Coded(torch.from_numpy(part.codes).view(forms[name].shape), part.step)
    return {name: groups[name] for name in forms}


def _kept(layout: LayoutSpec, data: bytes) -> tuple[dict[str, Tensor], dict[str, bytes]]:
    """The kept tensors by name, in their own dtypes, and what others are recognised by."""
    kept, given, place = dict[str, Tensor](), dict[str, bytes](), 0
    for entry in layout.stored:
        part = data[place : place + entry.stored_bytes]
        if entry.stored == LEFT_OUT:
            given[entry.name] = part
        else:
            kept[entry.name] = out_of_file(entry, _stored(entry, part))
        place += entry.stored_bytes
    return kept, given


def _stored(entry: TensorEntry, data: bytes) -> Tensor:
    """The numbers of one kept tensor in the file."""
    dtype = {HALF: torch.float16, BIT_EACH: torch.uint8}.get(entry.stored, DTYPES[entry.dtype])
    whole_shape = entry.role == KEPT and entry.stored in ("", HALF)
    shape = entry.shape if whole_shape else (len(data) // dtype.itemsize,)
    return tensor_from(data, 0, dtype, shape)
