"""The layout as rows of JSON, one for each tensor of the state dictionary. Standard library only.

[name, dtype, shape]                      kept whole, or [..., form], or [..., "band", first, last]
[name, source]                            tied
[name, shape, fan-in]                     generated, or [..., centre, dtype], or [..., centre, dtype, row]:
                                          that row is zero, or kept, with one more member, its dtype
"""

from __future__ import annotations

from typing import Any

from qtrain_cli.errors import BadInput
from qtrain_cli.targets.entries import GENERATED, KEPT, TIED, LayoutSpec, TensorEntry


def rows_of(layout: LayoutSpec) -> list[list[Any]]:
    """The rows of a layout, in its order."""
    return [_row(entry) for entry in layout.entries]


def layout_from(rows: list[Any]) -> LayoutSpec:
    """The inverse of `rows_of`, from parsed JSON of any origin.

    Raises:
        BadInput: what cannot be. LookupError, TypeError, ValueError and the like: values of a wrong kind.
    """
    own = {row[0]: _entry(row) for row in rows if len(row) != 2}
    entries = []
    for row in rows:
        source = own.get(row[1]) if len(row) == 2 else None
        if len(row) != 2:
            entries.append(own[row[0]])
        elif source is None:
            raise BadInput(f"tensor '{row[0]}' is tied to '{row[1]}', which is not there")
        else:
            entries.append(TensorEntry(row[0], source.shape, source.dtype, TIED, source=row[1]))
    return LayoutSpec(tuple(entries))


def _row(entry: TensorEntry) -> list[Any]:
    if entry.role == KEPT:
        form = [entry.stored, *entry.band] if entry.stored else []
        return [entry.name, entry.dtype, list(entry.shape), *form]
    if entry.role == TIED:
        return [entry.name, entry.source]
    row = [entry.name, list(entry.shape), entry.fan_in]
    if entry.row < 0:
        return row if (entry.centre, entry.dtype) == (0.0, "F32") else [*row, entry.centre, entry.dtype]
    return [*row, entry.centre, entry.dtype, entry.row, *([entry.stored] if entry.stored else [])]


def _entry(row: list[Any]) -> TensorEntry:
    name, *rest = row
    if isinstance(rest[0], str):
        dtype, shape, *form = rest
        stored, *band = form or [""]
        return TensorEntry(name, tuple(shape), dtype, KEPT, stored=stored, band=tuple(band))
    shape, fan_in, centre, dtype, *constant = (*rest, 0.0, "F32") if len(rest) == 2 else rest
    place, stored = (*constant, "") if len(constant) == 1 else constant or (-1, "")
    return TensorEntry(name, tuple(shape), dtype, GENERATED, fan_in, float(centre), "", stored, place)
