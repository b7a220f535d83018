"""Arrays that are too large for memory, each in a file that has no name.

    up to IN_MEMORY_BYTES bytes     in memory, as any other
    above                 a mapping of a temporary file (in `TMPDIR`), whose room on the disk is taken at once

Where the disk has no room, that is said (`DiskIsFull`), and no memory is taken instead: more may lie on the
disk than in memory. A reader that knows how much of that is left may take it.

The mapping's pages are the system's to keep or to drop; `let_go` tells it that what was touched is of no use
for now, so that the process is never larger than what it works on. The file is gone with the array, or with
the process, however that ends.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike

from qtrain_cli.errors import BadInput

IN_MEMORY_BYTES = 2**28
#: Bytes that are copied together.
AT_ONCE = 2**26
_DROP = getattr(mmap, "MADV_DONTNEED", None)
_MAPPED: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def is_large(size: int) -> bool:
    """Whether an array of so many bytes lies in a file."""
    return size > IN_MEMORY_BYTES


class DiskIsFull(BadInput):
    """There is no room for a large array's file."""


def large_array(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array of zeros, or of whatever, to be filled. Raises `DiskIsFull`, which is a `BadInput`."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not is_large(size):
        return np.empty(shape, dtype)
    mapped = _mapped(size)
    _MAPPED.add(mapped)
    return np.frombuffer(mapped, dtype).reshape(shape)


def plain_array(array: np.ndarray, dtype: DTypeLike | None = None) -> np.ndarray:
    """``numpy.require(array, dtype, ("C", "W"))``; a large copy, where one is needed, is a `large_array`.
    Raises `DiskIsFull`."""
    wanted = np.dtype(array.dtype if dtype is None else dtype)
    as_it_is = array.dtype == wanted and array.flags.c_contiguous and array.flags.writeable
    if as_it_is or not is_large(array.size * wanted.itemsize):
        return np.require(array, wanted, ("C", "W"))
    made = large_array(array.shape, wanted)
    for part in blocks_of(made):
        made[part] = array[part]
        let_go()
    return made


def blocks_of(array: np.ndarray) -> Iterator[slice]:
    """Rows to be worked on together, of `AT_ONCE` bytes or one row."""
    rows = max(1, AT_ONCE * len(array) // max(1, array.nbytes))
    return (slice(first, first + rows) for first in range(0, len(array), rows))


def _mapped(size: int) -> mmap.mmap:
    try:
        with tempfile.TemporaryFile(prefix="qtrain-") as file:
            if hasattr(os, "posix_fallocate"):  # without it a full disk would end the process while it writes
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise DiskIsFull(
            f"the data take {size:,} bytes, for which there is no room in '{tempfile.gettempdir()}'"
            f" ({error.strerror or error})",
            "set TMPDIR to a folder on a disk that has room",
        ) from error


def let_go() -> None:
    """What was touched of all such arrays need not stay in memory."""
    if _DROP is not None:
        for mapped in list(_MAPPED):
            mapped.madvise(_DROP)
