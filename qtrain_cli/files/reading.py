"""Opening what a path names, if it is an ordinary file: a pipe would wait for its writer, a device for more.

Standard library only.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from qtrain_cli.errors import BadInput
from qtrain_cli.files.system import BYTES_AS_THEY_ARE, DO_NOT_WAIT


def open_ordinary(path: Path, advice: str = "check the path") -> BinaryIO:
    """The file, open for reading its bytes.

    Raises:
        BadInput: it is not there, cannot be read, or is a folder, a pipe or a device.
    """
    try:
        # Looked at first, since some devices act when they are opened; and without waiting, since what the
        # path names may change in between.
        if _is_ordinary(os.stat(path)):
            file = os.fdopen(os.open(path, os.O_RDONLY | DO_NOT_WAIT | BYTES_AS_THEY_ARE), "rb")
            if _is_ordinary(os.fstat(file.fileno())):
                return file
            file.close()
    except OSError as error:
        raise BadInput(f"cannot read '{path}': {error.strerror}", advice) from None
    raise BadInput(f"cannot read '{path}': it is not an ordinary file", "give the file itself")


def refuse_missing_model(path: Path) -> None:
    """Raises `BadInput` where nothing has this name."""
    if not path.exists():
        raise BadInput(f"'{path}' does not exist", "check the path of the model file")


def _is_ordinary(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode)
