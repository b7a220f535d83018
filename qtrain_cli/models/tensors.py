"""``.safetensors``: names, shapes and dtypes from the header, then the tensors, then into ``--arch``.

The format has no code and no architecture. It stores a tied tensor once; `matching` fills the other name.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from qtrain_cli.errors import BadInput, UsageError, first_line
from qtrain_cli.models.entries import under
from qtrain_cli.models.matching import fit_to_architecture
from qtrain_cli.models.reading import Reading, said_left_out
from qtrain_cli.settings import ModelSettings

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
    "BOOL": torch.bool,
}  # fmt: skip


def load_safetensors(settings: ModelSettings, form: str) -> Reading:
    """The architecture with the file's tensors.

    Raises:
        BadInput: a damaged file, no ``--arch``, or the whole difference between the two.
        UsageError: ``--weights`` that is no prefix of names.
    """
    shapes, prefix = header_tensors(settings.path), settings.weights
    if prefix is not None and not under(shapes, prefix):
        raise UsageError(f"--weights {prefix}: no name in '{settings.path.name}' begins with '{prefix}.'")

    def chosen(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return tensors if prefix is None else under(tensors, prefix)

    fitted = fit_to_architecture(settings, chosen(shapes), lambda: chosen(load_file(settings.path)))
    return Reading(fitted.module, "safetensors", prefix, said_left_out(fitted.left_out))


def header_tensors(path: Path) -> dict[str, Tensor]:
    """The file's tensors on the meta device. Reads nothing but the header. Raises `BadInput`."""
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            described = {name: (part.get_shape(), part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise BadInput(f"'{path.name}' is a damaged safetensors file: {first_line(error)}") from None
    for name, (_, dtype) in described.items():
        if dtype not in _DTYPES:
            raise BadInput(
                f"tensor '{name}' of '{path.name}' has the dtype {dtype}; allowed: {', '.join(_DTYPES)}"
            )
    try:
        return {
            name: torch.empty(shape, dtype=_DTYPES[dtype], device="meta")
            for name, (shape, dtype) in described.items()
        }
    except RuntimeError as error:  # an empty tensor may have sizes that no library can count with
        raise BadInput(f"'{path.name}' holds a tensor that cannot be: {first_line(error)}") from None
