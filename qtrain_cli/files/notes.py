"""What the processes of a run leave for those that are started anew in their place: files in a folder of the
launcher's, which is gone with it. Where there is no launcher of ours, nothing is left and nothing found."""

from __future__ import annotations

import os
from pathlib import Path

#: In the environment: the folder. There a process says how it failed too (`cli.launch`).
FAILURES = "QTRAIN_FAILURES"
#: The result is on stdout: what follows is the end of a process, seconds of it.
SHOWN = "shown"
#: And nothing was wrong with it: who is started anew has nothing to do.
OVER = "over"
#: A state of this very run lies beside its output, and none of an earlier one.
SAVED = "saved"


def notes_folder() -> Path | None:
    """Where this process, which a launcher of ours has started, says what others are to know."""
    folder = os.environ.get(FAILURES)
    return Path(folder) if folder and "RANK" in os.environ else None


def note(what: str) -> None:
    """Says so to those who may come after."""
    folder = notes_folder()
    if folder:
        Path(folder, what).touch()


def noted(what: str) -> bool:
    """Whether these processes, or those before them, have said so."""
    folder = notes_folder()
    return folder is not None and Path(folder, what).exists()
