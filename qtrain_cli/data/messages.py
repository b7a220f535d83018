"""Whether an Arrow stream is compressed, told by the headers of its messages before anything is decoded.

A stream is messages: 0xFFFFFFFF, the length of a header (int32), the header (a flatbuffer, filled up to 8
bytes), its body. A compressed buffer begins with the size that it unfolds to, which PyArrow makes room for: a
file of a kilobyte could ask for gigabytes.

    header    Message {0: version, 1: kind, 2: of that kind, 3: length of the body}
    kinds     2 DictionaryBatch {0: number, 1: RecordBatch}     3 RecordBatch {..., 3: compression}

(format/Message.fbs in apache/arrow; a flatbuffer's table points back to its vtable, which has the places of
its fields.) Left out: everything else in the headers, which PyArrow checks.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from qtrain_cli.errors import BadInput
from qtrain_cli.files.reading import open_ordinary

_MARK, _DICTIONARY, _ROWS = 0xFFFFFFFF, 2, 3
_KIND, _CONTENT, _BODY, _INNER, _COMPRESSION = 1, 2, 3, 1, 3


def refuse_compressed(path: Path) -> None:
    """Raises `BadInput` for a stream with compressed bodies, or headers that lead nowhere."""
    with open_ordinary(path) as file:
        if not path.stat().st_size:
            raise BadInput(f"{path.name} is empty", "save or copy it again")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                found = _compressed(data)
            except (struct.error, ValueError) as error:
                raise BadInput(
                    f"{path.name} is damaged, or no Arrow stream: its messages lead nowhere ({error})",
                    "save or copy it again",
                ) from None
    if found:
        raise BadInput(
            f"{path.name} is compressed", "save it with datasets.save_to_disk, which does not compress"
        )


def _compressed(data: mmap.mmap) -> bool:
    place = 0
    while place + 8 <= len(data):
        mark, length = struct.unpack_from("<II", data, place)
        if mark != _MARK:
            raise ValueError("a message without its mark")
        if length == 0:
            return False
        root = place + 8
        message = root + _u32(data, root)
        if _is_compressed(data, message):
            return True
        body = _field(data, message, _BODY)
        size = struct.unpack_from("<q", data, body)[0] if body else 0
        if size < 0:
            raise ValueError("a body of negative size")
        place = root + length + size
    return False


def _is_compressed(data: mmap.mmap, message: int) -> bool:
    kind, content = _field(data, message, _KIND), _field(data, message, _CONTENT)
    if not kind or not content or data[kind] not in (_DICTIONARY, _ROWS):
        return False
    table = content + _u32(data, content)
    if data[kind] == _DICTIONARY:
        inner = _field(data, table, _INNER)
        table = inner + _u32(data, inner) if inner else table
    return bool(_field(data, table, _COMPRESSION))


def _field(data: mmap.mmap, table: int, number: int) -> int:
    """Where a table's field is; 0 where it is left out."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise ValueError("a table before the file")
    size = struct.unpack_from("<H", data, vtable)[0]
    offset = struct.unpack_from("<H", data, vtable + 4 + 2 * number)[0] if 6 + 2 * number <= size else 0
    return table + offset if offset else 0


def _u32(data: mmap.mmap, place: int) -> int:
    return int(struct.unpack_from("<I", data, place)[0])
