"""Markdown as GitHub reads it: tables, and texts that make no markup of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable

from qtrain_cli.report.text import clipped

#: A colon and a dot after www make links, a dollar makes formulas.
_MARKS = re.compile(r"([\\`*_\[\]<>|~&#$]|:(?=\S)|(?<=www)\.)", re.IGNORECASE)


def escaped(text: str) -> str:
    """`text` with what would be markup, or is not printable, spelled out."""
    return _MARKS.sub(r"\\\1", clipped(text))


def pipes(head: Iterable[str], rows: Iterable[Iterable[str]], rule: str = "---") -> list[str]:
    """A table's lines; `rule` aligns all columns but the first."""
    names = list(head)
    return [_line(names), f"|---|{f'{rule}|' * (len(names) - 1)}", *map(_line, rows)]


def _line(cells: Iterable[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)
