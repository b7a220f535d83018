"""The command line: options -> settings -> one command -> a view -> exit code.

    main        configuration, parsing, every way a run can end
    table       the commands, one row each
    signature, app        settings as options of typer
    perform, outputs      one command: run, written, shown
    config      qtrain.toml
    lines       all that is said on stderr

stdout carries data only; logs, progress and errors go to stderr. Torch is imported by the commands that need
it, inside their functions, so that help, completion and `report` answer at once. Options may stand in
`qtrain.toml`, one table a command; the command line wins.
"""

from qtrain_cli.cli.main import main

__all__ = ["main"]
