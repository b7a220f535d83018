"""What reading a file came to: the module, the trust it took, and what the user has to be told of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from torch import nn

from qtrain_cli.errors import few_quoted

#: How many names a sentence lists.
_LISTED = 6


@dataclass(frozen=True)
class ReadModel:
    """`entry` is the path of the set of weights that was taken, as ``--weights`` takes it; None for a file
    that has but one. `notes` are sentences: what was chosen, left out, done otherwise."""

    module: nn.Module
    trust: str
    entry: str | None = None
    notes: tuple[str, ...] = ()


def said_choice(taken: str, others: Collection[str]) -> tuple[str, ...]:
    """Of several sets of weights, which was taken."""
    if not others:
        return ()
    return (f"weights: '{taken}' is taken, and not {few_quoted(others, _LISTED)}; --weights picks another",)


def said_left_out(names: Collection[str]) -> tuple[str, ...]:
    """What of the file is none of the model's."""
    return (f"left out, as no part of the model: {few_quoted(names, _LISTED)}",) if names else ()
