"""How much the pages of a Parquet file unfold to, from their own headers, before any of them is decoded.

What a footer says of a column binds nobody: PyArrow makes room for each page as the page's header says, and a
file of 14 KB could ask for gigabytes and call it a hundred bytes. And PyArrow's own view of a column ends the
process where the footer's statistics contradict each other. So both are read here.

    file      PAR1 pages ... footer, its length (4 bytes), PAR1
    footer    {4: groups of rows, each {1: columns, each {3: {5: values, 7: bytes in the file, 9: first page,
              11: dictionary}}}}
    header    {2: bytes unfolded, 3: bytes in the file}, before each page's bytes

Both are structs of Thrift's compact protocol (thrift-compact-protocol.md in apache/thrift; parquet.thrift in
apache/parquet-format). Left out: what else stands in them, which is skipped.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtrain_cli.errors import BadInput

MOST_FOOTER, MOST_DEPTH = 2**24, 16
_MARK = b"PAR1"
_TRUE, _FALSE, _BYTE, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP = 1, 2, 3, 6, 7, 8, 9, 10, 11
_STRUCT, _UUID = 12, 13
_GROUPS, _COLUMNS, _META = 4, 1, 3
_VALUES, _STORED, _FIRST, _DICTIONARY = 5, 7, 9, 11
_UNFOLDED, _COMPRESSED = 2, 3


@dataclass(frozen=True)
class Pages:
    """A column of a group of rows: its values by the footer, its bytes by the headers of its pages."""

    values: int
    unfolded: int


def chunks_of(path: Path) -> list[list[Pages]]:
    """The columns of each group, in the order of the schema. Raises `BadInput` for what cannot be read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            groups = _footer(data).get(_GROUPS, [])
            return [[_chunk(data, column[_META]) for column in group[_COLUMNS]] for group in groups]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        said = f"its pages do not follow from its footer ({type(error).__name__}: {error})"
        raise BadInput(
            f"{path.name} is damaged, or no Parquet file: {said}", "download or write it again"
        ) from None


def _footer(data: mmap.mmap) -> dict[int, Any]:
    size = int.from_bytes(data[-8:-4], "little")
    if data[-4:] != _MARK or size > min(len(data) - 8, MOST_FOOTER):
        raise ValueError(f"a footer of {size} bytes")
    return _Thrift(data, len(data) - 8 - size).struct()


def _chunk(data: mmap.mmap, column: dict[int, Any]) -> Pages:
    place, dictionary = column[_FIRST], column.get(_DICTIONARY, 0)
    place = dictionary if 0 < dictionary < place else place
    end, unfolded = place + column[_STORED], 0
    if not 0 <= place <= end <= len(data):
        raise ValueError(f"a column from byte {place} to {end} of {len(data)}")
    while place < end:
        reader = _Thrift(data, place)
        header = reader.struct()
        if header[_UNFOLDED] < 0 or header[_COMPRESSED] < 0:
            raise ValueError("a page of negative size")
        unfolded += header[_UNFOLDED]
        place = reader.place + header[_COMPRESSED]
    return Pages(column[_VALUES], unfolded)


class _Thrift:
    """Reads values one after the other; a field that stands twice, which readers may merge, is refused."""

    def __init__(self, data: mmap.mmap, place: int) -> None:
        self.data, self.place = data, place

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """The fields by number."""
        fields, number = dict[int, Any](), 0
        while (head := self._byte()) & 15:
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            if number in fields:
                raise ValueError(f"the field {number} twice")
            fields[number] = head & 15 == _TRUE if head & 15 <= _FALSE else self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if depth > MOST_DEPTH:
            raise ValueError(f"values in values, more than {MOST_DEPTH} deep")
        if kind == _BYTE or kind <= _FALSE:  # in lists, booleans too
            return self._byte()
        if kind <= _I64:
            return self._zigzag()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._varint()
            return [self._value(head & 15, depth + 1) for _ in range(self._within(size))]
        if kind == _MAP:
            size = self._within(self._varint())
            kinds = self._byte() if size else 0
            return [
                (self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(size)
            ]
        return self._skipped({_DOUBLE: 8, _UUID: 16}.get(kind) or self._varint(), kind)

    def _skipped(self, size: int, kind: int) -> None:
        if kind not in (_DOUBLE, _BINARY, _UUID):
            raise ValueError(f"a value of the kind {kind}")
        self.place += self._within(size)

    def _within(self, size: int) -> int:
        """As many bytes, or values of a byte and more, as there can be."""
        if size > len(self.data) - self.place:
            raise ValueError(f"{size} values or bytes after its end")
        return size

    def _byte(self) -> int:
        self.place += 1
        return self.data[self.place - 1]

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number
            if shift > 63:
                raise ValueError("a number of more than 64 bits")

    def _zigzag(self) -> int:
        number = self._varint()
        return number >> 1 ^ -(number & 1)
