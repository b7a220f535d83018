"""The files that a command's settings ask for, made of its record by its view.

Whether they can be written is the command's to say, before it begins; here they are written, each whole or
not at all.
"""

from __future__ import annotations

from typing import Any

from qtrain_cli.files.atomic import add_to, write_bytes_atomically
from qtrain_cli.report.view import View


def write_outputs(view: View, record: Any, settings: Any) -> None:
    """Writes every file of the view whose setting has a path, then adds to those that others write to.

    Raises:
        UsageError, BadInput, RunFailed: it cannot be written.
    """
    for name, content in view.files.items():
        path = getattr(settings, name)
        if path:
            write_bytes_atomically(path, content(record, path), settings.force)
    for name, text in view.added.items():
        path = getattr(settings, name)
        if path:
            add_to(path, text(record))
