"""The command line: options -> settings -> one command -> render -> exit code.

    main      configuration, parsing, every way a run can end
    verbs     one function a command
    options   what several commands share

stdout carries data only; logs, progress and errors go to stderr. Torch is imported by the commands that need
it, inside their functions, so that help, completion and `report` answer at once. Options may stand in
`qtrain.toml`, one table a command; the command line wins.
"""

from qtrain_cli.cli.main import main

__all__ = ["main"]
