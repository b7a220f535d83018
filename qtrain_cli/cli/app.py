"""The commands of the table as one typer app, of which only the one that is called has its options: making
those of all would take longer than all else that `--help` does."""

from __future__ import annotations

import functools
import inspect
from typing import Annotated, Any

import typer

from qtrain_cli.cli.perform import perform
from qtrain_cli.cli.signature import kind_of, parameter_name, signature_of
from qtrain_cli.cli.table import COMMANDS, Command
from qtrain_cli.results.versions import VERSION
from qtrain_cli.settings import CommonSettings
from qtrain_cli.settings.declared import said_record, settings_of

COMMON = settings_of(CommonSettings)


@functools.cache
def command_for(verb: str | None) -> Any:
    """All commands by name and help, and the options of one; of every one where it is None. Made once each:
    a program that calls `main` again and again would spend most of its calls on it."""
    app = typer.Typer(
        name="qtrain",
        help="Compress trained PyTorch models into small artifacts that regenerate ordinary weights.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for command in COMMANDS.values():
        asked = verb in (None, command.name)
        app.command(command.name)(callback_of(command) if asked else _without_options(command))
    return typer.main.get_command(app)


def _version(show: bool) -> None:
    if show:
        print(f"qtrain {VERSION}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def callback_of(command: Command) -> Any:
    """The function that typer calls: its signature says the options, its docstring the help."""
    settings = (*command.says, *COMMON)
    names = {parameter_name(one.option): one.option.name for one in settings if one.option}

    def call(**values: Any) -> None:
        said = {names[name]: value for name, value in values.items()}
        perform(command, said_record(CommonSettings, COMMON, said, {}), said)

    signature = signature_of(settings)
    call.__name__, call.__doc__ = command.name, inspect.cleandoc(command.help)
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    return call


def _without_options(command: Command) -> Any:
    """What stands in the list of commands while another one is called."""

    def named() -> None:
        raise AssertionError(f"{command.name} was called without its options")

    named.__name__, named.__doc__ = command.name, inspect.cleandoc(command.help)
    return named


def kinds_of(command: Command) -> dict[str, str]:
    """What may stand in a command's table of `qtrain.toml`: a kind by the option's name."""
    kinds = {one.option.name: kind_of(one, one.option) for one in (*command.says, *COMMON) if one.option}
    return {name: kind for name, kind in kinds.items() if kind != "absent"}
