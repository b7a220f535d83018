"""Image files, in the order that they are listed in, as pixels (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qtrain_cli.data.damage import DamagedRow
from qtrain_cli.data.images import ImageStack
from qtrain_cli.data.request import Request
from qtrain_cli.files.reading import open_ordinary


def read_files(files: Sequence[tuple[Path, str]], request: Request) -> tuple[np.ndarray, list[int]]:
    """The pixels, and which of the files they are of: all, but for damaged ones that may be left out.

    Args:
        files: each with its name in messages.

    Raises:
        BadInput: as `images.ImageStack`; a file is larger than the room.
    """
    stack = ImageStack(len(files), request.room, request.pictures)
    kept: list[int] = []
    for place, (path, name) in enumerate(files):
        if path.stat().st_size > request.room.most:
            request.room.take(path.stat().st_size, name)
        try:
            with open_ordinary(path) as file:
                stack.add(file.read(), name)
            kept.append(place)
        except DamagedRow as error:
            request.damage.found(error)
    return stack.finish(len(files) - len(kept)), kept
