"""What lies where a download should be: told by a file's first bytes, whatever its name says.

Standard library only.
"""

from __future__ import annotations

_Told = tuple[str, str]

#: First bytes of the file, or of its text in lower case without leading blanks; what it is, and the way on.
_STARTS: tuple[tuple[bytes, _Told], ...] = (
    (b"version https://git-lfs", ("a Git LFS pointer, and not the file itself", "git lfs pull")),
    (b"<!doctype", ("an HTML page", "log in, or take the link of the file itself")),
    (b"<html", ("an HTML page", "log in, or take the link of the file itself")),
    (b"<?xml", ("an XML document", "take the link of the file itself")),
)
#: How many bytes to look at.
LOOKED_AT = 512


def not_downloaded(start: bytes) -> _Told | None:
    """What a file with these first bytes is instead of itself, and the way on; None where it is not so."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((told for first, told in _STARTS if text.startswith(first)), None)
