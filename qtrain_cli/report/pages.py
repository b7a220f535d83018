"""Pages of help on the terminal: Markdown with its tables; links to files are texts there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from qtrain_cli.report.terminal import sheet, stacked, styled

if TYPE_CHECKING:
    from rich.console import RenderableType

#: A link to a file of the project's own, which is of no use on a terminal.
_FILE_LINK = re.compile(r"\[([^\]]+)\]\((?!http)[^)]+\)")


class Paged(Protocol):
    """A page and the list that it is of."""

    @property
    def topic(self) -> str | None: ...
    @property
    def text(self) -> str: ...
    @property
    def topics(self) -> Mapping[str, str]: ...


def page_document(page: Paged) -> dict[str, Any]:
    """For scripts."""
    return {"topic": page.topic, "text": page.text, "topics": dict(page.topics)}


def page_terminal(page: Paged) -> RenderableType:
    """The page; without one, the list of topics."""
    if page.topic is None:
        rows = [(f"qtrain help {name}", heading) for name, heading in page.topics.items()]
        more = styled("qtrain COMMAND --help has a command's options.")
        return stacked(sheet({"Pages": rows}), more)
    from rich.markdown import Markdown

    return Markdown(_FILE_LINK.sub(r"\1", page.text), hyperlinks=False)
