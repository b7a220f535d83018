"""NumPy's ``.npz``: a zip archive with the arrays x_train, y_train, x_test and y_test; x by parts (`named`)
too.

An array of Python objects is stored as a pickle, which runs code when read. Each array's header is read
first, so that a pickle is refused by its dtype and a size by the bytes that are really there; only then
is it read: by NumPy, with ``allow_pickle=False``, or a large one, whose bytes are numbers alone, in a stream
into a file (`files.spilled`). Other arrays in the file are not touched.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from qtrain_cli.data.arrays import Arrays, arrays_by_name
from qtrain_cli.data.request import Request
from qtrain_cli.data.room import Room
from qtrain_cli.errors import BadInput, QtrainError, Refused
from qtrain_cli.files.spilled import AT_ONCE, is_large, let_go

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


@dataclass(frozen=True)
class _Header:
    """What an array's header says, once it was checked."""

    name: str
    shape: tuple[int, ...]
    columns_first: bool
    dtype: np.dtype

    @property
    def size(self) -> int:
        """The array's bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_picture(self) -> bool:
        """Whether it stays as it is: a table of small numbers is made one of wider numbers."""
        return len(self.shape) > 2 and self.dtype.itemsize == 1

    @property
    def in_memory(self) -> int:
        """Its bytes, with those of the table of wider numbers that may be made of it."""
        return self.size if self.is_picture else self.size + 8 * math.prod(self.shape)

    @property
    def on_disk(self) -> int:
        """The same of a large one, of which a copy is made only where it is no array of the wanted form."""
        as_it_is = not self.columns_first and (self.is_picture or self.dtype == np.float32)
        return self.size if as_it_is else self.size + max(self.size, 8 * math.prod(self.shape))


def _read_array(archive: zipfile.ZipFile, name: str, room: Room) -> np.ndarray:
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as stream:
        header = _checked_header(stream, name, entry.file_size)
        if is_large(header.size):
            return _streamed(stream, header, room)
    room.take(header.in_memory, name)
    with archive.open(entry) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _streamed(stream: IO[bytes], header: _Header, room: Room) -> np.ndarray:
    """The numbers of a large array, which the stream has next."""
    made = room.array((header.size,), np.dtype(np.uint8), header.name, header.on_disk, header.in_memory)
    filled = 0
    while filled < header.size:
        part = stream.read(min(AT_ONCE, header.size - filled))
        if not part:
            raise EOFError(f"{header.name} ends after {filled:,} bytes of {header.size:,}")
        made[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
        filled += len(part)
        let_go()
    numbers = made.view(header.dtype)
    if header.columns_first:
        return numbers.reshape(header.shape[::-1]).T
    return numbers.reshape(header.shape)


def _checked_header(stream: IO[bytes], name: str, size: int) -> _Header:
    """What an array's header says; `size` is the bytes that are there.

    Raises:
        BadInput, Refused: it is not what the header says, or would run code.
    """
    read_header = _HEADER_READERS.get(np.lib.format.read_magic(stream))
    if read_header is None:
        raise BadInput(
            f"{name} is in a version of the .npy format that holds no plain numbers",
            "write it again with numpy.savez",
        )
    shape, columns_first, dtype = read_header(stream)
    if dtype.hasobject:
        raise Refused(
            f"{name} holds pickled Python objects, which would run code when read",
            "store plain numbers: numpy.savez(..., x_train=numpy.asarray(x, dtype='float32'))",
        )
    header = _Header(name, shape, columns_first, dtype)
    if not 0 <= header.size <= size or any(length < 0 for length in shape):
        raise BadInput(
            f"{name} claims the shape {shape}, more than the {size} bytes that are there",
            "copy or download it again, or write it with numpy.savez",
        )
    return header
