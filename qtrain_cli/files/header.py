"""The header of a safetensors file, read strictly and with the standard library alone.

    8 bytes  N, little-endian     N bytes  JSON     the tensors, back to back

The public reader trusts a few things that a hostile file can bend (a name that stands twice in
the JSON silently hides the first); this one refuses them, before any tensor is read or allocated: sizes
beyond the file, gaps, overlaps, shapes that do not match their bytes, duplicate names. It is also what lets
`qtrain report` and `qtrain inspect` answer without importing torch.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from qtrain_cli.errors import Refused
from qtrain_cli.files.reading import open_ordinary

MAX_HEADER_BYTES = 100_000_000
MAX_RANK = 64
#: Letters of a tensor's name in any file of weights: twice what a layout takes, for the prefixes of wrappers.
MAX_NAME_LETTERS = 1024
#: What a hostile file may add to a message.
MAX_QUOTED = 300
KNOWN_DTYPE_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "C64": 8,
    "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


@dataclass(frozen=True)
class TensorRecord:
    """One tensor of the table: its dtype (safetensors' name), shape, and byte range in the payload."""

    dtype: str
    shape: tuple[int, ...]
    first: int
    last: int


@dataclass(frozen=True)
class Header:
    """A whole header: the tensors by name, the metadata, and where the payload begins in the file."""

    tensors: dict[str, TensorRecord]
    metadata: dict[str, str]
    payload_start: int


def read_header(path: Path) -> Header:
    """The validated header of a safetensors file.

    Raises:
        BadInput: the file is missing or cannot be read.
        Refused: it is truncated, or its header is not that of a well-formed file.
    """
    with open_ordinary(path) as file:
        return header_in(path, file, os.fstat(file.fileno()).st_size)


def header_in(path: Path, file: IO[bytes], size: int) -> Header:
    """The validated header of an open file of `size` bytes, from its beginning. Raises `Refused`."""
    length = _header_length(path, file.read(8), size, MAX_HEADER_BYTES)
    return parse_header(path, file.read(length), size - 8 - length)


def header_of(path: Path, data: bytes, most: int = MAX_HEADER_BYTES) -> Header:
    """The validated header of a whole file that was read before; `most` bytes of it. Raises `Refused`."""
    length = _header_length(path, data[:8], len(data), most)
    return parse_header(path, data[8 : 8 + length], len(data) - 8 - length)


def damaged(path: Path, what: str) -> Refused:
    """The refusal of a file that cannot be what an honest writer wrote."""
    shown = what if len(what) <= MAX_QUOTED else what[:MAX_QUOTED] + "..."
    return Refused(f"'{path}' is damaged or hostile: {shown}", "get the file again from its source")


def _header_length(path: Path, raw: bytes, size: int, most: int) -> int:
    length = int.from_bytes(raw, "little")
    if len(raw) < 8 or length > size - 8:
        raise damaged(path, f"truncated: {size} bytes, header of {length if len(raw) == 8 else '?'}")
    if length > most:
        raise damaged(path, f"its header claims {length} bytes; allowed: {most}")
    return length


def parse_header(path: Path, text: bytes, payload_bytes: int) -> Header:
    """Validates a header's JSON against the number of payload bytes. Raises `Refused`."""
    try:
        table = json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise damaged(path, f"its header is not valid JSON ({error})") from None
    if not isinstance(table, dict):
        raise damaged(path, "its header is not a JSON object")
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise damaged(path, "its metadata is not a table of strings")
    tensors = {name: _tensor(path, name, row) for name, row in table.items()}
    _check_ranges(path, tensors, payload_bytes)
    return Header(tensors, metadata, 8 + len(text))


def _tensor(path: Path, name: str, row: Any) -> TensorRecord:
    if len(name) > MAX_NAME_LETTERS:
        raise damaged(path, f"the name '{name[:40]}...' has {len(name)} letters; allowed: {MAX_NAME_LETTERS}")
    if not isinstance(row, dict) or row.keys() != {"dtype", "shape", "data_offsets"}:
        raise damaged(path, f"tensor '{name}' is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = row["dtype"], row["shape"], row["data_offsets"]
    if not isinstance(dtype, str) or dtype not in KNOWN_DTYPE_BYTES:
        raise damaged(path, f"tensor '{name}' has the unknown dtype {dtype!r}")
    if not _naturals(shape) or not _naturals(offsets) or len(offsets) != 2:
        raise damaged(path, f"tensor '{name}' has a shape or offsets that are not whole numbers")
    if len(shape) > MAX_RANK:
        raise damaged(path, f"tensor '{name}' has {len(shape)} dimensions; allowed: {MAX_RANK}")
    if offsets[1] - offsets[0] != math.prod(shape) * KNOWN_DTYPE_BYTES[dtype]:
        raise damaged(path, f"tensor '{name}' of shape {shape} does not fill its bytes {offsets}")
    return TensorRecord(dtype, tuple(shape), offsets[0], offsets[1])


def _naturals(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 2**62 for value in values)


def _check_ranges(path: Path, tensors: dict[str, TensorRecord], payload_bytes: int) -> None:
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].first, item[1].last)):
        if tensor.first != end:
            raise damaged(path, f"tensor '{name}' begins at byte {tensor.first}, expected {end}")
        end = tensor.last
    if end != payload_bytes:
        raise damaged(path, f"its tensors take {end} bytes and the file holds {payload_bytes}")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the name '{twice}' stands twice")
    return table
