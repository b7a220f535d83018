"""One command, from what was said to what is shown.

said -> settings -> the command's record -> files -> one document or table -> a gate that failed
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from qtrain_cli.cli.outputs import write_outputs
from qtrain_cli.cli.streams import prints_on_stderr
from qtrain_cli.cli.table import Command
from qtrain_cli.report.lines import logged_lines, tell
from qtrain_cli.results.rehearsal import Rehearsal
from qtrain_cli.settings import CommonSettings
from qtrain_cli.settings.declared import said_record


def perform(command: Command, common: CommonSettings, said: Mapping[str, Any]) -> None:
    """Runs a command on what was said, writes the files that were asked for, and prints.

    Raises:
        QtrainError: as the command does; a failed gate last, when everything is written and printed.
    """
    settings = said_record(command.settings, command.says, said, command.fixed)
    with prints_on_stderr():
        record = _record(command, settings, common.quiet)
    from qtrain_cli.report.views import VIEWS

    dry = isinstance(record, Rehearsal)
    view = VIEWS["dry-run" if dry else command.view]
    if not dry:
        write_outputs(view, record, settings)
    if common.json:
        sys.stdout.write(view.as_json(record))
    else:
        view.show(record)
    failure = view.failure(record)
    if failure:
        raise failure


def _record(command: Command, settings: Any, quiet: bool) -> Any:
    run = _module(command.name).run
    with ExitStack() as stack:
        stack.enter_context(logged_lines(quiet))
        given = [GIVEN[name](stack, quiet, command) for name in command.given]
        return run(*([settings] if command.settings else []), *given)


def _module(name: str) -> Any:
    return importlib.import_module(f"qtrain_cli.commands.{name.replace('-', '_')}")


def _show(stack: ExitStack, quiet: bool, command: Command) -> Any:
    from qtrain_cli.report.progress import shown_progress

    return stack.enter_context(shown_progress(quiet, _stopping(command)))


def _stopping(command: Command) -> str:
    """What Ctrl-C does to a run of this command."""
    resumed = "resume" in command.options
    again = "the same command with --resume goes on" if resumed else "run it again to go on"
    return f"Ctrl-C stops and keeps what is done: {again}"


def _log(stack: ExitStack, quiet: bool, command: Command) -> Callable[[str], None]:
    return (lambda line: None) if quiet else tell


#: What a command may be handed beside its settings: where progress and lines go.
GIVEN: dict[str, Callable[[ExitStack, bool, Command], Any]] = {"show": _show, "log": _log}
