"""The SHA-256 of a file, read in pieces."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """SHA-256 of the file's bytes, in hexadecimal. Raises `OSError` as `open` does."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def architecture_identity(arch: str | None) -> dict[str, str]:
    """``file.py:Class`` by the file's content: its folder does not count, and an edit does."""
    source, _, name = (arch or "").rpartition(":")
    return {"code": file_sha256(Path(source)) if source.endswith(".py") else source, "name": name}
