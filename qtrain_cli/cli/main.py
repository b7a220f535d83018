"""From the command line to an exit code: configuration, parsing, and every way a run can end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from qtrain_cli.cli import config
from qtrain_cli.cli.app import command_for, kinds_of
from qtrain_cli.cli.launch import ARGUMENTS, leave_failure, said_by_first, torchrun_starts_again
from qtrain_cli.cli.table import COMMANDS
from qtrain_cli.errors import (
    INTERNAL_EXIT_CODE,
    BadInput,
    GateFailed,
    Interrupted,
    QtrainError,
    RunFailed,
    UsageError,
    is_out_of_memory,
)
from qtrain_cli.files.atomic import FULL
from qtrain_cli.report.lines import tell
from qtrain_cli.report.text import json_text
from qtrain_cli.settings.budget import BUDGETS

SPIN_COUNT = "10000"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Typer carries its own copy of click, under a name that changes; the base of its errors is found by descent.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code. Nothing raised inside leaves this function."""
    _let_waiting_threads_sleep()
    given = list(sys.argv[1:] if arguments is None else arguments)
    started = time.monotonic()
    ARGUMENTS.set(given)
    _open_streams()
    heard: list[int] = []
    try:
        with _interruptible(heard):
            code = _run(_asked(given))
            sys.stdout.flush()
    except BaseException as error:
        code = _fail(_as_ours(KeyboardInterrupt() if _is_aftermath(error, heard) else error), error, given)
    if {"-v", "--verbose"} & set(given):
        tell(f"{time.monotonic() - started:.1f} s, exit code {code}")
    return code


def _asked(given: list[str]) -> list[str]:
    """`qtrain` alone is a call for help, and `qtrain help COMMAND` one for that command's."""
    if len(given) == 2 and given[0] == "help" and given[1] in COMMANDS:
        return [given[1], "--help"]
    return given or ([] if sys.stdout.isatty() else ["--help"])


def _show_next_steps() -> int:
    """For people at a terminal; whoever reads a pipe gets the help."""
    from qtrain_cli.files.surroundings import look_around
    from qtrain_cli.report.next_steps import next_steps_terminal
    from qtrain_cli.report.terminal import show

    show(next_steps_terminal(look_around(Path())))
    return 0


def _let_waiting_threads_sleep() -> None:
    """Torch's threads spin while they wait: on a machine with other work that is up to thirty times slower.

    A short spin costs nothing on an idle machine; sleeping at once doubles the time there. The user's own
    setting wins. It is read when torch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def _open_streams() -> None:
    """A stream that the caller closed goes nowhere, and its number to no file that is written later."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The system gives the lowest number that is free, which is the closed one's.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _run(arguments: list[str]) -> int:
    if not arguments:
        return _show_next_steps()
    completes = "_QTRAIN_COMPLETE" in os.environ
    code = command_for(None if completes else _verb(arguments) or "").main(
        args=arguments,
        prog_name="qtrain",
        standalone_mode=False,
        default_map=_defaults(arguments) if _wants_defaults(arguments) else None,
    )
    if code == Interrupted.exit_code:
        raise KeyboardInterrupt  # typer has caught it and said nothing
    return code if isinstance(code, int) else 0


@contextmanager
def _interruptible(heard: list[int]) -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: temporary files are removed, and the exit code is ours.

    Each signal's number is put into `heard`. One that the caller ignores stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    heeded = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_aftermath(error: BaseException, heard: list[int]) -> bool:
    """Whether an interruption broke this: a library that is being imported may swallow it, and fail later."""
    return bool(heard) and _as_ours(error) is None


def _wants_defaults(arguments: list[str]) -> bool:
    """Help and completion must answer even where `qtrain.toml` is broken."""
    return not {"-h", "--help", "--version"} & set(arguments) and "_QTRAIN_COMPLETE" not in os.environ


def _verb(arguments: Sequence[str]) -> str | None:
    """The command that is called; None where there is none of that name."""
    return next((word for word in arguments if word in COMMANDS), None)


def _defaults(arguments: list[str]) -> dict[str, dict[str, Any]]:
    """What `qtrain.toml` says to the command (or to all), by parameter, as typer takes it.

    A budget on the command line takes the place of another one there.
    """
    kinds = {name: kinds_of(row) for name, row in COMMANDS.items()}
    found = config.load_defaults(Path(), kinds, _verb(arguments))
    typed = {word.removeprefix("--").partition("=")[0] for word in arguments if word.startswith("--")}
    displaced = set(BUDGETS) if typed & set(BUDGETS) else set()
    return {
        name: {option.replace("-", "_"): value for option, value in values.items() if option not in displaced}
        for name, values in found.items()
    }


def _as_ours(error: BaseException) -> QtrainError | None:
    """Any way a run can end as one of our failures; None for a bug."""
    # By its cause too: a reader takes what it does not expect for the file's fault.
    if is_out_of_memory(error) or (isinstance(error, QtrainError) and is_out_of_memory(error.__cause__)):
        return RunFailed(
            "out of memory",
            "free some (`ulimit -v` shows a limit), or use a smaller budget, batch or data set",
        )
    if isinstance(error, QtrainError):
        return error
    if isinstance(error, _CommandLineError):
        message = str(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
        return UsageError(message, _how_it_is_said(message))
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return Interrupted(
            "interrupted", "run it again: comparisons go on, other runs do with --resume where they have it"
        )
    if isinstance(error, OSError) and error.errno in FULL:
        return RunFailed(f"the output could not be written: {error.strerror}", "free some space")
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return BadInput(f"'{error.filename}' cannot be reached: {error.strerror}", "check the path")
    return None


def _how_it_is_said(message: str) -> str:
    """What to do about a command line that does not parse."""
    from qtrain_cli.report.config_text import WRITTEN

    verb = _verb(ARGUMENTS.get())
    if verb is None:
        return "`qtrain --help` lists the commands"
    written = (
        "give it, or let `qtrain init` write it into a qtrain.toml; " if verb in WRITTEN else "give it; "
    )
    missing = written if "Missing" in message else ""
    return f"{missing}`qtrain {verb} --help` lists the options"


def _fail(ours: QtrainError | None, error: BaseException, arguments: list[str]) -> int:
    """Says what went wrong, on stderr and with ``--json`` on stdout, and returns the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        _write("")
        return 1
    if os.environ.get("QTRAIN_DEBUG") == "1":
        tell("".join(traceback.format_exception(error)).rstrip())
    shown = ours or QtrainError(
        f"internal error: {type(error).__name__}: {error}",
        "this is a bug: please report it with the traceback that QTRAIN_DEBUG=1 shows and `qtrain env`",
    )
    code = shown.exit_code if ours else INTERNAL_EXIT_CODE
    first = os.environ.get("RANK", "0") == "0"
    if leave_failure(shown, shown.kind if ours else "internal", code) or (not first and said_by_first(shown)):
        return code
    with contextlib.suppress(OSError):  # where nobody can be told, the exit code still says it
        advice = f"; {shown.advice}" if shown.advice else ""
        tell(f"qtrain: error: {shown.message}{advice}")
    document = shown.as_json()
    document["error"]["kind"] = shown.kind if ours else "internal"
    # The document of a failed gate has been printed already, with its error in it.
    wanted = "--json" in arguments and not isinstance(ours, GateFailed) and first
    wanted = wanted and not torchrun_starts_again(shown)
    _write(json_text(document) if wanted else "")
    if first:
        said_by_first(shown)  # now that it is, the others are told
    return code


def _write(text: str) -> None:
    """Writes to stdout, after what is left in its buffer, as far as there is anyone to read it."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        # Or Python would try once more at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
