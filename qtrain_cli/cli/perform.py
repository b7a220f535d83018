"""One command, from what was said to what is shown.

said -> settings -> the command's record -> files -> one document or table -> a gate that failed
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from qtrain_cli.cli.launch import launch, of_ours, raise_earlier_failure
from qtrain_cli.cli.outputs import write_outputs
from qtrain_cli.cli.streams import nobody_hears, prints_on_stderr
from qtrain_cli.cli.table import Command
from qtrain_cli.errors import UsageError
from qtrain_cli.files.notes import OVER, SAVED, SHOWN, note, noted
from qtrain_cli.files.reading import open_ordinary, refuse_missing_model
from qtrain_cli.report.lines import logged_lines, tell
from qtrain_cli.results.rehearsal import Rehearsal
from qtrain_cli.settings import CommonSettings
from qtrain_cli.settings.declared import said_record


def perform(command: Command, common: CommonSettings, said: Mapping[str, Any]) -> None:
    """Runs a command on what was said, writes the files that were asked for, and prints; in several
    processes where they were asked for.

    Raises:
        QtrainError: as the command does; a failed gate last, when everything is written and printed.
    """
    if "processes" in command.options and "WORLD_SIZE" in os.environ:  # a launcher has started this one
        raise_earlier_failure()
        if noted(OVER):
            return
        from qtrain_cli.training.ranks import joined_processes, leave_together, named_in

        ranks = named_in(os.environ)
        if ranks.several:
            with joined_processes(), nullcontext() if ranks.first else nobody_hears():
                _performed(command, common, _settings(command, _as_one_of(ranks.count, said)), ranks.first)
                leave_together()
            return
    settings = _settings(command, said)
    _refuse_missing(said)
    if (said.get("processes") or 1) > 1:
        launch(said["processes"], said.get("max-restarts") or 0)
    else:
        _performed(command, common, settings)


def _settings(command: Command, said: Mapping[str, Any]) -> Any:
    return said_record(command.settings, command.says, said, command.fixed)


def _refuse_missing(said: Mapping[str, Any]) -> None:
    """Raises `BadInput` for a model, teacher, base or artifact that was named and is not there: nobody waits
    for PyTorch's import to hear of that."""
    for name in ("model", "teacher", "base"):
        if said.get(name):
            refuse_missing_model(Path(said[name]))
    if said.get("artifact"):
        open_ordinary(Path(said["artifact"])).close()


def _as_one_of(count: int, said: Mapping[str, Any]) -> dict[str, Any]:
    """What was said, in one of so many processes. Raises `UsageError` for another number of them."""
    if said["processes"] not in (None, 1, count):
        raise UsageError(
            f"--processes is {said['processes']}, and {count} were started", "leave it out beside torchrun"
        )
    if said.get("max-restarts") and not of_ours():
        raise UsageError("--max-restarts does nothing under torchrun", "torchrun has one of its own")
    again = {"resume": True} if noted(SAVED) and "resume" in said else {}
    return {**said, "processes": count, **again}


def _performed(command: Command, common: CommonSettings, settings: Any, first: bool = True) -> None:
    with prints_on_stderr():
        record = _record(command, settings, common.quiet or not first)
    if not first:
        return
    from qtrain_cli.report.views import VIEWS

    dry = isinstance(record, Rehearsal)
    view = VIEWS["dry-run" if dry else command.view]
    if not noted(SHOWN):
        if not dry:
            write_outputs(view, record, settings)
        if common.json:
            sys.stdout.write(view.as_json(record))
        else:
            view.show(record)
        sys.stdout.flush()
        note(SHOWN)
    failure = view.failure(record)
    if failure:
        raise failure
    note(OVER)


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


def _share(stack: ExitStack, quiet: bool, command: Command) -> Any:
    from qtrain_cli.report.progress import shown_share

    return stack.enter_context(shown_share(quiet))


#: What a command may be handed beside its settings: where progress and lines go.
GIVEN: dict[str, Callable[[ExitStack, bool, Command], Any]] = {"show": _show, "log": _log, "share": _share}
