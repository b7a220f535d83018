"""One run at a time on one output, and no lock that a killed run leaves for ever.

    folder/.qtrain-NAME.lock      {"pid": 4711, "host": "node3", "since": "2026-01-31 12:00:05 +0000"}

The lock is the system's own (`flock`) on that file, so that it ends with its process, however that ends;
what stands in the file is for whoever comes second. Left out: a file system without locks, where nothing is
held.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qtrain_cli.errors import RunFailed
from qtrain_cli.files.atomic import hidden, write_failure
from qtrain_cli.files.system import (
    DO_NOT_FOLLOW,
    DO_NOT_WAIT,
    machine_name,
    open_to_all,
    read_beginning,
    try_to_lock,
    write_whole,
)

#: More than any lock says.
_MOST = 1000


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Nobody else holds the output (or folder) `path` as long as the block lasts.

    Raises:
        RunFailed: somebody does; the message says who. BadInput: its folder is not writable.
    """
    lock = Path(f"{hidden(Path(os.path.realpath(path.parent)) / path.name)}.lock")
    try:
        number = _acquired(lock, path)
    except OSError as error:
        raise write_failure(path, error) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()  # still locked: who has opened it meanwhile sees that it is not there any more
        os.close(number)


def _acquired(lock: Path, path: Path) -> int:
    while True:
        number = os.open(lock, os.O_RDWR | os.O_CREAT | DO_NOT_FOLLOW | DO_NOT_WAIT, 0o666)
        try:
            try_to_lock(number)
        except BlockingIOError:
            said = read_beginning(number, _MOST)
            os.close(number)
            raise RunFailed(
                f"another run is at work on '{path}': {_holder(said)}", "wait for it, or name another output"
            ) from None
        except OSError:
            return number
        if os.path.exists(lock) and os.path.samestat(os.lstat(lock), os.fstat(number)):
            open_to_all(number)  # or a dead one would keep other users of a shared folder out
            write_whole(number, _own_words())
            return number
        os.close(number)


def _own_words() -> bytes:
    since = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return json.dumps({"pid": os.getpid(), "host": machine_name(), "since": since}).encode()


def _holder(said: bytes) -> str:
    """In words; a file that says nothing yet, or nonsense, has a holder all the same."""
    try:
        found = json.loads(said)
        return f"process {found['pid']:d} on {found['host']}, since {found['since']}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return "it does not say which"
