"""`qtrain.toml`: options that need not be typed. The nearest one counts (`files.config_file`).

    [compress]
    data = "data/digits.npz"        # one table per command, one key per option, with - or _
    mean = 0.5
    out = "net.qtrain"

`bases`, where the bases of fine-tunes may be, may stand before the tables too, for every command that looks
there.

The command line wins over the file; `cli` sees to that and says which options there are, each with its kind
from `VALUE_KINDS`. Paths in the file are relative to the file. An unknown table or key, or a value of the
wrong type, is an error: a misspelt option that is quietly ignored costs hours. It stops the command that
reads the table and no other; a misspelt table stops the command that it resembles, or every one.

Consent, to run what a model file carries (``--trust-pickle``) or to replace files (``--force``), is not taken
from a file: whoever sends a folder with a hostile model could send the consent along. What a command writes
lies in the file's folder or below. ``file.py:Name`` for `arch` and `data` is taken, and runs that file, as a
Makefile in the folder would.

Left out: merging several files, and variables.
"""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtrain_cli.errors import UsageError, suggestion
from qtrain_cli.files.config_file import (
    A_LIST_OF_PATHS,
    BASES,
    find_config,
    listed_paths,
    one_path,
    parsed_config,
)
from qtrain_cli.settings.parsing import NO_LOG, TENSORBOARD

#: Larger whole numbers are refused: some fit no float, and others cannot even be printed.
MAX_INTEGER = 10**30

Options = Mapping[str, str]
Defaults = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """What a value in the file may be (`wanted`, for people), and what the command line gets for it.

    `read` is given the value and the file's folder; it returns None for a value of the wrong type.
    """

    wanted: str
    read: Callable[[Any, Path], Any]


def load_defaults(start: Path, commands: Mapping[str, Options], reader: str | None = None) -> Defaults:
    """The values of the nearest `qtrain.toml`, by command and by option name as `commands` spells it.

    Args:
        start: the folder to look in first; with ``Path()`` the paths in a file there stay relative.
        commands: command -> option name -> kind, a key of `VALUE_KINDS`.
        reader: the command whose table alone is read; None for all of them.

    Raises:
        UsageError: a syntax error, an unknown table or key, or a value of the wrong type.
        BadInput, Refused: as `parsed_config`.
    """
    path = find_config(start)
    if path is None:
        return {}
    defaults: Defaults = {}
    tables = parsed_config(path)
    bases = tables.pop(BASES, None)
    for command, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"'{path}': '{command}' stands outside a table", "put it under e.g. [compress]")
        meant = difflib.get_close_matches(command, commands, n=1)
        if command not in commands and (reader is None or reader in meant or not meant):
            raise UsageError(f"'{path}': unknown table [{command}]", suggestion(command, commands))
        if command in commands and reader in (None, command):
            defaults[command] = _read_table(path, command, table, commands[command])
    if bases is not None:
        _spread(path, bases, commands, reader, defaults)
    return defaults


def _spread(
    path: Path, bases: Any, commands: Mapping[str, Options], reader: str | None, defaults: Defaults
) -> None:
    """Gives each command that looks for bases those before the tables, if its own table has none."""
    for command, options in commands.items():
        if BASES in options and reader in (None, command):
            found = _read_value(f"'{path}': '{BASES}'", VALUE_KINDS[options[BASES]], bases, path.parent)
            defaults[command] = {BASES: found} | defaults.get(command, {})


def _read_table(path: Path, command: str, table: Mapping[str, Any], options: Options) -> dict[str, Any]:
    names = {_dashed(name): name for name in options}
    values: dict[str, Any] = {}
    for key, value in table.items():
        where = f"'{path}': '{key}' in [{command}]"
        name = names.get(_dashed(key))
        if name is None:
            raise UsageError(f"{where} is unknown", suggestion(_dashed(key), names))
        if name in values:
            raise UsageError(f"{where} stands twice, with - and with _", "keep one of the two")
        values[name] = _read_value(where, VALUE_KINDS[options[name]], value, path.parent)
    return values


def _read_value(where: str, kind: Kind, value: Any, folder: Path) -> Any:
    found = kind.read(value, folder)
    if found is None:
        raise UsageError(f"{where} is {_shown(value)}; expected: {kind.wanted}", "correct it in the file")
    return found


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (ValueError, RecursionError):  # Python prints no number of so many digits
        return "too large to show"
    return text if len(text) <= 60 else text[:57] + "..."


def _text(value: Any, folder: Path) -> str | None:
    """Numbers are taken too, for options such as ``--bytes`` that read their own text."""
    if type(value) is float and math.isfinite(value):
        return str(value)
    if type(value) is int and abs(value) < MAX_INTEGER:
        return str(value)
    return value if isinstance(value, str) else None


def _output(value: Any, folder: Path) -> str | None:
    """A path that is to be written: wherever links lead, not out of the folder."""
    path = one_path(value, folder)
    below = os.path.join(os.path.realpath(folder), "")
    return path if path and os.path.realpath(path).startswith(below) else None


def _code(value: Any, folder: Path) -> str | None:
    """``file.py:Name`` is a path, ``package.module:Name`` is not."""
    if not isinstance(value, str):
        return None
    file, colon, name = value.rpartition(":")
    return f"{folder / file}{colon}{name}" if file.endswith(".py") and "\0" not in file else value


def _data(value: Any, folder: Path) -> str | None:
    """``hf:NAME`` is no path, ``file.py:function`` is one with a name behind it."""
    if not isinstance(value, str) or value.startswith("hf:"):
        return value if isinstance(value, str) else None
    coded = _code(value, folder)
    return one_path(value, folder) if coded == value else coded


def _log(value: Any, folder: Path) -> str | None:
    """A file or a TensorBoard folder that is to be written; ``none`` is no path."""
    if not isinstance(value, str) or value == NO_LOG:
        return value if isinstance(value, str) else None
    before = TENSORBOARD if value.startswith(TENSORBOARD) else ""
    path = _output(value.removeprefix(before), folder)
    return path and before + path


def _joined(value: Any, folder: Path) -> str | None:
    """One number or text, a list of them, or the text that the option takes: ``"0.4,0.5,0.6"``."""
    parts = [_text(part, folder) for part in (value if isinstance(value, list) else [value])]
    return ",".join(part for part in parts if part) if parts and all(parts) else None


def _list(value: Any, folder: Path) -> list[str] | None:
    texts = [value] if isinstance(value, str) else value
    good = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
    return texts if good else None


def _json(value: Any, folder: Path) -> str | None:
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str) if isinstance(value, dict) else None


def _int(value: Any, folder: Path) -> int | None:
    return value if type(value) is int and abs(value) < MAX_INTEGER else None


def _float(value: Any, folder: Path) -> float | None:
    return float(value) if type(value) is float or _int(value, folder) is not None else None


def _flag(value: Any, folder: Path) -> bool | None:
    return value if isinstance(value, bool) else None


def _never(value: Any, folder: Path) -> None:
    return None


VALUE_KINDS: dict[str, Kind] = {
    "path": Kind("a path in quotes", one_path),
    "output": Kind("a path in quotes, in the file's folder or below", _output),
    "log": Kind("'none', or a FILE.jsonl or 'tensorboard:DIR' in the file's folder or below", _log),
    "data": Kind("a path, 'hf:NAME' or 'file.py:function', in quotes", _data),
    "arch": Kind("'package.module:Class' or 'file.py:Class', in quotes", _code),
    "text": Kind("a text in quotes, or a number", _text),
    "numbers": Kind("a number, or a list of numbers", _joined),
    "row": Kind("a list of texts or numbers, or one of them", _joined),
    "list": Kind("a list of texts in quotes", _list),
    "paths": Kind(A_LIST_OF_PATHS, listed_paths),
    "json": Kind("a table, or JSON in quotes", _json),
    "int": Kind("a whole number", _int),
    "float": Kind("a number", _float),
    "flag": Kind("true or false", _flag),
    "consent": Kind("nothing: it is consent to run code, and is given on the command line only", _never),
    "replacing": Kind("nothing: that files may be replaced is said on the command line only", _never),
}
