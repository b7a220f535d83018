"""Which `qtrain.toml` counts: the nearest one upward, and only one that nobody but the user can have written.

    the current folder, its parent, ...    up to a repository (a folder with `.git`), the home folder, or the
                                           top of the file system, whichever comes first

What stands in it decides which code is run and which files are written. So the file and its folder belong to
the user or to root, and no one else may write to either: not a group of several people, and not everybody,
be it in a shared folder whose sticky bit keeps people from each other's files, as in /tmp. Standard
library only.

What an option of a command may be, `cli.config` knows; one key stands before the tables, for all who read it:

    bases = ["models/minilm"]              where a base may be that a file of changes names by its digest
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qtrain_cli.errors import BadInput, Refused, UsageError
from qtrain_cli.files.reading import open_ordinary
from qtrain_cli.files.system import HAS_OWNERS

FILE_NAME = "qtrain.toml"
MAX_BYTES = 1_000_000
#: The key before the tables, and what it may be.
BASES, A_LIST_OF_PATHS = "bases", "a list of paths in quotes"
_ADVICE = "make it yours alone (chown, chmod go-w), or put a qtrain.toml of your own, empty or not, nearer"


def find_config(start: Path) -> Path | None:
    """The nearest `qtrain.toml` in `start` or a folder above it, or None. Raises `BadInput`."""
    for folder in _folders(start):
        # lexists: a dangling link or a folder of that name is reported when it is read, not passed over.
        if os.path.lexists(folder / FILE_NAME):
            return folder / FILE_NAME
    return None


def read_config(path: Path) -> bytes:
    """What stands in it.

    Raises:
        BadInput: it cannot be read, or is no ordinary file. UsageError: it is far too large.
        Refused: someone else could have written it, or could put another in its place.
    """
    with open_ordinary(path) as file:
        real = Path(os.path.realpath(path))
        for what, place, found in (
            ("it", path, os.fstat(file.fileno())),
            ("its folder", path.parent, os.stat(path.absolute().parent)),
            ("the folder that it is linked to", real.parent, os.stat(real.parent)),
        ):
            _require_own(path, f"{what} ('{place}')" if place != path else what, found)
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UsageError(f"'{path}' has more than {MAX_BYTES} bytes", "options need a few lines")
    return data


def parsed_config(path: Path) -> dict[str, Any]:
    """Its tables and keys.

    Raises:
        UsageError: it is no TOML, or no UTF-8. As `read_config`.
    """
    try:
        # utf-8-sig: editors on Windows put a byte-order mark first, which TOML does not know.
        return tomllib.loads(read_config(path).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(f"'{path}' is not UTF-8: byte {error.start} is wrong", "save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"'{path}' is not TOML: {error}", "texts need quotes, tables a [name]") from error


def one_path(value: Any, folder: Path) -> str | None:
    """A path that is relative to a file in this folder; None for what is none."""
    return str(folder / value) if isinstance(value, str) and value and "\0" not in value else None


def listed_paths(value: Any, folder: Path) -> list[str] | None:
    """The same of one, or of a list of them."""
    texts = value if isinstance(value, list) else [value]
    found = [one_path(text, folder) for text in texts]
    return [path for path in found if path] if found and all(found) else None


def configured_bases(start: Path) -> tuple[Path, ...]:
    """The `bases` of the nearest file, none where there is no file or no such key.

    Raises:
        UsageError: they are no paths. As `parsed_config`.
    """
    path = find_config(start)
    value = parsed_config(path).get(BASES) if path else None
    if path is None or value is None:
        return ()
    found = listed_paths(value, path.parent)
    if found is None:
        raise UsageError(f"'{path}': '{BASES}' is not {A_LIST_OF_PATHS}", "correct it in the file")
    return tuple(map(Path, found))


def _folders(start: Path) -> Iterator[Path]:
    """`start` as it is, then the folders above it, the last one the user's own."""
    try:
        whole = start.resolve(strict=True)
        device = whole.stat().st_dev
    except FileNotFoundError:
        raise BadInput("the current folder does not exist any more", "change to another") from None
    home = os.path.realpath(os.path.expanduser("~"))
    for folder in (whole, *whole.parents):
        if folder.stat().st_dev != device:
            return
        yield start if folder == whole else folder
        if os.path.lexists(folder / ".git") or os.fspath(folder) == home:
            return


def _require_own(path: Path, what: str, found: os.stat_result) -> None:
    why = ""
    if not HAS_OWNERS:
        return
    if found.st_uid not in (0, os.geteuid()):
        why = f"belongs to {_user(found.st_uid)}"
    elif found.st_mode & stat.S_IWOTH:
        why = "can be written by everybody"
    elif found.st_mode & stat.S_IWGRP and not _is_private(found.st_gid, found.st_uid):
        why = f"can be written by the group {_group(found.st_gid)}"
    if why:
        raise Refused(
            f"'{path}' is not taken, since {what} {why}: what it says runs code and writes files", _ADVICE
        )


def _is_private(group: int, user: int) -> bool:
    """Whether the group is its owner alone, by its name, as systems make one for each user."""
    import grp
    import pwd

    try:
        found, name = grp.getgrgid(group), pwd.getpwuid(user).pw_name
    except KeyError:
        return False
    return found.gr_name == name and set(found.gr_mem) <= {name}


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"the user {number}"


def _group(number: int) -> str:
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
