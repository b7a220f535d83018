"""An artifact as bytes: read once, its header checked, its checksum compared. Standard library only.

Everything that is said about a file, and every tensor that is taken from it, comes from the one `Container`
that was checked, so that a file which changes on disk meanwhile cannot slip in.

The checksum is SHA-256 of the whole file with zeros in its own place, cut to 64 bits. It is the first eight
bytes after the header or, where the metadata has a `check`, the hexadecimal digits of that. It finds
damage; it is no signature, and a forger can compute it, so that no other check may lean on it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import reprlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.files.downloads import LOOKED_AT, not_downloaded
from qtrain_cli.files.header import Header, damaged, header_of
from qtrain_cli.files.reading import open_ordinary

KEY = "qtrain"
RUN_DIGITS = 16
_HEXADECIMAL = re.compile("[0-9a-f]+")
CHECK_BYTES = 8
#: Of a check in the metadata, before it is known.
BLANK = "0" * 2 * CHECK_BYTES
#: Where its digits stand: JSON (the metadata) inside a string of JSON (the header).
CHECK_MARK = b'\\"check\\":\\"'
#: Above what the layout, the angles and the header may take together.
MAX_FILE_BYTES = 2**33
#: Room for 70,000 tensors. Parsed, JSON takes up to thirty times its size.
MAX_DESCRIPTION_BYTES = 2**23
#: How ``torch.save`` begins, now (a zip archive) and formerly (a pickled number). Read as the length of a
#: header, both are above the limit, so that no artifact begins like this.
FOREIGN = (b"PK\x03\x04", b"\x80\x02\x8a\x0a")
#: How rivals' files of qtrain 0.1 begin. Read as the length of a header it is odd; ours are multiples of 8.
PACKED = b"QP1"


@dataclass(frozen=True)
class Container:
    """The bytes of a file, its header, and the text of its metadata."""

    path: Path
    data: bytes
    header: Header
    text: str

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file's bytes, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def refused(self, what: str) -> Refused:
        """The refusal of this file."""
        return damaged(self.path, what)


def read_container(path: Path) -> Container:
    """A file's bytes, once its header is well-formed and its checksum is right.

    Raises:
        BadInput: the file is missing, or a well-formed safetensors or PyTorch file that is no artifact.
        Refused: it is damaged or hostile.
    """
    return container_of(path, _read(path))


def container_of(path: Path, data: bytes) -> Container:
    """`read_container` for bytes that were read before, or not written yet; `path` is for messages."""
    if data.startswith(FOREIGN):
        raise BadInput(
            f"'{path}' is no qtrain artifact: it begins as a zip archive or a pickle, as PyTorch's files do",
            "make one of it with `qtrain compress`; `qtrain inspect` says what it holds",
        )
    if told := not_downloaded(data[:LOOKED_AT]):
        raise BadInput(f"'{path}' is {told[0]}", f"the artifact was not downloaded: {told[1]}")
    if data.startswith(PACKED):
        raise BadInput(
            f"'{path}' has the format 'QP1', of rivals in a comparison; qtrain 0.1 reads it",
            "use that version, or run `qtrain compare` again with this one",
        )
    header = header_of(path, data, MAX_DESCRIPTION_BYTES)
    if KEY not in header.metadata:
        raise BadInput(f"'{path}' is no qtrain artifact", "`qtrain inspect` says what a file holds")
    place, check = _check(data)
    if data[place : place + len(check)] != check:
        raise damaged(path, "its bytes do not match its checksum")
    return Container(path, data, header, header.metadata[KEY])


def canonical(value: Any) -> str:
    """JSON that is the same text for the same value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def check_hexadecimal(what: str, text: str, digits: int) -> None:
    """Raises `BadInput` for what is no text of so many hexadecimal digits."""
    if len(text) != digits or not _HEXADECIMAL.fullmatch(text):
        raise BadInput(f"its {what} is {reprlib.repr(text)}; needed: {digits} hexadecimal digits")


def sealed(data: bytes) -> bytes:
    """The same file with the right check, whatever stands in its place."""
    place, check = _check(data)
    return data[:place] + check + data[place + len(check) :]


def _check(data: bytes) -> tuple[int, bytes]:
    """Where the check stands, and what it has to be."""
    payload = 8 + int.from_bytes(data[:8], "little")
    mark = data.find(CHECK_MARK, 0, payload)
    place, blank = (payload, bytes(CHECK_BYTES)) if mark < 0 else (mark + len(CHECK_MARK), BLANK.encode())
    view = memoryview(data)  # a file may be large, and slices of bytes are copies
    hashed = hashlib.sha256(view[:place])
    hashed.update(blank)
    hashed.update(view[place + len(blank) :])
    check = hashed.digest()[:CHECK_BYTES]
    return place, check if mark < 0 else check.hex().encode()


def _read(path: Path) -> bytes:
    with open_ordinary(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise damaged(path, f"it has {size} bytes; allowed: {MAX_FILE_BYTES}")
        return file.read(size)
