"""``.safetensors``: names, shapes and dtypes from the header, then the tensors, then into ``--arch``.

The format has no code and no architecture. It stores a tied tensor once; `matching` fills the other name.
The header is read once, by the strict reader of `files.header`, and the numbers from where it says they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput, Refused, UsageError, first_line
from qtrain_cli.files.header import Header, TensorRecord, header_in
from qtrain_cli.models.entries import Entry, by_short_name, under
from qtrain_cli.models.matching import fit_to_architecture
from qtrain_cli.models.opened import ModelFile, nothing_unexpected
from qtrain_cli.models.reading import ReadModel, said_choice
from qtrain_cli.settings import ModelSettings

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip


def load_safetensors(settings: ModelSettings, form: str, file: ModelFile) -> ReadModel:
    """The architecture with the file's tensors.

    Raises:
        BadInput: a damaged file, no ``--arch``, or the whole difference between the two.
        UsageError: ``--weights`` that is no prefix of names.
    """
    prefix, notes = settings.weights, tuple[str, ...]()
    with nothing_unexpected(file.name):
        header = _header(file)
        shapes = _shapes(file, header)
    if prefix is not None and not under(shapes, prefix):
        meant = by_short_name([Entry("", shapes)], prefix)
        if meant is None:
            raise UsageError(
                f"--weights {prefix}: no name in '{settings.path.name}' begins with '{prefix}.'",
                "`qtrain inspect` lists the names; leave --weights out to take all of them",
            )
        prefix, notes = meant.path, said_choice(meant.path, meant.others)

    def chosen(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return tensors if prefix is None else under(tensors, prefix)

    fitted = fit_to_architecture(settings, chosen(shapes), lambda: chosen(_numbers(file, header)))
    return ReadModel(fitted.module, "safetensors", prefix, (*notes, *fitted.notes))


def header_tensors(file: ModelFile) -> dict[str, Tensor]:
    """The file's tensors on the meta device. Reads nothing but the header. Raises `BadInput`."""
    return _shapes(file, _header(file))


def file_tensors(file: ModelFile) -> dict[str, Tensor]:
    """The file's tensors. Raises `BadInput`."""
    header = _header(file)
    _shapes(file, header)
    return _numbers(file, header)


def _header(file: ModelFile) -> Header:
    file.stream.seek(0)
    try:
        return header_in(file.path, file.stream, file.size)
    except Refused as error:
        what = error.message.partition(": ")[2]
        raise BadInput(f"'{file.name}' is a damaged safetensors file: {what}", error.advice) from None


def _shapes(file: ModelFile, header: Header) -> dict[str, Tensor]:
    for name, record in header.tensors.items():
        if record.dtype not in _DTYPES:
            allowed = ", ".join(_DTYPES)
            raise BadInput(
                f"tensor '{name}' of '{file.name}' has the dtype {record.dtype}; allowed: {allowed}",
                "convert it with .to(torch.float32), and save the file again",
            )
    try:
        return {
            name: torch.empty(record.shape, dtype=_DTYPES[record.dtype], device="meta")
            for name, record in header.tensors.items()
        }
    except RuntimeError as error:  # an empty tensor may have sizes that no library can count with
        raise BadInput(
            f"'{file.name}' holds a tensor that cannot be: {first_line(error)}",
            "save the file again without it",
        ) from None


def _numbers(file: ModelFile, header: Header) -> dict[str, Tensor]:
    return {name: _tensor(file, header.payload_start, record) for name, record in header.tensors.items()}


def _tensor(file: ModelFile, payload: int, record: TensorRecord) -> Tensor:
    raw = torch.empty(record.last - record.first, dtype=torch.uint8)
    file.stream.seek(payload + record.first)
    if file.stream.readinto(raw.numpy()) != raw.numel():  # type: ignore[attr-defined]
        raise BadInput(f"'{file.name}' breaks off", "copy or download it again")
    return raw.view(_DTYPES[record.dtype]).reshape(record.shape)
