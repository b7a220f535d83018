"""A model file, opened once: what is checked and what is loaded come through one descriptor.

A path may mean another file a moment later (a download replaces it, an attacker swaps it); the descriptor
goes on meaning the file that was opened. What is written into that same file meanwhile cannot harm either,
because nothing is checked in one reading and used in another: a pickle is read into memory and interpreted
there, the archive of a graph is copied record by record (`untrusted.archives`). A copy of the whole file
would say the same and cost a multi-gigabyte checkpoint's size in memory. That the file did change is said.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from qtrain_cli.errors import BadInput, QtrainError, Refused, first_line, is_out_of_memory
from qtrain_cli.files.reading import open_ordinary, refuse_missing_model
from qtrain_cli.models.foreign import foreign_folder


@dataclass(frozen=True)
class ModelFile:
    """An open file: its path (for messages), its bytes as a stream, and its size in bytes."""

    path: Path
    stream: IO[bytes]
    size: int

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.name

    def start(self, count: int = 16) -> bytes:
        """Its first bytes."""
        self.stream.seek(0)
        return self.stream.read(min(count, self.size))

    def sha256(self) -> str:
        """SHA-256 of its bytes, in hexadecimal."""
        self.stream.seek(0)
        return hashlib.file_digest(self.stream, "sha256").hexdigest()  # type: ignore[arg-type]


class Clipped:
    """The stream of a file, no read of which asks for more than a file: that much is allocated."""

    def __init__(self, file: ModelFile) -> None:
        self._stream, self._most = file.stream, file.size
        self.readline, self.tell = file.stream.readline, file.stream.tell

    def read(self, count: int) -> bytes:
        """At most `count` bytes from where the stream stands."""
        return self._stream.read(min(count, self._most))


@contextmanager
def open_model(path: Path) -> Iterator[ModelFile]:
    """The file, open.

    Raises:
        BadInput: no such file, a folder, a pipe, no right to read it; or it changed while it was read.
    """
    if path.is_dir():
        what, advice = foreign_folder(path)
        raise BadInput(f"'{path.name or path}' is {what}", advice)
    refuse_missing_model(path)
    with open_ordinary(path) as stream:
        before = _state(stream)
        yield ModelFile(path, stream, before[0])
        if _state(stream) != before:
            raise BadInput(f"'{path.name}' changed while it was read", "wait until it is written, try again")


@contextmanager
def nothing_unexpected(name: str) -> Iterator[None]:
    """Around what reads a stranger's file: what no check foresaw is a refusal, and no fault of ours.

    Raises:
        Refused: in place of any error that is not one of ours.
    """
    try:
        yield
    except (QtrainError, OSError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise Refused(
            f"'{name}' cannot be read: {type(error).__name__}: {first_line(error)[:200]}",
            "do not use this file: it is damaged or hostile",
        ) from error


def _state(stream: IO[bytes]) -> tuple[int, int]:
    found = os.fstat(stream.fileno())
    return found.st_size, found.st_mtime_ns
