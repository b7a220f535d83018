"""From the command line to an exit code: configuration, parsing, and every way a run can end."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from qtrain_cli import config, render
from qtrain_cli.cli.parameters import VERBS, option_parameters
from qtrain_cli.cli.verbs import app
from qtrain_cli.errors import (
    INTERNAL_EXIT_CODE,
    GateFailed,
    Interrupted,
    QtrainError,
    RunFailed,
    UsageError,
    is_out_of_memory,
)  # fmt: skip

#: Typer carries its own copy of click, under a name that changes; the base of its errors is found by descent.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code. Nothing raised inside leaves this function."""
    # Torch's threads otherwise spin while they wait: on a machine with other work, thirty times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = list(sys.argv[1:] if arguments is None else arguments)
    started = time.monotonic()
    try:
        with _terminable():
            code = _run(given or ["--help"])
            sys.stdout.flush()
    except BaseException as error:
        code = _fail(_as_ours(error), error, given)
    if {"-v", "--verbose"} & set(given):
        print(f"{time.monotonic() - started:.1f} s, exit code {code}", file=sys.stderr)
    return code


def _run(arguments: list[str]) -> int:
    command: Any = typer.main.get_command(app)
    code = command.main(
        args=arguments,
        prog_name="qtrain",
        standalone_mode=False,
        default_map=_defaults() if _wants_defaults(arguments) else None,
    )
    if code == Interrupted.exit_code:
        raise KeyboardInterrupt  # typer has caught it and said nothing
    return code if isinstance(code, int) else 0


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: temporary files are removed, and the exit code is ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wants_defaults(arguments: list[str]) -> bool:
    """Help and completion must answer even where `qtrain.toml` is broken."""
    return not {"-h", "--help", "--version"} & set(arguments) and "_QTRAIN_COMPLETE" not in os.environ


def _defaults() -> dict[str, dict[str, Any]]:
    """What `qtrain.toml` says, by command and parameter, as typer takes it."""
    parameters = {verb: option_parameters(verb) for verb in VERBS}
    kinds = {
        verb: {option: parameter.kind for option, parameter in rows.items()}
        for verb, rows in parameters.items()
    }
    found = config.load_defaults(Path(), kinds)
    return {
        verb: {parameters[verb][option].name: value for option, value in values.items()}
        for verb, values in found.items()
    }


def _as_ours(error: BaseException) -> QtrainError | None:
    """Any way a run can end as one of our failures; None for a bug."""
    if isinstance(error, QtrainError):
        return error
    if isinstance(error, _CommandLineError):
        return UsageError(error.format_message().rstrip("."), "`qtrain COMMAND --help` lists the options")  # type: ignore[attr-defined]
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return Interrupted("interrupted", "run it again; `qtrain compress` goes on with --resume")
    if is_out_of_memory(error):
        return RunFailed("out of memory", "use a smaller budget, batch or data set")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return RunFailed(f"the output could not be written: {error.strerror}", "free some space")
    return None


def _fail(ours: QtrainError | None, error: BaseException, arguments: list[str]) -> int:
    """Says what went wrong, on stderr and with ``--json`` on stdout, and returns the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        _write("")
        return 1
    if os.environ.get("QTRAIN_DEBUG") == "1":
        traceback.print_exception(error, file=sys.stderr)
    shown = ours or QtrainError(
        f"internal error: {type(error).__name__}: {error}",
        "this is a bug: please report it with the traceback that QTRAIN_DEBUG=1 shows and `qtrain env`",
    )
    print(f"qtrain: error: {shown.message}" + (f"; {shown.advice}" if shown.advice else ""), file=sys.stderr)
    document = shown.as_json()
    document["error"]["kind"] = shown.kind if ours else "internal"
    # The document of a failed gate has been printed already, with its error in it.
    wanted = "--json" in arguments and not isinstance(ours, GateFailed)
    _write(render.as_json(document) if wanted else "")
    return shown.exit_code if ours else INTERNAL_EXIT_CODE


def _write(text: str) -> None:
    """Writes to stdout, after what is left in its buffer, as far as there is anyone to read it."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        # Or Python would try once more at exit, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
