"""A ``.safetensors`` file with the tensors x_train, y_train, x_test and y_test; x by parts (`named`) too, and
others are not touched."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from qtrain_cli.data.arrays import Arrays, arrays_by_name
from qtrain_cli.data.request import Request
from qtrain_cli.errors import BadInput


def matches(source: str) -> bool:
    """True for an existing ``.safetensors`` file."""
    path = Path(source)
    return path.suffix == ".safetensors" and path.is_file()


def read(source: str, request: Request) -> Arrays:
    """The four arrays of the file. Raises `BadInput` if it is damaged or one is missing."""
    try:
        with safe_open(source, framework="pt") as file:
            request.room.take(Path(source).stat().st_size, "the file")
            return arrays_by_name(file.keys(), file.get_tensor)
    except SafetensorError as error:
        raise BadInput(f"damaged, or no .safetensors file: {error}", "write it again") from error
