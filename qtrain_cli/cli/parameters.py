"""The commands' own signatures as a table: which options there are, and of which kind.

What may stand in `qtrain.toml` is derived from it, so that no list of options is typed twice.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from qtrain_cli.cli.registry import app

_KINDS: dict[Any, str] = {Path: "path", str: "text", int: "int", float: "float", bool: "flag"}
#: Options whose values are more than their Python type says.
_OWN_KINDS = {
    "data": "data", "arch": "arch", "arch-args": "json", "mean": "numbers", "std": "numbers",
    "trust-pickle": "consent",
}  # fmt: skip
#: Options that hold several values in one text, by command.
_ROWS = {
    "sample": ("shots", "noise"), "compare": ("bytes", "methods"), "compare-students": ("methods",),
    "compare-gradients": ("gradients", "shots", "qubits", "layers"),
}  # fmt: skip
#: Of one run, not of a folder.
_NOT_IN_A_FILE = ("json", "verbose")

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
    hints = typing.get_type_hints(VERBS[verb])
    command: Any = typer.main.get_command(app)
    written = {_written(parameter): parameter.name for parameter in command.commands[verb].params}
    return {
        option: Parameter(name, _kind_of(verb, option, hints[name]))
        for option, name in written.items()
        if option not in _NOT_IN_A_FILE
    }


def _written(parameter: Any) -> str:
    """``--arch-args`` -> ``arch-args``; an argument goes by its parameter's name."""
    long = [text for text in parameter.opts if text.startswith("--")]
    return long[0].removeprefix("--") if long else str(parameter.name)


def _kind_of(verb: str, option: str, annotated: Any) -> str:
    return "row" if option in _ROWS.get(verb, ()) else _OWN_KINDS.get(option) or _kind(annotated)


def _kind(annotated: Any) -> str:
    if isinstance(annotated, types.UnionType):
        annotated = next(part for part in typing.get_args(annotated) if part is not types.NoneType)
    return "list" if typing.get_origin(annotated) is list else _KINDS[annotated]
