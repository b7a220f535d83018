"""Tables on the terminal: the blocks that views are made of, and the one place that prints them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qtrain_cli.report.text import Sections, clipped, flat, harmless, value_text

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

_PIPE_WIDTH = 160


def show(renderable: RenderableType, paged: bool = False) -> None:
    """Print on stdout. Colour on a terminal only, and not with ``NO_COLOR``; a pipe gets wide plain lines.

    `paged`: what is higher than the terminal goes through the user's pager.
    """
    from rich.console import Console

    out = sys.stdout
    width = None if out.isatty() else _PIPE_WIDTH
    console = Console(width=width, highlight=False, emoji=False, markup=False)
    with console.capture() as capture:
        console.print(renderable)
    # Tables fill their lines with blanks; a terminal of another encoding shows \u escapes, not a traceback.
    text = harmless("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))
    encoding = out.encoding or "utf-8"
    shown = text.encode(encoding, "backslashreplace").decode(encoding)
    if paged and out.isatty() and shown.count("\n") >= console.height:
        _turn_pages(shown)
    else:
        out.write(shown)


def _turn_pages(text: str) -> None:
    """Through ``$PAGER``, as pydoc finds it; `less` is told that colours are meant."""
    import pydoc

    os.environ.setdefault("LESS", "-R")
    pydoc.pager(text)


def stacked(*parts: RenderableType) -> RenderableType:
    """One below the other."""
    from rich.console import Group

    return Group(*parts)


def styled(text: str, style: str = "") -> Text:
    """A text whose names cannot move the cursor; brackets in it are no markup."""
    from rich.text import Text

    return Text(clipped(text), style=style)


def sheet(sections: Sections) -> Table:
    """Labels and values in two columns, each section under its bold title."""
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for title, rows in sections.items():
        table.add_row(styled(title, "bold"))
        for label, text in rows:
            table.add_row(styled(f"  {label}", "cyan"), styled(text))
    return table


def columns(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table whose columns are the first row's keys."""
    from rich.table import Table

    table = Table(title=styled(title, "bold"), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in rows[0]:
        table.add_column(styled(name), overflow="fold")
    for row in rows:
        table.add_row(*(styled(value_text(row.get(name))) for name in rows[0]))
    return table


def key_values_terminal(title: str, values: Mapping[str, Any]) -> RenderableType:
    """Any flat or nested mapping for people: a nested one is indented, a list of mappings is a table."""
    tables = {name: rows for name, rows in values.items() if _is_table(rows)}
    rest = {name: value for name, value in values.items() if name not in tables}
    return stacked(sheet({title: flat(rest)}), *(columns(name, rows) for name, rows in tables.items()))


def _is_table(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(row, Mapping) for row in value)
