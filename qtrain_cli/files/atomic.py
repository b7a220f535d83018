"""Whole files or none: write to a temporary file in the same folder, flush it to disk, rename it into place.

    folder/.qtrain-NAME-RANDOM.pt2      NAME: of the final name's SHA-256, the first eight digits

A reader sees the old file or the new one, never half of one, and a killed run leaves nothing under the
final name. The temporary file is hidden and carries the final file's ending (writers that go by the ending
work on it unchanged). Its writer holds a lock on it, which ends with the writer, however that ends: the next
one of the same file removes what is left without a lock.

A new file has the usual permissions, ``0666`` less the umask. One that replaces another keeps that one's
mode, owner and group as far as the system lets it; where the group cannot be kept, it may do nothing. A
symbolic link is itself the output: it is replaced, and what it leads to stays as it is.

Left out: two writers of one output at the same time. The second is refused if it looks after the first has
finished; in the moment between the last look and the rename, the later one wins. Whole runs: `locks`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from qtrain_cli.errors import BadInput, QtrainError, RunFailed, UsageError
from qtrain_cli.files.system import (
    BYTES_AS_THEY_ARE,
    DO_NOT_FOLLOW,
    DO_NOT_WAIT,
    HAS_OWNERS,
    RENAMES_OPEN_FILES,
    try_to_lock,
    wait_again,
)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def check_output(path: Path, force: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output that could not be written, before hours are spent on it.

    Raises:
        UsageError: it exists and `force` is not set, or it is one of the `inputs`, forced or not.
        BadInput: it is a folder or a device, or its folder does not exist.
    """
    if os.path.realpath(path) in map(os.path.realpath, inputs):
        raise UsageError(f"the output '{path}' is also an input", "name another file")
    if path.is_dir():
        raise BadInput(f"the output '{path}' is a folder", "name a file in it")
    if not path.parent.is_dir():
        folder = os.path.realpath(path.parent)
        raise BadInput(f"the folder of the output '{path}' does not exist", f"create '{folder}' first")
    if path.exists() and not path.is_file():
        raise BadInput(f"the output '{path}' is not an ordinary file", "name an ordinary file")
    if os.path.lexists(path) and not force:
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
    target = Path(os.path.realpath(path.parent)) / path.name
    clear_strays(target)
    try:
        before = target.lstat() if target.is_file() and not target.is_symlink() else None
        temporary, held = _begun(target, 0o600 if before else 0o666)
    except OSError as error:
        raise write_failure(path, error) from error
    try:
        if not RENAMES_OPEN_FILES:
            os.close(held)
        yield temporary
        if before and HAS_OWNERS:
            _keep(temporary, before)
        _flush(temporary)
        check_output(path, force)
        os.replace(temporary, target)
    except OSError as error:
        raise write_failure(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
        if RENAMES_OPEN_FILES:
            os.close(held)


def write_bytes_atomically(path: Path, data: bytes, force: bool = False) -> None:
    """Make `data` the content of `path`. Raises as `replacing`."""
    with replacing(path, force) as temporary:
        temporary.write_bytes(data)


def add_to(path: Path, text: str) -> None:
    """Adds to a file that others write to too, as a pipeline's step summary is. Raises as `replacing`."""
    try:
        # A pipe without a reader is an error here, and nothing to wait for.
        number = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | DO_NOT_WAIT, 0o666)
        wait_again(number)
        with os.fdopen(number, "a", encoding="utf-8") as file:
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


def hidden(path: Path) -> Path:
    """How the names of this file's temporary ones, and of its lock, begin: short, whatever its own name."""
    return path.with_name(f".qtrain-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:8]}")


def clear_strays(path: Path) -> None:
    """Removes temporary files of this very file whose writers are gone; those that cannot be removed stay."""
    for stray in path.parent.glob(f"{hidden(path).name}-*"):
        with contextlib.suppress(OSError):
            held = os.open(stray, os.O_RDWR | DO_NOT_FOLLOW | DO_NOT_WAIT)
            try:
                try_to_lock(held)
                stray.unlink()
            finally:
                os.close(held)


def _begun(target: Path, mode: int) -> tuple[Path, int]:
    """A temporary file and its lock; where the file system has none, what is left of it stays."""
    while True:
        temporary = Path(f"{hidden(target)}-{secrets.token_hex(4)}{target.suffix}")
        # os.open, not tempfile: its files are readable by their owner only, and stay so after the rename.
        held = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | BYTES_AS_THEY_ARE, mode)
        try:
            try_to_lock(held)
        except BlockingIOError:  # taken for a stray one before it had its lock
            os.close(held)
            continue
        except OSError:
            return temporary, held
        if temporary.exists():
            return temporary, held
        os.close(held)


def _keep(temporary: Path, before: os.stat_result) -> None:
    """Gives a file the owner, group and mode of the one that it is going to replace."""
    mode = stat.S_IMODE(before.st_mode) & 0o777
    with contextlib.suppress(PermissionError):  # then it is ours, and has no more rights than it had
        os.chown(temporary, before.st_uid, -1)
    try:
        os.chown(temporary, -1, before.st_gid)
    except PermissionError:
        mode &= ~stat.S_IRWXG
    os.chmod(temporary, mode)


def _flush(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
