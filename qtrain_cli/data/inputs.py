"""What a model is given: a row for each sample, in one tensor or in several that have names.

    Tensor                               (N, ...)
    NamedInputs({"tokens": (N, L), "mask": (N, L)})      parts with the same N rows, in the same order
    NamedInputs({"0": (N, ...), "1": (N, ...)})          the same by position: names are 0, 1, ...

Whatever holds inputs (splits, batches, examples) holds either; `len`, rows by index, `split`, `to`, `detach`
and `cpu` mean the same of both, and the functions here do the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput, first_few


@dataclass(frozen=True, eq=False)
class NamedInputs:
    """Several tensors (N, ...), at least one, by name; each has the rows of the same N samples."""

    parts: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __getitem__(self, rows: Any) -> NamedInputs:
        return self.map(lambda part: part[rows])

    @property
    def by_position(self) -> bool:
        """Whether the names are places: 0, 1, ..."""
        return list(self.parts) == [str(place) for place in range(len(self.parts))]

    def map(self, function: Callable[[Tensor], Tensor]) -> NamedInputs:
        """The same names with what the function makes of each part."""
        return NamedInputs({name: function(part) for name, part in self.parts.items()})

    def split(self, size: int) -> Iterator[NamedInputs]:
        """Batches of `size` rows, the last one of what is left."""
        return (self[first : first + size] for first in range(0, len(self), size))

    def to(self, device: torch.device | str) -> NamedInputs:
        """The same on a device."""
        return self.map(lambda part: part.to(device))

    def detach(self) -> NamedInputs:
        """The same without gradients."""
        return self.map(lambda part: part.detach())

    def cpu(self) -> NamedInputs:
        """The same on the CPU."""
        return self.map(lambda part: part.cpu())


Inputs: TypeAlias = Tensor | NamedInputs
#: From inputs as the data have them to what the model is given.
Prepare: TypeAlias = Callable[[Inputs], Inputs]


@runtime_checkable
class ByLength(Protocol):
    """A `Prepare` that may end a batch with its longest row, so that rows of like length belong together."""

    def lengths(self, inputs: Inputs, /) -> Tensor | None:
        """How long each row (N,) is; None where rows are taken whole."""


def lengths_of(prepare: Prepare, inputs: Inputs) -> Tensor | None:
    """How long each row (N,) is for what prepares them, if that makes a difference to it."""
    return prepare.lengths(inputs) if isinstance(prepare, ByLength) else None


def tensors_in(inputs: Inputs) -> tuple[Tensor, ...]:
    """The tensor, or all of the parts in their order."""
    return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs.parts.values())


def mapped(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """What the function makes of the tensor, or of each part."""
    return function(inputs) if isinstance(inputs, Tensor) else inputs.map(function)


def joined_rows(batches: Sequence[Inputs]) -> Inputs:
    """All rows, one batch below the other; at least one batch, and each of the same names."""
    first = batches[0]
    if isinstance(first, Tensor):
        return torch.cat([tensors_in(batch)[0] for batch in batches])
    columns = zip(*map(tensors_in, batches), strict=True)
    return NamedInputs(dict(zip(first.parts, map(torch.cat, columns), strict=True)))


def numbers_in_row(inputs: Inputs) -> int:
    """How many numbers one sample has; there is at least one row."""
    return sum(part[0].numel() for part in tensors_in(inputs))


def lead_of(inputs: Inputs) -> Tensor:
    """The tensor that gradients may begin at: the first of floats, else the first."""
    tensors = tensors_in(inputs)
    return next((part for part in tensors if part.is_floating_point()), tensors[0])


def row_shape(inputs: Inputs) -> Any:
    """The shape of one sample, ready for JSON: a list, or one for each name."""
    if isinstance(inputs, Tensor):
        return list(inputs.shape[1:])
    return {name: list(part.shape[1:]) for name, part in inputs.parts.items()}


def dtype_in_words(inputs: Inputs) -> Any:
    """The type of one sample's numbers, as `row_shape` has its shape: ``float32``."""
    words = [str(part.dtype).removeprefix("torch.") for part in tensors_in(inputs)]
    return words[0] if isinstance(inputs, Tensor) else dict(zip(inputs.parts, words, strict=True))


def single(inputs: Inputs) -> Tensor:
    """The tensor. Raises `BadInput` where there are several, for a student, which takes one."""
    if isinstance(inputs, Tensor):
        return inputs
    raise BadInput(
        f"a student reads one tensor, and the data have several: {first_few(list(inputs.parts), 8)}",
        "give data of one input",
    )


def shape_in_words(inputs: Inputs) -> str:
    """``4 inputs of shape [3]``, or ``4 inputs of tokens [12], mask [12]``."""
    shapes = row_shape(inputs)
    if isinstance(shapes, dict):
        named = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        return f"{len(inputs)} inputs of {named}"
    return f"{len(inputs)} inputs of shape {shapes}"
