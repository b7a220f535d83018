"""What one model input looks like, without the batch axis: what exports with a graph need. No torch.

["F32", 1, 28, 28]                                 one tensor
[["tokens", "I64", 12], ["mask", "BOOL", 12]]      several, by name, in the order of the data
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qtrain_cli.errors import BadInput
from qtrain_cli.targets.entries import DTYPE_BYTES, MAX_NAME

MAX_EXAMPLE_DIMENSIONS = 8
MAX_EXAMPLE_ELEMENTS = 2**28
MAX_EXAMPLE_PARTS = 64


@dataclass(frozen=True)
class Example:
    """Shape and dtype of one input. Raises `BadInput` for an input that cannot be."""

    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPE_BYTES:
            raise BadInput(
                f"an input has the dtype {reprlib.repr(self.dtype)}",
                "give the model inputs of float32, bfloat16, or whole numbers",
            )
        whole = all(type(size) is int and size >= 1 for size in self.shape)
        if (
            not whole
            or len(self.shape) > MAX_EXAMPLE_DIMENSIONS
            or math.prod(self.shape) > MAX_EXAMPLE_ELEMENTS
        ):
            raise BadInput(
                f"an input has the shape {reprlib.repr(list(self.shape))}; allowed: up to"
                f" {MAX_EXAMPLE_DIMENSIONS} dimensions and {MAX_EXAMPLE_ELEMENTS} elements",
                "give the model inputs of a smaller shape",
            )

    def stored(self) -> list[Any]:
        """As an artifact has it."""
        return [self.dtype, *self.shape]


@dataclass(frozen=True)
class NamedExamples:
    """The same of several inputs: their names with what each is. Raises `BadInput` for what cannot be."""

    parts: tuple[tuple[str, Example], ...]

    def __post_init__(self) -> None:
        names = [name for name, _ in self.parts]
        if not 1 <= len(names) <= MAX_EXAMPLE_PARTS or len(set(names)) < len(names):
            raise BadInput(
                f"it has {len(names)} named inputs; allowed: 1 to {MAX_EXAMPLE_PARTS}, each once",
                "leave inputs out with --columns input=...",
            )
        for name in names:
            if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or not name.isprintable():
                raise BadInput(
                    f"an input is named {reprlib.repr(name)}; allowed: 1 to {MAX_NAME} printable characters",
                    "rename that input in the data and in the model's forward",
                )
        if sum(math.prod(part.shape) for _, part in self.parts) > MAX_EXAMPLE_ELEMENTS:
            raise BadInput(
                f"its inputs have too many elements; allowed: {MAX_EXAMPLE_ELEMENTS}",
                "give the model inputs of smaller shapes",
            )

    def stored(self) -> list[Any]:
        """As an artifact has it."""
        return [[name, *part.stored()] for name, part in self.parts]


def example_from(stored: Sequence[Any]) -> Example | NamedExamples:
    """The inverse of both `stored`, of any origin; raises `BadInput`, or `ValueError` as unpacking does."""
    if stored and isinstance(stored[0], list):
        rows = [(name, Example(dtype, tuple(shape))) for name, dtype, *shape in stored]
        return NamedExamples(tuple(rows))
    dtype, *shape = stored
    return Example(dtype, tuple(shape))
