"""A ``.safetensors`` file with the tensors x_train, y_train, x_test and y_test; x by parts (`named`) too, and
others are not touched. A large one is read in parts, into a file (`files.spilled`), or into memory where the
disk has no room and memory has: the library maps what it reads of, and lets go of it only with the whole
file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from qtrain_cli.data.arrays import Arrays, arrays_by_name, as_array
from qtrain_cli.data.request import Request
from qtrain_cli.data.room import Room
from qtrain_cli.errors import BadInput
from qtrain_cli.files.spilled import blocks_of, is_large, let_go


def matches(source: str) -> bool:
    """True for an existing ``.safetensors`` file."""
    path = Path(source)
    return path.suffix == ".safetensors" and path.is_file()


def read(source: str, request: Request) -> Arrays:
    """The four arrays of the file. Raises `BadInput` if it is damaged or one is missing."""
    try:
        with safe_open(source, framework="pt") as file:
            names = list(file.keys())
        return arrays_by_name(names, lambda name: _read_tensor(source, name, request.room))
    except SafetensorError as error:
        raise BadInput(f"damaged, or no .safetensors file: {error}", "write it again") from error


def _read_tensor(source: str, name: str, room: Room) -> Any:
    with safe_open(source, framework="pt") as file:
        part = file.get_slice(name)
        shape = tuple(part.get_shape())
        row = as_array(name, part[:1]) if math.prod(shape) and shape else np.empty(1, np.float32)
        size = math.prod(shape) // math.prod(row.shape) * row.nbytes
        if not is_large(size):
            room.take(size, name)
            return file.get_tensor(name)
    made = room.array(shape, row.dtype, name, size, size)
    for rows in blocks_of(made):
        with safe_open(source, framework="pt") as file:
            made[rows] = as_array(name, file.get_slice(name)[rows])
        let_go()
    return made
