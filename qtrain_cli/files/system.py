"""What systems do differently: locks, flags of opening, whose a file is, the memory that a process held.

POSIX, and what stands in its place on Windows: there a byte far behind any content is locked, since a lock
keeps others from reading; a file that is open cannot be renamed or removed; and who may write to a file
stands in lists that are not read here. Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Flags that a system without them does not need: devices do not wait there.
DO_NOT_WAIT: int = getattr(os, "O_NONBLOCK", 0)
DO_NOT_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
BYTES_AS_THEY_ARE: int = getattr(os, "O_BINARY", 0)
#: Whether an open file can be renamed and removed.
RENAMES_OPEN_FILES = os.name != "nt"
#: Whether a file has an owner, a group and a mode that say who may write to it.
HAS_OWNERS = hasattr(os, "geteuid")
_FAR = 2**30


def try_to_lock(number: int) -> None:
    """Locks an open file until it is closed. Raises `BlockingIOError` where somebody else has, and another
    `OSError` where the file system has no locks."""
    if fcntl is not None:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    msvcrt: Any = __import__("msvcrt")
    os.lseek(number, _FAR, os.SEEK_SET)
    try:
        msvcrt.locking(number, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        raise BlockingIOError(error.errno, "locked") from error
    finally:
        os.lseek(number, 0, os.SEEK_SET)


def wait_again(number: int) -> None:
    """Makes an open file one that waits, where it was opened not to."""
    if DO_NOT_WAIT:
        os.set_blocking(number, True)


def read_beginning(number: int, most: int) -> bytes:
    """The first bytes of an open file."""
    os.lseek(number, 0, os.SEEK_SET)
    return os.read(number, most)


def write_whole(number: int, data: bytes) -> None:
    """Makes `data` all that an open file holds."""
    os.ftruncate(number, 0)
    os.lseek(number, 0, os.SEEK_SET)
    os.write(number, data)


def open_to_all(number: int) -> None:
    """Lets everybody read and write an open file, as far as the system lets one say so."""
    with contextlib.suppress(OSError, AttributeError):
        os.fchmod(number, 0o666)


def most_held() -> int:
    """The most bytes of memory that this process has held so far; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most  # macOS counts in bytes


def machine_name() -> str:
    """This machine's name in its network."""
    return platform.node()
