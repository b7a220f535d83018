"""Arrays that are too large for memory, each in a file that has no name.

    up to IN_MEMORY_BYTES bytes     in memory, as any other
    above                 a mapping of a temporary file (in `TMPDIR`), whose room on the disk is taken at once

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

import numpy as np

from qtrain_cli.errors import BadInput

IN_MEMORY_BYTES = 2**28
_DROP = getattr(mmap, "MADV_DONTNEED", None)
_MAPPED: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def is_large(size: int) -> bool:
    """Whether an array of so many bytes lies in a file."""
    return size > IN_MEMORY_BYTES


def large_array(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """An array of zeros, or of whatever, to be filled. Raises `BadInput` where the disk has no room."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not is_large(size):
        return np.empty(shape, dtype)
    mapped = _mapped(size)
    _MAPPED.add(mapped)
    return np.frombuffer(mapped, dtype).reshape(shape)


def _mapped(size: int) -> mmap.mmap:
    try:
        with tempfile.TemporaryFile(prefix="qtrain-") as file:
            if hasattr(os, "posix_fallocate"):  # without it a full disk would end the process while it writes
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            return mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise BadInput(
            f"the pictures take {size:,} bytes, for which there is no room in '{tempfile.gettempdir()}'"
            f" ({error.strerror or error})",
            "set TMPDIR to a folder on a disk that has room",
        ) from error


def let_go() -> None:
    """What was touched of all such arrays need not stay in memory."""
    if _DROP is not None:
        for mapped in list(_MAPPED):
            mapped.madvise(_DROP)
