"""How much memory data may take, asked for before anything is decoded.

A file of some kilobytes can stand for gigabytes: a PNG of one colour, a zip of zeros, a Parquet column that
repeats one cell. Each reader knows the size of what it is about to make from headers, and asks here first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qtrain_cli.errors import BadInput
from qtrain_cli.files.spilled import DiskIsFull, large_array
from qtrain_cli.settings import DataSettings

#: How much of a file's own text a message shows, and how long a message on data may be.
MOST_SHOWN, MOST_SAID = 60, 360
#: Arrays that are too large for memory may take so many times as much.
ON_DISK = 4


@dataclass
class Room:
    """The bytes that are taken of `most`, and on the disk."""

    most: int = DataSettings.max_bytes
    taken: int = 0
    on_disk: int = 0

    def take(self, size: int, what: str, on_disk: bool = False) -> None:
        """Sets `size` bytes aside, in memory or `ON_DISK` times as many on the disk (`files.spilled`).

        Raises:
            BadInput: that is more than there may be in all.
        """
        self.taken += 0 if on_disk else size
        self.on_disk += size if on_disk else 0
        if size < 0 or self.taken > self.most or self.on_disk > ON_DISK * self.most:
            most, where = (ON_DISK * self.most, "a disk") if on_disk else (self.most, "memory")
            raise BadInput(
                f"{what} would take {size:,} bytes of {where}; allowed for all data: {most:,}",
                "if it is no damaged or hostile file, raise --max-data-bytes, or give a smaller data set",
            )

    def array(
        self, shape: tuple[int, ...], dtype: np.dtype, what: str, on_disk: int, in_memory: int
    ) -> np.ndarray:
        """A large array to be filled: in a file, or in memory where the disk has no room and memory has.

        Args:
            shape, dtype: of the array.
            what: named where it is refused.
            on_disk, in_memory: bytes to take, those of copies included that will be made of it.

        Raises:
            BadInput: there is no room in either.
        """
        self.take(on_disk, what, on_disk=True)
        try:
            return large_array(shape, dtype)
        except DiskIsFull:
            if self.taken + in_memory > self.most:
                raise
        self.take(in_memory, what)
        return np.empty(shape, dtype)


def short(text: str) -> str:
    """A message whose middle is left out where a file made it long."""
    half = MOST_SAID // 2
    return text if len(text) <= MOST_SAID else f"{text[:half]} ... {text[-half:]}"


def shown(value: Any) -> str:
    """A value of a file as a message quotes it: its beginning, where it is long."""
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text):,} characters)"
