"""Which format a file has, and which version of qtrain reads the others. Standard library only.

    qtrain/5                                this version's: FORMAT.md
    qtrain/4, qtrain/3, qtrain.student/1    readable for good: `former`
    qtrain/1, qtrain/2                      read by qtrain 0.1
    a larger number                         read by a newer qtrain

Another version's file is no attack: it is told apart from a damaged one, and says who reads it.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qtrain_cli.artifact.container import Container
from qtrain_cli.errors import BadInput, QtrainError

#: The whole of the metadata, as JSON; what is said of a file is `qtrain/5`.
FORMAT = 5
#: Formats that say no more than their number.
_NUMBERED = {str(FORMAT), "4", "3"}
#: Of a student's own format: its name in canonical JSON, after which more follows.
FORMER_STUDENT = "qtrain.student/1"
_FIRST_VERSION = ("qtrain/1", "qtrain/2")


class Foreign(Exception):
    """A file for another kind of reader, which is no attack: a message about it, and advice."""


@contextmanager
def refusals(container: Container) -> Iterator[None]:
    """Around what reads facts of any origin: all that can go wrong there is a refusal of the file."""
    try:
        yield
    except Foreign as error:
        what, advice = error.args
        raise BadInput(f"'{container.path}' {what}", advice) from None
    except QtrainError as error:
        raise container.refused(error.message) from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # Values of every wrong type end here; no list of checks could name them all.
        raise container.refused(f"its facts are malformed ({type(error).__name__}: {error})") from None


def metadata() -> str:
    """The metadata's canonical JSON."""
    return str(FORMAT)


def format_of(container: Container) -> str:
    """``5``, ``4``, ``3`` or ``qtrain.student/1``.

    Raises:
        BadInput: another format; the message says which version reads it.
        Refused: its metadata are of no format.
    """
    if container.text in _NUMBERED:
        return container.text
    try:
        found = _named(json.loads(container.text))
    except (ValueError, RecursionError) as error:
        raise container.refused(f"its metadata is not JSON ({error})") from None
    if found is None:
        raise container.refused("its metadata is not what an honest writer writes")
    if found == FORMER_STUDENT:
        return found
    reader, advice = _reader(found)
    raise BadInput(f"'{container.path}' has the format {reprlib.repr(found)}; {reader}", advice)


def _named(value: Any) -> str | None:
    """The format that metadata name; None for none, and for a number's format in other words than its own."""
    if type(value) is int:
        return None if str(value) in _NUMBERED else f"qtrain/{value}"
    found = value.get("format") if isinstance(value, dict) else None
    numbered = {f"qtrain/{number}" for number in _NUMBERED}
    return found if isinstance(found, str) and found not in numbered else None


def _reader(found: str) -> tuple[str, str]:
    """Which version reads a format, and what to do about it."""
    if found in _FIRST_VERSION:
        return "qtrain 0.1 reads it", "use that version, or compress the model again with this one"
    number = found.removeprefix("qtrain/")
    if found.startswith("qtrain/") and _is_later(number):
        return "a newer qtrain reads it", "update qtrain"
    known = f"this version reads 'qtrain/{FORMAT}', 'qtrain/4' and 'qtrain/3'"
    return known, "use the version of qtrain that wrote it"


def _is_later(number: str) -> bool:
    """Whether these are the digits of a larger number than this version's; there may be thousands."""
    return number.isascii() and number.isdecimal() and int(number[:9] if number[0] != "0" else "0") > FORMAT
