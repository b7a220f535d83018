"""What a file holds, on the terminal: its facts, then a table of tensors for each set of weights in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qtrain_cli.report.terminal import columns, sheet, stacked
from qtrain_cli.report.text import flat

if TYPE_CHECKING:
    from rich.console import RenderableType


def inspection_terminal(found: Mapping[str, Any]) -> RenderableType:
    """Of the plain data that `qtrain inspect` returns."""
    facts = {name: value for name, value in found.items() if name not in ("entries", "tensors")}
    sets = [(_title(entry), entry["tensors"]) for entry in found.get("entries", ())]
    if "tensors" in found:
        sets.append((_counted("tensors", found["tensors"]), found["tensors"]))
    return stacked(sheet({"inspect": flat(facts)}), *(_table(title, rows) for title, rows in sets if rows))


def _title(entry: Mapping[str, Any]) -> str:
    where = f"weights '{entry['path']}'" if entry["path"] else "weights"
    return _counted(where, entry["tensors"])


def _counted(what: str, rows: Sequence[Mapping[str, Any]]) -> str:
    numbers = sum(math.prod(row["shape"]) for row in rows)
    return f"{what}: {len(rows):,} tensors, {numbers:,} numbers"


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    return columns(title, [{**row, "shape": _shape(row["shape"])} for row in rows])


def _shape(sizes: Sequence[int]) -> str:
    """``64 x 3 x 3``; a number alone has no sizes."""
    return " x ".join(map(str, sizes)) or "one number"
