"""How a command's record is shown: a form for scripts, one for the terminal, files it can become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtrain_cli.errors import QtrainError
from qtrain_cli.report.terminal import show
from qtrain_cli.report.text import json_text

if TYPE_CHECKING:
    from rich.console import RenderableType


def _none(record: Any) -> None:
    """No failure is in it."""


@dataclass(frozen=True)
class View:
    """One row of `views.VIEWS`.

    `files` and `added` go by the setting that names the path: the content of a file of its own, and a text
    that is added to a file that others write to as well. `failure` is what a run that went well ends with.
    `paged`: long ones are for reading, and go through a pager.
    """

    document: Callable[[Any], Mapping[str, Any]]
    terminal: Callable[[Any], RenderableType]
    files: Mapping[str, Callable[[Any, Path], bytes]] = field(default_factory=dict)
    added: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    failure: Callable[[Any], QtrainError | None] = _none
    paged: bool = False

    def as_json(self, record: Any) -> str:
        """The one document on stdout."""
        return json_text(self.document(record))

    def show(self, record: Any) -> None:
        """Prints it for people."""
        show(self.terminal(record), self.paged)
