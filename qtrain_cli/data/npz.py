"""NumPy's ``.npz``: a zip archive with the arrays x_train, y_train, x_test and y_test; x by parts (`named`)
too.

An array of Python objects is stored as a pickle, which runs code when read. Each array's header is read
first, so that a pickle is refused by its dtype and a size by the bytes that are really there; only then
does NumPy read it, with ``allow_pickle=False``. Other arrays in the file are not touched.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from qtrain_cli.data.arrays import Arrays, arrays_by_name
from qtrain_cli.data.request import Request
from qtrain_cli.data.room import Room
from qtrain_cli.errors import BadInput, QtrainError, Refused

_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def matches(source: str) -> bool:
    """True for an existing ``.npz`` file."""
    path = Path(source)
    return path.suffix == ".npz" and path.is_file()


def read(source: str, request: Request) -> Arrays:
    """The four arrays of the file. Raises `BadInput` if damaged, `Refused` for a pickled array."""
    try:
        with zipfile.ZipFile(source) as archive:
            names = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
            return arrays_by_name(names, lambda name: _read_array(archive, name, request.room))
    except (QtrainError, MemoryError):
        raise
    except Exception as error:  # the readers of archives and headers raise whatever they stumble over
        raise BadInput(f"damaged, or no .npz file: {error}", "write it again with numpy.savez") from error


def _read_array(archive: zipfile.ZipFile, name: str, room: Room) -> np.ndarray:
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as stream:
        room.take(_checked_size(stream, name, entry.file_size), name)
    with archive.open(entry) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _checked_size(stream: IO[bytes], name: str, size: int) -> int:
    """The bytes of an array by its header, with those of the table of wider numbers that is made of it.

    Raises:
        BadInput, Refused: it is not what the header says, or would run code.
    """
    read_header = _HEADER_READERS.get(np.lib.format.read_magic(stream))
    if read_header is None:
        raise BadInput(
            f"{name} is in a version of the .npy format that holds no plain numbers",
            "write it again with numpy.savez",
        )
    shape, _, dtype = read_header(stream)
    if dtype.hasobject:
        raise Refused(
            f"{name} holds pickled Python objects, which would run code when read",
            "store plain numbers: numpy.savez(..., x_train=numpy.asarray(x, dtype='float32'))",
        )
    found = math.prod(shape) * dtype.itemsize
    if not 0 <= found <= size or any(length < 0 for length in shape):
        raise BadInput(
            f"{name} claims the shape {shape}, more than the {size} bytes that are there",
            "copy or download it again, or write it with numpy.savez",
        )
    picture = len(shape) > 2 and dtype.itemsize == 1
    return found if picture else found + 8 * math.prod(shape)
