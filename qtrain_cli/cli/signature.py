"""A command's settings as the signature that typer reads: one parameter an option.

No default but a flag's reaches typer: what was not said arrives as None, and the record's own default counts.
The help shows that one.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from qtrain_cli.cli.completion import proposals_for
from qtrain_cli.cli.table import choices_of
from qtrain_cli.settings.declared import Setting
from qtrain_cli.settings.option import Option

_KINDS: dict[Any, str] = {Path: "path", str: "text", int: "int", float: "float", bool: "flag"}


def signature_of(settings: Iterable[Setting]) -> inspect.Signature:
    """One keyword a name among these settings, annotated for typer; two of one name are one option."""
    named = {setting.option.name: setting for setting in settings if setting.option}
    return inspect.Signature(
        [_parameter(setting, setting.option) for setting in named.values() if setting.option]
    )


def parameter_name(option: Option) -> str:
    """What typer's parameter of an option is called."""
    return option.name.replace("-", "_")


def kind_of(setting: Setting, option: Option) -> str:
    """What may stand for it in `qtrain.toml`: a key of `config.VALUE_KINDS`, or ``absent``."""
    typed = _typed(setting, option)
    return option.kind or ("list" if typing.get_origin(typed) is list else _KINDS[typed])


def _parameter(setting: Setting, option: Option) -> inspect.Parameter:
    typed = _typed(setting, option)
    shown: dict[str, Any] = {
        "help": _help(setting, option), "show_default": False, "autocompletion": proposals_for(option),
    }  # fmt: skip
    if option.is_argument:
        info: Any = typer.Argument(metavar=option.flag, **shown)
    else:
        flags = [option.flag, *([option.short] if option.short else [])]
        info = typer.Option(*flags, min=option.least, **shown)
    return inspect.Parameter(
        parameter_name(option),
        inspect.Parameter.KEYWORD_ONLY,
        default=_default(setting, option, typed),
        annotation=Annotated[typed if setting.required or typed is bool else typed | None, info],
    )


def _typed(setting: Setting, option: Option) -> Any:
    if option.typed or option.read:
        return option.typed or str
    return list[str] if typing.get_origin(setting.type) is tuple else setting.type


def _default(setting: Setting, option: Option, typed: Any) -> Any:
    if setting.required:
        return inspect.Parameter.empty
    if option.every:
        return ",".join(choices_of(option))
    return setting.default is True if typed is bool else None


def _help(setting: Setting, option: Option) -> str:
    text = option.help.replace("{choices}", " | ".join(choices_of(option)))
    shown = setting.otherwise.text or _shown(setting.default, option)
    return f"{text} [{shown}]" if shown and not setting.required else text


def _shown(default: Any, option: Option) -> str:
    """A default for people; nothing where there is none, or where it only is that a flag was not given."""
    if isinstance(default, bool):
        names = option.flag.split("/")
        return names[not default].removeprefix("--") if len(names) > 1 else ""
    if default is None or default == ():
        return ""
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
