"""The base under a file of changes: its tensors, and what becomes of them.

    layout, made --changed--> tensors that differ from the base --state--> the whole state dictionary

Sums and products in float64 are made number by number in one order (r products, each added to those before),
so that they come out the same on every machine; in float32, to train with, a library multiplies.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput
from qtrain_cli.targets.change import Change, matrix_of
from qtrain_cli.targets.entries import GENERATED, LayoutSpec
from qtrain_cli.targets.layout import CONVERT, DTYPES, complete, in_dtype, with_rows

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Ground:
    """A base's tensors by the names of the model's state dictionary, zeros where it lacks one (`new`), or
    seeded numbers where the change says so.

    `ties` names for each tensor the one that it is the same as, mostly itself; `factors` are A (r, columns)
    in float64 by the name of their matrix; `frames` what stands before R of `lora-xs`, (rows, r), and nothing
    for other targets.
    """

    change: Change
    tensors: Mapping[str, Tensor]
    ties: Mapping[str, str]
    factors: Mapping[str, Tensor]
    new: frozenset[str]
    frames: Mapping[str, Tensor] = field(default_factory=dict)

    def changed(self, layout: LayoutSpec, made: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors that are no longer the base's, by name, in their own dtypes.

        Args:
            layout: of the file.
            made: its generated tensors; in float64 the same bits everywhere, else differentiable.
        """
        whole = with_rows(layout, made, {})
        moved = {
            matrix_of(entry.name): self._moved(entry.name, whole[entry.name])
            for entry in layout.of_role(GENERATED)
        }
        old = [name for name in moved if name not in self.new]
        # In one call: a GPU is given a kernel for many tensors.
        scaled = torch._foreach_mul([moved[name] for name in old], self.change.scale) if old else ()
        moved |= dict(zip(old, scaled, strict=True))
        bases = [self.tensors[name].to(tensor.dtype) for name, tensor in moved.items()]
        sums = torch._foreach_add(bases, list(moved.values())) if bases else ()
        return {
            name: in_dtype(tensor, self.tensors[name].dtype) for name, tensor in zip(moved, sums, strict=True)
        }

    def state(
        self, layout: LayoutSpec, kept: Mapping[str, Tensor], made: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The model's whole state dictionary, in its order; tied names share one tensor."""
        mine = self.changed(layout, made) | {entry.name: kept[entry.name] for entry in layout.stored}
        return {name: mine.get(first, self.tensors[first]) for name, first in self.ties.items()}

    def moved_to(self, device: torch.device) -> Ground:
        """The same on a device; names that are tied share one tensor there too."""
        tensors = {name: tensor.to(device) for name, tensor in self.tensors.items()}
        factors, frames = (
            {name: part.to(device) for name, part in parts.items()} for parts in (self.factors, self.frames)
        )
        return replace(self, tensors=tensors, factors=factors, frames=frames)

    def before(self, matrix: str, made: Tensor) -> Tensor:
        """B (rows, r) of a matrix, from what is generated of it: itself, or R between two frames."""
        return low_rank_product(self.frames[matrix], made) if matrix in self.frames else made

    def _moved(self, name: str, made: Tensor) -> Tensor:
        """How far a tensor moves, before the scale: what is generated, or the product of its factors."""
        matrix = matrix_of(name)
        if matrix == name:
            return made
        product = low_rank_product(self.before(matrix, made), self.factors[matrix])
        return product.view(self.tensors[matrix].shape)


def whole_state(
    layout: LayoutSpec, kept: Mapping[str, Tensor], made: Mapping[str, Tensor], ground: Ground | None
) -> dict[str, Tensor]:
    """The state dictionary that generated tensors belong to: theirs and the kept ones, or the ground's."""
    return complete(layout, made, kept) if ground is None else ground.state(layout, kept, made)


def digest_of_tensors(state: Mapping[str, Tensor], positions: bool = False) -> str:
    """SHA-256 over names, dtypes, shapes and values of a state dictionary, in hexadecimal: of whatever file
    they were read, in however many parts and in whatever order.

    Whole numbers that count 0, 1, 2, ... along their last axis are left out, since they say nothing, and one
    version of a class stores such positions where the next does not. `positions`: with them, as files of
    before have it.
    """
    found = hashlib.sha256()
    for name in sorted(state, key=str.encode):
        tensor = state[name].detach().cpu().contiguous()
        if tensor.dtype not in _NAMES:
            raise BadInput(f"tensor '{name}' is {tensor.dtype}; allowed: {', '.join(DTYPES)}", CONVERT)
        if not positions and counts_up(tensor):
            continue
        head = f"{name}\0{_NAMES[tensor.dtype]}\0".encode()
        found.update(head + struct.pack(f"<{1 + tensor.dim()}Q", tensor.dim(), *tensor.shape))
        if tensor.numel():
            found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def counts_up(tensor: Tensor) -> bool:
    """Whether these are whole numbers 0, 1, 2, ... along their last axis, of two places or more."""
    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    if not whole or tensor.dim() < 1 or tensor.shape[-1] < 2 or not tensor.numel():
        return False
    return bool((tensor.long() == torch.arange(tensor.shape[-1])).all())


def low_rank_product(left: Tensor, right: Tensor) -> Tensor:
    """(rows, r), (r, columns) -> (rows, columns); float64 if both are, else to train with."""
    if left.dtype != right.dtype or left.dtype != torch.float64:
        return left.float() @ right.float()
    total = left[:, :1] * right[:1]
    for place in range(1, left.shape[1]):
        total = total + left[:, place : place + 1] * right[place : place + 1]
    return total
