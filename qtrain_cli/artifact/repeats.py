"""Rows of a layout that repeat from layer to layer, written once. Standard library only.

    layer.0.a, layer.0.b, layer.1.a, layer.1.b, layer.2.a, layer.2.b, head
    [3, 0, [layer.#.a, layer.#.b]], head                                       # stands for a line feed

A row is a list that begins with a tensor's name; a repeat is a list of how often, the first number, and the
rows, whose names have a line feed in the number's place, which no name of a tensor has. A transformer's file
of changes is shorter by a hundred bytes so, of a thousand.
"""

from __future__ import annotations

import reprlib
from typing import Any

from qtrain_cli.errors import BadInput

_Row = list[Any]
_PLACE = "\n"
#: Rows of a layout; a small file must not ask for more than it could have written out.
MAX_ROWS = 2**16
_DIGITS = 9


def with_repeats(rows: list[_Row]) -> list[_Row]:
    """The rows with each repeat written once: the first that is found, by the earliest number of a name."""
    names = {row[0]: place for place, row in enumerate(rows)}
    found, place = list[_Row](), 0
    while place < len(rows):
        repeat = _repeat_at(rows, place, names)
        found.append(repeat or rows[place])
        place += repeat[0] * len(repeat[2]) if repeat else 1
    return found


def without_repeats(rows: list[Any]) -> list[Any]:
    """The inverse, from parsed JSON of any origin.

    Raises:
        BadInput: a repeat that is none, or more rows than there may be. TypeError and the like: as `rows`.
    """
    found = list[Any]()
    for row in rows:
        found += _written_out(row) if row and not isinstance(row[0], str) else [row]
        if len(found) > MAX_ROWS:
            raise BadInput(f"its layout has more than {MAX_ROWS} rows")
    return found


def _repeat_at(rows: list[_Row], start: int, names: dict[str, int]) -> _Row | None:
    parts = rows[start][0].split(".")
    for level, part in enumerate(parts):
        if part.isdecimal() and part.isascii() and len(part) <= _DIGITS and str(int(part)) == part:
            second = names.get(".".join([*parts[:level], str(int(part) + 1), *parts[level + 1 :]]), start)
            count = _count(rows, start, second - start, level)
            if count > 1:
                block = [_templated(row, level) for row in rows[start:second]]
                return [count, int(part), block]
    return None


def _count(rows: list[_Row], start: int, length: int, level: int) -> int:
    """How often the rows from here on repeat, with the number at this level of their names counted up."""
    if length < 1:
        return 0
    begin = rows[start][0].split(".")
    first, count = int(begin[level]), 0
    while start + (count + 1) * length <= len(rows):
        for place in range(length):
            row, other = rows[start + place], rows[start + count * length + place]
            parts = row[0].split(".")
            if parts[: level + 1] != begin[: level + 1]:
                return count if count else 0
            expected = ".".join([*parts[:level], str(first + count), *parts[level + 1 :]])
            if other[0] != expected or other[1:] != row[1:]:
                return count
        count += 1
    return count


def _templated(row: _Row, level: int) -> _Row:
    parts = row[0].split(".")
    parts[level] = _PLACE
    return [".".join(parts), *row[1:]]


def _written_out(repeat: Any) -> list[_Row]:
    count, first, rows = repeat
    whole = type(count) is int and type(first) is int and isinstance(rows, list)
    if not whole or not 2 <= count <= MAX_ROWS or not 0 <= first < 10**_DIGITS or not rows:
        raise BadInput(f"its layout is malformed: a repeat is {reprlib.repr(repeat)}")
    if count * len(rows) > MAX_ROWS:
        raise BadInput(f"its layout has more than {MAX_ROWS} rows")
    return [
        [str(row[0]).replace(_PLACE, str(number)), *row[1:]]
        for number in range(first, first + count)
        for row in rows
    ]
