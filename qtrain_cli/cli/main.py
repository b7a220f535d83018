"""From the command line to an exit code: configuration, parsing, and every way a run can end."""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from qtrain_cli import config, render
from qtrain_cli.cli.parameters import VERBS, option_parameters
from qtrain_cli.cli.verbs import app
from qtrain_cli.errors import INTERNAL_EXIT_CODE, GateFailed, Interrupted, QtrainError, RunFailed, UsageError

#: Typer carries its own copy of click, under a name that changes; the base of its errors is found by descent.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code. Nothing raised inside leaves this function."""
    # Torch's threads otherwise spin while they wait: on a machine with other work, thirty times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = list(sys.argv[1:] if arguments is None else arguments)
    started = time.monotonic()
    try:
        code = _run(given or ["--help"])
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
    return code if isinstance(code, int) else 0


def _wants_defaults(arguments: list[str]) -> bool:
    """Help must answer even where `qtrain.toml` is broken."""
    return not {"-h", "--help", "--version"} & set(arguments)


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
        return Interrupted("interrupted", "`qtrain compress ... --resume` goes on from the last saved state")
    if _is_out_of_memory(error):
        return RunFailed("out of memory", "use a smaller budget, batch or data set")
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    """Torch says it in words: on a GPU as a class of its own, on the CPU as any `RuntimeError`."""
    said = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said


def _fail(ours: QtrainError | None, error: BaseException, arguments: list[str]) -> int:
    """Says what went wrong, on stderr and with ``--json`` on stdout, and returns the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        # The reader has gone; keep Python from writing to it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if os.environ.get("QTRAIN_DEBUG") == "1":
        traceback.print_exception(error, file=sys.stderr)
    shown = ours or QtrainError(
        f"internal error: {type(error).__name__}: {error}",
        "this is a bug: please report it with the traceback that QTRAIN_DEBUG=1 shows and `qtrain env`",
    )
    print(f"qtrain: error: {shown.message}" + (f"; {shown.advice}" if shown.advice else ""), file=sys.stderr)
    # The document of a failed gate has been printed already, with its error in it.
    if "--json" in arguments and not isinstance(ours, GateFailed):
        document = shown.as_json()
        document["error"]["kind"] = shown.kind if ours else "internal"
        sys.stdout.write(render.as_json(document))
    return shown.exit_code if ours else INTERNAL_EXIT_CODE
