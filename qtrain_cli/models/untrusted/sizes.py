"""Nothing in a file may claim to be larger than the file itself: a few bytes could fill the memory otherwise.

* Zip archives are read with PyTorch's own reader, the one that loads them later: two readers may be made to
  see different records in one crafted file. torch stores its records uncompressed, so records that claim to
  be larger than the whole file are a zip bomb.
* A tensor all of whose strides are 0 may have any shape, and is as large as it says once it is copied.

What is left out: numbers that PyTorch's restricted unpickler computes on the way (see README.md).
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import IO, Any

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput, Refused, first_line

#: How often the bytes of a file may be shown, each time in another way: flat and in parts, turned round.
_MOST_VIEWS = 4


def open_archive(source: IO[bytes], name: str, size: int) -> Any:
    """PyTorch's zip reader on a file of `size` bytes.

    Raises:
        BadInput: not a readable zip archive.
        Refused: its records are together larger than the file.
    """
    source.seek(0)  # the reader takes where the stream stands for the file's beginning
    try:
        reader = _reader_of(source)
        declared = sum(reader.get_record_size(record) for record in reader.get_all_records())
    except (RuntimeError, ValueError, OSError, zipfile.BadZipFile) as error:
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


def _reader_of(source: IO[bytes]) -> Any:
    """PyTorch's reader, which says how large a record is."""
    reader: Any = torch._C.PyTorchFileReader
    return reader(source) if hasattr(reader, "get_record_size") else _Measured(reader(source), source)


class _Measured:
    """A reader of PyTorch 2.11 or older, which does not tell sizes: those of the archive's directory.

    Raises `ValueError` where the two find other records in the archive.
    """

    def __init__(self, reader: Any, source: IO[bytes]) -> None:
        self._reader = reader
        with zipfile.ZipFile(source) as directory:
            entries = directory.infolist()
        self._sizes = {one.filename.partition("/")[2]: one.file_size for one in entries}
        if len(entries) != len(self._sizes) or self._sizes.keys() != set(reader.get_all_records()):
            raise ValueError("its directory and its records differ")

    def get_record_size(self, record: str) -> int:
        """In bytes."""
        return self._sizes[record]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


def require_within_file(tensors: Mapping[str, Tensor], size: int) -> None:
    """Tensors, on the meta device perhaps, against the file that they are from.

    Raises:
        Refused: a tensor with more bytes than the whole file, or many views of the same bytes.
    """
    views: dict[Any, int] = {}
    for name, tensor in tensors.items():
        if tensor.numel() * tensor.element_size() > size:
            raise Refused(
                f"tensor '{name}' has the shape {list(tensor.shape)}, more than the {size} bytes of the file",
                "do not use this file: it is damaged or hostile",
            )
        views[_place(tensor)] = tensor.numel() * tensor.element_size()
    if sum(views.values()) > _MOST_VIEWS * size:
        raise Refused(
            f"its {len(views)} tensors show {sum(views.values())} bytes of a file of {size}",
            "do not use this file: it is damaged or hostile",
        )


def _place(tensor: Tensor) -> Any:
    """Equal for two views of the same numbers, as tied tensors are."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        return id(tensor)
    storage = tensor.untyped_storage()._cdata
    return storage, tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride())
