"""The commands' own signatures as a table: which options there are, and of which kind.

What may stand in `qtrain.toml` is derived from it, so that no list of options is typed twice.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.models import ArgumentInfo, OptionInfo

from qtrain_cli.cli.verbs import app

_KINDS: dict[Any, str] = {Path: "path", str: "text", int: "int", float: "float", bool: "flag"}
#: Options whose values are more than their Python type says.
_OWN_KINDS = {
    "data": "data", "arch": "arch", "arch-args": "json", "mean": "numbers", "std": "numbers",
    "trust-pickle": "consent",
}  # fmt: skip
_NOT_IN_A_FILE = ("json",)

VERBS: dict[str, Any] = {
    row.name or row.callback.__name__: row.callback for row in app.registered_commands if row.callback
}


@dataclass(frozen=True)
class Parameter:
    """One option or argument: the Python parameter's name, and the kind of its value for `config`."""

    name: str
    kind: str


def option_parameters(verb: str) -> dict[str, Parameter]:
    """A command's parameters by the names that users write, without dashes."""
    hints = typing.get_type_hints(VERBS[verb], include_extras=True)
    rows = {}
    for name, hint in hints.items():
        if name == "return":
            continue
        annotated, info = typing.get_args(hint)
        option = _written(name, info)
        if option not in _NOT_IN_A_FILE:
            rows[option] = Parameter(name, _OWN_KINDS.get(option) or _kind(annotated))
    return rows


def _written(name: str, info: ArgumentInfo | OptionInfo) -> str:
    """``--arch-args`` -> ``arch-args``; an argument goes by its parameter's name."""
    long = [text for text in info.param_decls or () if text.startswith("--")]
    return long[0].removeprefix("--") if long else name


def _kind(annotated: Any) -> str:
    if isinstance(annotated, types.UnionType):
        annotated = next(part for part in typing.get_args(annotated) if part is not types.NoneType)
    return "list" if typing.get_origin(annotated) is list else _KINDS[annotated]
