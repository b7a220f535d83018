"""Nothing in a file may claim to be larger than the file itself: a few bytes could fill the memory otherwise.

* Zip archives are read with PyTorch's own reader, the one that loads them later: two readers may be made to
  see different records in one crafted file. torch stores its records uncompressed, so records that claim to
  be larger than the whole file are a zip bomb.
* A tensor all of whose strides are 0 may have any shape, and is as large as it says once it is copied.

What is left out: numbers that PyTorch's restricted unpickler computes on the way (see README.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput, Refused, first_line


def open_archive(source: Path | IO[bytes], name: str, size: int) -> Any:
    """PyTorch's zip reader on a file of `size` bytes.

    Raises:
        BadInput: not a readable zip archive.
        Refused: its records are together larger than the file.
    """
    try:
        # As bytes: not every file name is UTF-8. PyTorch's stubs know neither bytes nor text here.
        opened: Any = os.fsencode(source) if isinstance(source, Path) else source
        reader = torch._C.PyTorchFileReader(opened)
        declared = sum(reader.get_record_size(record) for record in reader.get_all_records())
    except (RuntimeError, ValueError) as error:
        raise BadInput(
            f"'{name}' is a damaged or truncated zip archive: {first_line(error)}",
            "copy or download it again",
        ) from None
    if declared > size:
        raise Refused(
            f"'{name}' has {size} bytes and claims to hold {declared}; torch stores records uncompressed",
            "do not use this file: it is damaged or a zip bomb",
        )
    return reader


def require_within_file(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Tensors, on the meta device perhaps, against the file that they are from.

    Raises:
        Refused: a tensor with more bytes than the whole file.
    """
    size = path.stat().st_size
    for name, tensor in tensors.items():
        if tensor.numel() * tensor.element_size() > size:
            raise Refused(
                f"tensor '{name}' has the shape {list(tensor.shape)}, more than the {size} bytes of the file",
                "do not use this file: it is damaged or hostile",
            )
