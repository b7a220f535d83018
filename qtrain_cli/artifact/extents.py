"""How many bytes the numbers of a method take, before one of them is read. Standard library only."""

from __future__ import annotations

from qtrain_cli.errors import BadInput
from qtrain_cli.files.message import message_bytes
from qtrain_cli.methods.forms import Form, Forms, count_of
from qtrain_cli.targets.entries import DTYPE_BYTES

#: The most numbers that are coded; more would take minutes to decode, however few bytes they have.
MAX_CODES = 2**22
#: Lowest and highest code and spread: at least, and at most.
_LEAST_MODEL, MOST_MODEL = 3, 5


def raw_forms(forms: Forms) -> Forms:
    """The groups that are stored as they are."""
    return {name: form for name, form in forms.items() if not form.coded}


def coded_forms(forms: Forms) -> Forms:
    """The groups whose codes are one message."""
    return {name: form for name, form in forms.items() if form.coded}


def raw_bytes(forms: Forms) -> int:
    """Bytes of all numbers that are stored as they are."""
    return sum(form.count * DTYPE_BYTES[form.dtype] for form in raw_forms(forms).values())


def check_forms(forms: Forms) -> None:
    """Raises `BadInput` for a group of nothing, and for more codes than are decoded within minutes."""
    if not all(form.count >= 1 for form in forms.values()):
        raise BadInput("a group of its numbers is empty")
    coded = count_of(coded_forms(forms))
    if coded > MAX_CODES:
        raise BadInput(f"{coded} numbers are coded; allowed: {MAX_CODES}")


def check_size(forms: Forms, size: int) -> None:
    """Raises `BadInput` where so many bytes cannot hold groups of these forms."""
    coded = list(coded_forms(forms).values())
    least = most = raw_bytes(forms)
    if coded:
        steps = sum(DTYPE_BYTES[form.dtype] for form in coded) + (len(coded) > 1)
        least += steps + _LEAST_MODEL
        most += steps + MOST_MODEL * len(coded) + _longest_message(coded)
    if not least <= size <= most:
        raise BadInput(f"its numbers take {size} bytes; needed: {least} to {most}")


def _longest_message(coded: list[Form]) -> int:
    """By the bits that the forms allow; codes without a bound take no more than 2 bytes each."""
    return message_bytes(1, sum(form.count * (form.bits or 16) for form in coded))
