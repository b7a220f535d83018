"""Whole files or none: write to a temporary file in the same folder, flush it to disk, rename it into place.

A reader sees the old file or the new one, never half of one, and a killed run leaves nothing under the
final name. The temporary file is hidden, carries the final file's ending (writers that go by the ending
work on it unchanged) and is created with the usual permissions, ``0666`` less the umask. A symbolic link is
followed, as the shell's ``>`` does.

Left out: two runs that write one output at the same time. The second is refused if it looks after the
first has finished; in the moment between the last look and the rename, the later one wins.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from qtrain_cli.errors import BadInput, QtrainError, RunFailed, UsageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def check_output(path: Path, force: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output that could not be written, before hours are spent on it.

    Raises:
        UsageError: it exists and `force` is not set, or it is one of the `inputs`, forced or not.
        BadInput: it is a folder or a device, or its folder does not exist.
    """
    target = Path(os.path.realpath(path))
    if os.fspath(target) in map(os.path.realpath, inputs):
        raise UsageError(f"the output '{path}' is also an input", "name another file")
    if target.is_dir():
        raise BadInput(f"the output '{path}' is a folder", "name a file in it")
    if not target.parent.is_dir():
        raise BadInput(f"the folder of the output '{path}' does not exist", f"create '{target.parent}' first")
    if target.exists() and not target.is_file():
        raise BadInput(f"the output '{path}' is not an ordinary file", "name an ordinary file")
    if target.exists() and not force:
        raise UsageError(f"the output '{path}' exists", "name another file, or replace it with --force")


@contextmanager
def replacing(path: Path, force: bool = False) -> Iterator[Path]:
    """A temporary path to write to; it becomes `path` when the block ends well, and is removed when not.

    The block may close, replace or memory-map the temporary file, and may read it back to check it.

    Raises:
        UsageError, BadInput: as `check_output`, at the start and again before the rename.
        BadInput: the folder is not writable.
        RunFailed: the disk is full, or another error of the system while writing.
    """
    check_output(path, force)
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".qtrain-{secrets.token_hex(4)}{target.suffix}")
    try:
        # os.open, not tempfile: its files are readable by their owner only, and stay so after the rename.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        _flush(temporary)
        check_output(path, force)
        os.replace(temporary, target)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes_atomically(path: Path, data: bytes, force: bool = False) -> None:
    """Make `data` the content of `path`. Raises as `replacing`."""
    with replacing(path, force) as temporary:
        temporary.write_bytes(data)


def add_to(path: Path, text: str) -> None:
    """Adds to a file that others write to too, as a pipeline's step summary is. Raises as `replacing`."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise write_failure(path, error) from error


@contextmanager
def filled_folder(path: Path) -> Iterator[Path]:
    """A folder for several files, made if it is not there, and removed if the block fails and left it empty.

    Raises:
        BadInput: the name is taken by a file, or the folder cannot be made.
        RunFailed: another error of the system.
    """
    if path.exists() and not path.is_dir():
        raise BadInput(f"'{path}' is not a folder", "name a folder")
    made = not path.exists()
    try:
        path.mkdir(exist_ok=True)
    except FileNotFoundError:
        raise BadInput(f"the folder of '{path}' does not exist", f"create '{path.parent}' first") from None
    except OSError as error:
        raise write_failure(path, error) from error
    try:
        yield path
    except BaseException:
        if made and not any(path.iterdir()):
            path.rmdir()
        raise


def write_failure(path: Path, error: OSError) -> QtrainError:
    """The system's error while writing `path`, as one of ours."""
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return RunFailed(f"'{path}' could not be written: {reason}", "free some space and run it again")
    if error.errno in _FORBIDDEN:
        return BadInput(f"'{path}' could not be written: {reason}", "choose a folder you may write to")
    return RunFailed(f"'{path}' could not be written: {reason}", "choose another output and run it again")


def _flush(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
